"""Figures of notebook 11: where similarity between models comes from. Frames in; axes or figures out."""

import numpy as np

from hivemind_utils.figures import style

UNIT_MARKS = {"vendor": "D", "model": "o", "pair": "s"}
UNIT_NAMES = {
    "vendor": "vendors as units (primary)",
    "model": "models left out",
    "pair": "robust to shared models",
}


def pair_variance(effects, ax=None):
    """Effect of each model on its similarity to all others; returns the axes, None without any."""
    if effects.empty:
        return None
    table = effects.sort_values("effect", ascending=False, ignore_index=True)
    ax = style.axes(ax, (7.2, 1.0 + 0.17 * len(table)))
    y = np.arange(len(table))
    ax.axvline(0, color="#bbbbbb", lw=0.8)
    ax.barh(y, table["effect"], color=style.ACCENT, height=0.7)
    ax.set_yticks(y, table["model"], fontsize=6.5, parse_math=False)
    ax.set(ylim=(len(table) - 0.4, -0.6), xlabel="mean similarity to all others, less that of the average model")
    ax.tick_params(axis="y", length=0)
    return ax


def lineage_effects(effects, ax=None):
    """Difference in similarity that goes with a shared vendor, base, time or size, by unit of inference."""
    shown = effects.dropna(subset=["estimate"])
    shown = shown[shown["unit"].isin(UNIT_MARKS)]
    if shown.empty:
        return None
    rows = shown.drop_duplicates(["design", "effect"])[["design", "effect"]].reset_index(drop=True)
    ax = style.axes(ax, (7.2, 1.3 + 0.42 * len(rows)))
    for row in rows.itertuples():
        at = shown[(shown["design"] == row.design) & (shown["effect"] == row.effect)]
        for k, one in enumerate(at.itertuples()):
            y = row.Index + (k - (len(at) - 1) / 2) * 0.22
            primary = one.unit == "vendor"
            ax.plot([one.lower, one.upper], [y, y], color=style.ACCENT, lw=1.8 if primary else 0.8)
            ax.plot(one.estimate, y, UNIT_MARKS[one.unit], color=style.ACCENT, ms=5 if primary else 3.5)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    together = rows["design"].str.replace(" and ", ", ").str.split(", ").str.len()
    labels = [
        row.effect if n == 1 else f"{row.effect}\n(jointly: {row.design})"
        for row, n in zip(rows.itertuples(), together, strict=True)
    ]
    ax.set_yticks(range(len(rows)), labels, fontsize=6.5)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference in mean cosine, with 95 % interval")
    ax.tick_params(axis="y", length=0)
    plt = style.pyplot()
    handles = [plt.Line2D([], [], marker=UNIT_MARKS[u], color=style.ACCENT, lw=1) for u in UNIT_MARKS]
    ax.figure.legend(handles, list(UNIT_NAMES.values()), loc="outside lower right", ncols=3, fontsize=7)
    return ax


def residual_pairs(residuals, n_shown=15, ax=None):
    """Pairs more alike than their models predict, by name; returns the axes, None without any."""
    if residuals.empty:
        return None
    table = residuals.nlargest(n_shown, "residual").reset_index(drop=True)
    ax = style.axes(ax, (7.2, 1.0 + 0.19 * len(table)))
    colours = [style.ACCENT if same else style.MUTED for same in table["same_vendor"]]
    ax.barh(range(len(table)), table["residual"], color=colours, height=0.7)
    names = table["model_a"] + "  –  " + table["model_b"]
    ax.set_yticks(range(len(table)), names, fontsize=6.5, parse_math=False)
    ax.set(ylim=(len(table) - 0.4, -0.6))
    ax.set_xlabel("similarity beyond what the two models' similarity to all others predicts")
    ax.tick_params(axis="y", length=0)
    ax.figure.legend([_patch(style.ACCENT), _patch(style.MUTED)], ["same vendor", "different vendors"],
                     loc="outside lower right", ncols=2, fontsize=7)  # fmt: skip
    return ax


def label_effects(table, ax=None):
    """Share of the variance of responses that lies between the groups of each label, as rho and omega squared."""
    if table.empty:
        return None
    ax = style.axes(ax, (5.2, 1.1 + 0.42 * len(table)))
    for k, (name, colour, word) in enumerate((("rho", style.ACCENT, "ρ"), ("omega_squared", style.MUTED, "ω²"))):
        short = name.split("_")[0]
        y = np.arange(len(table)) + (k - 0.5) * 0.24
        ax.hlines(y, table[f"{short}_lower"], table[f"{short}_upper"], color=colour, lw=1.5)
        ax.plot(table[name], y, "o", color=colour, ms=4, label=word)
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    labels = [f"{row.label} ({row.n_groups} groups)" for row in table.itertuples()]
    ax.set_yticks(range(len(table)), labels, parse_math=False)
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="share between groups, with 95 % interval over prompts")
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="best")
    return ax


def time_slope(slopes, ax=None):
    """Change of similarity per year within vendors, with all vendors and without each; None where it is unknown."""
    if slopes.empty:
        return None
    ax = style.axes(ax, (5.2, 1.1 + 0.2 * len(slopes)))
    table = slopes.reset_index(drop=True)
    for row in table.itertuples():
        whole = row.left_out == ""
        if whole and np.isfinite(row.lower):
            ax.hlines(row.Index, row.lower, row.upper, color=style.ACCENT, lw=2)
        ax.plot(row.slope, row.Index, "D" if whole else "o", color=style.ACCENT, ms=5 if whole else 3.5)
    labels = ["all vendors" if row.left_out == "" else f"without {row.left_out}" for row in table.itertuples()]
    ax.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
    ax.set_yticks(range(len(table)), labels, fontsize=7, parse_math=False)
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="change of mean cosine to all other models per year")
    ax.tick_params(axis="y", length=0)
    return ax


def _patch(colour):
    return style.pyplot().Rectangle((0, 0), 1, 1, color=colour)


def language_effects(table):
    """Difference from the reference language under two measurements, and the share of replies in the language asked.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``11_languages``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where nothing could be measured.
    """
    table = table.dropna(subset=["difference"])
    if table.empty:
        return None
    y = np.arange(len(table))
    size = 7.2, 1.3 + 0.35 * len(table)
    fig, (left, right) = style.pyplot().subplots(1, 2, figsize=size, sharey=True, width_ratios=[2, 1])
    for shift, start, colour, name in (
        (-0.12, "", style.ACCENT, "multilingual encoder"), (0.12, "translated_", "#D55E00", "translated responses")
    ):  # fmt: skip
        left.hlines(y + shift, table[f"{start}lower"], table[f"{start}upper"], color=colour, lw=1.2)
        left.plot(table[f"{start}difference"], y + shift, "o", ms=4, color=colour, label=name)
    left.axvline(0, color="#BBBBBB", lw=0.8, ls="--", zorder=0)
    left.set(
        xlabel=f"repetition above its floor, less that in {table['reference'].iat[0]}", ylim=(len(table) - 0.5, -0.5)
    )
    left.set_yticks(y, table["language"], parse_math=False)
    right.hlines(y, table["in_language_lower"], table["in_language_upper"], color=style.MUTED, lw=1.2)
    right.plot(table["in_language"], y, "o", ms=4, color="black")
    right.set(xlabel="share of replies in the language", xlim=(-0.03, 1.03))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6.5)
    return fig
