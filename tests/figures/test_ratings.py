"""Figures of notebooks 08 and 09: from the demo's tables, from one scorer, from nothing."""

from itertools import pairwise

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from hivemind_utils.figures import ratings, scorers, style
from hivemind_utils.tables import schema
from hivemind_utils.tables.wording import SCORER_KINDS

RULES = {"full": "full", "tukey 0.5": "similar", "entropy 16": "contested", "most contested": "primary"}
WORDS = dict(zip(RULES, ["all", "Tukey fences, k = 0.5", "top 16 % by entropy", "most contested 33 %"], strict=True))
KEY_WORDS = {rule: name for rule, name in WORDS.items() if rule != "entropy 16"}
LONG = "an-organisation/a-model-with-a-name-that-is-much-longer-than-any-name-should-be ($1_a^)"


@pytest.fixture(autouse=True)
def looks():
    with matplotlib.rc_context():
        style.use()  # not from its cache: the settings of the test before are gone
        yield
    plt.close("all")


def kinds_table(kinds, item_type="absolute"):
    rows = [(item_type, kind, rule, family, 750) for kind in kinds for rule, family in RULES.items()]
    table = pd.DataFrame(rows, columns=["items", "scorer_type", "rule", "family", "n"]).assign(
        n_scorers=3, rho=0.4, lower=0.3, upper=0.5, within=0.3, se=0.05, n_prompts=50, expected=0.4, null_lower=0.2,
        null_upper=0.6, line=0.3, crossed=0.3, half_panel=0.3, people=0.7, published=0.33,
    )  # fmt: skip
    schema.validate(table, "09_kinds")
    return table


def verdicts_table(words):
    rows = [("kind", kind, kind, word) for kind, word in words.items()]
    rows += [("scorer", f"{LONG} {kind}", kind, word) for kind, word in words.items()]
    table = pd.DataFrame(rows, columns=["level", "scorer", "scorer_type", "verdict"]).assign(
        items="absolute", n=250, share=0.33, effective_size=200.0, n_prompts=50, rho_full=0.5, rho_contested=0.3, r=0.3,
        e=0.4, kept=np.linspace(-0.4, 3, len(rows)), lower=0.1, upper=np.nan, p_degrades=0.1, p_holds_up=0.1,
        expected=0.3, null_lower=0.2, null_upper=0.5, reason="",
    )  # fmt: skip
    schema.validate(table, "09_verdicts")
    return table


VERDICTS = dict(zip(["lm", "lm perplexity", "reward", "judge", "classifier"], scorers.VERDICT_COLOURS, strict=True))


class TestVerdict:
    def test_every_kind_has_a_panel_that_says_its_verdict(self):
        fig = scorers.verdict(kinds_table([*VERDICTS, "text"]), verdicts_table(VERDICTS), KEY_WORDS)
        said = [ax.get_xlabel().replace("\n", " ") for ax in fig.axes]
        assert said == [VERDICTS[kind] for kind in scorers.kind_order(VERDICTS)]
        ticks = [label.get_text() for label in fig.axes[0].get_xticklabels()]
        assert ticks[-1].replace("\n", " ") == "most contested 33 %" and "k = 0.5" in ticks[1]

    def test_labels_of_neighbours_do_not_overlap(self):
        fig = scorers.verdict(kinds_table(VERDICTS), verdicts_table(VERDICTS), KEY_WORDS)
        fig.canvas.draw()
        for ax in fig.axes:
            boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
            assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(boxes))

    def test_nothing_to_judge_is_no_figure(self):
        nothing = verdicts_table(VERDICTS).head(0)
        assert scorers.verdict(kinds_table(["judge"]), nothing, WORDS) is None
        assert scorers.kept(nothing) is None

    def test_kept_draws_a_row_per_kind_and_scorer_with_kinds_in_bold(self):
        ax = scorers.kept(verdicts_table(VERDICTS))
        labels = ax.get_yticklabels()
        bold = {label.get_text() for label in labels if label.get_fontweight() == "bold"}
        assert len(labels) == 10 and bold == {SCORER_KINDS.get(kind, kind) for kind in VERDICTS}
        assert not any("\\" in label.get_text() for label in labels)


class TestBars:
    @pytest.mark.parametrize("item_type", ["absolute", "pairs"])
    def test_a_panel_per_grid_names_subsets_in_words(self, item_type):
        fig = scorers.calibration(kinds_table(["lm", "judge", "text"], item_type), WORDS)
        assert len(fig.axes) == 2
        ticks = [label.get_text() for label in fig.axes[1].get_xticklabels()]
        assert ticks == ["all\nn = 750", "top 16 %\nby entropy\nn = 750"]

    def test_no_scores_are_no_figure(self):
        assert scorers.calibration(kinds_table(["lm"]).head(0), {}) is None

    def test_the_heat_map_has_a_cell_per_scorer_and_subset(self):
        rows = [("absolute", f"s{i}", "judge", rule, RULES[rule], 750, 0.1 * i) for i in range(4) for rule in RULES]
        table = pd.DataFrame(rows, columns=["items", "scorer", "scorer_type", "rule", "family", "n", "rho"])
        ax = scorers.scorer_heatmap(table, WORDS)
        assert [t.get_text() for t in ax.get_xticklabels()][1] == "Tukey fences, k = 0.5 (n = 750)"
        assert len(ax.texts) == 16 and scorers.scorer_heatmap(table.head(0), WORDS) is None

    def test_selections_have_a_panel_per_family(self):
        rows = [
            ("judge", f, f"title {f}", str(s), f"{f} {s}", 9, 0.2, 0.1, 0.3, 0.2, np.nan)
            for f in "abcde"
            for s in (3, 1)
        ]
        columns = [
            "scorer_type",
            "family",
            "title",
            "step",
            "rule",
            "n",
            "rho",
            "lower",
            "upper",
            "expected",
            "published",
        ]
        fig = scorers.selections(pd.DataFrame(rows, columns=columns))
        assert [ax.get_title(loc="left") for ax in fig.axes[:5]] == [f"title {f}" for f in "abcde"]
        assert scorers.selections(pd.DataFrame(columns=columns)) is None

    def test_typicality_is_a_dot_per_scorer(self):
        table = pd.DataFrame({"scorer": [LONG, "b"], "scorer_type": ["lm", "text"], "coefficient": [0.1, 0.0],
                              "lower": [0.0, -0.1], "upper": [0.2, 0.1], "n": 9})  # fmt: skip
        ax = scorers.typicality(table)
        assert isinstance(ax, Axes) and len(ax.get_yticklabels()) == 2
        assert scorers.typicality(table.head(0)) is None


class TestAnnotators:
    def test_histograms_go_where_they_are_told(self):
        items = pd.DataFrame({"entropy_bits": [0.5, 1.5], "entropy_corrected_bits": [0.6, 2.9]})
        _, ax = plt.subplots()
        assert ratings.entropy_histogram(items, 5, ax=ax) is ax
        assert ratings.entropy_histogram(items.head(0), 5) is None

    def test_label_shares_fill_the_bars(self, planted_shares):
        fig = ratings.contested_items(planted_shares)
        assert [ax.get_title(loc="left") for ax in fig.axes] == ["most contested", "least contested"]
        ends = [max(bar.get_x() + bar.get_width() for bar in ax.patches) for ax in fig.axes]
        assert ends == pytest.approx([1, 1]) and ratings.contested_items(planted_shares.head(0)) is None

    def test_nothing_known_is_no_figure(self):
        assert ratings.reliability(pd.DataFrame()) is None
        assert ratings.severity(pd.DataFrame()) is None
        assert ratings.entropy_by_mean(pd.DataFrame()) is None


@pytest.fixture
def planted_shares():
    rows = [
        (end, place, f"i{place}", f"prompt {LONG}", "a response", None, 2.0 - place, value, 0.2)
        for end in ("most contested", "least contested") for place in range(2) for value in "12345"
    ]  # fmt: skip
    columns = ["end", "place", "item_id", "prompt", "response_1", "response_2", "entropy_bits", "value", "share"]
    return pd.DataFrame(rows, columns=columns)
