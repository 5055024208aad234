"""Differences and shares that the claims quote, against literal loops over pairs and prompts."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from some_responses import prompts_of, responses_of

from hivemind_utils.metrics import intervals, similarity
from hivemind_utils.responses import differences, homogeneity, repetition

KINDS = {"p1": "original", "p2": "original", "p3": "original", "p4": "closed"}


def asked(n=(4, 3, 5, 4), models=("gpt", "llama", "writers")):
    """Responses of different number to every prompt; people have no decoding."""
    rows = [
        (p, m, "default", "none" if m == "writers" else d, k)
        for p, size in zip(KINDS, n, strict=True)
        for m in models
        for d in (["none"] if m == "writers" else ["min_p", "top_p"])
        for k in range(size)
    ]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "condition", "decoding", "sample_idx"])
    table["response_id"] = ["-".join(map(str, row)) for row in rows]
    table["text"] = [f"word {k} of {m} to {p}" for p, m, _, _, k in rows]
    vectors = np.random.default_rng(1).normal(size=(len(rows), 6)).astype(np.float32) + 0.7
    return responses_of(table, vectors, prompts=prompts_of(KINDS, {}))


@pytest.fixture(scope="module")
def responses():
    return asked()


@pytest.fixture(scope="module")
def cells(responses):
    return repetition.cell_means(responses, responses.vectors)


def unit(responses, **chosen):
    keep = np.logical_and.reduce([responses.table[name] == value for name, value in chosen.items()])
    return similarity.unit_rows(responses.vectors[keep]).astype(float)


def within(vectors):
    return np.mean([a @ b for a, b in combinations(vectors, 2)])


def same_model(responses, decoding):
    """Mean over prompts of the mean over a prompt's pairs of one model, pairs pooled over models."""
    means = []
    for prompt in ("p1", "p2", "p3"):
        of = [unit(responses, prompt_id=prompt, model=m, decoding=decoding) for m in ("gpt", "llama")]
        means.append(np.mean([a @ b for vectors in of for a, b in combinations(vectors, 2)]))
    return np.array(means)


def floor(responses, prompts, decoding="top_p"):
    of = {
        p: np.concatenate([unit(responses, prompt_id=p, model=m, decoding=decoding) for m in ("gpt", "llama")])
        for p in prompts
    }
    return np.mean([a @ b for p, q in combinations(prompts, 2) for a, b in product(of[p], of[q])])


def test_decodings_are_compared_on_the_same_prompts(responses, cells):
    found = differences.of_references(responses, cells)
    change = same_model(responses, "top_p") - same_model(responses, "min_p")
    wanted = intervals.mean_interval(change)
    one = found["top_p less min_p"]
    assert one["estimate"] == pytest.approx(change.mean(), abs=1e-6) and one["n_prompts"] == 3
    assert (one["lower"], one["upper"]) == pytest.approx((wanted.lower, wanted.upper), abs=1e-5)
    assert found["min_p less top_p"]["estimate"] == -one["estimate"]


def test_the_floor_and_the_distance_to_it_leave_out_one_prompt_at_a_time(responses, cells):
    found = differences.of_references(responses, cells)
    prompts = ["p1", "p2", "p3"]
    left = [prompts, ["p2", "p3"], ["p1", "p3"], ["p1", "p2"]]
    floors = np.array([floor(responses, some) for some in left])
    np.testing.assert_allclose(differences.floor_replicates(responses, "top_p")[0], floors, atol=1e-6)
    own = same_model(responses, "top_p")
    same = np.array([own.mean(), *(np.delete(own, k).mean() for k in range(3))])
    wanted = intervals.jackknife_interval(same - floors)
    one = found["top_p less different prompts"]
    assert one["estimate"] == pytest.approx(own.mean() - floors[0], abs=1e-6)
    assert (one["lower"], one["upper"]) == pytest.approx((wanted.lower, wanted.upper), abs=1e-5)
    assert found["different prompts, top_p"]["estimate"] == pytest.approx(floors[0], abs=1e-6)


def test_bars_are_those_of_the_heat_map_with_bounds_around_them(responses, cells):
    originals = repetition.originals(cells.reset_index().dropna(subset=["mean_cosine"]), responses)
    bars = repetition.bin_shares(originals, responses.people).query("arm == 'Average'")
    found = differences.average_bins(originals, responses.people).set_index(["decoding", "bin"])
    wanted = bars.set_index(["decoding", "bin"])["percent"]
    np.testing.assert_allclose(found["percent"].loc[wanted.index], wanted)
    assert (found["lower"] <= found["percent"]).all() and (found["percent"] <= found["upper"]).all()
    assert found["lower"].min() >= 0 and found["upper"].max() <= 100 and (found["n_prompts"] == 3).all()


def test_a_bar_has_the_interval_of_a_share_of_prompts(responses):
    rng = np.random.default_rng(0)
    rows = [(f"p{p}", m, "default", "top_p", v) for p in range(12) for m, v in zip("ab", rng.random(2), strict=True)]
    originals = pd.DataFrame(rows, columns=["prompt_id", "model", "condition", "decoding", "mean_cosine"])
    found = differences.average_bins(originals, set()).set_index("bin").loc["0.8–0.9"]
    inside = originals["mean_cosine"].between(0.8, 0.9, inclusive="left").groupby(originals["prompt_id"]).mean()
    wanted = intervals.share_interval(inside.to_numpy())
    assert found["percent"] == pytest.approx(100 * inside.mean())
    assert (found["lower"], found["upper"]) == pytest.approx((100 * wanted.lower, 100 * wanted.upper))


def test_one_decoding_less_another_is_a_difference_per_prompt(responses):
    under = responses.where((responses.table["decoding"] != "min_p") & (responses.table["prompt_id"] != "p4"))
    change = []
    for prompt in ("p1", "p2", "p3"):
        gpt, llama = (unit(under, prompt_id=prompt, model=m) for m in ("gpt", "llama"))
        change.append((within(gpt) + within(llama)) / 2 - np.mean(gpt @ llama.T))
    wanted, found = intervals.mean_interval(change), differences.same_less_different_models(under)
    assert found["estimate"] == pytest.approx(wanted.estimate, abs=1e-6)
    assert (found["lower"], found["upper"]) == pytest.approx((wanted.lower, wanted.upper), abs=1e-5)
    blocks = homogeneity.blocks(under)["mean"]
    assert found["estimate"] == pytest.approx(blocks["same model"] - blocks["different models"])


def test_the_diagonal_as_published_pairs_every_response_with_itself_too(responses):
    under = responses.where((responses.table["decoding"] != "min_p") & (responses.table["prompt_id"] != "p4"))

    def diagonal(prompts):
        means = []
        for model in ("gpt", "llama"):
            of = [unit(under, prompt_id=p, model=model) for p in prompts]
            means.append(sum((v @ v.T).sum() for v in of) / sum(len(v) ** 2 for v in of))
        return np.mean(means)

    prompts = ["p1", "p2", "p3"]
    replicates = [diagonal(prompts), *(diagonal([p for p in prompts if p != left]) for left in prompts)]
    wanted, found = intervals.jackknife_interval(replicates), differences.published_diagonal(under)
    assert found["estimate"] == pytest.approx(replicates[0], abs=1e-6)
    assert (found["lower"], found["upper"]) == pytest.approx((wanted.lower, min(wanted.upper, 1)), abs=1e-5)


def test_one_prompt_has_no_floor_and_no_bounds(responses):
    one = responses.where(responses.table["prompt_id"] == "p1")
    found = differences.of_references(one, repetition.cell_means(one, one.vectors))
    assert set(found) == {"top_p less min_p", "min_p less top_p"}
    assert np.isnan(found["top_p less min_p"]["lower"]) and np.isfinite(found["top_p less min_p"]["estimate"])
    alone = one.where(one.table["model"] == "gpt").where(one.table["decoding"][one.table["model"] == "gpt"] == "top_p")
    assert np.isnan(differences.same_less_different_models(alone)["estimate"])


class TestMostRepetitive:
    @staticmethod
    def cells(effects, n_prompts=12, seed=0, noise=0.05):
        rng = np.random.default_rng(seed)
        prompt = rng.normal(0.5, 0.1, n_prompts)
        rows = [
            (f"p{k}", arm, arm, "top_p", prompt[k] + effect + noise * rng.standard_normal())
            for arm, effect in effects.items() for k in range(n_prompts)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["prompt_id", "model", "arm", "decoding", "mean_cosine"])

    def test_equals_the_literal_comparison_with_every_other_arm(self):
        cells = self.cells({"a": 0.0, "b": 0.25, "c": 0.05, "people": 0.5})
        found = differences.most_repetitive(cells, {"people"}, "top_p")
        wide = cells.pivot(index="prompt_id", columns="arm", values="mean_cosine")
        lowers = {}
        for other in "ac":
            d = wide["b"] - wide[other]
            half = stats.t.ppf(1 - 0.05 / 2 / 2, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
            lowers[other] = d.mean() - half
        assert (found["arm"], found["other"]) == ("b", min(lowers, key=lowers.get)) and found["decided"]
        assert found["difference"]["lower"] == pytest.approx(lowers[found["other"]])

    @pytest.mark.parametrize("n_arms", [2, 3, 10])
    def test_twins_are_called_different_in_at_most_five_percent(self, n_arms):
        names = dict.fromkeys([f"m{k}" for k in range(n_arms)], 0.0)
        said = [differences.most_repetitive(self.cells(names, seed=s), set(), "top_p")["decided"] for s in range(400)]
        print(f"\n{n_arms} equal arms: {np.mean(said):.3f} decided")
        assert np.mean(said) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5

    def test_a_model_apart_is_found(self):
        effects = {"a": 0.1, "b": 0.0, "c": 0.0}
        said = [differences.most_repetitive(self.cells(effects, seed=s), set(), "top_p") for s in range(40)]
        assert np.mean([found["decided"] and found["arm"] == "a" for found in said]) >= 0.9

    @pytest.mark.parametrize("n_prompts, effects", [(1, {"a": 0, "b": 0}), (5, {"a": 0})])
    def test_too_little_says_nothing(self, n_prompts, effects):
        assert differences.most_repetitive(self.cells(effects, n_prompts), set(), "top_p") is None
