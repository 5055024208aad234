"""Figures of 01 to 03 show every number of their tables, and stand small and empty tables."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from hivemind_utils.figures import queries


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def texts(drawn):
    fig = getattr(drawn, "figure", drawn)
    fig.canvas.draw()
    return [t.get_text() for ax in fig.axes for t in (*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels())]


NAMES = {"readable": "readable", "length": "length"}


def test_waterfall_shows_counts_losses_and_the_published_count():
    table = pd.DataFrame({"rule": ["readable", "length"], "rows_in": [1000, 990], "rows_out": [990, 400],
                          "note": ["", "no cap"], "published": pd.array([None, 37426], "Int64")})  # fmt: skip
    shown = texts(queries.waterfall(table, NAMES))
    assert "400  (−590)   published: 37,426" in shown and "length (none)" in shown and "1,000" in shown
    queries.waterfall(table.assign(rows_in=0, rows_out=0, published=None), NAMES)


def test_sensitivity_draws_numbers_as_lines_and_names_as_bars():
    table = pd.DataFrame(
        [("min_chars", str(n), 100 - n, n == 15) for n in (1, 15, 30)]
        + [("model_prefixes", name, 5, name == "gpt-4") for name in ("gpt-4", "any")],
        columns=["bound", "value", "n_queries", "is_used"],
    )
    fig = queries.sensitivity(table, NAMES)
    assert "85" in texts(fig) and "any" in texts(fig)
    assert fig.axes[0].lines[0].get_ydata().tolist() == [99, 85, 70]


def test_outcomes_name_reasons_and_published_shares():
    table = pd.DataFrame({"outcome": ["open", "dropped"], "reason": ["", "greeting"], "n": [70, 30],
                          "share": [0.7, 0.3], "published": [0.697, None]})  # fmt: skip
    shown = texts(queries.outcomes(table))
    assert {"70 (70.0 %)", "published 69.7 %", "dropped: greeting"} <= set(shown)


@pytest.mark.parametrize("with_people", [True, False])
def test_open_endedness_has_a_panel_for_what_there_is(with_people):
    degrees = pd.DataFrame({"open_share": [0, 0.5, 1], "n": [3, 4, 5]})
    alternatives = pd.DataFrame({"answer": ["fewer than 3", "3 to 10"], "share": [0.4, 0.6], "lower": [0.3, 0.5],
                                 "upper": [0.5, 0.7], "published": [0.2, 0.3]})  # fmt: skip
    scores = pd.DataFrame({"measure": ["kappa"], "value": [0.8], "lower": [0.7], "upper": [0.9]})
    empty = pd.DataFrame()
    fig = queries.open_endedness(degrees, *((alternatives, scores) if with_people else (empty, empty)))
    assert len(fig.axes) == (3 if with_people else 1) and ("0.80" in texts(fig)) == with_people
    assert [bar.get_height() for bar in fig.axes[0].patches] == [3, 4, 5]


SHARES = pd.DataFrame({
    "category": ["Alone", "One", "Two"], "level": ["Alone", "Both", "Both"], "share": [0.5, 0.2, 0.1],
    "lower": [0.4, 0.1, 0.0], "upper": [0.6, 0.3, 0.2], "published": [0.58, 0.1, None], "alpha": [0.9, None, None],
})  # fmt: skip


def test_taxonomy_groups_leaves_and_draws_a_bar_each():
    ax = queries.taxonomy(SHARES)
    assert ["Alone", "Both", "   One", "   Two"] == [t.get_text() for t in ax.get_yticklabels()]
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.2, 0.1] and "α 0.90" in texts(ax)


def test_cooccurrence_writes_the_counts():
    table = pd.DataFrame({"a": ["Alone", "Alone", "One"], "b": ["One", "Two", "Two"], "n": [7, 0, 2],
                          "expected": [2.0, 3.0, 1.0], "lift": [3.5, 0, 2.0]})  # fmt: skip
    assert {"7", "2"} <= set(texts(queries.cooccurrence(table, SHARES["category"])))


def test_trends_and_new_kinds():
    rows = [(by, group, kind, 10, 0.3, 0.2, 0.4) for by, groups in (("month", "ab"), ("model", "xy"))
            for group in groups for kind in ("One", "Two")]  # fmt: skip
    columns = ["by", "group", "category", "n_queries", "share", "lower", "upper"]
    fig = queries.trends(pd.DataFrame(rows, columns=columns))
    assert [ax.get_title("left") for ax in fig.axes] == ["by month", "by model"]
    groups = pd.DataFrame({"merged": ["Travel", "Media"], "n": [5, 1], "spellings": [3, 1]})
    assert "5  3 spellings" in texts(queries.novel(groups))
    queries.novel(groups.head(1))


def test_figures_of_one_panel_are_drawn_into_axes_that_are_passed():
    _, axes = plt.subplots(1, 2)
    assert queries.taxonomy(SHARES, axes[0]) is axes[0]
    assert queries.vote_degrees(pd.DataFrame({"open_share": [0, 1], "n": [1, 2]}), axes[1]) is axes[1]


def test_nothing_to_draw_draws_nothing():
    empty = pd.DataFrame()
    assert queries.open_endedness(empty, empty, empty) is None
    assert queries.waterfall(empty, NAMES) is None and queries.sensitivity(empty, NAMES) is None
    for draw in (queries.outcomes, queries.taxonomy, queries.novel, queries.trends):
        assert draw(empty) is None
    assert queries.cooccurrence(empty, []) is None
    assert plt.get_fignums() == []
