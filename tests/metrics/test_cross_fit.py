"""Cross-fitting and the human ceiling."""

import numpy as np
import pytest

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, cross_fit, subsets

RULES = [r for r in subsets.absolute_rules() if r.name in ("full", "tukey 0.5", "entropy 10", subsets.PRIMARY)]


def statistics_of(labels, rows=None):
    counts = agreement.label_counts(labels, range(1, 6))
    return {"mean": agreement.row_means(labels, ~np.isnan(labels)), "entropy_bits": agreement.entropy_bits(counts)}


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(1)
    quality, groups = annotators.draw_quality(50, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, 24, rng, groups=groups))
    statistics = statistics_of(labels)
    weights = np.stack([subsets.kept_weights(rule, statistics) for rule in RULES])
    return {"quality": quality, "groups": groups, "labels": labels, "target": statistics["mean"], "weights": weights}


class TestCrossFit:
    def test_selection_on_noise_goes_and_range_restriction_stays(self, study):
        score = annotators.score(study["quality"], 0.8, np.random.default_rng(10))
        found = cross_fit.cross_fit(study["labels"], score, RULES, statistics_of, 20, np.random.default_rng(11))
        full = found["crossed"][0, 0]
        assert found["same"][0, 0] == pytest.approx(full)  # all items: nothing was selected
        assert found["same"][3, 0] < full and found["crossed"][3, 0] < full
        assert found["human"][0] > found["human"][3] > 0  # people lose range too, and are no collider

    def test_splitting_persons_needs_no_more_than_their_numbers(self, study):
        persons = study["groups"][:, None] * 24 + np.arange(24)
        found = cross_fit.cross_fit(
            study["labels"], study["target"], RULES, statistics_of, 2, np.random.default_rng(0), persons=persons
        )
        assert np.isfinite(found["human"]).all()

    def test_few_labels_are_refused(self):
        with pytest.raises(ValueError, match="6 labels"):
            cross_fit.cross_fit(np.ones((4, 3)), np.ones(4), RULES, statistics_of, 2, np.random.default_rng(0))


def test_full_ceiling_by_hand():
    assert cross_fit.full_ceiling(0.6) == pytest.approx(np.sqrt(1.2 / 1.6))
    assert np.isnan(cross_fit.full_ceiling(-0.2))
