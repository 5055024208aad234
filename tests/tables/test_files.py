"""What a user's parameter names: files, folders, patterns and addresses; and the text that is printed on figures."""

import pytest

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
