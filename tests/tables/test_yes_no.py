from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hivemind_utils.tables import ids, yes_no


@pytest.mark.parametrize("value", ["yes", " Y ", "TRUE", "t\t", True, np.True_, 1, 1.0, Decimal("1"), b"yes"])
def test_yes_in_any_usual_spelling(value):
    assert yes_no.yes_or_no(value) is True


@pytest.mark.parametrize("value", ["no", "N", "False", "f", False, np.False_, 0, 0.0, np.float64(0), Decimal("0.0")])
def test_no_in_any_usual_spelling(value):
    assert yes_no.yes_or_no(value) is False


@pytest.mark.parametrize("value", ["", " ", None, np.nan, pd.NA, pd.NaT])
def test_nothing_is_neither(value):
    assert yes_no.yes_or_no(value) is None


@pytest.mark.parametrize("value", ["nein", "x", "remove", "2", 0.5, -1, "yes?", [True], {"flagged": True}])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="Expected yes or no"):
        yes_no.yes_or_no(value)
    with pytest.raises(ValueError, match=r"a\.csv: `keep` must be one of .* \(first in row 2\)\. Write yes or no\."):
        yes_no.read(["yes", value], "keep", "a.csv")


def test_words_for_nothing_count_where_they_are_allowed():
    assert yes_no.read(["n/a", "None", "no"], "open", "a.csv", yes_no.NOTHING) == [None, None, False]
    with pytest.raises(ValueError, match=r"\['n/a', 'None'\] was found"):
        yes_no.read(["n/a", "None", "no"], "open", "a.csv")


@pytest.mark.parametrize("value", [1, 1.0, "1", " 1 ", "1.0", "1.00", np.int64(1), np.float32(1), Decimal("1.0"), b"1"])
def test_an_id_is_the_same_in_every_format(value):
    assert ids.written(value) == "1"


@pytest.mark.parametrize("text", ["1.10", "v1.0", "1.0.0", "01", "nan", "1e3"])
def test_an_id_that_is_no_whole_number_stays(text):
    assert ids.written(text) == text


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, "", " \n"])
def test_nothing_is_no_id(value):
    assert ids.written(value) is None


def test_an_id_that_may_have_lost_digits_is_refused():
    assert ids.written(2**63 - 1) == "9223372036854775807"
    with pytest.raises(ValueError, match="Store ids as text"):
        ids.written(float(2**63 - 1))
