"""Exports, the schema of results, and the comparison of two runs."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.pipeline import claims, clean, compare, export, manifests, names, notebooks, report, results, run
from hivemind_utils.tables import paper, parquet, schema

REPOSITORY = Path(__file__).resolve().parents[2]
STAMP = {"source": "imported", "origin": "answers.csv", "encoder": "minilm"}


def filled(name, rows):
    """Rows of a table, the columns not named filled with something its schema takes."""
    plain = {"str": "x", "int": 3, "float": 1.0, "bool": True}
    columns = {}
    for column in schema.TABLES[name].columns:
        if column.name in rows[0]:
            columns[column.name] = [row[column.name] for row in rows]
        elif column.allowed:
            columns[column.name] = [column.allowed[0]] * len(rows)
        else:
            columns[column.name] = [None if column.nullable else plain[column.type]] * len(rows)
    return pd.DataFrame(columns)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in which two profiles have run notebook 04, by hand; the second says all 0.1 more."""
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(REPOSITORY / "data" / "reference", tmp_path / "data" / "reference")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    for name in ("04_generate", "05_intra_model", "07_clusters"):
        shutil.copy(REPOSITORY / "notebooks" / f"{name}.ipynb", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    for profile, more in (("one", 0.0), ("two", 0.1)):
        (tmp_path / "params" / f"{profile}.yaml").touch()
        run_by_hand(profile, more)
    return tmp_path


def run_by_hand(profile, more):
    prompts = [{"prompt_id": f"p{i}", "text": f"Prompt {i}?", "prompt_kind": "original"} for i in range(4)]
    models = [{"model": m, "family": m[0], "model_kind": "model"} for m in ("a-1", "b-1")]
    answers = [
        {"response_id": f"{p['prompt_id']}{m['model']}{k}", "prompt_id": p["prompt_id"], "model": m["model"],
         "condition": "default", "decoding": "top_p", "sample_idx": k, "text": f"=An {k} {m['model']}"}
        for p in prompts for m in models for k in range(3)
    ]  # fmt: skip
    ideas = [{"response_id": a["response_id"], "idea": f"idea {a['sample_idx']}", "origin": "given"} for a in answers]
    points = [
        {"response_id": a["response_id"], "prompt_id": a["prompt_id"], "mode": 0 if a["sample_idx"] else -1,
         "x": float(i % 5), "y": float(i % 3)}
        for i, a in enumerate(answers)
    ]  # fmt: skip
    modes = [{"prompt_id": p["prompt_id"], "mode": 0, "keyphrases": "an, oak"} for p in prompts]
    cells = [
        {"prompt_id": p["prompt_id"], "model": m["model"], "mean_cosine": 0.3 + 0.1 * i + more + 0.01 * i * more}
        for i, p in enumerate(prompts) for m in models
    ]  # fmt: skip
    for name, rows in (("04_prompts", prompts), ("04_models", models), ("04_responses", answers), ("04_ideas", ideas),
                       ("07_map", points), ("07_modes", modes), ("05_repetition", cells)):  # fmt: skip
        parquet.write(filled(name, rows), name, profile, STAMP)
    for number in ("04", "05", "07"):
        known = {"source": "imported", "answer": "Yes.", "takeaways": [], "encoder": "minilm"}
        known["number"] = {"label": "similarity", "value": 0.4 + more, "lower": 0.3 + more, "upper": math.nan}
        parquet.write_results(known, number, profile)
        record = {
            "parameters": {"profile": profile, "seed": 0, "n": 1 + int(more > 0)}, "figures": [], "partial": None,
            "inputs": {f"data/{profile}/04_responses.parquet": "ab" * 32}, "packages": {"numpy": "2.0"},
            "code": {}, "outputs": {}, "python": "3.11.7", "git_commit": "c0ffee", "finished": "2030-01-01T00:00:00",
        }  # fmt: skip
        manifests.write(record, profile, number)
        Path(manifests.executed(profile, number)).write_text("{}")


# -------------------------------------------------------------------------------------------------------------- export


def test_one_row_a_response_with_arm_ideas_and_mode(project):
    (path,) = export.write("one", "parquet")
    frame = pd.read_parquet(path)
    table = parquet.read("04_responses", "one")
    assert path == project / "results" / "one" / "export" / "responses.parquet"
    assert frame["response_id"].tolist() == table["response_id"].tolist() and frame["response_id"].is_unique
    assert frame["text"].tolist() == table["text"].tolist()
    assert frame["idea_given"].tolist() == [f"idea {k}" for k in frame["sample_idx"]]
    assert frame["mode"].tolist() == [0 if k else -1 for k in frame["sample_idx"]]
    assert set(frame["arm"]) == {"a-1", "b-1"} and frame["idea_judge"].isna().all() and frame["scores"].isna().all()
    import pyarrow.parquet as pq

    about = json.loads(pq.read_schema(path).metadata[b"hivemind"])
    assert about["source"] == "imported" and about["git_commit"] == "c0ffee"


def test_scores_and_human_means_join_by_the_texts(project):
    answer = parquet.read("04_responses", "one").iloc[0]
    items = [
        {"item_id": "i1", "prompt_id": answer["prompt_id"], "prompt": "Prompt 0?", "response_1": answer["text"],
         "response_1_id": "h1", "n": 5, "mean": 4.0},
        {"item_id": "i2", "prompt_id": "q", "prompt": "Other?", "response_1": "Elm", "response_1_id": "h2", "n": 2,
         "mean": 1.5},
    ]  # fmt: skip
    parquet.write(filled("08_items", items), "08_items", "one", STAMP)
    scores = [
        {"item_id": i, "scorer": s, "score": v} for i, s, v in (("i1", "s", 0.1), ("i1", "t", 2.0), ("i2", "s", 3.0))
    ]
    parquet.write(filled("09_scores", scores), "09_scores", "one", STAMP)
    frame = export.responses("one")
    first, last = frame.iloc[0], frame.iloc[-1]
    assert (first["human_mean"], first["human_n"], json.loads(first["scores"])) == (4.0, 5, {"s": 0.1, "t": 2.0})
    assert len(frame) == 25 and frame["human_mean"].notna().sum() == 2
    assert (last["text"], last["response_id"], json.loads(last["scores"])) == ("Elm", "h2", {"s": 3.0})
    assert pd.isna(last["arm"])
    lines = list(export.json_lines(frame))
    assert lines[0]["scores"] == {"s": {"value": 0.1}, "t": {"value": 2.0}}


def test_json_lines_are_samples_of_both_tools(project):
    (path,) = export.write("one", "jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    table = parquet.read("04_responses", "one")
    assert [line["id"] for line in lines] == table["response_id"].tolist()
    for line, text in zip(lines, table["text"], strict=True):
        assert isinstance(line["input"], str) and line["target"] == "" and isinstance(line["metadata"], dict)
        assert line["output"]["choices"][0]["message"] == {"role": "assistant", "content": text}
        assert line["resps"] == [[text]] and line["filtered_resps"] == [text]
        assert line["arguments"]["gen_args_0"]["arg_0"] == line["input"] == line["doc"]["prompt"]
    assert sorted({line["doc_id"] for line in lines}) == [0, 1, 2, 3]


def test_maps_have_labels_and_hulls_that_hold_their_points(project):
    points_path, hulls_path = export.write("one", "map")
    points, hulls = pd.read_parquet(points_path), pd.read_parquet(hulls_path)
    assert set(points["label"]) == {"an, oak", "outside of every mode"}
    for (prompt, mode), corners in hulls.groupby(["prompt_id", "mode"]):
        inside = points[(points["prompt_id"] == prompt) & (points["mode"] == mode)][["x", "y"]].to_numpy()
        around = corners.sort_values("corner")[["x", "y"]].to_numpy()
        for (ax, ay), (bx, by) in zip(around, np.roll(around, -1, axis=0), strict=True):
            assert ((bx - ax) * (inside[:, 1] - ay) - (by - ay) * (inside[:, 0] - ax) >= -1e-9).all()


@pytest.mark.parametrize(
    ("points", "corners"),
    [
        ([[1, 1]], 1),
        ([[1, 1], [1, 1]], 1),
        ([[0, 0], [1, 1], [2, 2], [3, 3]], 2),
        ([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]], 4),
    ],
)
def test_hulls_of_few_and_of_collinear_points(points, corners):
    assert len(export.hull(np.array(points, float))) == corners


def test_hull_equals_that_of_scipy():
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(0).normal(size=(60, 2))
    expected = points[ConvexHull(points).vertices]
    assert {tuple(p) for p in export.hull(points)} == {tuple(p) for p in expected}


def test_claims_carry_their_provenance(project):
    path, citation = export.write("one", "claims")
    table = pd.read_csv(path)
    assert len(table) > 50 and set(table["paper_doi"]) == {export.PAPER_DOI}
    from_five = table[table["result"].str.startswith("05", na=False)]
    assert set(from_five["git_commit"]) == {"c0ffee"} and set(from_five["encoder"]) == {"minilm"}
    assert from_five["inputs_sha256"].str.contains("04_responses.parquet=abab").all()
    assert json.loads(citation.read_text())["publicationYear"] == 2030


def test_what_cannot_be_exported_is_said(project, capsys):
    assert export.main(["--profile", "one", "--format", "xml"]) == 1
    assert "FORMAT must be one of parquet, jsonl, map, claims, but 'xml' was given" in capsys.readouterr().err
    (project / "params" / "none.yaml").touch()
    for kind in ("parquet", "jsonl", "map", "claims"):
        assert export.main(["--profile", "none", "--format", kind]) == 1
        assert "run `make figures PROFILE=none`" in capsys.readouterr().err
    (project / "data" / "one" / "04_responses.parquet").write_bytes(b"")
    assert export.main(["--profile", "one"]) == 1
    assert "04_responses.parquet is damaged. Notebook 04_generate writes it: run `make 04" in capsys.readouterr().err
    models = parquet.read("04_models", "one").rename(columns={"model_kind": "kind"})  # as an earlier version wrote it
    models.to_parquet(project / "data" / "one" / "04_models.parquet")
    assert export.main(["--profile", "one"]) == 1
    assert "04_models.parquet lacks `model_kind`: an earlier version wrote it. Notebook" in capsys.readouterr().err


def test_clean_removes_exports(project):
    for kind in ("parquet", "jsonl", "map", "claims"):
        export.write("one", kind)
    clean.clean("one")
    assert not (project / "results" / "one").exists()


# -------------------------------------------------------------------------------------------------------------- schema


def test_results_follow_their_schema(project):
    import jsonschema

    rules = json.loads((REPOSITORY / "data" / "reference" / "results.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(rules)
    assert rules["$id"] == rules["properties"]["schema"]["const"] == parquet.RESULTS_SCHEMA
    assert rules["properties"]["source"]["enum"] == list(schema.SOURCES) or set(
        rules["properties"]["source"]["enum"]
    ) == set(schema.SOURCES)
    found = json.loads((project / "results" / "one" / "04.json").read_text())
    jsonschema.validate(found, rules)
    for wrong in ({"source": "invented"}, {"number": {"label": "x"}}, {"schema": "hivemind-results/2"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(found | wrong, rules)


@pytest.mark.slow
def test_every_notebooks_results_follow_the_schema(fixture_run):
    import jsonschema

    rules = json.loads((REPOSITORY / "data" / "reference" / "results.schema.json").read_text())
    files = sorted((fixture_run.folder / "results" / "fixture").glob("[0-9][0-9].json"))
    assert len(files) == 11
    for file in files:
        jsonschema.validate(json.loads(file.read_text()), rules)


# ------------------------------------------------------------------------------------------------------------- compare


def test_two_runs_are_paired_on_their_prompts(project):
    table = compare.paired("one", "two")
    row = table[table["what"] == "similarity of a model's responses"].iloc[0]
    a, b = (parquet.read("05_repetition", n).groupby("prompt_id")["mean_cosine"].mean() for n in ("one", "two"))
    assert row["n_prompts"] == 4 and row["difference"] == pytest.approx((b - a).mean())
    assert row["lower"] <= row["difference"] <= row["upper"] and row["upper"] - row["lower"] < 0.01, "paired"


def test_a_run_and_its_mirror_differ_by_the_opposite(project):
    there, back = compare.paired("one", "two"), compare.paired("two", "one")
    assert there["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy())
    assert there["lower"].to_numpy() == pytest.approx(-back["upper"].to_numpy(), abs=1e-9)


def test_an_interval_of_paired_differences_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        a = rng.normal(size=40)
        found = compare.difference(a, a + rng.normal(0.3, 0.5, size=40), n_boot=200, seed=int(rng.integers(1 << 30)))
        hits += found["lower"] <= 0.3 <= found["upper"]
    assert 0.88 <= hits / 200 <= 0.99


def test_a_single_pair_and_missing_bounds_have_no_interval():
    found = compare.difference(np.array([1.0]), np.array([3.0]))
    assert found["difference"] == 2 and math.isnan(found["lower"]) and math.isnan(found["upper"])
    middle, lower, upper = compare.unpaired({"value": 1.0}, {"value": 2.0, "lower": 1.0, "upper": 3.0})
    assert middle == 1 and math.isnan(lower) and math.isnan(upper)


def test_the_page_says_what_differed(project, capsys):
    assert compare.main(["one", "two"]) == 0
    assert capsys.readouterr().out == "report/compare/one_two.html\n"
    page = (project / "report" / "compare" / "one_two.html").read_text()
    numbers = json.loads((project / "report" / "compare" / "one_two.json").read_text())
    assert ["04", "parameter n", "1", "2"] in numbers["provenance"] and "parameter n" in page
    assert not any("seed" in what or "input" in what for _, what, _, _ in numbers["provenance"]), "equal is not named"
    assert "0.1" in page and ">nan" not in page and "<script" not in page
    assert [row["what"] for row in numbers["headlines"]] == ["similarity"] * 3
    assert numbers["headlines"][0]["difference"] == pytest.approx(0.1)


MANIFESTS = [
    {"partial": [1]}, {"partial": 5}, {"figures": [1]}, {"figures": [{}]}, {"figures": ["../../README"]},
    {"figures": ["**"]}, {"git_commit": 5}, {"code": [1]}, {"outputs": None}, {"packages": {"numpy": 5}},
    {"inputs": {"a": 5}}, {"seconds": "x"}, {"finished": 5}, b"[" * 100_000, b"[]", b"", b"\xff", b"null", b'{"a": 1}',
]  # fmt: skip
RESULTS = [
    {"number": "x"}, {"number": {"label": "x"}}, {"number": {"label": 1, "value": 1, "lower": 1, "upper": 1}},
    {"number": {"label": "x", "value": "1", "lower": None, "upper": None}}, {"source": [1]}, {"models": 5},
    {"answer": 5}, {"partial": [1]}, b"[" * 100_000, b"[]", b"", b"\xff", b"null", b"9" * 5_000,
]  # fmt: skip


def damage(path, content):
    whole = json.loads(path.read_text())
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(whole | content).encode())


@pytest.mark.parametrize("content", MANIFESTS)
def test_a_damaged_manifest_is_told_and_its_notebook_runs_again(project, capsys, content):
    damage(manifests.path("one", "05"), content)
    assert manifests.read("one", "05") is None
    for command in (
        lambda: report.main(["--profile", "one"]),
        lambda: compare.main(["one", "two"]),
        lambda: export.main(["--profile", "one", "--format", "claims"]),
        lambda: run.main(["--partial", "--profile", "one"]),
    ):
        assert command() == 1
        assert "executed/one/05.manifest.json is damaged: run `make 05 PROFILE=one`." in capsys.readouterr().err
    assert clean.main(["--profile", "one"]) == 0


@pytest.mark.parametrize("content", RESULTS)
def test_damaged_results_are_told(project, capsys, content):
    damage(results.path("one", "05"), content)
    for command in (
        lambda: report.main(["--profile", "one"]),
        lambda: compare.main(["one", "two"]),
        lambda: export.main(["--profile", "one", "--format", "claims"]),
    ):
        assert command() == 1
        told = capsys.readouterr().err
        assert "results/one/05.json is damaged" in told and "which writes it again" in told
    with pytest.raises(notebooks.UserError, match="is damaged"):
        results.read("one", "05")


def test_a_text_where_a_claim_needs_a_number_is_told(project):
    place = next(
        row.result for row in paper.claims().itertuples() if row.result.startswith("05:") and not row.direction
    )
    found = {}
    inner = found
    *steps, last = place.partition(":")[2].split("|")[0].split("/")
    for step in steps:
        inner = inner.setdefault(step, {})
    inner[last] = "x"
    damage(results.path("one", "05"), found)
    with pytest.raises(notebooks.UserError, match=r"results/one/05.json is damaged \("):
        claims.evaluate("one")


def test_runs_that_cannot_be_compared_are_refused(project, capsys):
    (project / "params" / "none.yaml").touch()
    for a, b, message in (
        ("one", "one", "A and B must be two profiles, but both are one."),
        ("one", "none", "Nothing of the profile none has run yet"),
        ("", "one", "name two profiles"),
        ("one", "noen", "There is no profile 'noen'"),
    ):
        assert compare.main([a, b]) == 1
        assert message in capsys.readouterr().err
    manifests.path("two", "05").write_text("")
    assert compare.main(["one", "two"]) == 1
    assert "executed/two/05.manifest.json is damaged: run `make 05 PROFILE=two`." in capsys.readouterr().err
    with pytest.raises(notebooks.UserError, match="the folder compare belongs to the project"):
        names.check_name("compare")
