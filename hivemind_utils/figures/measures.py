"""Figures on the measures themselves: what they measure, how much a study can find, where they meet the paper."""

import numpy as np

from hivemind_utils.figures import style
from hivemind_utils.tables.wording import short

_WITHIN = {
    "ideas": ("ideas", "#0072B2", "o"),
    "form": ("form", "#D55E00", "s"),
    "against": ("ideas against form", "#222222", "D"),
}


def measure_validity(table):
    """How well measures tell varied content, next to noise, and whether they follow ideas or form within prompts.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``05_measure_validity``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without rows.
    """
    if table.empty:
        return None
    plt = style.pyplot()
    table = table.sort_values("auc", ascending=False, ignore_index=True)
    y, crossed = np.arange(len(table)), table["ideas"].notna().any()
    size = 7.2, 1.3 + 0.22 * len(table)
    fig, axes = plt.subplots(1, 1 + crossed, figsize=size, sharey=True, squeeze=False)
    left = axes[0, 0]
    colours = [style.ACCENT if sees == "meaning" else style.MUTED for sees in table["sees"]]
    left.hlines(y, table["auc_lower"], table["auc_upper"], color=colours, lw=1.5)
    left.scatter(table["auc"], y, s=16, c=colours, zorder=3)
    left.scatter(table["accuracy"], y, s=18, facecolors="white", edgecolors=colours, zorder=3)
    left.scatter(table["accuracy_noise"], y, s=60, marker="|", c="black", lw=1)
    left.axvline(0.5, color="#BBBBBB", lw=0.8, ls="--", zorder=0)
    left.set(xlabel="AUC, and accuracy of the best threshold", ylim=(len(table) - 0.4, -0.6))
    names = [row.name if row.sees == "meaning" else f"{row.name} (form)" for row in table.itertuples(index=False)]
    left.set_yticks(y, names, parse_math=False)
    for label, colour in zip(left.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    left.tick_params(axis="y", length=0)
    mark = plt.Line2D
    handles = [
        mark([], [], marker="o", color=style.ACCENT, lw=1.5, ms=4),
        mark([], [], marker="o", mfc="white", mec=style.ACCENT, lw=0, ms=4),
        mark([], [], marker="|", color="black", lw=0),
    ]
    names = ["AUC", "accuracy", "accuracy of noise"]
    if crossed:
        right = axes[0, 1]
        for column, (name, colour, marker) in _WITHIN.items():
            right.hlines(y, table[f"{column}_lower"], table[f"{column}_upper"], color=colour, lw=1, alpha=0.6)
            right.scatter(table[column], y, s=16, c=colour, marker=marker, zorder=3)
            handles.append(mark([], [], marker=marker, color=colour, lw=0, ms=4))
            names.append(f"{name} (ideal {'½' if column == 'form' else '1'})")
        right.axvline(0.5, color="#BBBBBB", lw=0.8, ls="--", zorder=0)
        right.set(xlabel="sets of one prompt ranked by …", xlim=(-0.03, 1.03))
        right.tick_params(axis="y", length=0)
    fig.legend(handles, names, loc="outside lower center", ncols=6, fontsize=6.5)
    return fig


def idea_profile(table, family_of, models, ax=None):
    """Effective number of ideas by order, a line per arm: rare ideas count at the left, the most common alone at right.

    Parameters
    ----------
    table : pandas.DataFrame
        ``07_profiles``, one source of ideas.
    family_of : dict of str to str
        Family of every arm.
    models : pandas.DataFrame
        Table ``04_models``, for the families' colours.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
        None for an empty table.
    """
    if table.empty:
        return None
    ax, colours = style.axes(ax, (7.2, 3.6)), style.family_colours(models)
    orders = sorted(table["order"].unique())
    place = {order: k for k, order in enumerate(orders)}
    lines = table[table["order"] == orders[-1]].sort_values("hill")["arm"].tolist()
    named = set(lines if len(lines) <= 8 else [*lines[:3], *lines[-3:]]) | set(
        table.loc[table["respondent"] == "people", "arm"]
    )
    ends, marks = [], iter("osD^vP")
    for arm, line in table.sort_values("order").groupby("arm"):
        x, colour = line["order"].map(place).to_numpy(float), colours[family_of[arm]]
        if arm not in named:
            ax.plot(x, line["hill"], color=colour, lw=0.7, alpha=0.35)
            continue
        people = (line["respondent"] == "people").all()
        look = {"lw": 2.2, "ls": "--"} if people else {"lw": 1.4, "marker": next(marks, "x"), "ms": 4}
        drawn = ax.plot(x, line["hill"], color=colour, zorder=3, **look)[0]
        sides = np.clip([line["hill"] - line["lower"], line["upper"] - line["hill"]], 0, None)[:, [0, -1]]
        ax.errorbar(x[[0, -1]], line["hill"].iloc[[0, -1]], yerr=sides, fmt="none", ecolor=colour, elinewidth=0.8)
        ends.append((line["hill"].iloc[0], arm, drawn))
    ax.set_yscale("log")
    low, high = table["hill"].min(), table["hill"].max()
    ax.set(xlim=(-0.1, len(orders) - 0.9), ylim=(low * 0.9, high * 1.15), ylabel="effective number of ideas")
    ax.set_xlabel("order: 0 counts every idea alike, ∞ the most common alone")
    ax.set_xticks(range(len(orders)), ["∞" if np.isinf(q) else f"{q:g}" for q in orders])
    ticks = [t for t in (1, 2, 3, 5, 10, 20, 50, 100) if low * 0.9 <= t <= high * 1.15]
    ax.set_yticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ends.sort(key=lambda end: -end[0])
    handles = [drawn for _, _, drawn in ends]
    if handles:
        legend = ax.figure.legend(
            handles, [short(arm, 34) for _, arm, _ in ends], loc="outside right center", fontsize=6
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return ax


def against_paper(table, threshold=0.8):
    """Models of this run next to the paper's: prompts at or above a similarity, and the difference in every bin.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``05_against_paper``.
    threshold : float

    Returns
    -------
    matplotlib.figure.Figure or None
        None without a model of the paper.
    """
    import seaborn as sns

    if table.empty:
        return None
    plt = style.pyplot()
    own = table[np.isclose(table["low"], threshold)].sort_values("published_at_least", ascending=False)
    order, y = own["arm"].tolist(), np.arange(len(own)) + 0.5
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 1.5 + 0.15 * len(order)), width_ratios=[1, 1.25])
    left.hlines(y, own["lower"], own["upper"], color=style.ACCENT, lw=1)
    left.scatter(own["at_least"], y, s=14, color=style.ACCENT, zorder=3, label="this run")
    left.scatter(own["published_at_least"], y, s=16, fc="white", ec="black", lw=0.8, zorder=3, label="paper")
    left.set(xlabel=f"% of prompts with mean similarity ≥ {threshold:g}", ylim=(len(order), 0))
    left.set_yticks(y, [short(arm, 34) for arm in order], parse_math=False, fontsize=5.5)
    left.tick_params(axis="y", length=0)
    wide = (table["percent"] - table["published"]).groupby([table["arm"], table["low"]]).mean().unstack().loc[order]
    limit = max(10.0, float(np.nanmax(np.abs(wide))))
    sns.heatmap(
        wide, ax=right, cmap="vlag", vmin=-limit, vmax=limit, yticklabels=False, linewidths=0.3,
        cbar_kws={"label": "run less paper, percentage points", "shrink": 0.8, "pad": 0.02},
        xticklabels=[f"{low:.1f}" for low in wide],
    )  # fmt: skip
    right.set(xlabel="mean similarity, lower bound of bin", ylabel="")
    fig.legend(loc="outside lower left", ncols=2)
    return fig


def pairs_against_paper(table, ax=None):
    """Similarity of pairs of models in this run against the paper's; the line is equality. None without pairs."""
    if table.empty:
        return None
    ax = style.axes(ax, (3.5, 3.2))
    ax.errorbar(
        table["published"], table["mean_cosine"],
        yerr=np.clip([table["mean_cosine"] - table["lower"], table["upper"] - table["mean_cosine"]], 0, None),
        fmt="o", ms=2.5, color=style.ACCENT, ecolor="#BBD3E6", elinewidth=0.6, alpha=0.85,
    )  # fmt: skip
    low = float(table[["published", "mean_cosine"]].min().min())
    high = float(table[["published", "mean_cosine"]].max().max())
    ax.plot([low, high], [low, high], color=style.MUTED, lw=0.8, ls=":", zorder=0)
    ax.set(xlabel="mean similarity in the paper", ylabel="in this run")
    return ax


def encoder_agreement(table, agreement, keys=("model", "condition", "decoding"), models=None):
    """Mean similarity under the main encoder against every other one, a dot per arm or pair; dashed: floors.

    Parameters
    ----------
    table : pandas.DataFrame
        ``05_encoders`` or ``06_encoders``.
    agreement : pandas.DataFrame
        ``05_encoder_agreement`` or ``06_encoder_agreement``.
    keys : sequence of str
        Columns that name an arm or a pair.
    models : pandas.DataFrame, optional
        Table ``04_models`` by model, where the first key is a model: dots have the look of its family.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without a row, without a second encoder, and without words to compare with.
    """
    if table.empty:
        return None
    wide = table.pivot(index=list(keys), columns="encoder", values="mean_cosine")
    order = table.drop_duplicates("encoder")
    main, others = order["encoder"].iloc[0], order["encoder"].iloc[1:].tolist()
    if not others or wide[main].notna().sum() == 0:
        return None
    sees = order.set_index("encoder")["sees"]
    floor = order.set_index("encoder")["floor"] if "floor" in order else {}
    found = agreement[agreement["measure"] == "mean_cosine"].set_index(["encoder_a", "encoder_b"])
    families = None if models is None else wide.index.get_level_values(0).map(models["family"]).tolist()
    plt, n, look = style.pyplot(), len(others), {"s": 12, "alpha": 0.8, "lw": 0}
    fig, axes = plt.subplots(1, n, figsize=(min(7.2, 2.9 * n + 0.6), 2.8), squeeze=False)
    for ax, other in zip(axes[0], others, strict=True):
        if families is None:
            ax.scatter(wide[main], wide[other], c=style.ACCENT, **look)
        else:
            style.family_dots(ax, wide[main], wide[other], families, models, **look)
        name = f"{short(other, 24)} (form)" if sees[other] == "form" else short(other, 30)
        ax.set_xlabel(f"mean cosine, {short(main, 30)}", parse_math=False)
        ax.set_ylabel(f"mean cosine, {name}", parse_math=False)
        for value, line in ((floor.get(main), ax.axvline), (floor.get(other), ax.axhline)):
            if value is not None and np.isfinite(value):
                line(value, color=style.MUTED, lw=0.8, ls="--", zorder=0)
        if (main, other) in found.index:
            row = found.loc[(main, other)]
            rho = "no order" if np.isnan(row["spearman"]) else f"ρ = {row['spearman']:.2f}, τ = {row['kendall']:.2f}"
            ax.set_title(f"{rho}; n = {row['n']:.0f}", fontsize=8, fontweight="normal")
    return fig


def encoder_arms(table, agreement, models):
    """Draw `encoder_agreement` of arms, coloured by family; `models` is ``04_models``."""
    return encoder_agreement(table, agreement, models=models)


def encoder_pairs(table, agreement):
    """Draw `encoder_agreement` of pairs of models."""
    return encoder_agreement(table, agreement, ("arm_a", "arm_b"))
