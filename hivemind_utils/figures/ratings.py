"""Figures of notebooks 08 and 09: finished tables in, a Figure out."""

import numpy as np
import pandas as pd

from hivemind_utils.figures import style
from hivemind_utils.tables.wording import short

LABEL_COLOURS = ("#B2182B", "#EF8A62", "#D9D9D9", "#67A9CF", "#2166AC")  # first to last value of the scale


DISAGREEMENT_COLOURS = {"agreed": "#8A8F98", "noisy": "#E69F00", "split": "#0072B2"}


KIND_COLOURS = {
    "lm": "#0072B2", "lm perplexity": "#56B4E9", "reward": "#D55E00", "judge": "#009E73", "metric": "#CC79A7",
    "text": "#999933",
}  # fmt: skip


KIND_NAMES = {
    "lm": "language models", "lm perplexity": "language models (perplexity)", "reward": "reward models",
    "judge": "judges", "metric": "metrics", "text": "text length",
}  # fmt: skip



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



def calibration(kinds, families, labels):
    """Bars of the mean correlation per kind of scorer and subset, over the null band, the paper's value beside.

    Parameters
    ----------
    kinds : pandas.DataFrame
        ``09_kinds`` of one kind of items.
    families : list of str
        Grids to draw, a panel each; the full set stands first in each.
    labels : dict of str to str
        Title of every grid's panel.
    """
    import matplotlib.pyplot as plt

    order = kind_order(kinds["kind"])
    fig, axes = plt.subplots(len(families), 1, figsize=(7.2, 2.35 * len(families) + 0.5), squeeze=False, sharey=False)
    for ax, family in zip(axes[:, 0], families, strict=True):
        at = kinds[kinds["family"].isin(["full", family])]
        rules = list(dict.fromkeys(at["rule"]))
        width = 0.8 / len(order)
        for j, kind in enumerate(order):
            row = at[at["kind"] == kind].set_index("rule").reindex(rules)
            x = np.arange(len(rules)) + (j - (len(order) - 1) / 2) * width
            colour = kind_colour(kind)
            ax.bar(x, row["rho"], width * 0.86, color=colour, alpha=0.85, label=kind_name(kind))
            ax.vlines(x, row["lower"], row["upper"], color="black", lw=0.7)
            band = row["null_upper"] - row["null_lower"]
            ax.bar(x, band, width, row["null_lower"], color="none", edgecolor="black", lw=0.5, ls=":")
            ax.scatter(x, row["published"], marker="D", s=9, color="white", edgecolor="black", lw=0.6, zorder=4)
        sizes = at.groupby("rule")["n"].max().reindex(rules)
        ax.set_xticks(range(len(rules)), [f"{r}\nn = {n}" for r, n in zip(rules, sizes, strict=True)])
        ax.tick_params(axis="x", labelsize=6.2, length=0)
        ax.axhline(0, color="black", lw=0.6)
        ax.set_ylabel("Spearman ρ")
        ax.set_title(labels[family], fontsize=8, fontweight="normal")
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles += [
        plt.Rectangle((0, 0), 1, 1, facecolor="none", edgecolor="black", ls=":", lw=0.8),
        plt.Line2D([], [], marker="D", ls="", ms=4, mfc="white", mec="black"),
    ]
    names += ["equally good scorers (95 %)", "paper"]
    fig.legend(handles, names, loc="outside lower center", ncols=6)
    return fig



def verdict(kinds, shown):
    """The one figure: correlation on all, similar and contested items, with null band and human ceiling.

    Parameters
    ----------
    kinds : pandas.DataFrame
        ``09_kinds`` of one kind of items.
    shown : dict of str to str
        Rule to the name it has on the axis.
    """
    import matplotlib.pyplot as plt

    order = kind_order(kinds["kind"])
    fig, axes = plt.subplots(1, len(order), figsize=(max(3.5, 1.9 * len(order) + 0.4), 3.0), sharey=True, squeeze=False)
    x = np.arange(len(shown))
    for ax, kind in zip(axes[0], order, strict=True):
        at = kinds[kinds["kind"] == kind].set_index("rule").reindex(list(shown))
        ax.bar(
            x, at["null_upper"] - at["null_lower"], 0.7, at["null_lower"], color="#D9D9D9", label="equally good scorers"
        )
        ax.hlines(at["expected"], x - 0.35, x + 0.35, color="#777777", lw=1, label="their mean")
        ax.plot(x, at["people"], color="black", marker="_", ms=13, mew=1.4, ls="", label="people (half a panel)")
        ax.errorbar(
            x, at["rho"], [at["rho"] - at["lower"], at["upper"] - at["rho"]], fmt="o", ms=5, lw=1.2,
            color=kind_colour(kind), label="scorers",
        )  # fmt: skip
        ax.set_xticks(x, shown.values())
        ax.tick_params(axis="x", labelsize=6.5)
        n = int(at["n_scorers"].max())
        ax.set_title(f"{kind_name(kind)} ({n})", fontsize=8, fontweight="normal", color=kind_colour(kind))
        ax.axhline(0, color="black", lw=0.6)
        ax.set_xlim(-0.6, len(shown) - 0.4)
    axes[0, 0].set_ylabel("Spearman ρ with people")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=min(4, 2 * len(order)))
    return fig



def contrasts(verdicts):
    """The primary contrast of every scorer with its interval, coloured by verdict; kinds above their scorers."""
    import matplotlib.pyplot as plt

    colours = {"convicted": "#D55E00", "acquitted": "#009E73", "undecided": "#8A8F98", "not testable": "#CCCCCC"}
    order = {kind: i for i, kind in enumerate(kind_order(verdicts["kind"]))}
    table = verdicts.assign(place=verdicts["kind"].map(order), top=verdicts["level"] != "kind")
    table = table.sort_values(["place", "top", "difference"], ignore_index=True)
    y = np.arange(len(table))
    fig, ax = plt.subplots(figsize=(7.2, 1.0 + 0.19 * len(table)))
    for name, colour in colours.items():
        at = table["verdict"] == name
        if not at.any():
            continue
        rows = table[at]
        ax.hlines(y[at], rows["lower"], rows["upper"], color=colour, lw=1.3)
        size = np.where(rows["level"] == "kind", 42, 18)
        ax.scatter(rows["difference"], y[at], s=size, color=colour, zorder=3)
        ax.plot([], [], "o", ms=4, color=colour, label=name)
    ax.axvline(0, color="black", lw=0.8)
    names = [
        f"{kind_name(row.kind)}, mean" if row.level == "kind" else short(row.scorer, 46) for row in table.itertuples()
    ]
    ax.set_yticks(y, names, parse_math=False)
    for label, level in zip(ax.get_yticklabels(), table["level"], strict=True):
        label.set_fontweight("bold" if level == "kind" else "normal")
    ax.tick_params(axis="y", labelsize=6.2, length=0)
    ax.set(xlabel="slope on the contested third − slope on the rest", ylim=(len(table) - 0.4, -0.6))
    fig.legend(loc="outside lower center", ncols=4)
    return fig



def scorer_heatmap(calibrated):
    """Every scorer under every subset of the grids: the paper's Tables 23 to 26 as a picture.

    Parameters
    ----------
    calibrated : pandas.DataFrame
        ``09_calibration`` of one kind of items and of the published grids.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    rules = list(dict.fromkeys(calibrated["rule"]))
    order = {kind: i for i, kind in enumerate(kind_order(calibrated["kind"]))}
    full = calibrated[calibrated["rule"] == rules[0]].assign(place=lambda t: t["kind"].map(order))
    scorers = full.sort_values(["place", "rho"], ascending=[True, False])
    wide = calibrated.pivot(index="scorer", columns="rule", values="rho").loc[scorers["scorer"], rules]
    sizes = calibrated.groupby("rule")["n"].max()
    fig, ax = plt.subplots(figsize=(7.2, 1.4 + 0.17 * len(wide)))
    text = wide.map(lambda v: "" if v != v else f"{v:.2f}".replace("0.", "."))
    sns.heatmap(
        wide, ax=ax, cmap="RdBu", center=0, vmin=-0.8, vmax=0.8, annot=text, fmt="", annot_kws={"fontsize": 5},
        linewidths=0.3, linecolor="white", cbar_kws={"label": "Spearman ρ", "shrink": 0.6}, yticklabels=False,
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.set_xticks(np.arange(len(rules)) + 0.5, [f"{r} (n = {sizes[r]})" for r in rules], rotation=90, fontsize=6)
    ax.set_yticks(np.arange(len(wide)) + 0.5, [short(s, 42) for s in wide.index], parse_math=False, fontsize=6)
    for label, kind in zip(ax.get_yticklabels(), scorers["kind"], strict=True):
        label.set_color(kind_colour(kind))
    ax.tick_params(length=0)
    return fig



def selections(kinds, panels):
    """Mean correlation per kind along other grids (Tables 19 and 20), with the null's mean and the paper's value.

    Parameters
    ----------
    kinds : pandas.DataFrame
        kind, family, step (text of the grid's step), rho, expected, published.
    panels : dict of str to str
        Family to its panel's title.
    """
    import matplotlib.pyplot as plt

    n_columns = min(4, len(panels))
    n_rows = -(-len(panels) // n_columns)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=(7.2, 1.75 * n_rows + 0.5), sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (family, title) in zip(axes.flat, panels.items(), strict=False):
        at = kinds[kinds["family"] == family]
        steps = list(dict.fromkeys(at["step"]))
        for kind in kind_order(at["kind"]):
            row = at[at["kind"] == kind].set_index("step").reindex(steps)
            x, colour = np.arange(len(steps)), kind_colour(kind)
            ax.plot(x, row["rho"], color=colour, marker="o", ms=3, lw=1.2, label=kind_name(kind))
            ax.plot(x, row["expected"], color=colour, lw=0.9, ls=":")
            ax.scatter(x, row["published"], marker="D", s=11, color="white", edgecolor=colour, lw=0.9, zorder=4)
        ax.set_xticks(range(len(steps)), steps)
        ax.tick_params(axis="x", labelsize=6)
        ax.set_title(title, fontsize=7, fontweight="normal")
        ax.axhline(0, color="black", lw=0.5)
    for ax in axes[:, 0]:
        ax.set_ylabel("Spearman ρ")
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles += [
        plt.Line2D([], [], color="#777777", ls=":"),
        plt.Line2D([], [], marker="D", ls="", ms=4, mfc="white", mec="#777777"),
    ]
    names += ["equally good scorer", "paper"]
    fig.legend(handles, names, loc="outside lower center", ncols=6)
    return fig



def pluralism(table):
    """Taste for the typical answer, a dot a scorer with its interval."""
    import matplotlib.pyplot as plt

    order = {kind: i for i, kind in enumerate(kind_order(table["kind"]))}
    table = table.assign(place=table["kind"].map(order)).sort_values(["place", "coefficient"], ignore_index=True)
    y = np.arange(len(table))
    fig, ax = plt.subplots(figsize=(7.2, 1.0 + 0.19 * len(table)))
    colours = [kind_colour(kind) for kind in table["kind"]]
    ax.hlines(y, table["lower"], table["upper"], color=colours, lw=1.2)
    ax.scatter(table["coefficient"], y, s=18, c=colours, zorder=3)
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(y, [short(s, 46) for s in table["scorer"]], parse_math=False)
    ax.tick_params(axis="y", labelsize=6.2, length=0)
    ax.set(
        xlabel="score per standard deviation of typicality, at equal human mean and length",
        ylim=(len(table) - 0.4, -0.6),
    )
    return fig



def kind_order(kinds):
    """Kinds of scorers in the order they are drawn: the paper's first."""
    first = [kind for kind in KIND_COLOURS if kind in set(kinds)]
    return first + sorted(set(kinds) - set(first))



def kind_name(kind):
    """Name of a kind of scorer in a legend."""
    return KIND_NAMES.get(kind, kind)



def kind_colour(kind):
    """Colour of a kind of scorer."""
    return KIND_COLOURS.get(kind, style.MUTED)
