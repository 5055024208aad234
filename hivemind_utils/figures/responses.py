"""Figures: finished tables in, a Figure out. No statistics here, no files."""

import numpy as np
import pandas as pd
import textwrap

from hivemind_utils.figures import style
from hivemind_utils.figures.pages import overlap_html as overlap_html
from hivemind_utils.metrics.resample import rank_agreement
from hivemind_utils.tables.wording import short

MEASURE_NAMES = {
    "mean_cosine": "mean cosine",
    "mean_cosine_centred": "mean cosine, centred",
    "mean_cosine_truncated": "mean cosine, truncated",
    "mean_tfidf": "mean TF-IDF cosine",
    "vendi_1_equal_n": "Vendi score",
    "effective_distinct_equal_n": "effective distinct texts",
    "distinct_2": "distinct word pairs",
    "compression_ratio": "compression ratio",
    "opener_share": "commonest opener",
}



def coverage_table(coverage):
    """Per arm: usable answers a prompt, and shares of its answers by what went wrong."""
    arm = ["model", "condition", "decoding"]
    what = ["empty", "truncated", "refused", "filtered", "repeated"]
    sums = coverage.groupby(arm)[["n_answers", *(f"n_{name}" for name in what)]].sum()
    shares = sums[[f"n_{name}" for name in what]].div(sums["n_answers"].clip(lower=1), axis=0)
    usable = coverage.groupby(arm)["n_usable"].agg(["min", "mean", "max"]).add_prefix("usable_")
    shares.columns = what
    return usable.join(shares).reset_index()



def coverage(table):
    """Dots of usable answers a prompt and bars of what went wrong, one row an arm; see `coverage_table`."""
    plt = _pyplot()
    labels = _arm_labels(table)
    y = np.arange(len(table))
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, max(1.6, 0.8 + 0.135 * len(table))), sharey=True, width_ratios=[1, 1.3]
    )
    left.hlines(y, table["usable_min"], table["usable_max"], color=style.MUTED, lw=1.5)
    left.plot(table["usable_mean"], y, "o", ms=3, color=style.ACCENT)
    left.set(xlabel="usable answers a prompt", ylim=(len(table) - 0.4, -0.6))
    left.set_yticks(y, labels, parse_math=False)
    left.set_xlim(left=0)
    start = np.zeros(len(table))
    colours = {
        "empty": "#D55E00",
        "truncated": "#E69F00",
        "refused": "#CC79A7",
        "filtered": "#0072B2",
        "repeated": "#56B4E9",
    }
    for name, colour in colours.items():
        right.barh(y, table[name], left=start, color=colour, label=name, height=0.75)
        start += table[name].to_numpy()
    right.set(xlabel="share of answers", xlim=(0, max(1e-3, start.max()) * 1.02))
    fig.legend(loc="outside lower right", ncols=5)
    left.tick_params(axis="y", labelsize=5.5, length=0)
    right.tick_params(axis="y", length=0)
    return fig



def intra_heatmap(shares, models, colours):
    """Percent of prompts per bin of mean repetition: models, their average, and people apart.

    Parameters
    ----------
    shares : pandas.DataFrame
        From `intra.bin_shares`.
    models : pandas.DataFrame
        Table ``04_models``.
    colours : dict of str to str
        Colour of every family.
    """
    import seaborn as sns

    plt = _pyplot()
    wide = shares.pivot(index="bin", columns="arm", values="percent")
    wide = wide.loc[shares.drop_duplicates("bin").sort_values("low", ascending=False)["bin"]]
    family, kind = (models.set_index("model")[c].to_dict() for c in ("family", "kind"))
    model_of = shares.drop_duplicates("arm").set_index("arm")["model"]
    persons = [a for a in wide.columns if kind.get(model_of[a]) == "human"]
    centre = shares.assign(weighted=shares["percent"] * (shares["low"] + 0.05)).groupby("arm")["weighted"].sum()
    machines = sorted(set(wide.columns) - {"Average"} - set(persons), key=lambda a: -centre[a])
    order = ["Average", *machines, *persons]
    width = max(7.2, 1.4 + 0.225 * len(order)) if len(order) > 9 else max(3.5, 1.6 + 0.42 * len(order))
    fig, ax = plt.subplots(figsize=(width, 3.9))
    sns.heatmap(
        wide[order], ax=ax, cmap=style.SEQUENTIAL, vmin=0, vmax=100, linewidths=0.4, linecolor="white",
        annot=wide[order].round(0).astype(int).astype(str).where(wide[order] >= 0.5, ""), fmt="",
        annot_kws={"fontsize": 5.5}, cbar_kws={"label": "% of prompts", "shrink": 0.7, "pad": 0.01}, xticklabels=False,
    )  # fmt: skip
    for edge in (1, len(order) - len(persons)):
        if 0 < edge < len(order):
            ax.axvline(edge, color="black", lw=1.2)
    ax.set(xlabel="", ylabel="mean similarity")
    ax.set_xticks(np.arange(len(order)) + 0.5, map(short, order), rotation=90, parse_math=False)
    ax.tick_params(axis="y", rotation=0, length=0)
    ax.tick_params(axis="x", length=0, labelsize=6.5)
    for label, arm in zip(ax.get_xticklabels(), order, strict=True):
        label.set_color(colours.get(family.get(model_of[arm]), "black"))
    return fig



def references(table):
    """Kinds of pairs from alike to different: 5–95 % bar, median tick, mean dot with interval."""
    plt = _pyplot()
    table = table.sort_values("mean", ignore_index=True)
    y = np.arange(len(table))
    fig, ax = plt.subplots(figsize=(7.2, max(1.6, 0.9 + 0.3 * len(table))))
    colours = [style.HUMAN_COLOUR if kind == "people" else style.ACCENT for kind in table["kind"]]
    ax.hlines(y, table["q05"], table["q95"], color=colours, lw=5, alpha=0.22)
    ax.scatter(table["median"], y, marker="|", s=60, color=colours, lw=1.2)
    _error_dots(ax, table["mean"], y, table["lower"], table["upper"], colours)
    labels = [_reference_label(row) for row in table.itertuples()]
    ax.set(xlabel="cosine similarity of two answers", ylim=(-0.6, len(table) - 0.4))
    ax.set_yticks(y, labels, parse_math=False)
    for row, at in zip(table.itertuples(), y, strict=True):
        ax.annotate(f"{row.mean:.2f}", (row.mean, at), (0, 6), textcoords="offset points", ha="center", fontsize=6.5)
    ax.tick_params(axis="y", length=0)
    return fig



def arm_panels(arms, measures, models, colours):
    """One panel a measure, one row an arm, ordered by repetition; dots with intervals, coloured by family."""
    plt = _pyplot()
    first = arms[arms["measure"] == measures[0]].sort_values("mean", ignore_index=True)
    keys = ["model", "condition", "decoding"]
    y = np.arange(len(first))
    height = max(2.0, 1.0 + 0.125 * len(first))
    fig, axes = plt.subplots(1, len(measures), figsize=(7.2, height), sharey=True)
    family = models.set_index("model")["family"]
    axes = np.atleast_1d(axes)
    for ax, measure in zip(axes, measures, strict=True):
        values = first[keys].merge(arms[arms["measure"] == measure], on=keys, how="left")
        dots = [colours[family[m]] for m in values["model"]]
        _error_dots(ax, values["mean"], y, values["lower"], values["upper"], dots, size=8)
        ax.set_title("\n".join(textwrap.wrap(MEASURE_NAMES[measure], 14)), fontsize=7, fontweight="normal")
        ax.grid(axis="y", color="#EEEEEE", lw=0.5)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=6)
        ax.locator_params(axis="x", nbins=2)
    axes[0].set(ylim=(-0.6, len(first) - 0.4))
    axes[0].set_yticks(y, _arm_labels(first), parse_math=False)
    axes[0].tick_params(axis="y", labelsize=5.5 if len(first) > 12 else 7)
    _family_legend(fig, first["model"].map(family), colours)
    return fig



def rarefaction(curves):
    """Expected number of different answers against the number drawn, one line a group."""
    plt = _pyplot()
    fig, ax = plt.subplots(figsize=(3.5, 2.7))
    palette = iter(style.distinct(curves["group"].nunique()))
    largest = curves["n"].max()
    ax.plot([1, largest], [1, largest], color=style.MUTED, lw=0.7, ls=":")
    for name, at in curves.groupby("group"):
        colour = style.HUMAN_COLOUR if name == "people" else next(palette)
        estimate = at["estimated"].iat[0]
        label = f"{name} (Chao1 ≥ {estimate:.0f})"
        ax.plot(at["n"], at["found"], color=colour, lw=1.4, label=label, marker="o" if len(at) == 1 else None)
    ax.set(
        xlabel="answers drawn", ylabel=f"different {curves['unit'].iat[0]}s", xlim=(0, largest * 1.02), ylim=(0, None)
    )
    ax.set_ylim(0, curves["found"].max() * 1.35)
    ax.legend(loc="upper left", fontsize=6)
    return fig



def second_opinion(wide, opinions, agreement, models, colours):
    """Scatter of every other measure against the mean cosine, one dot an arm."""
    plt = _pyplot()
    family = models.set_index("model")["family"]
    fig, axes = plt.subplots(1, len(opinions), figsize=(7.2, 2.6), sharex=True)
    for ax, name in zip(np.atleast_1d(axes), opinions, strict=True):
        ax.scatter(
            wide["mean_cosine"], wide[name], s=12, c=[colours[family[m]] for m in wide["model"]], alpha=0.85, lw=0
        )
        rho = agreement[name]
        ax.set(xlabel="mean cosine", ylabel=MEASURE_NAMES[name])
        ax.set_title("" if np.isnan(rho) else f"ρ = {rho:.2f}", fontsize=8, fontweight="normal")
    _family_legend(fig, wide["model"].map(family), colours)
    return fig



def paraphrases(table, models, colours):
    """Within one wording, across wordings, between paraphrases: a line a model, mean in black."""
    plt = _pyplot()
    names = ["within", "across", "between"]
    family = models.set_index("model")["family"]
    means = table.groupby("model")[names].mean()
    fig, ax = plt.subplots(figsize=(3.5, 2.8))
    for model, row in means.iterrows():
        ax.plot(range(3), row, color=colours[family[model]], lw=0.8, alpha=0.7, marker="o", ms=2.5)
    ax.plot(range(3), means.mean(), color="black", lw=2, marker="o", ms=4)
    for x, value in enumerate(means.mean().dropna()):
        ax.annotate(
            f"{value:.2f}", (x, value), (0, 7), textcoords="offset points", ha="center", fontsize=7, fontweight="bold"
        )
    ax.set(xticks=range(3), xlim=(-0.3, 2.3), ylabel="mean cosine similarity")
    ax.set_xticklabels(["same\nprompt", "prompt ×\nparaphrase", "paraphrase ×\nparaphrase"])
    _family_legend(fig, means.index.map(family), colours, columns=3)
    return fig



def by_prompt(table, largest=45):
    """Bars of mean repetition per prompt, coloured by category; beside it against open-endedness where known."""
    plt = _pyplot()
    known = table.dropna(subset=["open_endedness"])
    shown = (
        table if len(table) <= largest else pd.concat([table.head(largest // 2), table.tail(largest - largest // 2)])
    )
    shown = shown.reset_index(drop=True)
    category = shown["category"].where(shown["category"].notna(), "category unknown")
    category = category.mask(shown["kind"] == "closed", "closed-ended")
    names = sorted(set(category))
    palette = dict(zip(names, style.distinct(len(names)), strict=True))
    height = max(2.0, 1.0 + 0.17 * len(shown))
    fig, axes = plt.subplots(
        1, 2 if len(known) else 1, figsize=(7.2, height), width_ratios=[1.9, 1][: 2 if len(known) else 1]
    )
    ax = np.atleast_1d(axes)[0]
    y = np.arange(len(shown))
    ax.barh(y, shown["mean_cosine"], color=[palette[c] for c in category], height=0.72)
    ax.hlines(y, shown["lower"], shown["upper"], color="black", lw=0.8)
    ax.set(xlabel="mean repetition", ylim=(len(shown) - 0.4, -0.6))
    ax.set_yticks(y, [short(text, 58) for text in shown["text"]], parse_math=False)
    ax.tick_params(axis="y", labelsize=6, length=0)
    handles = [plt.Rectangle((0, 0), 1, 1, color=palette[c]) for c in palette]
    _plain(fig.legend(handles, palette, loc="outside lower center", ncols=3, fontsize=6))
    if len(known):
        axes[1].scatter(known["open_endedness"], known["mean_cosine"], s=14, color=style.ACCENT)
        axes[1].set(xlabel="open-endedness", ylabel="mean repetition")
    return fig



def by_facts(table, colours):
    """Repetition against size, tuning and release date, as far as the registry knows them.

    Returns
    -------
    fig : matplotlib.figure.Figure or None
        None where nothing is known.
    correlations : dict of str to float
        Spearman correlation with log size and with date.
    """
    plt = _pyplot()
    dates = pd.to_datetime(table["release_date"], format="ISO8601", errors="coerce")  # a registry may say "2024-05"
    table = table.assign(release_date=dates)
    known = [name for name in ("size_b", "tuning", "release_date") if table[name].notna().sum() > 2]
    if not known:
        return None, {}
    fig, axes = plt.subplots(1, len(known), figsize=(2.4 * len(known), 2.7), sharey=True, squeeze=False)
    correlations = {}
    for ax, name in zip(axes[0], known, strict=True):
        at = table.dropna(subset=[name])
        if name == "tuning":
            x = at[name].map({"base": 0, "instruct": 1}) + np.linspace(-0.18, 0.18, len(at))
            for value, group in at.groupby(name):
                place = {"base": 0, "instruct": 1}[value]
                ax.hlines(group["mean"].mean(), place - 0.28, place + 0.28, color="black", lw=2)
            ax.set(xticks=[0, 1], xticklabels=["base", "instruct"], xlim=(-0.5, 1.5))
        else:
            x = at[name]
            one = at.assign(rank=x.rank()).groupby("model")[["rank", "mean"]].mean()
            rho = rank_agreement(one["rank"], one["mean"])
            if not np.isnan(rho):
                correlations["size" if name == "size_b" else "release date"] = rho
            ax.set(xlabel="parameters (billions)" if name == "size_b" else "release date")
            if name == "size_b":
                ax.set_xscale("log")
            else:
                ax.xaxis.set_major_locator(_dates().AutoDateLocator(minticks=2, maxticks=7))
                ax.xaxis.set_major_formatter(_dates().ConciseDateFormatter(ax.xaxis.get_major_locator()))
        _error_dots(
            ax, x, at["mean"], at["lower"], at["upper"], [colours[f] for f in at["family"]], vertical=True, size=12
        )
    axes[0, 0].set_ylabel("mean repetition")
    _family_legend(fig, table["family"], colours)
    return fig, correlations



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
    ax.set_xticks(np.arange(n) + 0.5, map(short, order), rotation=90, fontsize=6.5, parse_math=False)
    ax.tick_params(axis="both", length=0)
    strip.imshow(np.array([_rgb(colours[family[a]]) for a in order])[:, None], aspect="auto", extent=(0, 1, n, 0))
    strip.set_xticks([])
    strip.set_yticks(np.arange(n) + 0.5, map(short, order), fontsize=6.5, parse_math=False)
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
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[f]) for f in sorted(present)]
    if n > 5 + len(present):  # the empty triangle has room
        legend = ax.legend(handles, sorted(present), title="family", loc="upper right", fontsize=6, title_fontsize=7)
    else:
        legend = fig.legend(handles, sorted(present), loc="outside lower center", ncols=3, fontsize=6)
    _plain(legend)
    return fig



def nearest_sources(curve):
    """Distinct sources among the N nearest answers, with floor and random-label expectation; models and families; None without any."""
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



def _pyplot():
    import matplotlib.pyplot as plt

    return plt



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
    return [short(" · ".join(filter(None, row))) for row in zip(*parts, strict=True)]



def _plain(legend):
    """Print a dollar in a legend as a dollar."""
    for text in legend.get_texts():
        text.set_parse_math(False)



def _reference_label(row):
    where = "" if row.decoding in ("all", "as given") else f", {row.decoding}"
    return f"{row.kind}{where}  (n = {row.n_pairs:,})"



def _error_dots(ax, x, y, lower, upper, colours, *, vertical=False, size=16):
    line = ax.vlines if vertical else ax.hlines
    line(x if vertical else y, lower, upper, color=colours, lw=1)
    ax.scatter(x, y, s=size, c=colours, zorder=3, lw=0)



def _family_legend(fig, families, colours, columns=8):
    plt = _pyplot()
    names = sorted(set(families))
    if len(names) < 2:
        return
    handles = [plt.Line2D([], [], marker="o", ls="", ms=4, color=colours[f]) for f in names]
    _plain(fig.legend(handles, names, loc="outside lower center", ncols=min(len(names), columns), fontsize=6.5))
