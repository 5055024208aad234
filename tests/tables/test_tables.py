"""Tables: what is written is read back, what does not fit is refused, a failed write changes nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hivemind_utils.tables import dictionary, files, ids, parquet
from hivemind_utils.tables import schema as table_schema
from hivemind_utils.tables.study import Study

REPOSITORY = Path(__file__).resolve().parents[2]
LONE_SURROGATE = pd.Series(["f", "\ud800", "g"], dtype=object)
STAMP = {"source": "imported", "origin": "a test"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project with one notebook; the working folder is its notebooks/, as under Jupyter."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "04_generate.ipynb").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def some_models(**changes):
    frame = pd.DataFrame(
        {
            "model": ["a", "b", "people"],
            "family": ["f", "f", "people"],
            "model_kind": ["model", "model", "human"],
            "size_b": [7.0, None, None],
            "tuning": ["base", "instruct", None],
            "release_date": ["2025-01-01", None, None],
            "open_weights": [True, False, None],
            "vendor": ["v", "w", None],
            "parent": None,
        }
    )
    return frame.assign(**changes)


def some_coverage(**changes):
    frame = pd.DataFrame({"prompt_id": ["p", "q"], "model": "a", "condition": "default", "decoding": "top_p"})
    counts = {"n_responses": [2, 0], "n_usable": [2, 0], "n_empty": 0, "n_truncated": 0}
    counts |= {"n_refused": 0, "n_filtered": 0, "n_unparsed": 0, "n_repeated": 1, "n_reasoned": 0}
    counts |= {"n_looping": 0, "n_marked": 0}
    return frame.assign(**counts).assign(**changes)


# --------------------------------------------------------------------------------------------------- there and back


def test_a_table_comes_back_as_it_was_written():
    parquet.write(some_models(), "04_models", "mine", STAMP)
    back = parquet.read("04_models", "mine")
    assert back["model"].tolist() == ["a", "b", "people"]
    assert back["size_b"].tolist()[0] == 7.0
    assert back["size_b"].isna().tolist() == [False, True, True]
    assert back["open_weights"].tolist() == [True, False, None]
    parquet.write(back, "04_models", "again", STAMP)
    pd.testing.assert_frame_equal(parquet.read("04_models", "again"), back)


def test_a_table_stands_in_the_folder_of_its_profile_at_the_root(project):
    parquet.write(some_models(), "04_models", "mine", STAMP)
    assert files.root() == project
    assert parquet.path("04_models", "mine") == project / "data" / "mine" / "04_models.parquet"
    assert [path.name for path in (project / "data" / "mine").iterdir()] == ["04_models.parquet"]


def test_the_stamp_travels_with_the_table():
    parquet.write(some_models(), "04_models", "mine", STAMP | {"partial": "half of it", "n": 3})
    assert parquet.stamp("04_models", "mine") == STAMP | {"partial": "half of it", "n": 3}


def test_columns_stand_in_the_order_of_the_schema_with_its_types(project):
    shuffled = some_coverage()[::-1].iloc[:, ::-1]
    parquet.write(shuffled, "04_coverage", "mine", STAMP)
    schema = pq.read_schema(project / "data" / "mine" / "04_coverage.parquet")
    assert schema.names == [column.name for column in table_schema.TABLES["04_coverage"].columns]
    assert {str(schema.field(name).type) for name in schema.names} == {"string", "int64"}
    assert not any(schema.field(name).nullable for name in schema.names)
    assert parquet.read("04_coverage", "mine")["prompt_id"].tolist() == ["q", "p"]


def test_some_columns_can_be_read_alone():
    parquet.write(some_models(), "04_models", "mine", STAMP)
    assert list(parquet.read("04_models", "mine", columns=["model_kind", "model"])) == ["model_kind", "model"]


@pytest.mark.parametrize("columns", [None, ["model", "model_kind"]])
def test_a_table_of_an_earlier_version_names_the_notebook_that_writes_it(project, columns):
    parquet.write(some_models(), "04_models", "mine", STAMP)
    file = project / "data" / "mine" / "04_models.parquet"
    table = pq.read_table(file)
    pq.write_table(table.rename_columns([{"model_kind": "kind"}.get(name, name) for name in table.column_names]), file)
    message = (
        r"^data/mine/04_models\.parquet lacks `model_kind`: an earlier version wrote it\. "
        r"Notebook 04_generate writes it: run `make 04 PROFILE=mine`\.$"
    )
    for reads in (lambda: Study("05", "mine").read("04_models", columns), lambda: parquet.stamp("04_models", "mine")):
        with pytest.raises(parquet.DamagedError, match=message) as raised:
            reads()
        assert raised.value.lacking == ("model_kind",)
    with pytest.raises(parquet.DamagedError, match="Notebook 04_generate writes it: run `make 04 PROFILE=mine`"):
        parquet.read("04_models", "mine", columns)


def test_an_empty_table_keeps_its_columns():
    parquet.write(some_models().iloc[:0], "04_models", "mine", STAMP)
    back = parquet.read("04_models", "mine")
    assert len(back) == 0
    assert list(back) == [column.name for column in table_schema.TABLES["04_models"].columns]


def test_every_text_survives():
    texts = ["", " spaced ", "a\r\nb\tc", "<b>bold</b> & **bold**", "\N{SNOWMAN}\N{GRINNING FACE}", "NA", "x" * 50_000]
    names = [f"m{i}" for i in range(len(texts))]
    frame = pd.DataFrame({"model": names, "family": texts, "model_kind": "model"}).assign(
        size_b=None, tuning=None, release_date=None, open_weights=None, vendor=None, parent=None
    )
    parquet.write(frame, "04_models", "mine", STAMP)
    assert parquet.read("04_models", "mine")["family"].tolist() == texts


def test_equal_tables_are_equal_files(project):
    for profile in ("one", "two"):
        parquet.write(some_models(), "04_models", profile, STAMP)
    one, two = (parquet.path("04_models", profile).read_bytes() for profile in ("one", "two"))
    assert one == two


def test_text_ids_are_stable_and_differ_by_a_single_space():
    assert ids.text_id("abc") == "ba7816bf8f01cfea"
    assert ids.text_id("abc ") != ids.text_id("abc")
    assert len(ids.text_id("\ud800")) == 16


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("frame", "name", "problem"),
    [
        (
            some_models(model_kind=["model", "robot", "human"]),
            "04_models",
            r"`model_kind`, row 1: expected one of .*'robot' came",
        ),
        (some_models(family=["f", "f", None]), "04_models", r"`family`, row 2: expected a value"),
        (some_models(size_b=[1, -7, 2]), "04_models", r"`size_b`, row 1: expected at least 0, but .*-7.* came"),
        (some_models(size_b=[1, "big", 2]), "04_models", r"`size_b`, row 1: expected a number, but 'big' came"),
        (some_models(family=[1, 2, 3]), "04_models", r"`family`, row 0: expected str, but .*1.* came"),
        (some_models(family=["f", 7, "g"]), "04_models", r"`family`, row 1: expected str, but 7 came"),
        (some_models(family=LONE_SURROGATE), "04_models", r"`family`, row 1: expected str, but '\\ud800' came"),
        (some_models(open_weights=["true", "perhaps", ""]), "04_models", r"`open_weights`, row 1: expected bool"),
        (some_coverage(n_responses=[2, 0.5]), "04_coverage", r"`n_responses`, row 1: expected int, but .*0.5.* came"),
        (some_coverage(n_responses=[2, None]), "04_coverage", r"`n_responses`, row 1: expected a value"),
        (some_coverage(n_usable=[-1, 0]), "04_coverage", r"`n_usable`, row 0: expected at least 0"),
        (some_coverage(n_usable=[0, 2**70]), "04_coverage", r"`n_usable`, row 1: expected int"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_table_column_and_row(frame, name, problem):
    with pytest.raises(ValueError, match=f"Table {name}, column {problem}"):
        parquet.write(frame, name, "mine", STAMP)
    assert not parquet.path(name, "mine").exists()


@pytest.mark.parametrize("value", [-1.5, 1.5, float("inf")])
def test_a_cosine_outside_its_range_is_refused_and_rounding_is_not(value):
    pair = {"arm_a": ["a"], "arm_b": "b", "family_a": "f", "family_b": "g", "n_prompts": 1, "n_pairs": 1}
    cosines = ["mean_cosine", "mean_cosine_published", "mean_tfidf", "lower", "upper"]
    frame = pd.DataFrame(pair).assign(**dict.fromkeys(cosines, 1 + 1e-7))
    assert table_schema.validate(frame, "06_model_pairs").num_rows == 1
    with pytest.raises(ValueError, match=r"Table 06_model_pairs, column `upper`, row 0: expected at (least|most) -?1"):
        table_schema.validate(frame.assign(upper=value), "06_model_pairs")


def test_rows_are_counted_from_zero_whatever_the_index_says():
    frame = some_models(model_kind=["model", "robot", "human"]).set_index(pd.Index([5, 5, 5]))
    with pytest.raises(ValueError, match="row 1: expected one of"):
        parquet.write(frame, "04_models", "mine", STAMP)


def test_missing_and_unknown_columns_are_named_together():
    frame = some_models().rename(columns={"family": "famly"})
    with pytest.raises(ValueError, match=r"Table 04_models .*missing: \['family'\], unknown: \['famly'\]"):
        parquet.write(frame, "04_models", "mine", STAMP)


def test_a_column_that_stands_twice_is_refused():
    frame = pd.concat([some_models(), some_models()[["family"]]], axis=1)
    with pytest.raises(ValueError, match=r"Table 04_models .*twice: \['family'\]"):
        parquet.write(frame, "04_models", "mine", STAMP)


def test_a_repeated_key_is_refused_with_its_columns_and_values():
    with pytest.raises(ValueError, match=r"Table 04_models must have one row per \('model',\), .*1 repeat.*'a'"):
        parquet.write(some_models(model=["a", "b", "a"]), "04_models", "mine", STAMP)
    parquet.write(
        some_coverage(model=["a", "b"], prompt_id="p"), "04_coverage", "mine", STAMP
    )  # the key has four parts


@pytest.mark.parametrize("stamp", [{}, {"source": "guessed"}, {"source": None}])
def test_an_unknown_source_is_refused(stamp):
    with pytest.raises(ValueError, match=r"stamp\['source'\] must be one of .*'simulated'"):
        parquet.write(some_models(), "04_models", "mine", stamp)


@pytest.mark.parametrize("call", [parquet.read, parquet.stamp, parquet.path])
def test_an_unknown_table_is_refused(call):
    with pytest.raises(ValueError, match=r"There is no table '04_modles'; the tables are .*'04_models'"):
        call("04_modles", "mine")


@pytest.mark.parametrize("call", [parquet.read, parquet.stamp])
@pytest.mark.parametrize(("profile", "command"), [("demo", "make figures"), ("mine", "make figures PROFILE=mine")])
def test_a_missing_table_names_its_notebook_and_the_command(call, profile, command):
    place = Path("data") / profile / "04_models.parquet"
    with pytest.raises(FileNotFoundError) as error:
        call("04_models", profile)
    assert str(error.value) == f"{place} is missing. Notebook 04_generate writes it: run `{command}`."


# --------------------------------------------------------------------------------------------------------- atomicity


def test_a_refused_table_leaves_the_old_file(project):
    parquet.write(some_models(), "04_models", "mine", STAMP)
    before = parquet.path("04_models", "mine").read_bytes()
    with pytest.raises(ValueError, match="expected one of"):
        parquet.write(some_models(model_kind="robot"), "04_models", "mine", STAMP)
    assert parquet.path("04_models", "mine").read_bytes() == before


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(monkeypatch):
    parquet.write(some_models(), "04_models", "mine", STAMP)
    target = parquet.path("04_models", "mine")
    before = target.read_bytes()

    def disk_full(writer, table, **options):
        writer.file_handle.write(b"half a table")
        raise OSError("No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", disk_full)
    with pytest.raises(OSError, match="No space left"):
        parquet.write(some_models(family="new"), "04_models", "mine", STAMP)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_process_killed_while_writing_leaves_the_old_file_readable(project):
    parquet.write(some_models(), "04_models", "mine", STAMP)
    program = """
        import time

        import pyarrow.parquet as pq
        from hivemind_utils.tables import parquet

        whole = pq.ParquetWriter.write_table

        def half(writer, table, **options):
            whole(writer, table, **options)
            print("half written", flush=True)
            time.sleep(600)

        pq.ParquetWriter.write_table = half
        models = parquet.read("04_models", "mine").assign(family="new")
        parquet.write(models, "04_models", "mine", {"source": "imported"})
    """
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "half written\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert parquet.read("04_models", "mine")["family"].tolist() == ["f", "f", "people"]
    parquet.write(some_models(family="new"), "04_models", "mine", STAMP)
    assert parquet.read("04_models", "mine")["family"].tolist() == ["new"] * 3


def test_files_have_the_permissions_other_files_have(project):
    with files.atomic(project / "new" / "by_us.txt") as temporary:
        temporary.write_text("x")
    (project / "by_anyone.txt").write_text("x")
    assert (project / "new" / "by_us.txt").stat().st_mode == (project / "by_anyone.txt").stat().st_mode


def test_results_are_plain_json(project):
    numbers = pd.Series([0.5, 0.25])
    parquet.write_results({"mean": numbers.mean(), "n": numbers.size, "all": numbers.to_numpy()}, "05", "mine")
    written = (project / "results" / "mine" / "05.json").read_text(encoding="utf-8")
    first, rest = (
        '{\n "schema": "hivemind-results/1",\n',
        ' "mean": 0.375,\n "n": 2,\n "all": [\n  0.5,\n  0.25\n ]\n}\n',
    )
    assert written == first + rest
    with pytest.raises(TypeError, match="Results must be plain numbers and text, but object was passed"):
        parquet.write_results({"x": object()}, "05", "mine")


# -------------------------------------------------------------------------------------------------------- dictionary


def test_the_data_dictionary_is_generated_from_the_schemas(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    written = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    assert written == dictionary.dictionary(), "run `python -m hivemind_utils.tables.dictionary`"


@pytest.mark.parametrize("table", table_schema.TABLES.values(), ids=lambda table: table.name)
def test_every_table_has_a_key_of_its_own_columns_and_says_what_they_mean(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert table.key
    assert set(table.key) <= {column.name for column in table.columns if not column.nullable}
    assert all(column.meaning for column in table.columns)
    assert {column.type for column in table.columns} <= {"str", "int", "float", "bool"}


def test_results_are_strict_json_with_null_for_what_is_not_a_number(project):
    parquet.write_results({"rho": float("nan"), "n": np.int64(3), "by": {"a": np.float64("inf")}}, "05", "p")
    text = (files.root() / "results" / "p" / "05.json").read_text()
    read = json.loads(text, parse_constant=pytest.fail)
    assert read.pop("schema") == parquet.RESULTS_SCHEMA
    assert read == {"rho": None, "n": 3, "by": {"a": None}}
