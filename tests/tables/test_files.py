"""What a user's parameter names: files, folders, patterns and addresses; and the text that is printed on figures."""

import pandas as pd
import pytest

from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import figure_files, files, ids


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    for name in ("a.csv", "b.csv", "more/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ([], []),
        ("a.csv", ["a.csv"]),
        (["b.csv", "a.csv"], ["b.csv", "a.csv"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("more", ["more/c.csv"]),
    ],
)
def test_paths_are_relative_to_the_project_and_expanded(project, given, expected):
    assert files.addresses(given) == [project / name for name in expected]


def test_path_objects_absolute_paths_and_addresses(project):
    assert files.addresses(project / "a.csv") == [project / "a.csv"]
    hub = "hf://datasets/x/data/*.parquet"
    assert files.addresses(hub) == [hub] and files.addresses([hub, "a.csv"]) == [hub, project / "a.csv"]


def test_a_path_without_files_is_named(project):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv does not exist"):
        files.addresses("absent.csv")


def test_lone_surrogates_are_replaced_and_pairs_joined_in_one_place():
    assert ids.repaired("a\ud800b\udc00") == "a\ufffdb\ufffd" and ids.repaired("\ud83d\udc4d!") == "👍!"
    assert ids.repaired("plain") == "plain" and ids.prompt_id("x\ud800") == ids.prompt_id(" x\ufffd\n")


def test_a_number_is_never_parted_from_its_percent_sign():
    lines = figure_files._wrap("The largest category has 29 % and 31 % of all.", 27)
    assert not [line for line in lines if line.endswith("29") or line.startswith("%")]
    assert " ".join(" ".join(lines).split()) == "The largest category has 29 % and 31 % of all."


class TestOffered:
    """What people filled in is never overwritten; what nobody touched is replaced."""

    def test_an_untouched_file_is_replaced(self, tmp_path):
        assert files.offer(tmp_path / "a.csv", "one") == files.offer(tmp_path / "a.csv", "two") == tmp_path / "a.csv"
        assert (tmp_path / "a.csv").read_text() == "two"

    def test_an_edited_file_stays_and_the_new_one_goes_beside(self, tmp_path):
        path = files.offer(tmp_path / "a.yaml", "one")
        path.write_text("one, edited")
        beside = files.offer(path, "two")
        assert (path.read_text(), beside.name, beside.read_text()) == ("one, edited", "a_2.yaml", "two")
        assert files.offer(path, "three") == beside and beside.read_text() == "three"
        beside.write_text("edited too")
        assert files.offer(path, "four").name == "a_3.yaml" and beside.read_text() == "edited too"
        assert files.offered(path, beside).startswith("a.yaml was filled in or edited and is left as it is: the new")
        assert files.offered(path, path) is None

    def test_a_file_of_unknown_origin_stays(self, tmp_path):
        (tmp_path / "a.csv").write_text("from before")
        assert files.offer(tmp_path / "a.csv", "new").name == "a_2.csv"
        assert (tmp_path / "a.csv").read_text() == "from before"


def test_a_filled_in_sheet_of_prompts_stays(tmp_path, capsys):
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "prompt": ["Name a tree.", "=1+1"], "prompt_kind": "original"})
    path = tmp_path / "prompts_to_check.csv"
    response_prompts.write_sheet(prompts, path)
    filled = path.read_text().replace("original,,", "original,no,", 1)
    path.write_text(filled)
    response_prompts.write_sheet(prompts, path)
    assert path.read_text() == filled and (tmp_path / "prompts_to_check_2.csv").exists()
    assert "prompts_to_check.csv was filled in" in capsys.readouterr().out
