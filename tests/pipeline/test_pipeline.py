"""The notebooks end to end, through make and papermill: on the fixture profile, and on awkward answers."""

import json
from html.parser import HTMLParser

import pandas as pd
import pytest

from hivemind_utils.tables import parquet, schema

FIGURES = {
    "01_filter": {"filter_waterfall", "filter_sensitivity"},
    "02_classify": {"query_outcomes", "open_endedness"},
    "03_taxonomy": {"taxonomy", "category_cooccurrence", "category_trends", "novel_categories"},
    "04_generate": {"coverage"},
    "05_intra_model": {
        "intra_heatmap_top_p", "intra_heatmap_min_p", "similarity_references", "diversity_measures", "rarefaction",
        "second_opinion", "encoder_agreement", "measure_validity", "paraphrases", "repetition_by_prompt",
        "repetition_by_model",
    },
    "06_inter_model": {
        "inter_heatmap", "encoder_pairs", "family_blocks", "nearest_source_models", "verbatim_overlaps",
        "pooled_diversity",
    },
    "07_clusters": {
        "time_metaphor_map", "mode_ledger", "modes_overview", "mode_stability", "dominant_ideas", "similarity_floors",
        "idea_profile",
    },
    "08_human_preferences": {
        "rating_entropy", "pairwise_entropy", "contested_ratings", "contested_pairs", "entropy_by_mean",
        "annotator_reliability", "annotator_severity",
    },
    "09_judge_calibration": {
        "calibration_absolute", "calibration_pairwise", "calibration_contrasts", "calibration_verdict",
        "calibration_scorers", "calibration_selections", "pluralism",
    },
    "10_interventions": {"interventions", "frontier", "effective_diversity", "cost_per_useful_answer"},
    "11_sources": {
        "published_pair_variance", "published_lineage_effects", "published_residual_pairs", "published_time_slope",
        "pair_variance", "residual_pairs", "label_effects", "time_slope",
    },
}  # fmt: skip
RUNS = sorted(FIGURES)


@pytest.fixture
def inside(fixture_run, monkeypatch):
    monkeypatch.chdir(fixture_run.folder)
    return fixture_run.folder


class TestFixtureProfile:
    def test_one_progress_line_a_notebook_with_its_time(self, fixture_run):
        lines = [line.split() for line in fixture_run.log["stdout"].splitlines()]
        assert sorted(line[0] for line in lines) == RUNS
        assert all(line[3] == "s" and float(line[2]) > 0 for line in lines)

    def test_a_second_call_runs_nothing(self, fixture_run):
        again = fixture_run.make("figures", "PROFILE=fixture").stdout
        assert "Nothing to be done" in again and not any(name in again for name in RUNS)

    def test_every_table_is_written_valid_and_stamped_with_its_source(self, inside):
        for name in schema.TABLES:
            schema.validate(parquet.read(name, "fixture"), name)
            of_own_sets = name == "05_measure_validity"  # texts of this project, not of simulated models
            assert parquet.stamp(name, "fixture")["source"] == ("written" if of_own_sets else "simulated")

    def test_every_figure_comes_as_png_pdf_and_csv(self, inside):
        folder = inside / "figures" / "fixture"
        slugs = {path.stem for path in folder.glob("*.png")}
        assert slugs == set().union(*FIGURES.values())
        for slug in slugs:
            printed = json.loads((folder / f"{slug}.json").read_text())
            assert set(printed) == {"title", "caption", "source", "partial", "title_share"}
            assert (folder / f"{slug}.png").read_bytes().startswith(b"\x89PNG")
            assert (folder / f"{slug}.pdf").read_bytes().startswith(b"%PDF")
            assert len(pd.read_csv(folder / f"{slug}.csv"))

    def test_results_and_manifests_say_where_numbers_come_from(self, inside):
        for name in RUNS:
            results = json.loads((inside / "results" / "fixture" / f"{name[:2]}.json").read_text())
            manifest = json.loads((inside / "executed" / "fixture" / f"{name[:2]}.manifest.json").read_text())
            published = name == "11_sources"  # whose first part is of the published pairs
            assert results["source"] == ("released" if published else "simulated") and manifest["partial"] is None
            assert manifest["parameters"]["profile"] == "fixture" and manifest["seconds"] > 0
            assert "numpy" in {package.lower() for package in manifest["packages"]}
            assert all(len(digest) == 64 for digest in manifest["inputs"].values())

    def test_executed_notebooks_hold_no_error_and_no_machine_wide_warning(self, inside):
        for name in RUNS:
            cells = json.loads((inside / "executed" / "fixture" / f"{name[:2]}.ipynb").read_text())["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            assert outputs and not [o for o in outputs if o["output_type"] == "error"]
            stderr = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stderr")
            assert "Warning" not in stderr, stderr

    def test_truth_is_written_for_tests_and_covers_every_answer(self, inside):
        truth = pd.read_parquet(inside / "data" / "fixture" / "truth" / "ideas.parquet")
        responses = parquet.read("04_responses", "fixture")
        assert len(truth) == (responses["condition"] == "default").sum(), "arms have plants of their own"

    def test_planted_failures_are_counted(self, inside):
        coverage = parquet.read("04_coverage", "fixture")
        answers = parquet.read("04_responses", "fixture")
        assert coverage["n_empty"].sum() == (~answers["usable"]).sum()
        assert coverage["n_responses"].sum() == len(answers)

    def test_planted_levels_come_out_in_order(self, inside):
        means = parquet.read("05_references", "fixture").groupby("pair_type")["mean"].max()
        assert (
            means["different prompts"]
            < means["people"]
            < means["different models"]
            < means["same model"]
            < means["same model, closed-ended prompt"]
        )

    def test_min_p_at_high_temperature_is_planted_and_found_less_repetitive(self, inside):
        means = parquet.read("05_references", "fixture").set_index(["pair_type", "decoding"])["mean"]
        assert means["same model", "min_p"] < means["same model", "top_p"]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)


@pytest.mark.long
def test_awkward_answers_make_a_loud_partial_run_and_lose_nothing(make_project):
    project = make_project()
    stock = "the quiet harbour keeps its lamps lit for boats that never learned the way home"
    rows = [
        ("p1", "Say one thing.", "alpha-1", f"{stock}, said the {word}") for word in ("cat", "dog", "cook", "<b>x</b>")
    ]
    rows += [("p1", "Say one thing.", "beta-1", f"**{stock}** <script>alert(1)</script> & more {n}") for n in range(3)]
    rows += [("p2", "Repeat yourself.", "alpha-1", "always the same")] * 4  # beta lacks p2; all answers identical
    rows += [("p1", "Say one thing.", "beta-1", ""), ("p1", "Say one thing.", "alpha-1", "long " * 10_000)]
    rows += [("p1", "Say one thing.", "gamma-1", "a single answer")]
    frame = pd.DataFrame(rows, columns=["prompt_id", "prompt", "model", "answer"])
    frame.to_csv(project.folder / "answers.csv", index=False)
    (project.folder / "awkward.yaml").write_text(
        "common: {run: ['04', '05', '06', '07'], n_draws: 2}\n"
        "04_generate: {answers_path: answers.csv, columns: {response: answer}}\n"
    )
    done = project.make("figures", "PROFILE=awkward.yaml")
    assert done.stderr.count("PARTIAL") == 4 and "beta-1 lacks 1" in done.stderr
    answers = pd.read_parquet(project.folder / "data" / "awkward" / "04_responses.parquet")
    assert len(answers) == len(frame) and (~answers["usable"]).sum() == 1
    assert sorted(answers["text"]) == sorted(frame["answer"])
    manifest = json.loads((project.folder / "executed" / "awkward" / "06.manifest.json").read_text())
    assert "beta-1 lacks 1" in manifest["partial"]
    page = (project.folder / "figures" / "awkward" / "verbatim_overlaps.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen and "b" not in tags.seen and "&lt;script&gt;" in page
    explorer = (project.folder / "figures" / "awkward" / "time_metaphor_map.html").read_text()
    assert "<script>alert" not in explorer and "\\u003cscript\\u003ealert" in explorer
    repetition = pd.read_parquet(project.folder / "data" / "awkward" / "05_repetition.parquet")
    assert repetition.set_index("prompt_id").loc["p2", "mean_cosine"] == pytest.approx(1, abs=1e-6)


@pytest.mark.long
def test_one_model_and_one_prompt_say_what_cannot_be_compared_and_succeed(make_project):
    project = make_project()
    lines = [
        {"prompt": "Name a tree.", "model": "solo", "responses": ["oak", "elm", "oak", "an old oak tree", "birch"]}
    ]
    (project.folder / "answers.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (project.folder / "solo.yaml").write_text(
        "common: {run: ['04', '05', '06', '07'], n_draws: 2}\n04_generate: {answers_path: answers.jsonl}\n"
    )
    done = project.make("figures", "PROFILE=solo.yaml")
    assert "PARTIAL" not in done.stderr and done.stdout.count(" s ") == 4
    executed = (project.folder / "executed" / "solo" / "06.ipynb").read_text()
    assert "One model: there is nothing to compare it with" in executed and "One model: no overlaps" in executed
    results = json.loads((project.folder / "results" / "solo" / "06.json").read_text())
    assert results["share_exact"] is None and results["models_needed"] is None
    assert json.loads((project.folder / "results" / "solo" / "07.json").read_text())["shown"]["n_modes"] == 0
