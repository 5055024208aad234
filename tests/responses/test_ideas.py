"""Idea labels: the judge through litellm and its planted error, agreement, floors."""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from hivemind_utils.demo import ideas as ideas_demo
from hivemind_utils.demo import population as population_demo
from hivemind_utils.demo import provider
from hivemind_utils.llm import labeling
from hivemind_utils.metrics import intervals, similarity
from hivemind_utils.responses import Responses
from hivemind_utils.responses import ideas as response_ideas
from hivemind_utils.tables import schema

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = [
    labeling.read_instructions(ROOT / "data" / "reference" / "instructions" / f"ideas_{name}.txt")
    for name in ("propose", "assign")
]


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(ROOT / "data" / "demo" / "population.yaml")


@pytest.fixture(scope="module")
def drawn(population):
    """Answers to two prompts with the planted idea, as notebook 07 sees them."""
    frame, truth = population_demo.draw_responses(
        population, seed=3, prompts=["time-metaphor", "librarian-joke"], n_samples=12, decodings=["top_p", "none"]
    )
    frame = frame.assign(idea=truth["idea"], text=frame["response"])[frame["response"].str.strip().ne("")]
    return frame.reset_index(drop=True).assign(response_id=lambda t: [f"r{i:04d}" for i in range(len(t))])


@pytest.fixture(scope="module")
def prompts(population):
    return pd.DataFrame(population["prompts"]).set_index("prompt_id")


class TestSimulatedJudge:
    def test_reads_the_planted_idea_of_nearly_every_answer(self, population, drawn):
        read = {p["prompt_id"]: ideas_demo.reader(p) for p in population["prompts"]}
        known = drawn[drawn["idea"].notna()]
        found = [read[p](text) for p, text in zip(known["prompt_id"], known["text"], strict=True)]
        assert np.mean(np.array(found, object) == known["idea"]) > 0.99

    def test_has_no_idea_of_what_it_does_not_know(self, population):
        read = ideas_demo.reader(population["prompts"][0])
        assert read("Something else altogether.") is None and read("") is None


class TestJudge:
    def test_planted_error_is_recovered_and_clumsy_answers_are_repaired(self, population, drawn, prompts, tmp_path):
        judge = ideas_demo.serve(population, name="ideas-by-testwhistle", error_rate=0.15, clumsy_rate=0.1)
        found, counts = response_ideas.judge(drawn, prompts, judge, *INSTRUCTIONS, tmp_path / "07.sqlite", n_judged=150)
        schema.validate(found, "07_ideas")
        at = found.merge(drawn[["response_id", "idea"]].dropna(), on="response_id", suffixes=("", "_planted"))
        listed = at[at.groupby("scope")["idea_planted"].transform(lambda s: s.isin(at["idea"]))]
        wrong = (listed["idea"] != listed["idea_planted"]).mean()
        margin = 3 * np.sqrt(0.15 * 0.85 / len(listed))
        print(f"\nplanted labeller error 0.15, recovered {wrong:.3f} of {len(listed)} answers")
        assert abs(wrong - 0.15) < margin
        assert counts["n_labelled"] == counts["n_asked"] and counts["n_failed"] == counts["n_missing"] == 0

    def test_a_second_call_asks_nothing_and_says_the_same(self, population, drawn, prompts, tmp_path, monkeypatch):
        judge = ideas_demo.serve(population)
        first, _ = response_ideas.judge(drawn, prompts, judge, *INSTRUCTIONS, tmp_path / "07.sqlite", n_judged=10)
        provider.serve(ideas_demo.NAME, lambda *args, **kwargs: pytest.fail("asked again"))
        shuffled = drawn.sample(frac=1, random_state=0)
        again, _ = response_ideas.judge(shuffled, prompts, judge, *INSTRUCTIONS, tmp_path / "07.sqlite", n_judged=10)
        pd.testing.assert_frame_equal(first, again)

    def test_a_budget_of_nothing_asks_no_real_model(self, drawn, prompts, tmp_path):
        found, counts = response_ideas.judge(
            drawn, prompts, "openai/none", *INSTRUCTIONS, tmp_path / "07.sqlite", n_judged=5
        )
        assert found.empty and counts["n_prompts_without_list"] == 2
        assert counts["why"].startswith("lists of ideas: 2 missing, mostly because not asked: `budget_usd` is 0")
        schema.validate(found, "07_ideas")

    def test_numbers_off_the_list_are_failures(self, drawn, prompts, tmp_path):
        def respond(messages, *, n, seed, parameters):
            listing = "<answers>" in messages[0]["content"]
            return [provider.Answer('{"ideas": ["one", "two"]}' if listing else '{"idea": 7}')] * n

        provider.serve("wrong-by-testwhistle", respond)
        few = drawn.groupby("prompt_id").head(2)
        found, counts = response_ideas.judge(
            few, prompts, "simulated/wrong-by-testwhistle", *INSTRUCTIONS, tmp_path / "s.sqlite"
        )
        assert found.empty and counts["n_failed"] == counts["n_asked"] == counts["n_wanted"] > 0
        said = response_ideas.judge_says(counts, "simulated/wrong-by-testwhistle", "lexical")
        assert "gave no label for 100 % of" in said and "`idea`: Input should be less than or equal to 2" in said
        assert said.endswith(": ideas are told apart by words alone")

    def test_a_list_that_copies_the_example_of_the_question_is_no_list(self, drawn, prompts, tmp_path):
        asked = []

        def respond(messages, *, n, seed, parameters):
            asked.append(messages[-1]["content"])
            return [provider.Answer('{"ideas": ["First Idea ", "a river"]}')] * n

        provider.serve("copies-by-testwhistle", respond)
        few = drawn.groupby("prompt_id").head(2)
        found, counts = response_ideas.judge(
            few, prompts, "simulated/copies-by-testwhistle", *INSTRUCTIONS, tmp_path / "s.sqlite"
        )
        assert found.empty and counts["n_prompts_without_list"] == 2 and counts["n_asked"] == 0
        assert counts["n_wanted"] > 0 and "it is the example in the question" in counts["why"]
        assert "it is the example in the question" in asked[-1]  # it is told, and may do better


class TestJudgeSays:
    COUNTS = MappingProxyType(
        {"model": "m", "n_wanted": 200, "n_asked": 150, "n_labelled": 120, "n_other": 30, "n_failed": 30,
         "n_missing": 0, "n_prompts": 4, "n_prompts_without_list": 1,
         "why": "lists of ideas: 1 missing, mostly because it rained"}
    )  # fmt: skip

    def test_responses_to_a_prompt_without_a_list_count_as_lost(self):
        assert response_ideas.judge_says(self.COUNTS, "m", "judge") == (
            "The judge of ideas m gave no label for 40 % of 200 responses, mostly because: lists of ideas: 1 missing, "
            "mostly because it rained; 25 % of its labels say that none of its ideas fits"
        )

    @pytest.mark.parametrize(
        ("wanted", "source", "said"),
        [
            ("simulated/x", "given", ""),
            (None, "given", ""),
            (None, "lexical", "No judge labelled ideas (no judge is named): ideas are told apart by words alone"),
            ("simulated/x", "lexical", "a simulated judge labels simulated responses only): ideas are told apart by"),
            (None, None, "No judge labelled ideas (no judge is named): no ideas are told apart"),
        ],
    )
    def test_without_a_judge_the_reason_is_said_where_ideas_lack(self, wanted, source, said):
        found = response_ideas.judge_says(None, wanted, source)
        assert found == said or (said and said in found)


def answers(n=12, scopes=2):
    return pd.DataFrame(
        {"response_id": [f"r{i}" for i in range(n)], "prompt_id": [f"p{i % scopes}" for i in range(n)], "model": "m"}
    )


def responses_of(frame, vectors):
    """Responses of models, and of people where the model's name says so."""
    table = frame.assign(arm=frame["model"], condition="default", decoding="top_p", text="x")
    prompts = pd.DataFrame({"parent_id": None}, index=pd.Index(sorted(set(frame["prompt_id"])), name="prompt_id"))
    names = sorted(set(frame["model"]))
    models = pd.DataFrame(
        {"model_kind": ["human" if n == "people" else "model" for n in names], "family": names}, index=names
    )
    return Responses(table, vectors, prompts, models, "top_p")


def labelled(frame, names, origin="given"):
    return frame[["response_id"]].assign(idea=names, origin=origin, scope=frame["prompt_id"])


class TestAgreement:
    def test_matches_scikit_learn_scope_by_scope(self):
        rng = np.random.default_rng(0)
        frame, vectors = answers(60), rng.standard_normal((60, 5)).astype(np.float32)
        reference = labelled(frame, rng.choice(["a", "b", "c"], 60))
        labels = pd.Series(rng.integers(0, 3, 60), index=frame["response_id"])
        table = response_ideas.scope_agreement(labels, reference, frame, vectors).set_index("scope")
        for scope, at in frame.groupby("prompt_id"):
            rows = at.index.to_numpy()
            truth = reference["idea"].to_numpy()[rows]
            assert table.loc[scope, "adjusted_rand"] == pytest.approx(
                adjusted_rand_score(truth, labels.to_numpy()[rows])
            )
            i, j = np.triu_indices(len(rows), 1)
            unit = similarity.unit_rows(vectors[rows])
            assert table.loc[scope, "auc"] == pytest.approx(roc_auc_score(truth[i] == truth[j], (unit @ unit.T)[i, j]))

    def test_a_single_class_is_kept_apart_and_noise_is_alone(self):
        frame = answers(8)
        reference = labelled(frame, ["x" if p == "p0" else f"i{k}" for k, p in enumerate(frame["prompt_id"])])
        table = response_ideas.scope_agreement(pd.Series(-1, index=frame["response_id"]), reference, frame).set_index(
            "scope"
        )
        assert np.isnan(table.loc["p0", "adjusted_rand"]) and table.loc["p0", "n_reference"] == 1
        assert table.loc["p1", "adjusted_rand"] == 1 and table.loc["p1", "same_pair_agreement"] == 1
        means = response_ideas.agreement_means({("modes", "given"): table.reset_index()})
        assert means.set_index("measure").loc["adjusted_rand", ["mean", "n_scopes", "n_single"]].tolist() == [1, 1, 1]
        schema.validate(means, "07_agreement")

    def test_means_are_pooled_over_scopes_with_the_prompt_as_unit(self):
        table = pd.DataFrame({"prompt_id": list("ppqr"), "n_reference": 2, "adjusted_rand": [0.2, 0.4, 0.9, np.nan]})
        table = table.assign(adjusted_rand_without_noise=np.nan, same_pair_agreement=[0.5, 0.6, 0.7, 0.8], auc=np.nan)
        means = response_ideas.agreement_means({("modes", "given"): table}).set_index("measure")
        assert means.index.tolist() == ["adjusted_rand", "same_pair_agreement"]
        row, wanted = means.loc["adjusted_rand"], intervals.ratio_interval([0.6, 0.9], [2, 1])
        assert row["mean"] == pytest.approx(0.5) and row["n_scopes"] == 3 and row["n_prompts"] == 3
        assert row["lower"] == pytest.approx(wanted.lower) and row["upper"] == pytest.approx(wanted.upper)

    def test_compares_every_labelling_with_the_better_sources(self):
        rng = np.random.default_rng(0)
        given = responses_of(answers(40), rng.standard_normal((40, 4)).astype(np.float32))
        points = given.table[["response_id"]].assign(mode=rng.integers(-1, 3, 40), lexical_mode=rng.integers(-1, 3, 40))
        labels = pd.concat([labelled(given.table, rng.choice(["a", "b"], 40), o) for o in ("given", "judge")])
        found = response_ideas.agreement(given, points, labels)
        schema.validate(found, "07_agreement")
        pairs = set(zip(found["labels"], found["reference"], strict=True))
        assert pairs == {(n, r) for n in ("modes", "lexical", "judge") for r in ("given", "judge") if n != r}
        assert set(found.loc[found["measure"] == "auc", "labels"]) == {"modes"}
        assert response_ideas.agreement(given, points, labels.head(0)).empty


class TestFloors:
    def setup_method(self):
        rng = np.random.default_rng(1)
        self.frame = answers(30, scopes=3)
        self.frame.loc[self.frame.index % 5 == 0, "model"] = "people"
        self.vectors = rng.standard_normal((30, 3)).astype(np.float32)
        self.labels = labelled(self.frame, rng.choice(["a", "b"], 30))
        self.responses = responses_of(self.frame, self.vectors)
        self.counts = response_ideas.pair_counts(self.responses, self.labels, 500, np.random.default_rng(0))

    def slow(self, kind, threshold):
        unit = similarity.unit_rows(self.vectors)
        idea, hits, total = self.labels["idea"], 0, 0
        for i in range(30):
            for j in range(i):
                persons = (self.frame["model"][[i, j]] == "people").sum()
                if self.frame["prompt_id"][i] != self.frame["prompt_id"][j] or persons not in (0, 2):
                    continue
                same = idea[i] == idea[j]
                wanted = {"people": persons == 2, "same prompt": persons == 0}.get(
                    kind, persons == 0 and same == (kind == "same prompt, same idea")
                )
                if wanted:
                    total, hits = total + 1, hits + (unit[i] @ unit[j] >= threshold)
        return hits / total, total

    @pytest.mark.parametrize("kind", ["people", "same prompt", "same prompt, same idea", "same prompt, different idea"])
    def test_shares_match_the_slow_loop(self, kind):
        table = response_ideas.floors(self.counts, [0.5]).set_index("pair_type")
        share, n = self.slow(kind, 0.5)
        assert table.loc[kind, "share_above"] == pytest.approx(share) and table.loc[kind, "n_pairs"] == n

    def test_the_table_is_valid_and_random_pairs_have_no_interval(self):
        table = response_ideas.floors(self.counts, [0.5, 0.8])
        schema.validate(table, "07_floors")
        random = table[table["pair_type"] == "different prompts"]
        assert random["lower"].isna().all() and (random["n_pairs"] == 500).all()
        shown = response_ideas.shown(table, "given", 0.5)
        assert shown["pair_type"].tolist() == [
            kind for kind in response_ideas.KINDS if kind != "same prompt, ideas compared"
        ]

    def test_excess_is_the_difference_of_the_shares(self):
        gain = response_ideas.excess(self.counts, "given", 0.5)
        null, n_null = self.slow("same prompt, different idea", 0.5)
        same, n_same = self.slow("same prompt, same idea", 0.5)
        whole = (null * n_null + same * n_same) / (n_null + n_same)
        assert gain["difference"]["value"] == pytest.approx(whole - null)
        assert gain["ratio"]["value"] == pytest.approx(whole / null)
        assert gain["difference"]["lower"] <= gain["difference"]["value"] <= gain["difference"]["upper"]
        assert 0 < gain["ratio"]["lower"] <= gain["ratio"]["value"] <= gain["ratio"]["upper"]
        assert response_ideas.excess(self.counts, None, 0.5) is None

    def test_a_ratio_over_nothing_is_unknown(self):
        gain = response_ideas.excess(self.counts, "given", 1.0)
        assert np.isnan(gain["ratio"]["value"]) and gain["difference"]["value"] == 0

    def test_responses_that_fit_no_listed_idea_compare_with_none(self):
        odd = self.labels.assign(idea=self.labels["idea"].where(self.labels.index != 1, "(none listed) r1"))
        counts = response_ideas.pair_counts(self.responses, odd, 10, np.random.default_rng(0))
        key = "same prompt, ideas compared", "given"
        assert counts[key].sum() < self.counts[key].sum()

    def test_the_best_source_is_the_first_that_tells_ideas_apart(self):
        frame = self.frame
        lexical = response_ideas.from_modes(frame, [0] * 15 + [-1] * 15)
        assert lexical["idea"].nunique() == 16
        one = labelled(frame, ["same"] * 30)
        best = {
            "lexical": pd.concat([one, lexical]), "given": pd.concat([self.labels, lexical]), None: one,
        }  # fmt: skip
        for source, labels in best.items():
            assert response_ideas.best_source(labels, self.responses) == source
