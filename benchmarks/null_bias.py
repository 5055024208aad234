"""What an equally good scorer does on the contested third, and what the null expects of it, by number of annotators.

Shows why `nulls.shrunken_means` pools the variance of a label. Run ``python benchmarks/null_bias.py``, half a minute.
"""

import numpy as np
import pandas as pd

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration, nulls, subsets

RULE = subsets.absolute_rules()[-1]


def main(n_studies=20):
    rows = []
    for n_annotators in (3, 5, 10, 25):
        found = [study(np.random.default_rng([n_annotators, seed]), n_annotators) for seed in range(n_studies)]
        rows.append({"annotators": n_annotators} | pd.DataFrame(found).mean().round(3).to_dict())
    print(pd.DataFrame(rows).to_string(index=False))


def study(rng, n_annotators):
    quality, groups = annotators.draw_quality(70, 15, rng)
    labels = annotators.ratings(annotators.draw_perceived(quality, n_annotators, rng, groups=groups))
    means, entropy = labels.mean(1), agreement.entropy_bits(agreement.label_counts(labels, range(1, 6)))
    weights = np.stack([np.ones(len(means)), subsets.kept_weights(RULE, {"entropy_bits": entropy})])
    scores = np.stack([annotators.score(quality, 0.6, rng) for _ in range(30)])
    full, contested = calibration.rank_correlations(scores, means, weights).mean(1)
    row = {"full": full, "contested": contested}
    for variance in ("item", "pooled"):
        shrunken = nulls.shrunken_means(labels, variance=variance)[0]
        draws = nulls.null_draws(shrunken, means, weights, 40, rng)
        row[f"expected, {variance} variance"] = nulls.expected_correlations(draws, full)[1]
    row["shuffled among equal means"] = nulls.block_permutation(scores[:4], means, weights, 50, rng)[0][1].mean()
    return row


if __name__ == "__main__":
    main()
