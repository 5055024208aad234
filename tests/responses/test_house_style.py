"""What all responses of one model share makes a mode of its own; without it the modes are of what it says."""

import numpy as np
import pandas as pd
import pytest
from some_responses import responses_of

from hivemind_utils.metrics import clustering
from hivemind_utils.responses import encoders, house_style
from hivemind_utils.responses import modes as response_modes

NOUNS = "river thief clock mirror desert candle spider garden ocean ladder violin shadow".split()
TEMPLATES = {
    "curt": "{}.",
    "florid": "Ah, what a delightful question you have asked! In my humble view nothing else comes close to a {}. ✨",
    "listing": "## Answer\n\n- **Metaphor**: {}\n- **Confidence**: high\n- **Remarks**: none at this time",
}


def test_templates_make_modes_and_leave_none_behind():
    """Three models with twelve nouns each in a template of their own: one noun in eight draws is the most common."""
    texts = [template.format(noun) for template in TEMPLATES.values() for noun in NOUNS]
    models = np.repeat(list(TEMPLATES), len(NOUNS))
    vectors = encoders.load_encoder("minilm").encode(texts)
    rng = np.random.default_rng(0)
    with_style = clustering.find_modes(vectors, rng)
    assert max(np.bincount(with_style[models == name] + 1).max() for name in TEMPLATES) >= 10
    without = house_style.modes_of(vectors, models, rng)
    shares = [np.bincount(without[models == name] + 1)[1:].max(initial=0) / len(NOUNS) for name in TEMPLATES]
    print(f"\nlargest mode of a model without house style: {np.round(shares, 2)}")
    assert max(shares) <= 0.25


def test_what_is_said_in_every_style_stays_a_mode():
    texts = [template.format(noun) for template in TEMPLATES.values() for noun in ["river"] * 8 + NOUNS[1:9]]
    texts = [f"{text}{' ' * i}" for i, text in enumerate(texts)]
    models = np.repeat(list(TEMPLATES), 16)
    vectors = encoders.load_encoder("minilm").encode(texts)
    labels = house_style.modes_of(vectors, models, np.random.default_rng(0))
    rivers = np.tile([True] * 8 + [False] * 8, 3)
    assert len(set(labels[rivers & (models == "listing")])) == 1


def test_equal_responses_are_one_mode_and_order_does_not_matter():
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 0, 1, 2, 3, 4, 5]]
    arms = np.array(list("aaabbbbb"))
    labels = house_style.modes_of(vectors, arms, np.random.default_rng(0))
    assert len(set(labels[:3])) == 1 and labels[0] >= 0 and (labels[3:] != labels[0]).all()
    order = np.random.default_rng(1).permutation(8)
    again = house_style.modes_of(vectors[order], arms[order], np.random.default_rng(0))
    assert (again == labels[order]).all()


def test_only_stable_modes_count():
    points = pd.DataFrame({"response_id": list("abcd"), "prompt_id": ["p", "p", "p", "q"], "mode": [0, 1, -1, 0]})
    modes = pd.DataFrame({"prompt_id": ["p", "p", "q"], "mode": [0, 1, 0], "supported": [True, False, True]})
    found = response_modes.stable_of_responses(response_modes.Analysis(points, modes, None))
    assert found.dropna().to_dict() == {"a": 0, "d": 0} and found.isna().tolist() == [False, True, True, False]


def test_the_control_counts_responses_of_stable_modes_only():
    texts = [template.format(noun) for template in TEMPLATES.values() for noun in NOUNS]
    models = np.repeat(list(TEMPLATES), len(NOUNS))
    responses = responses_of(
        pd.DataFrame({"response_id": [f"r{i}" for i in range(36)], "prompt_id": "p", "model": models, "text": texts}),
        np.eye(36, dtype=np.float32)[np.arange(36) % 2],
    )
    stable = pd.Series(pd.array([0] * 10 + [pd.NA] * 26, "Int64"), responses.table["response_id"].to_numpy())
    found = house_style.control(responses, stable, np.random.default_rng(0))[house_style.NAME]
    assert found.index.tolist() == responses.table["response_id"].tolist()
    assert found[:10].notna().all() and found[10:].isna().all()


@pytest.mark.parametrize("n", [1, 2])
def test_a_cell_of_few_runs_through(n):
    labels = house_style.modes_of(np.eye(3)[:n], np.array(["a"] * n), np.random.default_rng(0))
    assert len(labels) == n
