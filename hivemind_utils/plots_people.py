"""Figures of notebooks 08 and 09: finished tables in, a Figure out."""

import numpy as np
import pandas as pd

from hivemind_utils import style
from hivemind_utils.plots import short

LABEL_COLOURS = ("#B2182B", "#EF8A62", "#D9D9D9", "#67A9CF", "#2166AC")  # first to last value of the scale
DISAGREEMENT_COLOURS = {"agreed": "#8A8F98", "noisy": "#E69F00", "split": "#0072B2"}
KIND_COLOURS = {"lm": "#0072B2", "reward": "#D55E00", "judge": "#009E73"}
KIND_NAMES = {"lm": "language models", "reward": "reward models", "judge": "judges"}


def entropy_histogram(items, n_values, bins=15):
    """Share of the items by entropy of their labels: as published, and with the correction for few labels."""
    import matplotlib.pyplot as plt

    edges = np.linspace(0, np.log2(n_values), bins + 1)
    fig, ax = plt.subplots(figsize=style.size("column"))
    weights = np.full(len(items), 100 / len(items))
    ax.hist(items["entropy_bits"], edges, weights=weights, color=style.ACCENT, alpha=0.85, label="as published")
    corrected = items["entropy_corrected_bits"].clip(upper=edges[-1])
    ax.hist(corrected, edges, weights=weights, histtype="step", color="black", lw=1, label="Miller–Madow")
    ax.axvline(items["entropy_bits"].mean(), color="#D55E00", lw=1, ls="--")
    ax.set(xlabel=f"entropy of an item's labels (bits, at most {edges[-1]:.2f})", ylabel="% of items")
    ax.legend(loc="upper left")
    return fig


def contested_table(items, counts, scale, n_shown=6):
    """Label shares of the most and the least contested items.

    Parameters
    ----------
    items : pandas.DataFrame
        ``08_items`` of one kind, in the order of `counts`.
    counts : ndarray of int, shape (n_items, n_values)
    scale : list
        Names of the values.
    n_shown : int
        Items of either end.

    Returns
    -------
    pandas.DataFrame
        One row an (item, value): end, text, entropy_bits, value, share.
    """
    order = np.lexsort((items["item_id"], -items["entropy_bits"]))
    n_shown = min(n_shown, len(order) // 2)
    rows = []
    for end, chosen in (("most contested", order[:n_shown]), ("least contested", order[len(order) - n_shown :])):
        for place, i in enumerate(chosen):
            texts = items[["prompt", "response_1", "response_2"]].iloc[i].dropna()
            text = " · ".join(short(t, 34) for t in texts) or items["item_id"].iloc[i]
            shares = counts[i] / counts[i].sum()
            rows += [
                {"end": end, "place": place, "text": text, "entropy_bits": items["entropy_bits"].iloc[i]}
                | {"value": str(value), "share": share}
                for value, share in zip(scale, shares, strict=True)
            ]
    return pd.DataFrame(rows)


def contested_items(table):
    """Bars of label shares, one an item: the most and the least contested; see `contested_table`."""
    import matplotlib.pyplot as plt

    values = list(dict.fromkeys(table["value"]))
    colours = _scale_colours(len(values))
    ends = list(dict.fromkeys(table["end"]))
    n = table["place"].max() + 1
    fig, axes = plt.subplots(len(ends), 1, figsize=(7.2, 0.9 + 0.26 * n * len(ends)), sharex=True)
    for ax, end in zip(np.atleast_1d(axes), ends, strict=True):
        wide = table[table["end"] == end].pivot(index="place", columns="value", values="share")[values]
        shown = table[table["end"] == end].drop_duplicates("place")
        left = np.zeros(len(wide))
        for value, colour in zip(values, colours, strict=True):
            ax.barh(wide.index, wide[value], left=left, color=colour, height=0.78, label=value)
            left += wide[value].to_numpy()
        for y, bits in zip(shown["place"], shown["entropy_bits"], strict=True):
            ax.annotate(f"{bits:.2f} bit", (1.01, y), va="center", fontsize=6.5)
        ax.set_yticks(shown["place"], shown["text"], parse_math=False)
        ax.tick_params(axis="y", labelsize=6, length=0)
        ax.set(xlim=(0, 1.12), ylim=(len(wide) - 0.5, -0.5))
        ax.set_title(end, fontsize=8, fontweight="normal")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    np.atleast_1d(axes)[-1].set_xlabel("share of labels")
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(values), title="label", title_fontsize=7)
    return fig


def entropy_by_mean(items):
    """Entropy and variance of every item's labels against their mean: both, for neither alone is disagreement."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), sharex=True)
    for ax, column, label in zip(
        axes, ("entropy_bits", "variance"), ("entropy (bits)", "variance of the labels"), strict=True
    ):
        table = items.assign(variance=items["sd"] ** 2)
        for kind, colour in DISAGREEMENT_COLOURS.items():
            at = table[table["disagreement"] == kind]
            ax.scatter(at["mean"], at[column], s=9, color=colour, alpha=0.7, lw=0, label=f"{kind} (n = {len(at)})")
        ax.set(xlabel="mean label", ylabel=label)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


def reliability(table):
    """Correlation of the means of two groups of k annotators against k, with Spearman-Brown's prediction."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=style.size("column"))
    for (kind, at), colour in zip(table.groupby("items", sort=True), (style.ACCENT, "#D55E00"), strict=False):
        name = {"absolute": "ratings", "pairs": "pairs"}[kind]
        ax.fill_between(at["n_annotators"], at["lower"], at["upper"], color=colour, alpha=0.15, lw=0)
        ax.plot(at["n_annotators"], at["reliability"], color=colour, marker="o", ms=3, lw=1.2, label=name)
        ax.plot(at["n_annotators"], at["predicted"], color=colour, lw=0.9, ls=":", label=f"{name}, Spearman–Brown")
    ax.set(xlabel="annotators in either group", ylabel="correlation of their means", ylim=(min(0, ax.get_ylim()[0]), 1))
    ax.legend(loc="lower right")
    return fig


def severity(table):
    """Distribution of annotators' severity, beside what the noise of so few labels alone would show."""
    import matplotlib.pyplot as plt

    kinds = sorted(table["items"].unique())
    fig, axes = plt.subplots(1, len(kinds), figsize=(3.5 * len(kinds), 2.5), squeeze=False)
    for ax, kind in zip(axes[0], kinds, strict=True):
        values = table.loc[table["items"] == kind, "severity"]
        ax.hist(values, 30, color=style.ACCENT, alpha=0.85)
        ax.axvline(0, color="black", lw=0.8)
        name = {"absolute": "ratings", "pairs": "pairs"}[kind]
        ax.set(xlabel=f"severity in {name} (units of the scale; left is severe)", ylabel="annotators")
    return fig


def _scale_colours(n):
    if n == len(LABEL_COLOURS):
        return LABEL_COLOURS
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    ramp = LinearSegmentedColormap.from_list("labels", LABEL_COLOURS)
    return [to_hex(ramp(x)) for x in np.linspace(0, 1, n)]
