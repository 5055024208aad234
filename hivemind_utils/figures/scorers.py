"""Figures of notebook 09: finished tables in, Axes or a Figure out; None where there is nothing to draw."""

import textwrap

import numpy as np

from hivemind_utils.figures import style
from hivemind_utils.tables.wording import scorer_kind, short_name

KIND_COLOURS = {
    "lm": "#0072B2", "lm perplexity": "#56B4E9", "reward": "#D55E00", "judge": "#009E73", "metric": "#CC79A7",
    "text": "#999933",
}  # fmt: skip
VERDICT_COLOURS = {
    "degrades": "#D55E00", "degrades, keeps more than half": "#E69F00", "holds up": "#009E73",
    "inconclusive": "#8A8F98", "not testable": "#CCCCCC",
}  # fmt: skip
PANELS = {
    "absolute": {"similar": "items of similar human mean", "contested": "items of highest entropy"},
    "pairs": {"similar": "pairs most often called a tie", "contested": "pairs that annotators agree on least"},
}
NULL, LINE = "range-restriction null (95 %)", "range restriction on a straight line"


def calibration(kinds, words):
    """Bars of the mean correlation per kind of scorer and subset, with the range-restriction null where it applies.

    Parameters
    ----------
    kinds : pandas.DataFrame
        ``09_kinds`` of one type of item.
    words : dict of str to str
        Rule to its name on the axis.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if kinds.empty:
        return None
    plt = style.pyplot()
    order = kind_order(kinds["scorer_type"])
    titles = PANELS[kinds["items"].iloc[0]]
    families = [family for family in titles if (kinds["family"] == family).any()]
    size = (7.2, 2.5 * len(families) + 0.6)
    fig, axes = plt.subplots(len(families), 1, figsize=size, squeeze=False)
    for ax, family in zip(axes[:, 0], families, strict=True):
        at = kinds[kinds["family"].isin(["full", family])]
        rules = list(dict.fromkeys(at["rule"]))
        width = 0.8 / len(order)
        for j, kind in enumerate(order):
            row = at[at["scorer_type"] == kind].set_index("rule").reindex(rules)
            x = np.arange(len(rules)) + (j - (len(order) - 1) / 2) * width
            ax.bar(x, row["rho"], width * 0.86, color=kind_colour(kind), alpha=0.85, label=scorer_kind(kind))
            ax.vlines(x, row["lower"], row["upper"], color="black", lw=0.7)
            band = row["null_upper"] - row["null_lower"]
            ax.bar(x, band, width, row["null_lower"], color="none", edgecolor="black", lw=0.5, ls=":")
            ax.scatter(x, row["line"], marker="o", s=9, facecolor="none", edgecolor="black", lw=0.6, zorder=4)
            ax.scatter(x, row["published"], marker="D", s=9, color="white", edgecolor="black", lw=0.6, zorder=5)
        sizes = at.groupby("rule")["n"].max().reindex(rules)
        ax.set_xticks(range(len(rules)), [_tick(words[r], n) for r, n in zip(rules, sizes, strict=True)])
        ax.tick_params(axis="x", labelsize=5.8, length=0)
        ax.axhline(0, color="black", lw=0.6)
        ax.set_ylabel("Spearman ρ")
        ax.set_title(titles[family], fontsize=8, fontweight="normal")
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles += [
        plt.Rectangle((0, 0), 1, 1, facecolor="none", edgecolor="black", ls=":", lw=0.8),
        plt.Line2D([], [], marker="o", ls="", ms=4, mfc="none", mec="black"),
        plt.Line2D([], [], marker="D", ls="", ms=4, mfc="white", mec="black"),
    ]
    names += [f"{NULL}, pointwise", LINE, "paper"]
    shown = len(names) - kinds["published"].isna().all()  # the paper stands in the legend where it is drawn
    fig.legend(handles[:shown], names[:shown], loc="outside lower center", ncols=3)
    return fig


def _tick(name, n):
    return f"{name.replace(' by ', chr(10) + 'by ').replace(', ', ',' + chr(10)).replace(' with ', chr(10))}\nn = {n}"


def verdict(kinds, verdicts, words):
    """Correlation on all, similar and most contested items, with the range-restriction null and the verdict per kind.

    Parameters
    ----------
    kinds : pandas.DataFrame
        ``09_kinds`` of one type of item.
    verdicts : pandas.DataFrame
        ``09_verdicts`` of the same items.
    words : dict of str to str
        The rules to draw, to their names on the axis.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    decided = verdicts[verdicts["level"] == "kind"].set_index("scorer_type")["verdict"]
    order = [kind for kind in kind_order(kinds["scorer_type"]) if kind in decided.index]
    if not order:
        return None
    size = (max(3.5, 1.9 * len(order) + 0.5), 3.2)
    fig, axes = style.pyplot().subplots(1, len(order), figsize=size, sharey=True, squeeze=False)
    x = np.arange(len(words))
    for ax, kind in zip(axes[0], order, strict=True):
        at = kinds[kinds["scorer_type"] == kind].set_index("rule").reindex(list(words))
        ax.bar(x, at["null_upper"] - at["null_lower"], 0.7, at["null_lower"], color="#D9D9D9", label=NULL)
        ax.hlines(at["expected"], x - 0.35, x + 0.35, color="#777777", lw=1, label="loses nothing")
        ax.plot(x, at["line"], color="#777777", marker="o", mfc="none", ms=7, ls="", label=LINE)
        ax.plot(x, at["people"], color="black", marker="_", ms=13, mew=1.4, ls="", label="half of the annotators")
        errors = [at["rho"] - at["lower"], at["upper"] - at["rho"]]
        ax.errorbar(x, at["rho"], errors, fmt="o", ms=5, lw=1.2, color=kind_colour(kind), label="scorers")
        ax.set_xticks(x, [_wrapped(name) for name in words.values()])
        ax.tick_params(axis="x", labelsize=5.8)
        title = f"{scorer_kind(kind)} ({int(at['n_scorers'].max())})".replace(" models (", "\nmodels (")
        ax.set_title(title, fontsize=7.5, fontweight="normal", color=kind_colour(kind))
        word = decided[kind]
        colour = "#777777" if word == "not testable" else VERDICT_COLOURS[word]
        ax.set_xlabel(word.replace(", ", ",\n"), color=colour, fontsize=7.5, fontweight="bold")
        ax.axhline(0, color="black", lw=0.6)
        ax.set_xlim(-0.6, len(words) - 0.4)
    axes[0, 0].set_ylabel("Spearman ρ with people")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=min(3, 2 * len(order)))
    return fig


def _wrapped(name):
    """A name on short lines, which do not part a number from what it counts."""
    parts = name.replace(" %", "\xa0%").replace(" = ", "\xa0=\xa0")
    return textwrap.fill(parts, 10).replace("\xa0", " ")


def kept(verdicts, ax=None):
    """Share of the correlation that every scorer keeps where people differ, coloured by verdict; kinds in bold.

    Parameters
    ----------
    verdicts : pandas.DataFrame
        ``09_verdicts`` of one type of item.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
    """
    table = verdicts[verdicts["kept"].notna()]
    if table.empty:
        return None
    order = {kind: i for i, kind in enumerate(kind_order(table["scorer_type"]))}
    table = table.assign(place=table["scorer_type"].map(order), top=table["level"] != "kind")
    table = table.sort_values(["place", "top", "kept"], ignore_index=True)
    y = np.arange(len(table))
    ax = style.axes(ax, (7.2, 1.2 + 0.19 * len(table)))
    for name, colour in VERDICT_COLOURS.items():
        at = (table["verdict"] == name).to_numpy()
        if at.any():
            rows = table[at]
            ax.hlines(y[at], rows["lower"], rows["upper"], color=colour, lw=1.3)
            ax.scatter(rows["kept"], y[at], s=np.where(rows["level"] == "kind", 42, 18), color=colour, zorder=3)
            ax.plot([], [], "o", ms=4, color=colour, label=name)
    for share, style_ in ((0.5, ":"), (0.9, ":"), (1.0, "-")):
        ax.axvline(share, color="black", lw=0.7, ls=style_, zorder=0)
    names = [scorer_kind(r.scorer_type) if r.level == "kind" else short_name(r.scorer, 46) for r in table.itertuples()]
    ax.set_yticks(y, names, parse_math=False)
    for label, level in zip(ax.get_yticklabels(), table["level"], strict=True):
        label.set_fontweight("bold" if level == "kind" else "normal")
    ax.tick_params(axis="y", labelsize=6.2, length=0)
    ax.set_xticks([-0.5, 0, 0.5, 0.9, 1, 1.5, 2], ["−0.5", "0", "0.5", ".9", " 1", "1.5", "2"])
    ax.set(xlabel="share of the correlation that is kept (1: loses nothing)", xlim=(-0.5, 2.05))
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.figure.legend(loc="outside lower center", ncols=5)
    return ax


def scorer_heatmap(calibrated, words, ax=None):
    """Every scorer under every subset of the grids: the paper's Tables 23 to 26 as a picture.

    Parameters
    ----------
    calibrated : pandas.DataFrame
        ``09_calibration`` of one type of item.
    words : dict of str to str
        Rule to its name on the axis.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
    """
    if calibrated.empty:
        return None
    import seaborn as sns

    rules = list(dict.fromkeys(calibrated["rule"]))
    order = {kind: i for i, kind in enumerate(kind_order(calibrated["scorer_type"]))}
    full = calibrated[calibrated["rule"] == rules[0]].assign(place=lambda t: t["scorer_type"].map(order))
    scorers = full.sort_values(["place", "rho"], ascending=[True, False])
    wide = calibrated.pivot(index="scorer", columns="rule", values="rho").loc[scorers["scorer"], rules]
    sizes = calibrated.groupby("rule")["n"].max()
    ax = style.axes(ax, (7.2, 1.9 + 0.17 * len(wide)))
    text = wide.map(lambda v: "" if np.isnan(v) else f"{v:.2f}".replace("0.", "."))
    sns.heatmap(
        wide, ax=ax, cmap="RdBu", vmin=-0.8, vmax=0.8, annot=text, fmt="", annot_kws={"fontsize": 5},
        linewidths=0.3, linecolor="white", cbar_kws={"label": "Spearman ρ", "shrink": 0.6}, yticklabels=False,
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    names = [f"{words[r]} (n = {sizes[r]})" for r in rules]
    ax.set_xticks(np.arange(len(rules)) + 0.5, names, rotation=90, fontsize=6)
    ax.set_yticks(np.arange(len(wide)) + 0.5, [short_name(s, 42) for s in wide.index], parse_math=False, fontsize=6)
    for label, kind in zip(ax.get_yticklabels(), scorers["scorer_type"], strict=True):
        label.set_color(kind_colour(kind))
    ax.tick_params(length=0)
    return ax


def selections(table):
    """Mean correlation per kind of scorer along other grids (Tables 19 and 20), with range restriction and the paper.

    Parameters
    ----------
    table : pandas.DataFrame
        From `calibration.selections`.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if table.empty:
        return None
    plt = style.pyplot()
    panels = dict(zip(table["family"], table["title"], strict=True))
    n_columns = min(4, len(panels))
    n_rows = -(-len(panels) // n_columns)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=(7.2, 1.75 * n_rows + 0.5), sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (family, title) in zip(axes.flat, panels.items(), strict=False):
        at = table[table["family"] == family]
        steps = list(dict.fromkeys(at["step"]))
        for kind in kind_order(at["scorer_type"]):
            row = at[at["scorer_type"] == kind].set_index("step").reindex(steps)
            x, colour = np.arange(len(steps)), kind_colour(kind)
            ax.plot(x, row["rho"], color=colour, marker="o", ms=3, lw=1.2, label=scorer_kind(kind))
            ax.plot(x, row["expected"], color=colour, lw=0.9, ls=":")
            ax.scatter(x, row["published"], marker="D", s=11, color="white", edgecolor=colour, lw=0.9, zorder=4)
        ax.set_xticks(range(len(steps)), steps)
        ax.tick_params(axis="x", labelsize=5.8)
        ax.set_title(title, fontsize=7, fontweight="normal")
        ax.axhline(0, color="black", lw=0.5)
    for ax in axes[:, 0]:
        ax.set_ylabel("Spearman ρ")
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles += [
        plt.Line2D([], [], color="#777777", ls=":"),
        plt.Line2D([], [], marker="D", ls="", ms=4, mfc="white", mec="#777777"),
    ]
    names += ["loses nothing", "paper"]
    shown = len(names) - table["published"].isna().all()
    fig.legend(handles[:shown], names[:shown], loc="outside lower center", ncols=4)
    return fig


def typicality(table, ax=None):
    """How much every scorer prefers typical responses, a dot with its interval.

    Parameters
    ----------
    table : pandas.DataFrame
        ``09_pluralism``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
    """
    if table.empty:
        return None
    order = {kind: i for i, kind in enumerate(kind_order(table["scorer_type"]))}
    table = table.assign(place=table["scorer_type"].map(order)).sort_values(["place", "coefficient"], ignore_index=True)
    y = np.arange(len(table))
    ax = style.axes(ax, (7.2, 1.0 + 0.19 * len(table)))
    colours = [kind_colour(kind) for kind in table["scorer_type"]]
    ax.hlines(y, table["lower"], table["upper"], color=colours, lw=1.2)
    ax.scatter(table["coefficient"], y, s=18, c=colours, zorder=3)
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(y, [short_name(s, 46) for s in table["scorer"]], parse_math=False)
    ax.tick_params(axis="y", labelsize=6.2, length=0)
    label = "sd of the score per sd of typicality, at equal human mean and length"
    ax.set(xlabel=label, ylim=(len(table) - 0.4, -0.6))
    return ax


def kind_order(kinds):
    """Kinds of scorers in the order they are drawn: the paper's first."""
    first = [kind for kind in KIND_COLOURS if kind in set(kinds)]
    return first + sorted(set(kinds) - set(first))


def kind_colour(kind):
    """Colour of a kind of scorer."""
    return KIND_COLOURS.get(kind, style.MUTED)
