"""Small studies that several tests share."""

from types import SimpleNamespace

import numpy as np
import pytest

from hivemind_utils.metrics import contested


def entropy(labels):
    counts = np.sort(np.stack([(labels == v).sum(1) for v in np.unique(labels)], axis=1), axis=1)
    shares = counts / counts.sum(1, keepdims=True)
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1)


@pytest.fixture(scope="session")
def simulated():
    """Call it for a study of people, and what scorers follow."""

    def draw(seed, n_prompts=20, n_items=10, n_annotators=15, pairs=False):
        rng = np.random.default_rng(seed)
        prompts = np.repeat(np.arange(n_prompts), n_items)
        quality = rng.normal(size=len(prompts))
        perceived = quality[:, None] + rng.normal(size=(len(prompts), n_annotators))
        labels = np.clip(np.round(perceived + 3 * (not pairs)), 1 - 3 * pairs, 5 - 3 * pairs)
        found = contested.contested_set(entropy(labels))
        return SimpleNamespace(
            rng=rng, prompts=prompts, quality=quality, labels=labels, means=labels.mean(1), contested=found
        )

    return draw


@pytest.fixture(scope="session")
def golden():
    """The golden study: 120 items of 10 prompts, three scorers, one of which is blind on contested items."""
    i = np.arange(120)
    means, x = 1 + 4 * (7 * i % 61) / 60, (13 * i % 29) / 28
    found = contested.contested_set(np.round((11 * i % 37) / 36 * (1 - abs(means - 3) / 4), 6))
    scores = np.stack([means + 2 * x, np.where(found.mask, 2 * x, means + 2 * x), np.round(means + x)])
    return SimpleNamespace(means=means, scores=scores, contested=found, prompts=i // 12)


@pytest.fixture(scope="session")
def golden_pairs():
    """The golden pairs: two scorers, the second blind on contested pairs."""
    i = np.arange(120)
    means, x = np.round(4 * ((7 * i % 61) / 60 - 0.5), 6), (13 * i % 29) / 28 - 0.5
    found = contested.contested_set(np.round((11 * i % 37) / 36 * (1 - abs(means) / 3), 6))
    scores = np.stack([means + 2 * x, np.where(found.mask, 2 * x, means + 2 * x)])
    return SimpleNamespace(means=means, scores=scores, contested=found, prompts=i // 12)
