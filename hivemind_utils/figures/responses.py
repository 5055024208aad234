"""Figures: finished tables in, a Figure out. No statistics here, no files."""

import textwrap

import numpy as np
import pandas as pd

from hivemind_utils.figures import style
from hivemind_utils.figures.measures import against_paper as against_paper
from hivemind_utils.figures.measures import encoder_arms as encoder_arms
from hivemind_utils.figures.measures import encoder_pairs as encoder_pairs
from hivemind_utils.figures.measures import measure_validity as measure_validity
from hivemind_utils.figures.measures import pairs_against_paper as pairs_against_paper
from hivemind_utils.tables.wording import short, short_name


def coverage(table):
    """Dots of usable responses per prompt and bars of what went wrong, one row per arm.

    Parameters
    ----------
    table : pandas.DataFrame
        From `table.outcome_shares`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for an empty table.
    """
    if table.empty:
        return None
    plt = style.pyplot()
    y = np.arange(len(table))
    size = 7.2, max(1.6, 0.8 + 0.135 * len(table))
    fig, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[1, 1.3])
    left.hlines(y, table["usable_min"], table["usable_max"], color=style.MUTED, lw=1.5)
    left.plot(table["usable_mean"], y, "o", ms=3, color=style.ACCENT)
    left.set(xlabel="usable responses per prompt", ylim=(len(table) - 0.4, -0.6))
    left.set_yticks(y, _arm_labels(table), parse_math=False)
    left.set_xlim(left=0)
    start = np.zeros(len(table))
    bars = {
        "empty": ("empty", "#D55E00"),
        "truncated": ("cut off", "#E69F00"),
        "refused": ("refused", "#CC79A7"),
        "filtered": ("filtered", "#0072B2"),
        "unparsed": ("not found in a list", "#332288"),
        "looping": ("loops", "#117733"),
        "marked": ("template markers", "#999933"),
        "repeated": ("repeated word for word", "#56B4E9"),
    }
    rare = ("looping", "marked")
    bars = {name: bar for name, bar in bars.items() if name not in rare or table[name].any()}
    for name, (label, colour) in bars.items():
        right.barh(y, table[name], left=start, color=colour, label=label, height=0.75)
        start += table[name].to_numpy()
    right.set(xlabel="share of responses", xlim=(0, max(1e-3, start.max()) * 1.02))
    fig.legend(loc="outside lower right", ncols=6 if len(bars) < 7 else 4)
    left.tick_params(axis="y", labelsize=5.5, length=0)
    right.tick_params(axis="y", length=0)
    return fig


def intra_heatmaps(shares, models):
    """Draw `intra_heatmap` for every decoding of `repetition.bin_shares`: dict of str to Axes."""
    return {decoding: intra_heatmap(at, models) for decoding, at in shares.groupby("decoding")}


def intra_heatmap(shares, models, ax=None):
    """Percent of prompts per bin of mean repetition: models, their average, and people apart.

    Parameters
    ----------
    shares : pandas.DataFrame
        From `repetition.bin_shares`, one decoding.
    models : pandas.DataFrame
        Table ``04_models``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    import seaborn as sns

    facts, colours = _by_model(models), style.family_colours(models)
    wide = shares.pivot(index="bin", columns="arm", values="percent")
    wide = wide.loc[shares.drop_duplicates("bin").sort_values("low", ascending=False)["bin"]]
    model_of = shares.drop_duplicates("arm").set_index("arm")["model"]
    human = set(facts.index[facts["model_kind"] == "human"])
    persons = [a for a in wide.columns if model_of[a] in human]
    centre = shares.assign(weighted=shares["percent"] * (shares["low"] + 0.05)).groupby("arm")["weighted"].sum()
    machines = sorted(set(wide.columns) - {"Average"} - set(persons), key=lambda a: (-centre[a], a))
    order = ["Average", *machines, *persons]
    width = max(7.2, 1.4 + 0.225 * len(order)) if len(order) > 9 else max(3.5, 1.6 + 0.42 * len(order))
    ax = style.axes(ax, (width, 3.9))
    sns.heatmap(
        wide[order], ax=ax, cmap=style.SEQUENTIAL, vmin=0, vmax=100, linewidths=0.4, linecolor="white",
        annot=wide[order].round(0).astype(int).astype(str).where(wide[order] >= 0.5, ""), fmt="",
        annot_kws={"fontsize": 5.5}, cbar_kws={"label": "% of prompts", "shrink": 0.7, "pad": 0.01}, xticklabels=False,
    )  # fmt: skip
    for edge in (1, len(order) - len(persons)):
        if 0 < edge < len(order):
            ax.axvline(edge, color="black", lw=1.2)
    ax.set(xlabel="", ylabel="mean similarity")
    ax.set_xticks(np.arange(len(order)) + 0.5, map(short_name, order), rotation=90, parse_math=False)
    ax.tick_params(axis="y", rotation=0, length=0)
    ax.tick_params(axis="x", length=0, labelsize=6.5)
    for label, arm in zip(ax.get_xticklabels(), order, strict=True):
        label.set_color(colours.get(facts["family"].get(model_of[arm]), "black"))
    return ax


def references(table, ax=None):
    """Kinds of pairs from alike to different: 5–95 % bar, median tick, mean dot with interval; returns the axes."""
    table = table.sort_values("mean", ignore_index=True)
    y = np.arange(len(table))
    ax = style.axes(ax, (7.2, max(1.6, 0.9 + 0.3 * len(table))))
    colours = [style.HUMAN_COLOUR if kind == "people" else style.ACCENT for kind in table["pair_type"]]
    ax.hlines(y, table["q05"], table["q95"], color=colours, lw=5, alpha=0.22)
    ax.scatter(table["median"], y, marker="|", s=60, color=colours, lw=1.2)
    ax.hlines(y, table["lower"], table["upper"], color=colours, lw=1)
    ax.scatter(table["mean"], y, s=16, c=colours, zorder=3, lw=0)
    labels = [_reference_label(row) for row in table.itertuples()]
    ax.set(xlabel="cosine similarity of two responses", ylim=(-0.6, len(table) - 0.4))
    ax.set_yticks(y, labels, parse_math=False)
    for row, at in zip(table.itertuples(), y, strict=True):
        ax.annotate(f"{row.mean:.2f}", (row.mean, at), (0, 6), textcoords="offset points", ha="center", fontsize=6.5)
    ax.tick_params(axis="y", length=0)
    return ax


def arm_panels(arms, names, models):
    """One panel per measure, one row per arm, ordered by repetition; dots with intervals, coloured by family.

    Parameters
    ----------
    arms : pandas.DataFrame
        Table ``05_arms``.
    names : dict of str to str
        Measures and their printed names, the one that orders first; those that no arm has are left out.
    models : pandas.DataFrame
        Table ``04_models``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    plt, family = style.pyplot(), _by_model(models)["family"]
    measures = [name for name in names if name in set(arms["measure"])]
    first = arms[arms["measure"] == measures[0]].sort_values("mean", ignore_index=True)
    keys = ["model", "condition", "decoding"]
    y = np.arange(len(first))
    height = max(2.0, 1.0 + 0.125 * len(first))
    fig, axes = plt.subplots(1, len(measures), figsize=(7.2, height), sharey=True, squeeze=False)
    for ax, measure in zip(axes[0], measures, strict=True):
        values = first[keys].merge(arms[arms["measure"] == measure], on=keys, how="left")
        _error_dots(ax, values.assign(family=values["model"].map(family)), y, models, size=8)
        ax.set_title("\n".join(textwrap.wrap(names[measure], 14)), fontsize=7, fontweight="normal")
        ax.grid(axis="y", color="#EEEEEE", lw=0.5)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=6)
        ax.locator_params(axis="x", nbins=2)
    axes[0, 0].set(ylim=(-0.6, len(first) - 0.4))
    axes[0, 0].set_yticks(y, _arm_labels(first), parse_math=False)
    axes[0, 0].tick_params(axis="y", labelsize=5.5 if len(first) > 12 else 7)
    style.family_legend(fig, first["model"].map(family), models)
    return fig


def rarefaction(curves, ax=None):
    """Expected number of different responses against the number drawn, one line per group with its coverage.

    Returns
    -------
    matplotlib.axes.Axes or None
        None where there are no curves.
    """
    if curves.empty:
        return None
    ax = style.axes(ax, (3.5, 2.7))
    palette = iter(style.distinct(curves["group"].nunique()))
    largest = curves["n"].max()
    ax.plot([1, largest], [1, largest], color=style.MUTED, lw=0.7, ls=":")
    for name, at in curves.groupby("group"):
        colour = style.HUMAN_COLOUR if name == "people" else next(palette)
        label = f"{name} ({100 * at['coverage'].iat[0]:.0f} % seen; ≥ {at['estimated'].iat[0]:.0f} in all)"
        ax.plot(at["n"], at["found"], color=colour, lw=1.4, label=label, marker="o" if len(at) == 1 else None)
    ax.set(xlabel="responses drawn", ylabel=f"different {curves['unit'].iat[0]}s", xlim=(0, largest * 1.02))
    ax.set_ylim(0, curves["found"].max() * 1.35)
    ax.legend(loc="upper left", fontsize=6)
    return ax


def second_opinion(wide, names, agreement, models):
    """Scatter of other similarities against the mean cosine, one dot per arm.

    Parameters
    ----------
    wide : pandas.DataFrame
        From `repetition.by_arm`.
    names : dict of str to str
        Measures and their printed names.
    agreement : pandas.Series
        Rank correlation by measure.
    models : pandas.DataFrame
        Table ``04_models``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    plt, family = style.pyplot(), _by_model(models)["family"]
    measures = [name for name in names if name in wide]
    fig, axes = plt.subplots(1, len(measures), figsize=(7.2, 2.6), sharex=True, squeeze=False)
    families = wide["model"].map(family).tolist()
    for ax, measure in zip(axes[0], measures, strict=True):
        style.family_dots(ax, wide["mean_cosine"], wide[measure], families, models, s=12, alpha=0.85, lw=0)
        rho = agreement[measure]
        ax.set(xlabel="mean cosine", ylabel=names[measure])
        ax.set_title("" if np.isnan(rho) else f"ρ = {rho:.2f}", fontsize=8, fontweight="normal")
    style.family_legend(fig, families, models)
    return fig


def paraphrases(table, models, ax=None):
    """Within one wording, across wordings, between paraphrases: one line per model, their mean in black.

    Returns
    -------
    matplotlib.axes.Axes or None
        None where there are no paraphrases.
    """
    if table.empty:
        return None
    colours, shapes, family = style.family_colours(models), style.family_shapes(models), _by_model(models)["family"]
    names = ["within", "across", "between"]
    means = table.groupby("model")[names].mean()
    ax = style.axes(ax, (3.5, 2.8))
    for model, row in means.iterrows():
        of = family[model]
        ax.plot(range(3), row, color=colours[of], lw=0.8, alpha=0.7, marker=shapes[of], ms=2.5)
    ax.plot(range(3), means.mean(), color="black", lw=2, marker="o", ms=4)
    for x, value in enumerate(means.mean().dropna()):
        ax.annotate(
            f"{value:.2f}", (x, value), (0, 7), textcoords="offset points", ha="center", fontsize=7, fontweight="bold"
        )
    ax.set(xticks=range(3), xlim=(-0.3, 2.3), ylabel="mean cosine similarity")
    ax.set_xticklabels(["same\nprompt", "prompt ×\nparaphrase", "paraphrase ×\nparaphrase"])
    style.family_legend(ax.figure, means.index.map(family), models, columns=3)
    return ax


def by_prompt(table, largest=45):
    """Bars of mean repetition per prompt, coloured by category; next to it against open-endedness where known.

    Parameters
    ----------
    table : pandas.DataFrame
        From `repetition.by_prompt`.
    largest : int
        Of more prompts, the middle is left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    plt = style.pyplot()
    known = table.dropna(subset=["open_endedness"])
    shown = (
        table if len(table) <= largest else pd.concat([table.head(largest // 2), table.tail(largest - largest // 2)])
    )
    shown = shown.reset_index(drop=True)
    category = shown["category"].where(shown["category"].notna(), "category unknown")
    category = category.mask(shown["prompt_kind"] == "closed", "closed-ended")
    names = sorted(set(category))
    palette = dict(zip(names, style.distinct(len(names)), strict=True))
    height = max(2.0, 1.0 + 0.17 * len(shown))
    widths = [1.9, 1] if len(known) else [1]
    fig, axes = plt.subplots(1, len(widths), figsize=(7.2, height), width_ratios=widths, squeeze=False)
    ax, y = axes[0, 0], np.arange(len(shown))
    ax.barh(y, shown["mean_cosine"], color=[palette[c] for c in category], height=0.72)
    ax.hlines(y, shown["lower"], shown["upper"], color="black", lw=0.8)
    ax.set(xlabel="mean repetition", ylim=(len(shown) - 0.4, -0.6))
    ax.set_yticks(y, [short(text, 58) for text in shown["text"]], parse_math=False)
    ax.tick_params(axis="y", labelsize=6, length=0)
    handles = [plt.Rectangle((0, 0), 1, 1, color=palette[c]) for c in palette]
    style.plain(fig.legend(handles, palette, loc="outside lower center", ncols=3, fontsize=6))
    if len(known):
        axes[0, 1].scatter(known["open_endedness"], known["mean_cosine"], s=14, color=style.ACCENT)
        axes[0, 1].set(xlabel="open-endedness", ylabel="mean repetition")
    return fig


def by_facts(table, models):
    """Repetition against size, tuning and release date, as far as the registry knows them.

    Parameters
    ----------
    table : pandas.DataFrame
        From `repetition.with_facts`.
    models : pandas.DataFrame
        Table ``04_models``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where nothing is known of three arms.
    """
    known = [name for name in ("size_b", "tuning", "release_date") if table[name].notna().sum() > 2]
    if not known:
        return None
    plt = style.pyplot()
    fig, axes = plt.subplots(1, len(known), figsize=(2.4 * len(known), 2.7), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], known, strict=True):
        at = table.dropna(subset=[name])
        x = _tuning(ax, at) if name == "tuning" else at[name]
        if name == "size_b":
            ax.set(xlabel="parameters (billions)", xscale="log")
        elif name == "release_date":
            ax.set(xlabel="release date")
            ax.xaxis.set_major_locator(_dates().AutoDateLocator(minticks=2, maxticks=7))
            ax.xaxis.set_major_formatter(_dates().ConciseDateFormatter(ax.xaxis.get_major_locator()))
        _error_dots(ax, at, x, models, vertical=True, size=12)
    axes[0, 0].set_ylabel("mean repetition")
    style.family_legend(fig, table["family"], models)
    return fig


def _tuning(ax, table):
    """Places of the dots of base and instruct models, with their means drawn."""
    places = {"base": 0, "instruct": 1}
    for value, group in table.groupby("tuning"):
        ax.hlines(group["mean"].mean(), places[value] - 0.28, places[value] + 0.28, color="black", lw=2)
    ax.set(xticks=[0, 1], xticklabels=["base", "instruct"], xlim=(-0.5, 1.5))
    return table["tuning"].map(places) + np.linspace(-0.18, 0.18, len(table))


def _by_model(models):
    """Table ``04_models`` with its rows by model."""
    return models.set_index("model") if "model" in models else models


def model_pair_heatmap(values, tree, family, models):
    """Lower triangle of model pairs ordered by clustering, with the tree above and family colours beside.

    Parameters
    ----------
    values : pandas.DataFrame
        Symmetric matrix of similarities, arms in the order drawn; see `homogeneity.square`.
    tree : ndarray or None
        Linkage of the arms in that order, from `homogeneity.family_order`; None draws no tree.
    family : dict of str to str
        Family of every arm.
    models : pandas.DataFrame
        Table ``04_models``, for the families' colours.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for fewer than two arms.
    """
    import seaborn as sns
    from scipy.cluster.hierarchy import dendrogram

    plt, colours = style.pyplot(), style.family_colours(models)
    order = list(values.index)
    n = len(order)
    if n < 2:
        return None
    side = min(max(3.0, 1.2 + 0.215 * n), 14)
    fig = plt.figure(figsize=(side + 1.6, side + 1.2))
    grid = fig.add_gridspec(2, 3, height_ratios=[0.12, 1], width_ratios=[0.025, 1, 0.03], hspace=0.01, wspace=0.01)
    ax, strip = fig.add_subplot(grid[1, 1]), fig.add_subplot(grid[1, 0])
    upper = np.triu(np.ones((n, n), bool), 1)
    low = np.nanmin(values.to_numpy())
    sns.heatmap(
        values, mask=upper, ax=ax, cmap=style.SEQUENTIAL, vmin=np.floor(low * 20) / 20, vmax=1, square=False,
        annot=values.round(2).map(lambda v: f"{v:.2f}".removeprefix("0") if v == v else ""), fmt="",
        annot_kws={"fontsize": 4.2 if n > 16 else 6}, linewidths=0.3, linecolor="white",
        cbar_ax=fig.add_subplot(grid[1, 2]), cbar_kws={"label": "mean cosine similarity"},
        xticklabels=False, yticklabels=False,
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.set_xticks(np.arange(n) + 0.5, map(short_name, order), rotation=90, fontsize=6.5, parse_math=False)
    ax.tick_params(axis="both", length=0)
    strip.imshow(np.array([_rgb(colours[family[a]]) for a in order])[:, None], aspect="auto", extent=(0, 1, n, 0))
    strip.set_xticks([])
    strip.set_yticks(np.arange(n) + 0.5, map(short_name, order), fontsize=6.5, parse_math=False)
    strip.tick_params(length=0)
    for spine in strip.spines.values():
        spine.set_visible(False)
    if tree is not None:
        top = fig.add_subplot(grid[0, 1])
        dendrogram(tree, ax=top, color_threshold=0, above_threshold_color="#666666", no_labels=True)
        for lines in top.collections:
            lines.set_linewidth(0.6)
        top.set_axis_off()
    present = list(dict.fromkeys(family[a] for a in order))
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[f]) for f in sorted(present)]  # rows have their names
    if n > 5 + len(present):  # the empty triangle has room
        legend = ax.legend(handles, sorted(present), title="family", loc="upper right", fontsize=6, title_fontsize=7)
    else:
        legend = fig.legend(handles, sorted(present), loc="outside lower center", ncols=3, fontsize=6)
    style.plain(legend)
    return fig


def nearest_sources(curve):
    """Distinct sources among the N nearest responses, with floor and random labels; None without any."""
    if curve.empty:
        return None
    plt = style.pyplot()
    groups = [by for by in ("model", "family") if (curve["by"] == by).any()]
    fig, axes = plt.subplots(1, len(groups), figsize=(3.5 * len(groups), 2.8), squeeze=False)
    for ax, by in zip(axes[0], groups, strict=True):
        at = curve[curve["by"] == by]
        x = at["n_nearest"]
        ax.fill_between(x, at["quartile_1"], at["quartile_3"], color=style.ACCENT, alpha=0.15, lw=0)
        ax.plot(x, at["n_sources"], color=style.ACCENT, lw=1.6, label="found")
        ax.vlines(x, at["lower"], at["upper"], color=style.ACCENT, lw=0.6)
        ax.plot(x, at["expected"], color="#D55E00", lw=1.2, ls="--", label="random labels")
        ax.plot(x, at["separated"], color=style.MUTED, lw=1.2, label="full separation")
        plural = {"model": "models", "family": "families"}[by]
        ax.set(
            xlabel="N nearest responses", ylabel=f"distinct {plural} among them", ylim=(0, None), xlim=(0, x.max() + 1)
        )
        ax.legend(loc="upper left")
        ax.set_ylim(0, at[["expected", "quartile_3"]].max().max() * 1.3)
    return fig


def overlap_shares(shares, prompt_texts, min_span_words, largest=30, ax=None):
    """Share of each prompt's responses that another model gives word for word, or shares a long run with.

    Returns
    -------
    matplotlib.axes.Axes or None
        None where there are no shares.
    """
    if shares.empty:
        return None
    table = shares.sort_values("span", ascending=False).head(largest).reset_index(drop=True)
    y = np.arange(len(table))
    ax = style.axes(ax, (7.2, max(1.6, 1.0 + 0.19 * len(table))))
    ax.barh(y, table["span"], color="#56B4E9", height=0.75, label=f"whole text, or ≥ {min_span_words} words in a row")
    ax.barh(y, table["exact"], color=style.ACCENT, height=0.75, label="whole text")
    ax.set(ylim=(len(table) - 0.4, -0.6), xlim=(0, max(0.05, table["span"].max() * 1.05)))
    ax.set_yticks(y, [short(prompt_texts[p], 60) for p in table["prompt_id"]], parse_math=False)
    ax.set_xlabel("share of responses that another model gives too")
    ax.tick_params(axis="y", labelsize=6.5, length=0)
    ax.figure.legend(loc="outside lower right", ncols=2)
    return ax


def pooled_diversity(table, ax=None):
    """Effective number of responses among k, from one model, from k models, from people; returns the axes."""
    ax = style.axes(ax, (3.5, 2.8))
    colours = {
        "one model, k responses": style.ACCENT,
        "k models, one response each": "#E69F00",
        "people": style.HUMAN_COLOUR,
    }
    for name, at in table.groupby("pool", sort=False):
        ax.plot(at["k"], at["vendi_1"], color=colours[name], marker="o", ms=3, lw=1.3, label=name)
        ax.fill_between(at["k"], at["lower"], at["upper"], color=colours[name], alpha=0.15, lw=0)
    ax.set(xlabel="responses k", ylabel="effective number of responses", xlim=(0, None), ylim=(0, None))
    ax.legend(loc="upper left")
    ax.set_ylim(0, table[["vendi_1", "upper"]].max().max() * 1.25)
    return ax


def _dates():
    import matplotlib.dates

    return matplotlib.dates


def _rgb(colour):
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _arm_labels(table):
    """Model, with condition and decoding where the table has several of them."""
    parts = [table["model"]]
    for name in ("condition", "decoding"):
        if len(set(table[name]) - {"none"}) > 1:  # people have no decoding
            parts.append(table[name].mask(table[name].isin(["default", "none"]), ""))
    return [short_name(" · ".join(filter(None, row))) for row in zip(*parts, strict=True)]


def _reference_label(row):
    where = "" if row.decoding in ("all", "as given") else f", {row.decoding}"
    return f"{row.pair_type}{where}  (n = {row.n_pairs:,})"


def _error_dots(ax, table, places, models, *, vertical=False, size=16):
    """Dots at `mean` with their intervals, in the look of their families; `places` is the other coordinate."""
    colours, families = style.family_colours(models), table["family"].tolist()
    line = ax.vlines if vertical else ax.hlines
    line(places, table["lower"], table["upper"], color=[colours[family] for family in families], lw=1)
    x, y = (places, table["mean"]) if vertical else (table["mean"], places)
    style.family_dots(ax, x, y, families, models, s=size, zorder=3, lw=0)
