"""Figures of notebook 08: finished tables in, Axes or a Figure out; None where there is nothing to draw."""

import numpy as np

from hivemind_utils.figures import style
from hivemind_utils.tables.wording import short

LABEL_COLOURS = ("#B2182B", "#EF8A62", "#D9D9D9", "#67A9CF", "#2166AC")  # first to last value of the scale
DISAGREEMENT_COLOURS = {"agreed": "#8A8F98", "noisy": "#E69F00", "split": "#0072B2"}
ITEM_NAMES = {"absolute": "ratings", "pairs": "pairs"}


def entropy_histogram(items, n_values, bins=15, ax=None):
    """Share of the items by entropy of their labels: as published, and with the correction for few labels.

    Parameters
    ----------
    items : pandas.DataFrame
        ``08_items`` of one type.
    n_values : int
        Values of the scale.
    bins : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
    """
    if items.empty:
        return None
    ax = style.axes(ax, style.size("column"))
    edges = np.linspace(0, np.log2(n_values), bins + 1)
    weights = np.full(len(items), 100 / len(items))
    ax.hist(items["entropy_bits"], edges, weights=weights, color=style.ACCENT, alpha=0.85, label="as published")
    corrected = items["entropy_corrected_bits"].clip(upper=edges[-1])
    ax.hist(corrected, edges, weights=weights, histtype="step", color="black", lw=1, label="Miller–Madow")
    for name, dash in (("mean", "--"), ("median", ":")):
        value = getattr(items["entropy_bits"], name)()
        ax.axvline(value, color="#D55E00", lw=1, ls=dash, label=f"{name} {value:.2f}")
    ax.set(xlabel=f"entropy of an item's labels (bits, at most {edges[-1]:.2f})", ylabel="% of items")
    ax.legend(loc="upper left")
    return ax


def contested_items(shares):
    """Bars of label shares, one per item: the most and the least contested.

    Parameters
    ----------
    shares : pandas.DataFrame
        From `panel.label_shares`.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if shares.empty:
        return None
    values = list(dict.fromkeys(shares["value"]))
    colours = _scale_colours(len(values))
    ends = list(dict.fromkeys(shares["end"]))
    n = shares["place"].max() + 1
    fig, axes = style.pyplot().subplots(len(ends), 1, figsize=(7.2, 0.9 + 0.26 * n * len(ends)), sharex=True)
    for ax, end in zip(np.atleast_1d(axes), ends, strict=True):
        at = shares[shares["end"] == end]
        wide = at.pivot(index="place", columns="value", values="share")[values]
        shown = at.drop_duplicates("place").sort_values("place")
        left = np.zeros(len(wide))
        for value, colour in zip(values, colours, strict=True):
            ax.barh(wide.index, wide[value], left=left, color=colour, height=0.78, label=value)
            left += wide[value].to_numpy()
        for y, bits in zip(shown["place"], shown["entropy_bits"], strict=True):
            ax.annotate(f"{bits:.2f} bit", (1.01, y), va="center", fontsize=6.5)
        ax.set_yticks(shown["place"], shown.apply(_item_label, axis=1), parse_math=False)
        ax.tick_params(axis="y", labelsize=6, length=0)
        ax.set(xlim=(0, 1.12), ylim=(len(wide) - 0.5, -0.5))
        ax.set_title(end, fontsize=8, fontweight="normal")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    np.atleast_1d(axes)[-1].set_xlabel("share of labels")
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(values), title="label", title_fontsize=7)
    return fig


def _item_label(row):
    texts = row[["prompt", "response_1", "response_2"]].dropna()
    return " · ".join(short(text, 34) for text in texts) or row["item_id"]


def entropy_by_mean(items):
    """Entropy and variance of every item's labels against their mean: both, for neither alone is disagreement.

    Parameters
    ----------
    items : pandas.DataFrame
        ``08_items`` of one type whose labels have a mean.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if items.empty:
        return None
    fig, axes = style.pyplot().subplots(1, 2, figsize=(7.2, 2.9), sharex=True)
    table = items.assign(variance=items["sd"] ** 2)
    names = {"entropy_bits": "entropy (bits)", "variance": "variance of the labels"}
    for ax, (column, label) in zip(axes, names.items(), strict=True):
        for disagreement, colour in DISAGREEMENT_COLOURS.items():
            at = table[table["disagreement"] == disagreement]
            name = f"{disagreement} (n = {len(at)})"
            ax.scatter(at["mean"], at[column], s=9, color=colour, alpha=0.7, lw=0, label=name)
        ax.set(xlabel="mean label", ylabel=label)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


def reliability(table, ax=None):
    """Correlation of the means of two groups of k annotators against k, with Spearman-Brown's prediction.

    Parameters
    ----------
    table : pandas.DataFrame
        ``08_reliability``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
    """
    if table.empty:
        return None
    ax = style.axes(ax, style.size("column"))
    for (item_type, at), colour in zip(table.groupby("items", sort=True), (style.ACCENT, "#D55E00"), strict=False):
        name = ITEM_NAMES[item_type]
        ax.fill_between(at["n_annotators"], at["lower"], at["upper"], color=colour, alpha=0.15, lw=0)
        ax.plot(at["n_annotators"], at["reliability"], color=colour, marker="o", ms=3, lw=1.2, label=name)
        ax.plot(at["n_annotators"], at["predicted"], color=colour, lw=0.9, ls=":", label=f"{name}, Spearman–Brown")
    ax.set(xlabel="annotators per half", ylabel="split-half correlation", ylim=(min(0, ax.get_ylim()[0]), 1))
    ax.legend(loc="lower right")
    return ax


def severity(table):
    """Distribution of the annotators' severity.

    Parameters
    ----------
    table : pandas.DataFrame
        ``08_annotators``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if table.empty:
        return None
    types = sorted(table["items"].unique())
    fig, axes = style.pyplot().subplots(1, len(types), figsize=(3.5 * len(types), 2.5), squeeze=False)
    for ax, item_type in zip(axes[0], types, strict=True):
        ax.hist(table.loc[table["items"] == item_type, "severity"], 30, color=style.ACCENT, alpha=0.85)
        ax.axvline(0, color="black", lw=0.8)
        name = ITEM_NAMES[item_type]
        ax.set(xlabel=f"severity in {name} (scale points; left is severe)", ylabel="annotators")
    return fig


def _scale_colours(n):
    if n == len(LABEL_COLOURS):
        return LABEL_COLOURS
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    ramp = LinearSegmentedColormap.from_list("labels", LABEL_COLOURS)
    return [to_hex(ramp(x)) for x in np.linspace(0, 1, n)]
