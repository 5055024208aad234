import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from server import serving

from hivemind_utils.demo import population as population_demo
from hivemind_utils.llm import providers, sampler, store
from hivemind_utils.pipeline import plan
from hivemind_utils.responses import design, gathering, paraphrases
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.responses import registry as reg
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import files, ids, schema
from hivemind_utils.tables.study import Study

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "data" / "reference" / "models.csv"
POPULATION = ROOT / "data" / "demo" / "population.yaml"
TOP_P = {"top_p": {"temperature": 1.0, "top_p": 0.9}}
MIN_P = {"min_p": {"temperature": 2.0, "min_p": 0.1}}


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def prompts(tmp_path):
    rows = [(f"Open question {i}?", "original", "ABBCC"[i % 5]) for i in range(20)] + [
        ("What is 2 + 2?", "closed", None)
    ]
    pd.DataFrame(rows, columns=["query", "prompt_kind", "category"]).to_csv(tmp_path / "p.csv", index=False)
    return response_prompts.read_prompts(tmp_path / "p.csv")


def written(frame, path):
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


class TestPrompts:
    def test_ids_are_hashes_and_kinds_are_kept(self, prompts):
        assert prompts["prompt_id"].is_unique and prompts["prompt_kind"].value_counts().to_dict() == {
            "original": 20,
            "closed": 1,
        }
        assert prompts.loc[0, "prompt_id"] == ids.prompt_id("Open question 0?")

    def test_blank_and_repeated_texts_are_one_prompt_or_none(self, tmp_path):
        (tmp_path / "p.jsonl").write_text('{"text": "a"}\n{"text": " "}\n{"text": "a"}\n{"text": null}\n')
        assert response_prompts.read_prompts([tmp_path / "p.jsonl"])["prompt"].tolist() == ["a"]

    def test_one_id_for_two_prompts_is_refused_before_anybody_is_asked(self, tmp_path):
        (tmp_path / "p.csv").write_text("prompt_id,text\na,Why?\na,How?\n")
        with pytest.raises(ValueError, match=r"'Why\?'.*'How\?'.*Rename one"):
            response_prompts.read_prompts(tmp_path / "p.csv")

    def test_a_file_without_text_says_what_it_has(self, tmp_path):
        (tmp_path / "p.csv").write_text("question\nWhy?\n")
        with pytest.raises(ValueError, match="question"):
            response_prompts.read_prompts(tmp_path / "p.csv")
        assert response_prompts.read_prompts(tmp_path / "p.csv", {"text": "question"})["prompt"].tolist() == ["Why?"]

    def test_the_sheet_of_a_human_check_comes_back(self, prompts, tmp_path):
        response_prompts.write_sheet(prompts, tmp_path / "sheet.csv")
        sheet = pd.read_csv(tmp_path / "sheet.csv", dtype=str, keep_default_na=False)
        sheet.loc[:4, "keep"] = "no"
        sheet.to_csv(tmp_path / "sheet.csv", index=False)
        assert (
            response_prompts.read_prompts(tmp_path / "sheet.csv")["prompt_id"].tolist()
            == prompts["prompt_id"].tolist()[5:]
        )

    @pytest.mark.parametrize("name", ["keep", "Keep", " KEEP"])
    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    @pytest.mark.parametrize("told", [["no", "Yes ", ""], ["f", "t", "f"], [0.0, 1.0, None], [False, True, True]])
    def test_keep_is_read_in_every_spelling(self, tmp_path, name, suffix, told):
        frame = pd.DataFrame({"text": list("abc"), name: pd.Series(told)})
        kept = [text for text, one in zip("abc", told, strict=True) if one not in ("no", "f", 0.0, False)]
        assert response_prompts.read_prompts(written(frame, tmp_path / f"p.{suffix}"))["prompt"].tolist() == kept

    @pytest.mark.parametrize("told", ["nein", "x", "remove", "2", "n/a"])
    def test_a_keep_that_is_neither_yes_nor_no_is_refused(self, tmp_path, told):
        written(pd.DataFrame({"text": ["a", "b"], "keep": ["", told]}), tmp_path / "p.csv")
        with pytest.raises(ValueError, match=rf"`keep` must be one of .*\['{told}'\] was found \(first in row 2\)"):
            response_prompts.read_prompts(tmp_path / "p.csv")
        written(pd.DataFrame({"text": ["a"], "keep": ["yes"], "Keep": ["no"]}), tmp_path / "p.csv")
        with pytest.raises(ValueError, match=r"one column `keep`, but it has \['keep', 'Keep'\]"):
            response_prompts.read_prompts(tmp_path / "p.csv")

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    @pytest.mark.parametrize("named", [["1", "2", None], [1, 2, None], ["1", "2", "3"]])
    def test_a_paraphrase_keeps_its_parent_in_every_format(self, tmp_path, suffix, named, capsys):
        frame = pd.DataFrame({"text": ["A?", "B?", "C?"], "prompt_id": named, "parent_id": [None, 1, None]})
        found = response_prompts.read_prompts(written(frame, tmp_path / f"p.{suffix}"))
        assert found["prompt_id"].tolist() == ["1", "2", "3" if named[2] else ids.prompt_id("C?")]
        assert found["parent_id"].tolist() == [None, "1", None] and not capsys.readouterr().out
        assert found["prompt_kind"].tolist() == ["original", "paraphrase", "original"]

    def test_rows_without_a_text_and_parents_that_are_not_asked_are_said(self, tmp_path, capsys):
        (tmp_path / "p.csv").write_text("text,prompt_id,parent_id,keep\nA?,a,,no\nB?,b,a,\n,c,,\n")
        assert response_prompts.read_prompts(tmp_path / "p.csv")["prompt_id"].tolist() == ["b"]
        said = capsys.readouterr().out
        assert "p.csv: 1 row without a text left out" in said
        assert "`parent_id` of 1 prompt names no prompt that is asked: 'a'" in said

    @pytest.mark.parametrize("read", [response_prompts.read_prompts, response_table.read_facts])
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"categry": "theme"}, r"`prompt_columns` may name .*but 'categry'.*Did you mean 'category'\?"),
            ({"category": "theem"}, r"no column 'theem' for `category`.*Did you mean 'theme'\?"),
            ({"category": "meta.theme"}, r"no column 'meta\.theme' for `category`"),
        ],
    )
    def test_a_column_that_there_is_not_is_refused_with_the_nearest_name(self, tmp_path, read, columns, message):
        paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
        paths[0].write_text("text,theme\nA?,x\n")
        paths[1].write_text("text,category\nB?,y\n")
        with pytest.raises(ValueError, match=message):
            read(paths, columns)
        assert read(paths, {"category": "theme"})["category"].tolist() == ["x", "y"]  # one of the files has it

    def test_categories_are_joined_by_text_and_counted(self, prompts):
        known = pd.DataFrame({"text": ["open  QUESTION 0?", "other"], "category": ["X", "Y"]})
        joined, covered = response_prompts.join_categories(prompts.assign(category=None), known)
        assert joined.loc[0, "category"] == "X" and covered == 1 / 20

    def test_a_draw_is_in_proportion_and_keeps_the_control_group(self, prompts):
        drawn = response_prompts.draw_prompts(prompts, 10, np.random.default_rng(0))
        assert drawn["category"].value_counts().to_dict() == {"B": 4, "C": 4, "A": 2}
        assert (drawn["prompt_kind"] == "closed").sum() == 1
        assert drawn.equals(response_prompts.draw_prompts(prompts, 10, np.random.default_rng(0)))
        with pytest.raises(ValueError, match="at most 20"):
            response_prompts.draw_prompts(prompts, 21, np.random.default_rng(0))


class TestRegistry:
    def test_holds_the_79_models_of_the_published_table_and_the_25_of_the_figures(self):
        registry = reg.read_registry(REGISTRY)
        published = pd.read_csv(ROOT / "data/reference/table6_intra_model_top_p.csv")["model"]
        assert set(registry["model"]) == set(published) - {"Average"} and registry["model"].is_unique
        main = set(registry.loc[registry["main25"], "model"])
        assert len(main) == 25 and "gpt-4o-2024-11-20" in main and "gpt-4o-2024-08-06" not in main
        shown = set(pd.read_csv(ROOT / "data/reference/table7_11_inter_model_main.csv")["model"])
        assert len(shown - {name.rpartition("/")[2] for name in main}) < len(shown)
        assert registry["litellm_id"].is_unique
        assert (
            pd.to_datetime(registry["release_date"].dropna(), format="ISO8601")
            .between("2023-01-01", "2025-12-31")
            .all()
        )

    def test_a_date_or_a_base_that_a_models_name_states_is_filled_in_with_its_source(self):
        registry = reg.read_registry(REGISTRY).set_index("model")
        assert registry["release_date"]["qwen-max-2025-01-25"] == "2025-01-25"
        assert registry["release_date"]["claude-3-5-haiku-20241022"] == "2024-10-22"
        assert registry["release_date"]["CohereForAI/c4ai-command-r-08-2024"] == "2024-08"  # the month is all it says
        stated = registry["release_source"] == "model name"
        for model, day in registry.loc[stated, "release_date"].items():
            year, month, *rest = day.split("-")
            forms = {day, day.replace("-", "")} if rest else {f"{month}-{year}", f"{year[2:]}{month}"}
            assert any(form in model for form in forms), (model, day)
        unsaid = registry[~stated].index
        assert not unsaid.str.contains(r"20\d\d-\d\d-\d\d").any()  # whatever a name states is there
        for fact in ("parent", "release_date"):
            source = "release_source" if fact == "release_date" else f"{fact}_source"
            assert (registry[fact].notna() == registry[source].notna()).all(), fact

    def test_models_are_chosen_by_name_id_or_condition(self):
        registry = reg.read_registry(REGISTRY)
        chosen = reg.choose_models(registry, ["openai/o1-2024-12-17", "microsoft/phi-4", "hosted_vllm/mine"])
        assert chosen["model"].tolist() == ["o1-2024-12-17", "microsoft/phi-4", "hosted_vllm/mine"]
        assert len(reg.choose_models(registry, "main25")) == 25 and len(reg.choose_models(registry)) == 79
        assert reg.choose_models(registry, "open_weights and size_b < 1")["size_b"].max() < 1

    @pytest.mark.parametrize("models", [["gpt-4o-2024-11-21"], "sise_b < 3", "size_b < 0", "size_b <"])
    def test_a_slip_is_explained(self, models):
        with pytest.raises(ValueError, match=r"Did you mean 'gpt-4o-2024-11-20'|no condition|satisfies"):
            reg.choose_models(reg.read_registry(REGISTRY), models)

    def test_the_profiles_prices_override_the_registrys(self):
        models = pd.DataFrame({"litellm_id": ["a", "b"], "price_in": [1.0, np.nan], "price_out": [2.0, np.nan]})
        assert reg.prices(models) == {"a": (1.0, 2.0)} and reg.prices(models, {"a": [0, 0]}) == {"a": [0, 0]}


class TestCells:
    @pytest.mark.parametrize(("n", "n_of_paraphrase"), [(8, 8), (20, 20), (50, 20)])
    def test_a_paraphrase_is_asked_as_often_as_a_prompt_and_at_most_twenty_times(self, prompts, n, n_of_paraphrase):
        own = prompts.head(1).assign(prompt_id="x-1", prompt_kind="paraphrase", prompt="Again?", parent_id="x")
        models = reg.choose_models(reg.read_registry(REGISTRY), ["openai/a"])
        made = design.cells(own, models, {"top_p": {"temperature": 1.0}}, n)
        assert made.groupby("model").size().unique().tolist() == [n_of_paraphrase]

    def test_paraphrases_and_closed_prompts_are_asked_under_the_first_decoding(self, prompts):
        models = pd.DataFrame({"model": ["m"], "litellm_id": ["hosted_vllm/m"]})
        cells = design.cells(prompts, models, TOP_P | MIN_P, 12, per_call=5)
        by_kind = cells.groupby("prompt_kind")["decoding"].unique().map(sorted).to_dict()
        assert by_kind == {"closed": ["top_p"], "original": ["min_p", "top_p"]}
        assert [r.n for r in cells["request"][:3]] == [5, 5, 2] and len(cells) == 3 * 41

    def test_two_cells_never_share_answers(self, prompts):
        models = pd.DataFrame({"model": ["m", "again"], "litellm_id": ["hosted_vllm/m"] * 2})
        with pytest.raises(ValueError, match="share their responses"):
            design.cells(prompts, models, TOP_P, 2)
        with pytest.raises(ValueError, match="share their responses"):
            design.cells(prompts, models.head(1), TOP_P | {"other": TOP_P["top_p"]}, 2)

    def test_a_model_is_asked_under_its_own_decodings_where_it_names_some(self, prompts):
        models = pd.DataFrame({"model": ["a", "b"], "litellm_id": ["simulated/a", "simulated/b"]})
        own = models.assign(decodings=[None, "min_p"])
        frame = design.cells(prompts, own, TOP_P | MIN_P, 1)
        asked = frame.groupby(["model", "prompt_kind"])["decoding"].unique().map(set).to_dict()
        assert asked["a", "original"] == {"top_p", "min_p"} and asked["a", "closed"] == {"top_p"}
        assert asked["b", "original"] == asked["b", "closed"] == {"min_p"}
        with pytest.raises(ValueError, match=r"b is to be asked under \['greedy'\]"):
            design.cells(prompts, models.assign(decodings=["", "greedy"]), TOP_P, 1)

    def test_a_gguf_file_is_named_after_itself(self):
        registry = reg.read_registry()
        (row,) = reg.choose_models(registry, ["gguf:/models/tiny.Q4_0.gguf#twin"]).to_dict("records")
        assert (row["model"], row["litellm_id"]) == ("tiny.Q4_0 (twin)", "gguf:/models/tiny.Q4_0.gguf#twin")


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(POPULATION)


def draw(population, path, n, per_call, *, faults=0.0, seed=0):
    chosen = {
        "prompts": ["time-metaphor", "time-metaphor-p1"],
        "models": ["lanternfish-1-small-instruct", "marzipan-2"],
    }
    cells = population_demo.population_cells(
        population, POPULATION, seed=seed, n_samples=n, per_call=per_call, **chosen
    )
    population_demo.serve_models(population, cells, seed=seed, faults=faults)
    outcome = sampler.run(cells["request"], path, seed=seed, progress=False)
    assert outcome.partial is None
    key = ["prompt_id", "model", "decoding", "sample_idx"]
    direct, _ = population_demo.draw_responses(population, seed=seed, n_samples=n, **chosen)
    asked = gathering.collect(cells, path).sort_values(key)[[*key, "response", "finish_reason"]].reset_index(drop=True)
    return asked, direct.sort_values(key)[[*key, "response", "finish_reason"]].reset_index(drop=True)


class TestPopulation:
    @pytest.mark.parametrize("per_call", [1, 4, 50])
    def test_asked_in_whatever_calls_it_answers_as_it_was_planted(self, population, tmp_path, per_call):
        asked, direct = draw(population, tmp_path / "s.sqlite", 7, per_call)
        pd.testing.assert_frame_equal(asked, direct)

    def test_more_samples_extend_fewer_and_another_seed_is_another_draw(self, population, tmp_path):
        draw(population, tmp_path / "s.sqlite", 3, 50)
        asked, direct = draw(population, tmp_path / "s.sqlite", 8, 50)
        pd.testing.assert_frame_equal(asked, direct)
        other, direct = draw(population, tmp_path / "s.sqlite", 8, 50, seed=1)
        pd.testing.assert_frame_equal(other, direct)
        assert not other["response"].equals(asked["response"])

    def test_injected_faults_change_nothing_but_the_attempts(self, population, tmp_path, monkeypatch):
        monkeypatch.setattr(providers.random, "uniform", lambda low, high: 0.001)
        asked, direct = draw(population, tmp_path / "s.sqlite", 5, 1, faults=0.5)
        pd.testing.assert_frame_equal(asked, direct)
        attempts = [row[0] for row in store._query(tmp_path / "s.sqlite", "SELECT attempts FROM calls")]
        assert set(attempts) == {1, 2}


def test_tables_carry_where_every_answer_came_from(population, tmp_path):
    cells = population_demo.population_cells(
        population, POPULATION, seed=0, prompts=["time-metaphor"], models=["marzipan-2"], n_samples=4
    )
    population_demo.serve_models(population, cells, seed=0)
    sampler.run(cells["request"], tmp_path / "s.sqlite", progress=False)
    answers = gathering.collect(cells, tmp_path / "s.sqlite")
    made = response_table.tabulate(answers)
    provenance = gathering.provenance(made["04_responses"], answers)
    schema.validate(provenance, "04_provenance")
    assert set(provenance["response_id"]) == set(made["04_responses"]["response_id"]) and len(provenance) == 4
    assert json.loads(provenance.loc[0, "requested"])["top_p"] == 0.9 and (provenance["n_in_call"] == 4).all()
    schema.validate(design.cost_plan(cells, tmp_path / "s.sqlite"), "04_plan")
    assert gathering.provenance(made["04_responses"], answers[["prompt_id"]]).empty


def test_refusals_and_filtered_answers_are_counted():
    rows = [
        ("p", "m", "I'm sorry, but I can't help with that.", "stop"),
        ("p", "m", "", "content_filter"),
        ("p", "m", "ok", "stop"),
    ]
    made = response_table.tabulate(pd.DataFrame(rows, columns=["prompt", "model", "response", "finish_reason"]))
    (row,) = made["04_coverage"].to_dict("records")
    assert (row["n_refused"], row["n_filtered"], row["n_usable"]) == (1, 1, 2)


class TestParaphrases:
    def test_are_written_checked_and_all_kept(self, prompts, tmp_path):
        def answer(body, number):
            said = body["messages"][0]["content"]
            if "Write 2 other ways" in said:
                question = said.split("<<<")[1].split(">>>")[0].strip()
                return [json.dumps({"paraphrases": [f"Put differently: {question}", f"Changed: {question}"]})]
            return [json.dumps({"reason": "because", "same_meaning": "Changed" not in said})]

        with serving() as server:
            server.answer = answer
            asking = {"store_path": tmp_path / "s.sqlite", "budget_usd": 1, "progress": False}
            prices = {"hosted_vllm/w": (0, 0), "hosted_vllm/j": (0, 0)}
            table, problems = paraphrases.write(
                prompts, n=2, writer="hosted_vllm/w", judge="hosted_vllm/j", n_prompts=3, rng=np.random.default_rng(0),
                api_base=server.url, prices=prices, **asking,
            )  # fmt: skip
        schema.validate(table, "04_paraphrases")
        assert len(table) == 6 and table["same_meaning"].sum() == 3 and not problems
        kept = paraphrases.accepted(table, prompts)
        assert len(kept) == 3 and (kept["prompt_kind"] == "paraphrase").all() and kept["category"].notna().all()
        assert set(kept["parent_id"]) <= set(prompts["prompt_id"])

    def test_dots_of_the_example_are_no_paraphrase(self, prompts, tmp_path):
        with serving() as server:
            server.answer = lambda body, number: ['{"paraphrases": ["...", " … "]}']
            table, problems = paraphrases.write(
                prompts, n=2, writer="hosted_vllm/w", judge="hosted_vllm/j", n_prompts=3, rng=np.random.default_rng(0),
                api_base=server.url, store_path=tmp_path / "s.sqlite", budget_usd=1, progress=False,
            )  # fmt: skip
        assert table.empty and problems[0].startswith("the writer hosted_vllm/w gave no paraphrase for 100 % of 3")
        assert "none of them holds a word" in problems[0]

    def test_without_a_budget_nothing_is_written_and_the_reason_is_given(self, prompts, tmp_path):
        table, problems = paraphrases.write(
            prompts, n=2, writer="openai/w", judge="openai/j", store_path=tmp_path / "s.sqlite", progress=False
        )
        assert table.empty and "budget_usd" in problems[0]
        assert problems[0].startswith("the writer openai/w gave no paraphrase for 100 % of") and len(problems) == 1


class TestPlanCommand:
    def test_of_the_paper_works_without_network_and_says_what_is_missing(self, monkeypatch):
        def offline(*arguments, **options):
            raise ConnectionError("no network")

        monkeypatch.setattr(pd, "read_parquet", offline)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        text = plan.report("paper")
        for words in ("79 models", "OPENAI_API_KEY is not set", "unknown price", "cannot be read here (",
                      "`budget_usd` is 0", "docs/local-servers.md", "paraphrases: 120"):  # fmt: skip
            assert words in text, words
        gemini = next(line for line in text.splitlines() if "gemini-1.5-pro" in line and "min_p" in line).split()
        assert gemini[5] == "5000" and gemini[6] == "0"  # known not to be honoured: unsupported, not missing

    def test_of_the_quick_run_is_a_few_cents(self):
        text = plan.report("quick")
        assert "100 responses of 2 models" in text and "$0." in text.split("cost: ")[1][:4]

    @pytest.mark.local_model
    def test_of_the_local_run_needs_no_budget_and_says_how_long_it_takes(self):
        text = plan.report("local")
        assert "920 responses of 2 models" in text and "$0.00 expected" in text
        assert "for models in GGUF files on" in text and "missing before it can run" not in text

    def test_of_the_demo_costs_nothing(self, capsys):
        assert plan.main(["--profile", "demo"]) == 0 and "cost: $0.00 expected" in capsys.readouterr().out

    @pytest.mark.parametrize("name", ["aliases: {my-local: [x]}", "prices: {my-local: [1, 1]}",
                                      "api_bases: {my-local: 'http://127.0.0.1:1/v1'}"])  # fmt: skip
    def test_a_model_has_its_whole_name_wherever_a_profile_names_it(self, tmp_path, capsys, name):
        (tmp_path / "prompts.csv").write_text("prompt\nName a tree.\n")
        path = tmp_path / "mine.yaml"
        path.write_text(
            f"common:\n  run: ['04']\n04_generate:\n  answers_path: null\n  prompts_path: {tmp_path}/prompts.csv\n"
            f"  models: [openai/my-local]\n  n_samples: 1\n  budget_usd: 1.0\n  {name}\n"
        )
        assert plan.main(["--profile", str(path)]) == 1
        assert f"`{name.partition(':')[0]}` names 'my-local', which is not known" in capsys.readouterr().err

    def test_a_slip_is_an_error_without_a_traceback(self, capsys):
        assert plan.main(["--profile", "nowhere"]) == 1 and capsys.readouterr().err.startswith("error: ")


class TestPlanOfAStudy:
    """`collect_cells` to `lacking`: one plan, whatever the source."""

    def options(self, **changes):
        chosen = {"prompts": None, "models": None, "n_samples": None, "draw_prompts": None}
        facts = dict.fromkeys(["models_path", "prompts_path", "categories_path"]) | {"prompt_columns": {}}
        options = {
            "chosen": chosen, "facts": facts, "layout": {"columns": {}, "constants": {}, "encoding": None, "human": []},
            "calls": {"decodings": TOP_P, "per_call": 10, "api_bases": {}},
            "asking": {"budget_usd": 0.0, "limits": {}, "prices": {}, "seed": 0},
        }  # fmt: skip
        return {name: value | changes.get(name, {}) for name, value in options.items()}

    @pytest.fixture
    def study(self, tmp_path, monkeypatch):
        (tmp_path / "pyproject.toml").touch()
        shutil.copytree(files.root() / "data" / "reference", tmp_path / "data" / "reference")
        monkeypatch.chdir(tmp_path)
        return Study("04", "mine")

    def test_files_are_given_and_nobody_is_asked(self, study, tmp_path):
        frame = pd.DataFrame({"prompt": "Say.", "model": ["a", "a", None], "response": ["x", "y", "z"]})
        frame.to_csv(tmp_path / "r.csv", index=False)
        plan = design.collect_cells(study, "r.csv", **self.options())
        outcome = design.run(plan)
        assert (plan.source, plan.origin, plan.human) == ("imported", "r.csv", []) and "3 given" in plan.describe()
        assert plan.cells.empty and outcome.partial is None and not (study.folder / "store").exists()
        tables = design.tables(plan, design.gather(plan, outcome))
        for name, table in tables.items():
            schema.validate(table, name)
        assert len(tables["04_responses"]) == 2 and tables["04_excluded"]["reason"].tolist() == ["no model"]
        assert design.lacking(plan, outcome, tables["04_coverage"]) is None

    def test_models_without_a_budget_are_planned_and_nothing_is_there(self, study, tmp_path):
        (tmp_path / "p.csv").write_text("text\nName a tree.\nName a sea.\n")
        (tmp_path / "m.csv").write_text("model,litellm_id\nother,openai/other\n")
        options = self.options(facts={"prompts_path": "p.csv", "models_path": "m.csv"}, chosen={"n_samples": 3})
        plan = design.collect_cells(study, None, **options)
        assert plan.source == "sampled" and "6 responses asked of 1 model in 2 cells" in plan.describe()
        assert (study.folder / "prompts_to_check.csv").exists() and design.costs(plan)["missing"].sum() == 6
        with pytest.raises(ValueError, match="`budget_usd` is 0"):
            design.gather(plan, design.run(plan))

    def test_the_demo_population_is_asked_and_its_people_are_given(self, study):
        options = self.options(chosen={"prompts": ["time-metaphor"], "models": ["quillon-1-small-base", "people"],
                                       "n_samples": 2})  # fmt: skip
        plan = design.collect_cells(study, POPULATION, **options, simulated=population_demo.simulated())
        outcome = design.run(plan)
        tables = design.tables(plan, design.gather(plan, outcome))
        counts = tables["04_responses"].groupby(["model", "decoding"]).size().to_dict()
        assert counts == {
            ("people", "none"): 2,
            ("quillon-1-small-base", "min_p"): 2,
            ("quillon-1-small-base", "top_p"): 2,
        }
        assert plan.source == "simulated" and plan.human == ["people"] and outcome.partial is None
        assert tables["04_models"].set_index("model")["model_kind"].to_dict() == {
            "people": "human",
            "quillon-1-small-base": "model",
        }
        assert (study.folder / "truth" / "ideas.parquet").exists()
        with pytest.raises(ValueError, match="pass `simulated`"):
            design.collect_cells(study, POPULATION, **options)

    def test_what_is_lacking_is_said_once_each(self, study, tmp_path):
        frame = pd.DataFrame(
            {"prompt": ["Say.", "Sing.", "Say."], "model": ["a", "a", "b"], "response": ["x", "y", "z"]}
        )
        frame.to_csv(tmp_path / "r.csv", index=False)
        plan = replace(design.collect_cells(study, "r.csv", **self.options()), problems=["checks: 1 not answered"])
        outcome = design.run(plan)
        coverage = design.tables(plan, design.gather(plan, outcome))["04_coverage"]
        assert design.lacking(plan, outcome, coverage) == (
            "checks: 1 not answered; 1 of 4 cells have no usable response (b lacks 1)"
        )


class TestRepeatedRows:
    """`every_text_twice`: rows that stand several times are told from independent draws."""

    def rows(self, n_prompts=4, n_texts=5, k=2, model="a"):
        cells = [(f"p{p}", f"Text {t} of {p}.") for p in range(n_prompts) for t in range(n_texts) for _ in range(k)]
        return pd.DataFrame(cells, columns=["prompt", "response"]).assign(model=model)

    def drawn(self, texts, shares, n=10, n_prompts=20, seed=0):
        rng = np.random.default_rng(seed)
        said = rng.choice(texts, size=(n_prompts, n), p=shares)
        cells = [(f"p{p}", text) for p, own in enumerate(said) for text in own]
        return pd.DataFrame(cells, columns=["prompt", "response"]).assign(model="a")

    @pytest.mark.parametrize("k", [2, 3])
    def test_every_text_several_times_is_said_with_the_share(self, k):
        said = design.every_text_twice(self.rows(k=k))
        assert f"a: 100% of texts {k} times" in said and "keep one row per response" in said

    @pytest.mark.parametrize(("n_prompts", "n_texts"), [(1, 20), (4, 5), (10, 2)])
    def test_a_lost_row_hides_nothing(self, n_prompts, n_texts):
        assert "a: 95% of texts 2 times" in design.every_text_twice(self.rows(n_prompts, n_texts).iloc[1:])

    def test_another_model_hides_nothing(self):
        said = design.every_text_twice(pd.concat([self.rows(), self.rows(k=1, model="b")]))
        assert "a: 100%" in said and "b:" not in said

    @pytest.mark.parametrize("change", [str.upper, lambda text: text.rstrip("."), lambda text: f" {text}\n"])
    def test_another_spelling_hides_nothing(self, change):
        frame = self.rows()
        frame.loc[::2, "response"] = frame.loc[::2, "response"].map(change)
        assert design.every_text_twice(frame)

    def test_texts_that_a_model_repeats_are_doubled_all_the_same(self):
        once = self.drawn(["Oak", "Elm", "Ash", "Fir"], [0.4, 0.3, 0.2, 0.1])
        assert design.every_text_twice(once) is None
        assert "2 times" in design.every_text_twice(pd.concat([once, once]))

    @pytest.mark.parametrize("n", [2, 3, 4, 6, 10, 50])
    @pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.4, 0.3, 0.3]])
    def test_independent_draws_of_short_answers_are_not_accused(self, n, shares):
        texts = ["Oak", "Elm", "Ash"][: len(shares)]
        assert not any(design.every_text_twice(self.drawn(texts, shares, n, seed=seed)) for seed in range(25))

    def test_one_text_per_cell_says_nothing(self):
        assert design.every_text_twice(self.rows(n_texts=1, n_prompts=30)) is None
        assert design.every_text_twice(self.rows(k=1)) is None

    @pytest.mark.parametrize("column", ["model", "prompt", "response"])
    def test_missing_columns_and_rows_say_nothing(self, column):
        assert design.every_text_twice(self.rows().drop(columns=column)) is None
        assert design.every_text_twice(self.rows().iloc[:0]) is None
