"""Figures from small finished tables: axes, labels, and nothing that overlaps or leaves the page."""

from itertools import pairwise, product

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hivemind_utils.figures import responses, style
from hivemind_utils.responses import homogeneity, repetition
from hivemind_utils.responses import table as response_table
from hivemind_utils.tables import figure_files, schema

PEOPLE = "writers"
MEASURES = [*repetition.PANELS, *repetition.OPINIONS]
NAMED = repetition.PANELS | repetition.OPINIONS
DOLLARS = "Is $5_a^ or <b>$10</b> & $^ the better price?"
LONG = "an-organisation/a-model-with-a-name-that-is-much-longer-than-any-name-should-be-instruct-2025-12-31"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        style.use()
        plt.rcParams.update({"savefig.dpi": 72, "pdf.fonttype": 3})  # quick: the layout is judged, not the print
        yield tmp_path
    plt.close("all")


# ------------------------------------------------------------------------------------------------------------- tables


def named(measures):
    return {measure: NAMED[measure] for measure in measures}


def names_of(n, given=()):
    names = [
        f"{('claude', 'gemma', 'gpt', 'llama', 'mistral', 'qwen')[i % 6]}-{i // 6 + 1}-instruct-{i}" for i in range(n)
    ]
    return [*given, *names[len(given) :]]


def models_of(names, people=True, **facts):
    table = pd.DataFrame({"model": names, "family": [name.split("-")[0] for name in names], "model_kind": "model"})
    table = table.assign(
        size_b=np.nan, tuning=None, release_date=None, open_weights=None, vendor=None, parent=None
    ).assign(**facts)
    group = {"model": PEOPLE, "family": "people", "model_kind": "human"}
    return pd.concat([table, pd.DataFrame([group])], ignore_index=True) if people else table


def repetition_of(names, n_prompts, people=True, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(f"p{i:02}", m, m, "default", "top_p", rng.uniform(0.3, 1)) for i in range(n_prompts) for m in names]
    rows += [(f"p{i:02}", PEOPLE, PEOPLE, "default", "none", rng.uniform(0.1, 0.5)) for i in range(n_prompts * people)]
    return pd.DataFrame(rows, columns=["prompt_id", "arm", "model", "condition", "decoding", "mean_cosine"])


def arms_of(names, measures=MEASURES, people=True, interval=True, decodings=("top_p",), seed=0):
    rng = np.random.default_rng(seed)
    arms = [(m, "default", d) for m in names for d in decodings] + [(PEOPLE, "default", "none")] * people
    table = pd.DataFrame([(*arm, measure) for arm in arms for measure in measures])
    table.columns = ["model", "condition", "decoding", "measure"]
    middle = rng.uniform(0.3, 0.9, len(table))
    half = 0.05 if interval else np.nan
    return table.assign(n_prompts=13, mean=middle, lower=middle - half, upper=middle + half)


def references_table(n_prompts=13):
    kinds = [("same model", "min_p"), ("same model", "top_p"), ("different models", "top_p"), ("people", "all"),
             ("same model, closed-ended prompt", "top_p"), ("different prompts", "top_p")]  # fmt: skip
    table = pd.DataFrame(kinds, columns=["pair_type", "decoding"]).assign(n_pairs=1_234_567)
    table["mean"] = [0.8, 0.75, 0.6, 0.4, 0.95, 0.1]
    half = np.where((table["pair_type"] == "different prompts") | (n_prompts < 2), np.nan, 0.03)
    return table.assign(
        lower=table["mean"] - half, upper=table["mean"] + half, q05=table["mean"] - 0.2, q95=table["mean"] + 0.05,
        median=table["mean"] + 0.01, share_above=0.5,
    )  # fmt: skip


def curves_table(groups=("models, min_p", "models, top_p", "people"), n=12):
    rows = [(g, "response", k, k**0.7, 40.0, 0.834, 13) for g in groups for k in range(1, n + 1)]
    return pd.DataFrame(rows, columns=["group", "unit", "n", "found", "estimated", "coverage", "n_cells"])


def paraphrases_table(names, between=True):
    rows = [("p1", m, 2, 0.8, 0.7, 0.6 if between else np.nan, 0.8) for m in names]
    columns = ["prompt_id", "model", "n_paraphrases", "within", "across", "between", "within_paraphrase"]
    return pd.DataFrame(rows, columns=columns)


def by_prompt_table(n, texts=(), known=True, interval=True, categories=4):
    text = [
        *texts,
        *(f"Write something short about matter number {i}, as if nobody had asked before" for i in range(n)),
    ][:n]
    middle = np.linspace(0.9, 0.3, n)
    half = 0.05 if interval else np.nan
    return pd.DataFrame(
        {
            "prompt_id": [f"p{i:02}" for i in range(n)],
            "text": text,
            "prompt_kind": ["closed" if i == 0 and n > 2 else "original" for i in range(n)],
            "category": [None if i % 5 == 4 else f"category {i % categories}" for i in range(n)],
            "open_endedness": [0.9 - i / 50 if known and i != 1 else np.nan for i in range(n)],
            "mean_cosine": middle,
            "lower": middle - half,
            "upper": middle + half,
        }
    )


def heatmap_of(pairs, family, models, column="mean_cosine"):
    order, tree = homogeneity.family_order(pairs)
    return responses.model_pair_heatmap(homogeneity.square(pairs, order, column), tree, family, models)


def pairs_of(arms, interval=True, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(a, b, rng.uniform(0.3, 0.8) if a != b else 0.85) for k, a in enumerate(arms) for b in arms[k:]]
    table = pd.DataFrame(rows, columns=["arm_a", "arm_b", "mean_cosine"])
    return table.assign(mean_cosine_published=0.9, lower=0.1 if interval else np.nan, upper=0.9 if interval else np.nan)


def curve_table(groups=("family", "model"), n=50, interval=True):
    tables = []
    for by in groups:
        expected = 20 * (1 - np.exp(-np.arange(1, n + 1) / 15))
        tables.append(pd.DataFrame({"by": by, "n_nearest": np.arange(1, n + 1), "n_sources": expected / 2}))
        half = 0.5 if interval else np.nan
        tables[-1] = tables[-1].assign(
            lower=expected / 2 - half, upper=expected / 2 + half, quartile_1=expected / 3, quartile_3=expected / 1.5,
            n_prompts=13, expected=expected, separated=1.0,
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def shares_table(n):
    table = pd.DataFrame({"prompt_id": [f"p{i:02}" for i in range(n)], "exact": np.linspace(0, 0.3, n)})
    return table.assign(span=table["exact"] + 0.1, n_responses=100)


def prompt_texts(n, texts=()):
    long = [
        f"Write something short about matter number {i}, as if nobody at all had ever asked before" for i in range(n)
    ]
    return pd.Series([*texts, *long[len(texts) :]], index=[f"p{i:02}" for i in range(n)])


def pools_table(pools=("one model, k responses", "k models, one response each", "people"), interval=True):
    rows = [(pool, k, k**0.5) for pool in pools for k in (1, 2, 3, 5, 8)]
    table = pd.DataFrame(rows, columns=["pool", "k", "vendi_1"])
    half = 0.1 if interval else np.nan
    return table.assign(lower=table["vendi_1"] - half, upper=table["vendi_1"] + half, n_prompts=13)


def coverage_of(names, n_prompts=3, decodings=("top_p",), n=10):
    rows = [
        (f"p{i}", m, "default", d, n, n - 1, 1, 2, 0, 0, 0, i)
        for i in range(n_prompts)
        for m in names
        for d in decodings
    ]
    columns = [
        "prompt_id",
        "model",
        "condition",
        "decoding",
        "n_responses",
        "n_usable",
        "n_empty",
        "n_truncated",
        "n_refused",
        "n_filtered",
        "n_unparsed",
        "n_repeated",
    ]
    return pd.DataFrame(rows, columns=columns).assign(n_reasoned=0, n_looping=0, n_marked=0)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("04_coverage", coverage_of(["a", "b"])),
        ("05_repetition", repetition_of(["a", "b"], 3)),
        ("05_arms", arms_of(["a", "b"])),
        ("05_references", references_table()),
        ("05_paraphrases", paraphrases_table(["a", "b"])),
        ("06_model_pairs", pairs_of(["a", "b"])),
        ("06_pools", pools_table()),
    ],
)
def test_tables_made_here_hold_what_the_schema_allows(name, frame, monkeypatch):
    whole = schema.schema_of(name)
    columns = {column.name: column for column in whole.columns}
    shared = [column for column in frame.columns if column in columns]
    key = tuple(column for column in whole.key if column in shared)
    part = schema.Table("part", whole.row, key, tuple(columns[column] for column in shared))
    monkeypatch.setitem(schema.TABLES, "part", part)
    assert len(schema.validate(frame[shared], "part")) == len(frame) and key
    assert set(frame.columns) - set(shared) <= {"arm"}  # which notebooks add to what they read


def draw_all(names, n_prompts, *, people=True, interval=True, texts=(), only=None):
    """Every figure (or some) from tables of one size: yields its name, the figure and the number of its axes."""
    models = models_of(names, people)
    arms, cells = arms_of(names, people=people, interval=interval), repetition_of(names, n_prompts, people)
    wide = repetition.by_arm(arms)
    agreement = repetition.rank_agreement(wide)
    family = models.set_index("model")["family"].to_dict()
    facts = facts_of(names, **registry(names))
    shown = [*names, PEOPLE] if people else names
    makers = {
        "coverage": (2, lambda: responses.coverage(response_table.outcome_shares(coverage_of(names)))),
        "intra_heatmap": (2, lambda: responses.intra_heatmap(bins_of(cells), models)),
        "references": (1, lambda: responses.references(references_table(n_prompts))),
        "arm_panels": (6, lambda: responses.arm_panels(arms, repetition.PANELS, models)),
        "rarefaction": (1, lambda: responses.rarefaction(curves_table())),
        "second_opinion": (3, lambda: responses.second_opinion(wide, repetition.OPINIONS, agreement, models)),
        "paraphrases": (1, lambda: responses.paraphrases(paraphrases_table(names), models)),
        "by_prompt": (2, lambda: responses.by_prompt(by_prompt_table(n_prompts, texts, interval=interval))),
        "by_facts": (3, lambda: responses.by_facts(facts, models)),
        "nearest_sources": (2, lambda: responses.nearest_sources(curve_table(interval=interval))),
        "overlap_shares": (
            1,
            lambda: responses.overlap_shares(shares_table(n_prompts), prompt_texts(n_prompts, texts), 8),
        ),
        "pooled_diversity": (1, lambda: responses.pooled_diversity(pools_table(interval=interval))),
        "model_pair_heatmap": (
            3 if len(shown) < 3 else 4,
            lambda: heatmap_of(pairs_of(shown, interval), family, models),
        ),
    }
    if len(names) < 3:
        del makers["by_facts"]
    if len(shown) < 2:
        del makers["model_pair_heatmap"]
    for name, (n_axes, make) in makers.items():
        if only is None or name in only:
            drawn = make()
            yield name, getattr(drawn, "figure", drawn), n_axes


def bins_of(cells):
    return repetition.bin_shares(cells, {PEOPLE})


def registry(names):
    n = len(names)
    sizes, tuning = np.geomspace(0.5, 400, n), ["base" if i % 4 == 0 else "instruct" for i in range(n)]
    return {"size_b": sizes, "tuning": tuning, "release_date": [f"202{i % 6}-03-01" for i in range(n)]}


def facts_of(names, **facts):
    """Rows of `repetition.with_facts`: the arms of models, with what the registry knows."""
    arms = arms_of(names, ["mean_cosine"], people=False)
    models = models_of(names, False, **facts)
    models["release_date"] = pd.to_datetime(models["release_date"])
    return arms.join(models.set_index("model")[["family", "size_b", "tuning", "release_date"]], on="model")


# ------------------------------------------------------------------------------------------------------ what is drawn


def tick_labels(ax, which):
    """Visible tick labels of one axis within its view."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = sorted(axis.get_view_interval())
    inside = [t for t in axis.get_major_ticks() if low - 1e-9 <= t.get_loc() <= high + 1e-9]
    return [label for t in inside for label in (t.label1, t.label2) if label.get_visible() and label.get_text().strip()]


def texts_of(ax, which):
    return [label.get_text() for label in tick_labels(ax, which)]


def assert_on_the_page(fig, name):
    """Title a figure as the notebooks do; fails where an axis or a legend leaves the page or covers another."""
    figure_files.title(
        fig, f"A finding of {name} that is long enough to need the whole width of the figure, and then some"
    )
    fig.draw_without_rendering()
    renderer = fig.canvas.get_renderer()
    page = fig.bbox
    for ax in fig.axes:
        box = ax.get_tightbbox(renderer)
        if box is None or not ax.axison:
            continue
        for side, outside in (("left", page.x0 - box.x0), ("below", page.y0 - box.y0),
                              ("right", box.x1 - page.x1), ("above", box.y1 - page.y1)):  # fmt: skip
            assert outside <= 2, f"{name}: {outside:.0f} pixels {side} of the figure"
    for legend in [*fig.legends, *filter(None, (ax.get_legend() for ax in fig.axes))]:
        box = legend.get_window_extent(renderer)
        assert box.x0 >= page.x0 - 2 and box.x1 <= page.x1 + 2 and box.y0 >= page.y0 - 2, f"{name}: legend"
        for ax in fig.axes if legend in fig.legends else ():
            inner = ax.get_tightbbox(renderer)
            assert inner is None or not ax.axison or not inner.overlaps(box), f"{name}: the legend covers an axis"


def assert_no_overlap(fig, name):
    """Fails where two tick labels of an axis overlap, or those of two axes."""
    renderer = fig.canvas.get_renderer()
    seen = []
    for ax in fig.axes:
        if not ax.axison or not ax.get_visible():
            continue
        for which in "xy":
            side = 0 if which == "x" else 1
            boxes = sorted(b.get_window_extent(renderer).get_points()[:, side].tolist() for b in tick_labels(ax, which))
            for (_, end), (start, _) in pairwise(boxes):
                assert start >= end - 1, f"{name}: two {which} tick labels overlap: {texts_of(ax, which)}"
            own = [(label.get_text(), label.get_window_extent(renderer)) for label in tick_labels(ax, which)]
            for (text, box), (other, there) in product(own, seen):
                assert not box.overlaps(there), f"{name}: {text!r} covers {other!r} of another axis"
        seen += [(label.get_text(), label.get_window_extent(renderer)) for w in "xy" for label in tick_labels(ax, w)]


NAMES = {"coverage", "intra_heatmap", "references", "arm_panels", "rarefaction", "second_opinion", "paraphrases",
         "by_prompt", "by_facts", "nearest_sources", "overlap_shares", "pooled_diversity",
         "model_pair_heatmap"}  # fmt: skip


def test_every_figure_of_the_demos_size_is_labelled_readable_and_saved_whole(project):
    names = set()
    for name, fig, n_axes in draw_all(names_of(25), n_prompts=13):
        assert isinstance(fig, plt.Figure) and len(fig.axes) == n_axes, name
        assert_on_the_page(fig, name)
        table = pd.DataFrame({"x": [1]})
        figure_files.save(
            fig, name, table, profile="mine", stamp={"source": "simulated"}, caption="n = 13 prompts. " * 9
        )
        assert_no_overlap(fig, name)
        picture = plt.imread(project / "figures" / "mine" / f"{name}.png")[..., :3]
        edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
        assert picture.min() < 0.5 and min(edge.min() for edge in edges) > 0.98, f"{name} is cut off or blank"
        plt.close(fig)
        names.add(name)
    assert names == NAMES


BY_ARM = {"coverage", "intra_heatmap", "arm_panels", "model_pair_heatmap"}
BY_PROMPT = {"by_prompt", "overlap_shares", "intra_heatmap"}


@pytest.mark.parametrize(
    ("n", "n_prompts", "options"),
    [
        (1, 1, {"interval": False, "people": False}),
        (1, 13, {"only": BY_ARM | {"by_facts", "second_opinion", "paraphrases"}}),
        (2, 1, {"interval": False, "only": BY_ARM | BY_PROMPT}),
        (3, 4, {"only": BY_ARM | {"by_facts"}}),
        (50, 2, {"people": False, "only": BY_ARM - {"model_pair_heatmap"}}),
        (3, 30, {"only": BY_PROMPT}),
    ],
    ids=["one arm, one prompt", "one arm", "two arms, one prompt", "few", "fifty arms", "thirty prompts"],
)
def test_figures_of_other_sizes_are_readable(n, n_prompts, options):
    for name, fig, n_axes in draw_all(names_of(n), n_prompts, **options):
        assert len(fig.axes) == n_axes, name
        assert_on_the_page(fig, name)
        assert_no_overlap(fig, name)
        plt.close(fig)


def test_figures_with_very_long_names_dollars_and_tags_are_readable():
    names = names_of(6, [LONG, LONG.replace("2025", "2026"), "$ma_th^$-model"])
    texts = ["word " * 200, "unbroken" * 60, DOLLARS, "<script>alert('$')</script>"]
    for name, fig, n_axes in draw_all(names, 5, texts=texts):
        assert len(fig.axes) == n_axes, name
        assert_on_the_page(fig, name)
        assert_no_overlap(fig, name)
        plt.close(fig)


# ----------------------------------------------------------------------------------------------------- each by itself


def test_the_coverage_table_adds_up_prompts():
    table = response_table.outcome_shares(coverage_of(["b", "a"], n=10))
    assert table["model"].tolist() == ["a", "b"]
    assert table[["usable_min", "usable_mean", "usable_max"]].to_numpy().tolist() == [[9, 9, 9]] * 2
    assert table[["empty", "truncated", "repeated"]].to_numpy() == pytest.approx(np.array([[0.1, 0.2, 0.1]] * 2))
    assert not response_table.outcome_shares(coverage_of(["a"], n=0).assign(n_usable=0)).isna().any(axis=None)
    pd.testing.assert_frame_equal(
        response_table.outcome_shares(coverage_of(["a", "b"])), response_table.outcome_shares(coverage_of(["b", "a"]))
    )


def test_coverage_names_arms_by_model_and_by_decoding_where_there_are_several():
    fig = responses.coverage(response_table.outcome_shares(coverage_of(["a", "b"], decodings=("min_p", "top_p"))))
    left, right = fig.axes
    assert texts_of(left, "y") == ["a · min_p", "a · top_p", "b · min_p", "b · top_p"]
    assert (left.get_xlabel(), right.get_xlabel()) == ("usable responses per prompt", "share of responses")
    assert [t.get_text() for t in fig.legends[0].get_texts()] == [
        "empty",
        "cut off",
        "refused",
        "filtered",
        "not found in a list",
        "repeated word for word",
    ]
    fig = responses.coverage(response_table.outcome_shares(coverage_of(["a", "b"], decodings=("as given",))))
    assert texts_of(fig.axes[0], "y") == ["a", "b"]
    odd = coverage_of(["a", "b"]).assign(n_looping=1, n_marked=2)
    fig = responses.coverage(response_table.outcome_shares(odd))
    assert [t.get_text() for t in fig.legends[0].get_texts()][5:7] == ["loops", "template markers"]


def test_people_do_not_make_their_lack_of_a_decoding_a_second_one():
    arms = arms_of(["gpt-1", "qwen-2"], decodings=("as given",))
    models = models_of(["gpt-1", "qwen-2"])
    fig = responses.arm_panels(arms, named(MEASURES[:2]), models)
    assert set(texts_of(fig.axes[0], "y")) == {"gpt-1", "qwen-2", PEOPLE}


def test_the_heat_map_puts_the_average_first_and_people_last_and_prints_percents():
    names = ["gpt-1", "qwen-2"]
    cells = repetition_of(names, 4)
    cells.loc[cells["model"] == "gpt-1", "mean_cosine"] = 0.95
    cells.loc[cells["model"] == "qwen-2", "mean_cosine"] = -0.05
    models = models_of(names)
    ax, bar = responses.intra_heatmap(bins_of(cells), models).figure.axes
    assert texts_of(ax, "x") == ["Average", "gpt-1", "qwen-2", PEOPLE]
    assert texts_of(ax, "y")[0] == "0.9–1.0" and texts_of(ax, "y")[-1] == "< 0"
    assert (ax.get_ylabel(), bar.get_ylabel()) == ("mean similarity", "% of prompts")
    printed = [t.get_text() for t in ax.texts]
    assert printed[:4] == ["50", "100", "", ""] and printed[40:43] == ["50", "", "100"]
    colours = style.family_colours(models)
    assert [label.get_color() for label in ax.get_xticklabels()] == [
        "black",
        colours["gpt"],
        colours["qwen"],
        colours["people"],
    ]


def test_references_stand_from_different_to_alike_with_their_number_of_pairs():
    ax = responses.references(references_table()[::-1])
    labels = texts_of(ax, "y")
    assert labels[0] == "different prompts, top_p  (n = 1,234,567)"
    assert labels[-1] == "same model, closed-ended prompt, top_p  (n = 1,234,567)"
    assert [t.get_text() for t in ax.texts] == ["0.10", "0.40", "0.60", "0.75", "0.80", "0.95"]
    assert ax.get_xlabel() == "cosine similarity of two responses"


@pytest.mark.parametrize("measures", [["mean_cosine"], ["mean_cosine", "vendi_1_equal_n", "distinct_2"]])
def test_arm_panels_order_arms_by_the_first_measure(measures):
    names = ["gpt-1", "qwen-2", "llama-3"]
    arms, models = arms_of(names, measures), models_of(names)
    fig = responses.arm_panels(arms, named(measures), models)
    first = arms[arms["measure"] == "mean_cosine"].sort_values("mean")
    assert len(fig.axes) == len(measures)
    assert texts_of(fig.axes[0], "y") == first["model"].tolist()
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in fig.axes] == [NAMED[m] for m in measures]
    for ax, measure in zip(fig.axes, measures, strict=True):
        shown = ax.collections[-1].get_offsets()[:, 0]
        expected = first[["model"]].merge(arms[arms["measure"] == measure], on="model")["mean"]
        assert np.asarray(shown) == pytest.approx(expected.to_numpy())


def test_arm_panels_leave_a_gap_where_an_arm_lacks_a_measure():
    names = ["gpt-1", "qwen-2"]
    arms, models = arms_of(names), models_of(names)
    lacking = (arms["model"] == "gpt-1") & (arms["measure"] == "vendi_1_equal_n") | (arms["measure"] == "distinct_2")
    fig = responses.arm_panels(arms[~lacking], named(["mean_cosine", "vendi_1_equal_n", "distinct_2"]), models)
    fig.draw_without_rendering()
    dots = [np.ma.filled(ax.collections[-1].get_offsets()[:, 0], np.nan) for ax in fig.axes]
    assert [int(np.isnan(d).sum()) for d in dots] == [0, 1], "a measure that no arm has is left out"


def test_rarefaction_names_groups_with_their_estimate_and_shows_a_lone_point():
    ax = responses.rarefaction(curves_table(n=1))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        f"{name} (83 % seen; ≥ 40 in all)" for name in ("models, min_p", "models, top_p", "people")
    ]  # fmt: skip
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("responses drawn", "different responses")
    assert ax.lines[-1].get_color() == style.HUMAN_COLOUR and ax.lines[-1].get_marker() == "o"


def test_second_opinions_show_their_rank_correlation_if_there_is_one():
    names = ["gpt-1", "qwen-2", "llama-3"]
    models = models_of(names, False)
    wide = pd.DataFrame(
        {"model": names, "mean_cosine": [1, 2, 3], "mean_tfidf": [1, 2, 3], "mean_cosine_centred": np.nan}
    )
    agreement = pd.Series({"mean_tfidf": 1.0, "mean_cosine_centred": np.nan})
    fig = responses.second_opinion(wide, repetition.OPINIONS, agreement, models)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["ρ = 1.00", ""]
    assert [ax.get_ylabel() for ax in fig.axes] == ["TF-IDF cosine (form)", "mean cosine, centred"]
    assert len(responses.second_opinion(wide, named(["mean_tfidf"]), agreement, models).axes) == 1


def test_paraphrases_print_the_means_that_are_known():
    models = models_of(["gpt-1", "qwen-2"], False)
    for between, printed in ((True, ["0.80", "0.70", "0.60"]), (False, ["0.80", "0.70"])):
        ax = responses.paraphrases(paraphrases_table(["gpt-1", "qwen-2"], between), models)
        ax.figure.draw_without_rendering()
        assert [t.get_text() for t in ax.texts] == printed
        assert texts_of(ax, "x")[0] == "same\nprompt"


def test_nothing_to_draw_is_none():
    models = models_of(["gpt-1", "qwen-2"])
    assert responses.paraphrases(paraphrases_table([]), models) is None
    assert responses.rarefaction(curves_table()[:0]) is None
    assert responses.by_facts(facts_of(["gpt-1", "qwen-2"]), models) is None


@pytest.mark.parametrize("name", ["references", "rarefaction", "paraphrases", "intra_heatmap"])
def test_one_panel_is_drawn_into_the_axes_passed(name):
    names = ["gpt-1", "qwen-2"]
    models, (left, right) = models_of(names), plt.subplots(1, 2)[1]
    arguments = {
        "references": (references_table(),),
        "rarefaction": (curves_table(),),
        "paraphrases": (paraphrases_table(names), models),
        "intra_heatmap": (bins_of(repetition_of(names, 4)), models),
    }
    assert getattr(responses, name)(*arguments[name], ax=right) is right
    assert right.has_data() and not left.has_data()


def test_every_decoding_has_a_heat_map():
    cells = pd.concat(
        [repetition_of(["gpt-1"], 4), repetition_of(["gpt-1"], 4, people=False).replace("top_p", "min_p")]
    )
    drawn = responses.intra_heatmaps(bins_of(cells), models_of(["gpt-1"]))
    assert list(drawn) == ["min_p", "top_p"]
    assert all(texts_of(ax, "x") == ["Average", "gpt-1", PEOPLE] for ax in drawn.values())


def test_prompts_are_coloured_by_category_and_closed_ones_apart():
    fig = responses.by_prompt(by_prompt_table(6))
    bars, axes = fig.axes[0].patches, fig.axes
    names = [t.get_text() for t in fig.legends[0].get_texts()]
    assert names == ["category 1", "category 2", "category 3", "category unknown", "closed-ended"]
    colours = dict(zip(names, [h.get_facecolor() for h in fig.legends[0].get_patches()], strict=True))
    shown = ["closed-ended", "category 1", "category 2", "category 3", "category unknown", "category 1"]
    assert [bar.get_facecolor() for bar in bars] == [colours[name] for name in shown]
    assert [ax.get_xlabel() for ax in axes] == ["mean repetition", "open-endedness"]


def test_prompts_of_unknown_openness_have_one_panel_and_many_categories_are_all_drawn():
    fig = responses.by_prompt(by_prompt_table(30, known=False, interval=False, categories=29))
    fig.draw_without_rendering()
    assert len(fig.axes) == 1 and len(fig.legends[0].get_texts()) == 25


def test_the_middle_of_many_prompts_is_left_out():
    table = by_prompt_table(60)
    ax = responses.by_prompt(table, largest=10).axes[0]
    bars = [bar.get_width() for bar in ax.patches]
    assert bars == pytest.approx([*table["mean_cosine"][:5], *table["mean_cosine"][-5:]])


def test_long_prompts_are_cut_and_dollars_stay_dollars():
    texts = ["word " * 200, "unbroken" * 60, DOLLARS]
    for ax in (responses.by_prompt(by_prompt_table(3, texts)).axes[0],
               responses.overlap_shares(shares_table(3)[::-1], prompt_texts(3, texts), 8)):  # fmt: skip
        ax.figure.draw_without_rendering()
        labels = texts_of(ax, "y")
        assert DOLLARS in labels and not any(label.get_parse_math() for label in tick_labels(ax, "y"))
        assert max(map(len, labels)) <= 60
        assert {label[:10] for label in labels} == {"word word ", "unbrokenun", DOLLARS[:10]}


def test_facts_that_are_known_have_a_panel_each():
    names = names_of(4)
    dates = ["2024-05-01", "2024-01-02", "2023-01-01", None]
    fig = responses.by_facts(facts_of(names, size_b=[1.0, 7, 70, 400], release_date=dates), models_of(names))
    fig.draw_without_rendering()
    assert [ax.get_xlabel() for ax in fig.axes] == ["parameters (billions)", "release date"]
    assert fig.axes[0].get_ylabel() == "mean repetition" and fig.axes[0].get_xscale() == "log"


def test_tuning_has_two_places():
    names = names_of(4)
    facts = facts_of(names, size_b=7.0, tuning=["base", "instruct", "instruct", None])
    fig = responses.by_facts(facts, models_of(names))
    fig.draw_without_rendering()
    assert texts_of(fig.axes[1], "x") == ["base", "instruct"]
    assert len(fig.axes[1].collections[-1].get_offsets()) == 3


@pytest.mark.parametrize("column", ["mean_cosine", "mean_cosine_published"])
def test_the_pair_heat_map_prints_the_lower_triangle_of_its_column(column):
    arms = ["gpt-1", "llama-2", "qwen-3"]
    family = {arm: arm.split("-")[0] for arm in arms}
    pairs = pairs_of(arms)
    pairs.loc[1, "mean_cosine"] = np.nan
    fig = heatmap_of(pairs, family, models_of(arms), column)
    ax, strip = fig.axes[:2]
    assert texts_of(ax, "x") == texts_of(strip, "y") and sorted(texts_of(ax, "x")) == arms
    printed = [t.get_text() for t in ax.texts]
    diagonal = ".85" if column == "mean_cosine" else ".90"
    assert printed.count(diagonal) >= 3 and len(printed) - printed.count("") == 6 - (column == "mean_cosine")
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["gpt", "llama", "qwen"]


def test_nearest_sources_have_a_panel_for_each_grouping():
    fig = responses.nearest_sources(curve_table())
    assert [ax.get_ylabel() for ax in fig.axes] == ["distinct models among them", "distinct families among them"]
    assert {ax.get_xlabel() for ax in fig.axes} == {"N nearest responses"}
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["found", "random labels", "full separation"]
    assert len(responses.nearest_sources(curve_table(["model"])).axes) == 1


def test_overlap_shares_show_the_prompts_with_most_first():
    ax = responses.overlap_shares(shares_table(40), prompt_texts(40), 8, largest=5)
    assert [label.split(",")[0][-2:] for label in texts_of(ax, "y")] == ["39", "38", "37", "36", "35"]
    assert ax.get_xlabel() == "share of responses that another model gives too"
    none = responses.overlap_shares(shares_table(3).assign(exact=0.0, span=0.0), prompt_texts(3), 8)
    assert none.get_xlim() == (0, 0.05)


@pytest.mark.parametrize("pools", [["one model, k responses"], ["k models, one response each", "people"]])
def test_pools_have_a_line_each(pools):
    ax = responses.pooled_diversity(pools_table(pools, interval=False))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == pools
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("responses k", "effective number of responses")
    assert 8**0.5 < ax.get_ylim()[1] < 8


def test_figures_do_not_depend_on_the_order_of_rows():
    names = names_of(8)
    models = models_of(names)
    arms, shares, pairs = arms_of(names), bins_of(repetition_of(names, 5)), pairs_of(names)
    family = models.set_index("model")["family"].to_dict()
    for draw_one, table in (
        (lambda t: responses.intra_heatmap(t, models), shares),
        (lambda t: responses.arm_panels(t, named(MEASURES[:2]), models), arms),
        (lambda t: heatmap_of(t, family, models), pairs),
        (responses.references, references_table()),
    ):
        one, two = (draw_one(t) for t in (table, table.sample(frac=1, random_state=0)))
        for a, b in zip(getattr(one, "figure", one).axes, getattr(two, "figure", two).axes, strict=True):
            assert [texts_of(a, w) for w in "xy"] == [texts_of(b, w) for w in "xy"]
            assert [t.get_text() for t in a.texts] == [t.get_text() for t in b.texts]
