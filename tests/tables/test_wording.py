"""Numbers in sentences."""

import numpy as np
import pytest

from hivemind_utils.tables import wording

MISSING = [None, float("nan"), np.float64("nan")]


@pytest.mark.parametrize("missing", MISSING)
def test_what_is_missing_is_unknown_and_never_nan(missing):
    assert wording.percent(missing) == wording.number(missing) == wording.estimate(missing, 0.1, 0.2) == "unknown"
    assert wording.estimate(0.5, missing, 0.6) == wording.estimate(0.5, 0.4, missing) == "0.50 (no interval)"


@pytest.mark.parametrize(
    ("share", "digits", "written"),
    [(0.0, 0, "0 %"), (1, 0, "100 %"), (0.004, 0, "0 %"), (0.996, 1, "99.6 %"), (np.float32(0.25), 0, "25 %")],
)
def test_a_share_of_one_is_a_percentage_with_a_space(share, digits, written):
    assert wording.percent(share, digits) == written


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdef"), "a, b, c and 3 more"),
        ([1, 2], "1 and 2"),
    ],
)
def test_lists_end_in_and_or_in_how_many_more(names, written):
    assert wording.listed(names) == written


@pytest.mark.parametrize(("n", "written"), [(0, "0 families"), (1, "1 family"), (1200, "1,200 families")])
def test_things_are_counted_in_their_plural(n, written):
    assert wording.counted(n, "family", "families") == written


@pytest.mark.parametrize("name", ["m", "openai/gpt-4o-2024-11-20", "x" * 40])
def test_short_names_stay(name):
    assert wording.short_name(name) == name


def test_long_names_keep_their_versions():
    names = [f"meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo-v{i}" for i in range(1, 4)]
    cut = [wording.short_name(name) for name in names]
    assert len(set(cut)) == 3 and all(len(name) <= 40 and name.endswith(f"v{i}") for i, name in enumerate(cut, 1))
