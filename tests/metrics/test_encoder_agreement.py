"""Thresholds of encoders at an equal rate of false alarms, and agreement of ranks."""

from itertools import combinations

import numpy as np
import pytest

from hivemind_utils.metrics import encoder_agreement, resample


def study(seed=0, n_cells=24, n=10, sharpness=1.0):
    """Cells whose responses of one idea point the same way; two arms per prompt."""
    rng = np.random.default_rng(seed)
    ideas = rng.integers(0, 4, (n_cells, n))
    centres = rng.normal(size=(n_cells, 4, 16))
    rows = np.take_along_axis(centres, ideas[..., None], 1) * sharpness + rng.normal(size=(n_cells, n, 16))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    cells = np.arange(n_cells) // 2
    return rows @ rows.swapaxes(1, 2), ideas, cells, {prompt: int(prompt) % 2 for prompt in range(n_cells // 2)}


def test_shares_match_the_loop():
    cosines, ideas, cells, halves = study()
    found = encoder_agreement.share_alike(cosines, ideas, cells, halves, 0.1)
    for half in (0, 1):
        different = [
            cosines[c, i, j]
            for c in range(24) if halves[cells[c]] == half
            for i, j in combinations(range(10), 2) if ideas[c, i] != ideas[c, j]
        ]  # fmt: skip
        at = np.quantile(different, 0.9)
        threshold = found[1 + half]
        assert (threshold.threshold, threshold.n_fit) == (pytest.approx(at), len(different))
        for c in range(24):
            if halves[cells[c]] != half:
                slow = np.mean([cosines[c, i, j] >= at for i, j in combinations(range(10), 2)])
                assert found.shares[c] == pytest.approx(slow)
        other = [c for c in range(24) if halves[cells[c]] != half]
        hits = [
            cosines[c, i, j] >= at
            for c in other for i, j in combinations(range(10), 2) if ideas[c, i] == ideas[c, j]
        ]  # fmt: skip
        assert threshold.hit_rate == pytest.approx(np.mean(hits))


def test_any_rising_curve_of_the_cosine_gives_the_same_shares():
    cosines, ideas, cells, halves = study(n_cells=40)
    # The threshold lies between two pairs, linearly: one pair of a cell may change sides.
    plain = encoder_agreement.share_alike(cosines, ideas, cells, halves)
    bent = encoder_agreement.share_alike(np.tanh(2 * cosines), ideas, cells, halves)
    assert np.abs(plain.shares - bent.shares).max() <= 1 / 45 + 1e-12
    assert abs(plain.shares.mean() - bent.shares.mean()) < 1e-3
    assert plain.first.threshold != pytest.approx(bent.first.threshold, abs=0.01)


def test_false_alarms_stay_at_alpha_and_a_sharper_encoder_hits_more():
    blurred, sharp = (encoder_agreement.share_alike(*study(1, 200, 10, sharpness)) for sharpness in (0.7, 2.0))
    for found in (blurred, sharp):
        assert np.mean([found.first.false_rate, found.second.false_rate]) == pytest.approx(0.05, abs=0.015)
    assert sharp.first.hit_rate > blurred.first.hit_rate + 0.2


def test_unknown_ideas_count_in_shares_only():
    cosines, ideas, cells, halves = study()
    some = ideas.copy()
    some[:, -1] = -1
    found, whole = (encoder_agreement.share_alike(cosines, x, cells, halves) for x in (some, ideas))
    assert found.first.n_fit < whole.first.n_fit
    at = found.second.threshold
    first, second = np.triu_indices(10, 1)
    assert found.shares[0] == pytest.approx((cosines[0][first, second] >= at).mean())


def test_cells_of_one_response_have_no_share():
    cosines, ideas, cells, halves = study()
    found = encoder_agreement.share_alike([*cosines, np.ones((1, 1))], [*ideas, np.array([0])], [*cells, 0], halves)
    assert np.isnan(found.shares[-1]) and not np.isnan(found.shares[:-1]).any()


def test_no_pair_of_one_idea_leaves_the_hit_rate_unknown():
    cosines, _, cells, halves = study(n=10)
    found = encoder_agreement.share_alike(cosines, np.tile(np.arange(10), (24, 1)), cells, halves)
    assert np.isnan(found.first.hit_rate)


def test_bad_input_is_refused():
    cosines, ideas, cells, halves = study()
    with pytest.raises(ValueError, match=r"At least 100 pairs of different ideas.*but 0"):
        encoder_agreement.share_alike(cosines, np.zeros_like(ideas), cells, halves)
    with pytest.raises(ValueError, match="needs a half, 0 or 1, but 3 has None"):
        encoder_agreement.share_alike(cosines, ideas, cells, {0: 0, 1: 1, 2: 0})
    with pytest.raises(ValueError, match="A cell of 9 ideas"):
        encoder_agreement.share_alike(cosines, ideas[:, :9], cells, halves)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        encoder_agreement.false_alike_threshold(np.ones(200), 1)
    with pytest.raises(ValueError, match="must be known"):
        encoder_agreement.false_alike_threshold(np.r_[np.ones(200), np.nan])


def test_ranks_agree_with_the_pairwise_function_and_missing_arms():
    import pandas as pd

    values = np.random.default_rng(0).normal(size=(3, 8))
    values[0, 2] = values[1, 5] = np.nan
    found = encoder_agreement.rank_agreements(values)
    for i, j in combinations(range(3), 2):
        assert (
            found[i, j]
            == found[j, i]
            == pytest.approx(resample.rank_agreement(pd.Series(values[i]), pd.Series(values[j])))
        )
    assert np.isnan(encoder_agreement.rank_agreements([[1, 2, np.nan], [1, 2, 3]])[0, 1])
    assert np.isnan(encoder_agreement.rank_agreements([[1, 1, 1], [1, 2, 3]])[0, 1])
