"""Figures of notebook 10: contrasts, the frontier, effective diversity, and cost of arms."""

import numpy as np

from hivemind_utils.figures import style
from hivemind_utils.metrics.interventions import MEASURES

SHOWN = ("ideas", "diversity", "quality")
LEAST_SHARE = 0.05  # on the frontier, to be written beside an arm
_PROMPTS = {"open-ended": style.ACCENT, "closed-ended": "#D55E00"}


def interventions(contrasts):
    """Differences of arms from their comparators, one panel per measure; open-ended prompts beside closed-ended ones.

    Parameters
    ----------
    contrasts : pandas.DataFrame
        Table ``10_contrasts``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no arm has a comparator that was asked.
    """
    table = contrasts[contrasts["measure"].isin(SHOWN) & contrasts["prompts"].isin(_PROMPTS)]
    if table.empty:
        return None
    measures = [name for name in SHOWN if name in set(table["measure"])]
    labels = table.drop_duplicates(["label", "comparator"])[["label", "comparator"]]
    place = {label: i for i, label in enumerate(labels["label"])}
    height = max(1.9, 1.1 + 0.32 * len(place))
    fig, axes = style.pyplot().subplots(1, len(measures), figsize=(7.2, height), sharey=True, squeeze=False)
    for ax, measure in zip(axes[0], measures, strict=True):
        for shift, (prompts, colour) in zip((-0.14, 0.14), _PROMPTS.items(), strict=True):
            own = table[(table["measure"] == measure) & (table["prompts"] == prompts)]
            y = own["label"].map(place).to_numpy(float) + shift
            ax.hlines(y, own["lower"], own["upper"], color=colour, lw=1.4)
            ax.plot(own["estimate"], y, "o", ms=3.5, color=colour, label=f"{prompts} prompts")
        ax.axvline(0, color="black", lw=0.7)
        ax.set_xlabel(f"change of\n{MEASURES[measure]}")
        ax.grid(axis="y", color="#EEEEEE", lw=0.5)
        ax.tick_params(axis="y", length=0)
    names = [f"{row.label}\n(against {_short(row.comparator)})" for row in labels.itertuples()]
    axes[0, 0].set_yticks(range(len(place)), names, parse_math=False, fontsize=6)
    axes[0, 0].set_ylim(len(place) - 0.5, -0.5)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return fig


def frontier(table):
    """Quality against diversity, one panel per measure of diversity; the ladder of sampling is drawn as a line.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``10_frontier``, of one model.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without quality.
    """
    table = table.dropna(subset=["quality", "diversity"])
    if table.empty:
        return None
    measures = list(dict.fromkeys(table["measure"]))
    fig, axes = style.pyplot().subplots(1, len(measures), figsize=(7.2, 3.9), squeeze=False)
    labels = list(dict.fromkeys(table["label"]))
    colours = dict(zip(labels, style.distinct(len(labels)), strict=True))
    for ax, measure in zip(axes[0], measures, strict=True):
        own = table[table["measure"] == measure]
        for _, rungs in own[own["is_rung"]].groupby("model"):
            line = rungs.sort_values("quality")
            ax.plot(line["quality"], line["diversity"], color=style.MUTED, lw=1, zorder=1, label="ladder of sampling")
        for row in own.itertuples():
            look = {"color": colours[row.label], "lw": 0.8, "alpha": 0.6}
            ax.hlines(row.diversity, row.quality_lower, row.quality_upper, **look)
            ax.vlines(row.quality, row.diversity_lower, row.diversity_upper, **look)
            marker = {"marker": "s" if row.is_rung else "o", "ms": 4.5, "lw": 0, "color": colours[row.label]}
            ax.plot(row.quality, row.diversity, label=row.label, **marker)
        ax.set(xlabel="mean quality", ylabel=MEASURES[measure])
    named = dict(zip(*axes[0, 0].get_legend_handles_labels()[::-1], strict=True))  # one entry per name
    fig.legend(named.values(), named.keys(), loc="outside lower center", ncols=2, fontsize=6)
    fig.draw_without_rendering()  # the legend takes its room, so that places on the axes are known
    for ax, measure in zip(axes[0], measures, strict=True):
        own = table[table["measure"] == measure]
        texts = [f"{100 * share:.0f} %" if share >= LEAST_SHARE else "" for share in own["share_on_frontier"]]
        _write_beside(ax, own[["quality", "diversity"]].to_numpy(float), texts, [colours[n] for n in own["label"]])
    return fig


def _write_beside(ax, points, texts, colours):
    """Write short texts beside points, each at the first of some places that neither a point nor a text has taken."""
    where = ax.transData.transform(points) * 72 / ax.figure.dpi  # in points of type
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in where]
    for k in np.argsort(-where[:, 1], kind="stable"):
        width, height = 3.6 * len(texts[k]), 7
        sides = [(4, 3), (-4 - width, 3), (4, -3 - height), (-4 - width, -3 - height), (6, -3.5), (-6 - width, -3.5)]
        places = [(dx, dy + step) for step in (0, 8, -8, 16, -16) for dx, dy in sides]
        boxes = [np.add((dx, dy, dx + width, dy + height), np.tile(where[k], 2)) for dx, dy in places]
        free = [i for i, box in enumerate(boxes) if not any(_overlap(box, other) for other in taken)]
        at = free[0] if free else 0
        if texts[k]:
            taken.append(tuple(boxes[at]))
            ax.annotate(
                texts[k], points[k], places[at], textcoords="offset points", va="bottom", fontsize=5.5,
                color=colours[k],
            )  # fmt: skip


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def effective_diversity(curve, ax=None):
    """Effective diversity against the threshold of quality, one line per arm, rungs dashed; None without quality."""
    if curve.empty:
        return None
    ax = style.axes(ax, (7.2, 3.4))
    labels = list(dict.fromkeys(curve["label"]))
    for label, colour in zip(labels, style.distinct(len(labels)), strict=True):
        own = curve[curve["label"] == label]
        ax.plot(own["threshold"], own["effective_diversity"], color=colour, lw=1.3, label=label)
    ax.set(xlabel="quality that a response must reach", ylabel="effective diversity", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=6)
    return ax


def cost_per_useful_answer(costs, ax=None):
    """Tokens per distinct valid idea, one bar per arm, with its ratio to the comparator; None where none are known."""
    costs = costs.replace(np.inf, np.nan).dropna(subset="tokens_per_useful")
    if costs.empty:
        return None
    ax = style.axes(ax, (7.2, max(1.8, 0.8 + 0.26 * len(costs))))
    y = np.arange(len(costs))
    ax.barh(y, costs["tokens_per_useful"], color=style.ACCENT, height=0.7)
    for at, row in zip(y, costs.itertuples(), strict=True):
        text = (
            ""
            if np.isnan(row.ratio)
            else f" × {row.ratio:.2f} [{row.lower:.2f}, {row.upper:.2f}] of {_short(row.comparator)}"
        )
        ax.annotate(text, (row.tokens_per_useful, at), (2, 0), textcoords="offset points", va="center", fontsize=6)
    ax.set(xlabel="tokens per distinct valid idea", ylim=(len(costs) - 0.4, -0.6))
    ax.set_xlim(0, costs["tokens_per_useful"].max() * 1.55)
    ax.set_yticks(y, costs["label"], parse_math=False)
    ax.tick_params(axis="y", length=0)
    return ax


def _short(comparator):
    return str(comparator).replace("_", " ")
