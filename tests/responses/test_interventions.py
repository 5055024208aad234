"""Arms compared: measures against slow loops, and every input that lacks something is told or counted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.figures import interventions as figures
from hivemind_utils.metrics import coverage
from hivemind_utils.metrics.interventions import mean_contrast
from hivemind_utils.responses import arm_headlines as headlines
from hivemind_utils.responses import arm_quality, embeddings, interventions, results, tradeoffs
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.tables import ids, schema

DECLARED = {
    "default": None, "placebo_varied": None, "mine": {"system": "x", "comparator": "placebo_varied"},
    "list_k": {"k": 2}, "temperature_ladder": {"ladder": {"temperature": [1.5, 2.0]}},
}  # fmt: skip
ARMS = ["default", "placebo_varied", "mine", "list_k", "temperature 1.5", "temperature 2"]


def frame(n_prompts=12, n_closed=12, n=6, arms=tuple(ARMS), seed=0):
    """Responses of one model: `mine` and the list choose among more ideas."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(n_prompts + n_closed):
        for arm in arms:
            n_ideas = 1 if p >= n_prompts else 12 if arm in ("mine", "list_k") else 3
            for i in range(n):
                reply, position = (i // 2, i % 2) if arm == "list_k" else (None, None)
                idea = int(rng.integers(n_ideas))
                rows.append((f"p{p:02}", arm, i, f"idea {idea} word{rng.integers(20)}", f"i{idea}", reply, position))
    table = pd.DataFrame(rows, columns=["prompt_id", "condition", "sample_idx", "text", "idea", "reply", "position"])
    return table.assign(
        response_id=[f"r{i}" for i in range(len(table))], model="m", decoding="top_p", usable=True, outcome="answer",
        quality=rng.uniform(0.6, 1, len(table)), label=np.nan, tokens=10.0, usd=0.01, probability=np.nan,
    ).astype({"reply": "Int64", "position": "Int64"})  # fmt: skip


def vector(text):
    """The idea in one part, the word in another."""
    part = [np.random.default_rng([len(word), *word.encode()]).normal(size=8) for word in text.split()[1:]]
    return np.concatenate([2 * part[0], part[1]]) if part else np.zeros(16)


class Ideas:
    """An encoder of `vector`."""

    name, library, chunk_size, n_workers = "ideas", "numpy", 64, 1

    def encode(self, texts):
        return np.array([vector(text) for text in texts], np.float32)


def asked_of(table, declared=None, n_prompts=12):
    """`Asked` of a frame."""
    declared = response_arms.table(response_arms.read(declared or DECLARED)).set_index("condition")
    table = table.sort_values([*interventions.ARM, "prompt_id", "sample_idx"], ignore_index=True)
    arms = interventions._arms(table, declared, ["m"])
    kinds = {p: "original" if int(p[1:]) < n_prompts else "closed" for p in table["prompt_id"]}
    return interventions.arranged(table, arms, kinds, np.array([vector(text) for text in table["text"]]))


def graded_of(asked, **changes):
    known = {"asked": asked, "scorers": ["s"], "is_ranked": False, "reward_only": False,
             "known_bad": mean_contrast(np.linspace(-0.6, -0.5, 12)), "self_scored": [], "n_unscored": 0,
             "problems": []}  # fmt: skip
    return arm_quality.Graded(**(known | changes))


def decided(statements, statement, condition):
    row = statements[(statements["statement"] == statement) & (statements["condition"] == condition)].iloc[0]
    return row["decision"], row["fails"] if isinstance(row["fails"], str) else ""


@pytest.fixture(scope="module")
def asked():
    return asked_of(frame())


@pytest.fixture(scope="module")
def found(asked):
    return interventions.measures(asked)


def test_measures_are_those_of_a_slow_loop(asked, found):
    for p, a in [(0, 0), (3, 2), (13, 4)]:
        rows = asked.rows[p, a]
        unit = asked.vectors[rows] / np.linalg.norm(asked.vectors[rows], axis=1)[:, None]
        pairs = [1 - unit[i] @ unit[j] for i in range(6) for j in range(i)]
        assert found["diversity"][p, a] == pytest.approx(np.mean(pairs), abs=1e-6)
        counts = asked.table["idea"].iloc[rows].value_counts()
        assert found["ideas"][p, a] == pytest.approx(coverage.hill_at_size(counts, 6, (1,))[0])
        assert found["distinct"][p, a] == pytest.approx(len(counts))
        assert found["quality"][p, a] == pytest.approx(asked.table["quality"].iloc[rows].mean())
        assert found["words"][p, a] == pytest.approx(3)


def test_tables_fit_their_schemas_and_statements_follow_the_plant(asked, found):
    means, contrasts = interventions.arm_means(asked, found), interventions.contrasts(asked, found)
    statements = tradeoffs.judge(graded_of(asked), found)
    tables = {"10_arms": means, "10_contrasts": contrasts, "10_statements": statements,
              "10_frontier": tradeoffs.frontier_table(asked, found, np.random.default_rng(0)),
              "10_costs": tradeoffs.cost_table(asked, found), "10_effective": tradeoffs.effective_curve(asked),
              "10_scored": asked.table[["response_id", "idea", "quality", "label"]]}  # fmt: skip
    for name, table in tables.items():
        schema.validate(table, name)
        assert len(table)
    mean = means.set_index(["condition", "measure"])["mean"]
    row = contrasts[(contrasts["prompts"] == "open-ended") & (contrasts["measure"] == "ideas")].set_index("condition")
    assert row.loc["mine", "estimate"] == pytest.approx(mean["mine", "ideas"] - mean["placebo_varied", "ideas"])
    assert decided(statements, "raises diversity", "mine") == ("holds", "")
    assert decided(statements, "raises diversity", "placebo_varied")[0] == "inconclusive"
    quoted = results.interventions(
        graded_of(asked), found, means, contrasts, tables["10_frontier"], tables["10_costs"], statements, None
    )
    assert quoted["largest"]["estimate"] > 0 and quoted["times_direct"]["mine"]["value"] > 0
    assert quoted["statements"]["mine"]["raises diversity"]["decision"] == "holds" and quoted["n_raise"] >= 1
    assert figures.interventions(contrasts) and figures.frontier(tables["10_frontier"])
    assert figures.effective_diversity(tables["10_effective"])
    assert figures.cost_per_useful_answer(tables["10_costs"])
    assert "mine" in headlines.interventions(statements) and len(headlines.stated(statements)) == 4


def test_the_order_of_rows_does_not_matter(found):
    again = interventions.measures(asked_of(frame().sample(frac=1, random_state=1)))
    for name, values in found.items():
        assert again[name] == pytest.approx(values, nan_ok=True)


class TestWhatIsLacking:
    def test_unequal_numbers_of_responses_are_compared_at_one_number(self):
        table = frame()
        asked = asked_of(table[(table["condition"] != "mine") | (table["sample_idx"] < 4)])
        means = interventions.arm_means(asked, interventions.measures(asked)).set_index(["condition", "measure"])
        assert means.loc[("mine", "ideas"), ["n_smallest", "n_largest"]].tolist() == [4, 4]
        assert means.loc[("list_k", "ideas"), "mean"] <= 4 and "4 to 6 each" in asked.describe()

    def test_one_prompt_decides_nothing(self):
        asked = asked_of(frame(n_prompts=1, n_closed=0), n_prompts=1)
        statements = tradeoffs.judge(graded_of(asked), interventions.measures(asked))
        assert (statements["decision"] == "inconclusive").all()
        why = decided(statements, "raises diversity", "mine")[1]
        assert "1 prompts have values" in why and "no closed-ended prompts" in why

    def test_a_comparator_that_was_not_asked_is_named(self):
        asked = asked_of(frame(arms=("default", "mine")))
        found = interventions.measures(asked)
        statements = tradeoffs.judge(graded_of(asked), found)
        assert set(statements["fails"]) == {"its comparator, placebo_varied, was not asked"}
        assert figures.interventions(interventions.contrasts(asked, found)) is None

    def test_without_quality_the_statements_say_so(self):
        asked = asked_of(frame().assign(quality=np.nan))
        found = interventions.measures(asked)
        statements = tradeoffs.judge(graded_of(asked, scorers=[], known_bad=None), found)
        assert decided(statements, "raises diversity", "mine")[0] == "holds"
        for words in ("raises diversity without losing quality", "beats hotter sampling"):
            assert decided(statements, words, "mine")[1] == "no response has a quality"
        empty = tradeoffs.frontier_table(asked, found, np.random.default_rng(0))
        assert empty.empty and figures.frontier(empty) is None
        assert figures.effective_diversity(tradeoffs.effective_curve(asked)) is None

    def test_without_ideas_there_is_no_measure_of_another_kind_and_no_cost(self):
        asked = asked_of(frame().assign(idea=None))
        found = interventions.measures(asked)
        statements = tradeoffs.judge(graded_of(asked), found)
        assert "no measure of another kind" in decided(statements, "raises diversity", "mine")[1]
        assert decided(statements, "costs less per useful response", "mine")[1] == "no ideas are known"
        assert figures.cost_per_useful_answer(tradeoffs.cost_table(asked, found)) is None

    def test_ideas_of_some_responses_only_are_told(self):
        table = frame()
        asked = asked_of(table.assign(idea=table["idea"].where(table["sample_idx"] != 0, None)))
        assert arm_quality.unlabelled(asked).startswith("144 of 864 usable responses have no idea")
        assert np.isfinite(interventions.measures(asked)["ideas"]).all()
        assert arm_quality.unlabelled(asked_of(frame())) is None

    def test_a_judge_that_gave_no_idea_at_all_is_told(self, tmp_path, monkeypatch):
        asked = asked_of(frame(n_prompts=3, n_closed=0).assign(idea=None), n_prompts=3)
        assert arm_quality.unlabelled(asked) is None  # nobody was to label any
        tables = {"04_ideas": pd.DataFrame(columns=["response_id", "idea"]),
                  "04_prompts": pd.DataFrame({"prompt_id": asked.prompts["prompt_id"], "text": "?"})}  # fmt: skip
        study = SimpleNamespace(read=tables.__getitem__, number="10", profile="none")
        monkeypatch.setattr(arm_quality.files, "store_path", lambda *_: tmp_path / "s.sqlite")
        reference = Path(__file__).resolve().parents[2] / "data" / "reference" / "instructions"
        paths = {"propose_path": reference / "ideas_propose.txt", "assign_path": reference / "ideas_assign.txt"}
        judged = arm_quality.with_ideas(study, asked, "openai/never", **paths)
        assert arm_quality.unlabelled(judged).startswith("none of 108 usable responses has an idea")
        (said,) = arm_quality.judges_say(graded_of(judged))
        assert said.startswith("The judge of ideas openai/never gave no label for 100 % of")
        assert "not asked: `budget_usd` is 0" in said

    def test_what_is_not_found_in_a_list_stays_in_every_denominator(self):
        table = frame()
        lost = (table["condition"] == "list_k") & table["position"].eq(1).fillna(False).astype(bool)
        outcome = np.where(lost, "unparsed", "answer")
        table = table.assign(usable=~lost, outcome=outcome, text=table["text"].mask(lost, ""))
        asked = asked_of(table.assign(idea=table["idea"].mask(lost, None)))
        found, a = interventions.measures(asked), ARMS.index("list_k")
        assert found["unparsed"][:, a] == pytest.approx(0.5) and found["unparsed"][:, 0] == pytest.approx(0)
        assert (found["quality"][:, a] < 0.6).all() and (found["quality_usable"][:, a] > 0.6).all()

    def test_probabilities_that_are_no_numbers_or_do_not_sum_to_1_are_taken_as_they_are(self):
        table = frame()
        table.loc[table["condition"] == "list_k", "probability"] = [0.9, np.nan, 0.7, -1, 0.2, 5] * 24
        asked = asked_of(table)
        means = interventions.arm_means(asked, interventions.measures(asked)).set_index(["condition", "measure"])
        assert means.loc[("list_k", "weighted"), "sum_of_probabilities"] == pytest.approx(6.8 / 3)
        assert means.loc[("list_k", "weighted"), "mean"] > 0 and ("default", "weighted") not in means.index

    def test_an_arm_never_asked_and_no_arm_at_all_are_told(self, tmp_path):
        table = frame(arms=("default", "mine"), n_prompts=2, n_closed=0).assign(finish_reason=None)
        table["text_id"] = table["text"].map(ids.text_id)
        declared = response_arms.table(response_arms.read({"default": None, "mine": DECLARED["mine"], "persona": None}))
        columns = ["response_id", "prompt_tokens", "completion_tokens", "n_in_call", "cost_usd"]
        tables = {"04_responses": table.drop(columns=["tokens", "usd"]), "04_arms": declared,
                  "04_prompts": pd.DataFrame({"prompt_id": ["p00", "p01"], "prompt_kind": "original"}),
                  "04_models": pd.DataFrame({"model": ["m"], "model_kind": "model"}),
                  "04_provenance": pd.DataFrame(columns=columns)}  # fmt: skip
        tables["04_responses"].to_parquet(tmp_path / "04_responses.parquet")
        study = SimpleNamespace(
            stamp={},
            read=lambda name, columns=None: tables[name],
            folder=tmp_path,
            look=lambda name: tmp_path / f"{name}.parquet",
        )
        embeddings.embed(table["text"], Ideas(), tmp_path / "embeddings", progress=False)
        asked = interventions.load(study, "ideas")
        rows = asked.rows[1, 0]
        unit = np.array([vector(text) for text in asked.table["text"].iloc[rows]])
        unit /= np.linalg.norm(unit, axis=1)[:, None]
        assert asked.cosines[1, 0] == pytest.approx(unit @ unit.T, abs=1e-6)  # vectors are read as they are needed
        assert asked.never_asked == ["in the role of a person (m)"] and "never asked" in asked.describe()
        assert not asked.has("tokens")
        with pytest.raises(ValueError, match=r"`models` names \['n'\]"):
            interventions.load(study, "ideas", models=["n"])
        tables["04_arms"] = declared[:1]
        with pytest.raises(ValueError, match="There is no arm to compare: name arms under `arms`"):
            interventions.load(study, "ideas")


def test_shares_on_the_frontier_are_written_beside_their_points_and_not_over_each_other():
    n = 12
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"measure": "diversity", "model": "m", "label": [f"arm {i}" for i in range(n)],
                          "is_rung": False, "share_on_frontier": np.linspace(0.06, 1, n)})  # fmt: skip
    close = {"quality": 0.8 + rng.normal(0, 0.004, n), "diversity": 0.4 + rng.normal(0, 0.004, n)}
    close["quality"][0], close["diversity"][0] = 0.4, 0.1  # so that the others lie close together
    for name, values in close.items():
        table = table.assign(**{name: values, f"{name}_lower": values - 0.03, f"{name}_upper": values + 0.03})
    fig = figures.frontier(table)
    fig.canvas.draw()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    assert [text.get_text() for text in fig.axes[0].texts].count("100 %") == 1 and len(boxes) == n
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


class TestQuality:
    def study(self, asked):
        prompts = pd.DataFrame({"prompt_id": asked.prompts["prompt_id"], "text": asked.prompts["prompt_id"] + "?"})
        return SimpleNamespace(read={"04_prompts": prompts}.__getitem__, number="10", profile="none")

    def test_a_file_a_column_and_nothing(self, asked, tmp_path):
        bare = asked.with_columns(quality=np.nan)
        none = arm_quality.grade(self.study(bare), bare)
        assert none.scorers == [] and none.describe() == "No response has a quality"
        column = arm_quality.grade(self.study(asked), asked.with_columns(quality=asked.table["quality"] * 10))
        assert column.is_ranked and column.asked.table["quality"].between(0, 1).all()
        scores = bare.table[["prompt_id", "text"]].rename(columns={"text": "response"}).assign(scorer="s", score=4)
        scores[scores["prompt_id"] != "p00"].to_csv(tmp_path / "s.csv", index=False)
        given = arm_quality.grade(self.study(bare), bare, path=tmp_path / "s.csv", scale=(1, 5))
        assert set(given.asked.table["quality"].dropna()) == {0.75} and given.scorers == ["s"]
        assert given.n_unscored == 36 and given.known_bad is None

    def test_a_scale_that_does_not_hold_is_refused(self, asked):
        with pytest.raises(ValueError, match="scale"):
            arm_quality.grade(self.study(asked), asked.with_columns(quality=9.0), scale=(1, 5))

    def test_labels_of_people_correct_the_predictions(self, asked, found):
        rng = np.random.default_rng(0)
        label = (asked.table["quality"] - 0.1).where(rng.random(len(asked.table)) < 0.5)
        powered = arm_quality.powered(graded_of(asked.with_columns(label=label)))
        change = interventions.differences(found, "quality", asked.arms["direct"])[asked.open]
        assert powered.estimate[1:] == pytest.approx(mean_contrast(change).estimate[1:], abs=0.03)
        assert arm_quality.powered(graded_of(asked)) is None

    def test_a_scorer_that_gave_the_responses_decides_nothing(self, asked, found):
        own = arm_quality._self_scored(asked, ["openai/m (overall)"])
        statements = tradeoffs.judge(graded_of(asked, self_scored=own), found)
        why = decided(statements, "raises diversity without losing quality", "mine")[1]
        assert why.endswith("the scorer is the model that gave the responses")
