"""Instructions that come in many texts, next to neutral ones: a planted effect is found, else none."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from some_responses import responses_of

from hivemind_utils.metrics import similarity
from hivemind_utils.responses import arm_cells, arms, headlines, wordings
from hivemind_utils.tables import schema

SLOTS = {"persona": {"who": [f"You are person {i}." for i in range(6)]},
         "neutral": {"note": [f"Neutral note {i}." for i in range(8)]}}  # fmt: skip


def declared(**changes):
    rows = {name: {"vary": "response", "slots": json.dumps(slots), "k": 1} for name, slots in SLOTS.items()}
    return pd.DataFrame.from_dict(rows, "index").assign(**changes)


def world(seed=0, effect=0.0, closer=0.0, n_prompts=16, n_models=3, n=18):
    """Every text of a persona moves the responses by `effect`; under personas models differ less by `closer`."""
    rng, rows, vectors = np.random.default_rng(seed), [], []
    for p in range(n_prompts):
        topic, taste = rng.normal(size=30), rng.normal(size=(n_models, 30))
        for condition, slots in SLOTS.items():
            moves = {text: rng.normal(size=30) for texts in slots.values() for text in texts}
            own = pd.DataFrame({"prompt_id": f"p{p:02}", "sample_idx": range(n)})
            for m in range(n_models):
                told = wordings.wording(own, condition, slots)
                at = taste[m] * (1 - closer * (condition == "persona"))
                strength = effect if condition == "persona" else 0.2
                vectors += [topic + at + strength * moves[text] + rng.normal(size=30) for text in told]
                rows += [(f"p{p:02}", f"m{m}", condition, i) for i in range(n)]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "condition", "sample_idx"])
    table = table.assign(decoding="top_p", text="A river.", arm=table["model"] + " · " + table["condition"])
    return responses_of(table, np.array(vectors))


def test_a_planted_effect_of_personas_is_found_and_so_is_that_models_come_closer():
    found = wordings.compare(world(effect=1.0, closer=0.8), declared())
    schema.validate(found, "11_wordings")
    row = found.iloc[0]
    assert (row["n_prompts"], row["n_models"], row["n_wordings"]) == (16, 3, 6) and row["n_per_wording"] == 6
    assert row["rho_lower"] > 0 and row["omega_squared_lower"] > 0 and row["models_alike_lower"] > 0
    said = headlines.wordings(found)
    assert "depend on the text more" in said and "models are more alike" in said


def test_where_personas_do_what_neutral_texts_do_it_is_inconclusive():
    wrong = [0, 0]
    for seed in range(200):
        row = wordings.compare(world(seed, effect=0.2, n_prompts=8, n=12), declared()).iloc[0]
        wrong[0] += row["rho_lower"] > 0 or row["rho_upper"] < 0
        wrong[1] += row["models_alike_lower"] > 0 or row["models_alike_upper"] < 0
    assert max(wrong) <= 20  # nominal 10 of 200
    assert "inconclusive" in headlines.wordings(wordings.compare(world(effect=0.2), declared()))


def test_both_measures_are_those_of_a_literal_loop():
    loaded = world(3, effect=0.5, n_prompts=2, n_models=2, n=18)
    row = wordings.compare(loaded, declared()).iloc[0]
    unit = similarity.unit_rows(loaded.vectors)
    alike, rho = {}, {}
    for condition, slots in SLOTS.items():
        between, parts = [], []
        for prompt_id in ("p00", "p01"):
            at = (loaded.table["prompt_id"].eq(prompt_id) & loaded.table["condition"].eq(condition)).to_numpy()
            own, v = loaded.table[at], unit[at]
            pairs = [(i, j) for i in range(len(v)) for j in range(i)]
            models = own["model"].to_numpy()
            between.append(np.mean([v[i] @ v[j] for i, j in pairs if models[i] != models[j]]))
            texts = wordings.wording(own, condition, slots).to_numpy()
            counts, n_groups = pd.Series(texts).value_counts(), 6
            n_each = 4  # 36 responses: six to each of six personas, four or five to each of eight neutral texts
            turns = sorted(range(len(v)), key=lambda i: (own["sample_idx"].iloc[i], models[i]))
            order = list(dict.fromkeys(texts[turns]))
            kept = [[i for i in turns if texts[i] == text][:n_each] for text in order if counts[text] >= n_each]
            groups = {i: g for g, members in enumerate(kept[:n_groups]) for i in members}
            same = [v[i] @ v[j] for i, j in pairs if i in groups and j in groups and groups[i] == groups[j]]
            other = [v[i] @ v[j] for i, j in pairs if i in groups and j in groups and groups[i] != groups[j]]
            parts.append((np.mean(same) - np.mean(other), 1 - np.mean(other)))
        alike[condition], rho[condition] = np.mean(between), np.divide(*np.sum(parts, axis=0))
    assert row["models_alike"] == pytest.approx(alike["persona"], abs=1e-5) and row["n_per_wording"] == 4
    assert row["models_alike_comparator"] == pytest.approx(alike["neutral"], abs=1e-5)
    assert row["rho"] == pytest.approx(rho["persona"], abs=1e-5) and row["rho_comparator"] == pytest.approx(
        rho["neutral"], abs=1e-5
    )


def test_one_model_whose_texts_never_come_twice_has_nothing_to_compare():
    found = wordings.compare(world(n_models=1, n=6), declared())
    schema.validate(found, "11_wordings")
    assert found.loc[0, "n_prompts"] == 0 and found["rho"].isna().all() and found["models_alike"].isna().all()
    assert "nothing to compare" in headlines.wordings(found)
    assert headlines.wordings(found.head(0)) == ""


def test_prompts_and_models_that_one_arm_lacks_are_left_out():
    loaded = world(effect=1.0)
    table = loaded.table
    lacking = table["prompt_id"].isin(["p00", "p01"]) & (table["condition"] == "neutral")
    lacking |= (table["prompt_id"] == "p02") & (table["condition"] == "persona") & (table["model"] != "m0")
    found = wordings.compare(loaded.where(~lacking.to_numpy()), declared())
    schema.validate(found, "11_wordings")
    row = found.iloc[0]
    assert row["n_prompts"] == 14 and row["rho_lower"] > 0 and np.isfinite(row["models_alike_lower"])


def test_one_prompt_has_a_value_and_no_interval():
    row = wordings.compare(world(effect=1.0, n_prompts=1), declared()).iloc[0]
    assert row["rho"] > 0 and np.isnan(row["rho_lower"])


@pytest.mark.parametrize("k", [1, 3])
def test_the_text_is_the_one_that_was_sent(k):
    texts = [f"You are person {i}." for i in range(5)]
    several = {"parse": "list", "k": k} if k > 1 else {}
    made = arms.read({"default": None, "mine": {"system": "$who", "slots": {"who": texts}} | several})
    prompt = SimpleNamespace(prompt_id="p", prompt="Why?")
    asked = arm_cells.requests(made["mine"], prompt, "hosted_vllm/a", {"max_tokens": 9}, 12)
    sent = [request.messages[0]["content"] for request in asked for _ in range(k)]
    known = arms.table(made).set_index("condition").loc["mine"]
    rows = pd.DataFrame({"prompt_id": "p", "sample_idx": range(len(sent))})
    assert wordings.wording(rows, "mine", json.loads(known["slots"]), known["k"]).tolist() == sent
    assert len(set(sent)) > 2
