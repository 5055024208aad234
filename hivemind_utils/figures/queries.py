"""Figures of notebooks 01 to 03: finished tables in, axes or a figure out; None where there is nothing to draw."""

import textwrap

import numpy as np
import pandas as pd

from hivemind_utils.figures import style
from hivemind_utils.tables.wording import percent

OUTCOME_COLOURS = {"open": "#0072B2", "closed": "#E69F00", "dropped": style.MUTED}


BOUND_NAMES = {
    "min_chars": "minimum characters", "max_chars": "maximum characters", "max_user_turns": "maximum user turns",
    "near_duplicate_threshold": "near-duplicate threshold", "languages": "languages",
    "model_prefixes": "model names begin with", "rule left out": "one rule left out",
}  # fmt: skip


def waterfall(table, rule_names, ax=None):
    """Bars of rows left after every rule, what each removed, and the published count next to them.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``01_waterfall``.
    rule_names : dict of str to str
        Rules in words.
    ax : matplotlib.axes.Axes, optional
    """
    if table.empty:
        return None
    why_idle = {"not recorded": " (not recorded)", "no cap": " (none)"}
    idle = [why_idle.get(note.split(" in ")[0], "") for note in table["note"]]
    names = ["all rows", *(rule_names.get(rule, rule) + more for rule, more in zip(table["rule"], idle, strict=True))]
    left = [table["rows_in"].iloc[0], *table["rows_out"]]
    lost = [0, *(table["rows_in"] - table["rows_out"])]
    y, total = np.arange(len(left)), max(1, left[0])
    ax = style.axes(ax, (7.2, 0.8 + 0.26 * len(left)))
    ax.barh(y, left, color=style.ACCENT, height=0.72)
    ax.barh(y, lost, left=left, color="#D5D8DC", height=0.72)
    published = [None, *table["published"]]
    for at, (n, gone) in enumerate(zip(left, lost, strict=True)):
        text = f"{n:,}" + (f"  (−{gone:,})" if gone else "")
        text += f"   published: {published[at]:,}" if pd.notna(published[at]) else ""
        ax.text(n + gone + 0.008 * total, at, text, va="center", fontsize=6.5)
    ax.set(xlim=(0, total * 1.25), ylim=(len(left) - 0.4, -0.6), xlabel="rows")
    ax.set_yticks(y, names, parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return ax


def sensitivity(table, rule_names):
    """One panel per bound: messages kept as it moves, the value used in blue.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``01_sensitivity``.
    rule_names : dict of str to str
        Rules in words.
    """
    if table.empty:
        return None
    bounds = list(dict.fromkeys(table["bound"]))
    columns = 3
    rows = -(-len(bounds) // columns)
    fig, axes = style.pyplot().subplots(rows, columns, figsize=(7.2, 2.1 * rows), squeeze=False)
    for ax in axes.flat[len(bounds) :]:
        ax.set_visible(False)
    for ax, bound in zip(axes.flat, bounds, strict=False):
        part = table[table["bound"] == bound]
        numeric = pd.to_numeric(part["value"], errors="coerce")
        if numeric.notna().all() and len(part) > 2:
            part = part.assign(x=numeric).sort_values("x")
            ax.plot(part["x"], part["n_queries"], "-o", ms=3, color=style.MUTED, lw=1)
            used = part[part["is_used"]]
            ax.plot(used["x"], used["n_queries"], "o", ms=6, color=style.ACCENT)
            ax.annotate(
                f"{used['n_queries'].iloc[0]:,}", (used["x"].iloc[0], used["n_queries"].iloc[0]), (6, -9),
                textcoords="offset points", fontsize=6.5, color=style.ACCENT,
            )  # fmt: skip
            if part["x"].max() > 50 * max(1, part["x"].min()):
                ax.set_xscale("symlog", linthresh=10)
            ax.set_ylim(0, part["n_queries"].max() * 1.15 + 1)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        else:
            y = np.arange(len(part))
            colours = np.where(part["is_used"], style.ACCENT, style.MUTED)
            ax.barh(y, part["n_queries"], color=colours, height=0.7)
            top = max(1, part["n_queries"].max())
            for at, n in zip(y, part["n_queries"], strict=True):
                ax.text(n + 0.02 * top, at, f"{n:,}", va="center", fontsize=6)
            labels = [textwrap.shorten(rule_names.get(v, v), 24, placeholder="…") for v in part["value"]]
            ax.set_yticks(y, labels, fontsize=6.5, parse_math=False)
            ax.set(xlim=(0, top * 1.3), ylim=(len(part) - 0.4, -0.6))
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            ax.locator_params(axis="x", nbins=3)
        ax.set_title(BOUND_NAMES.get(bound, bound), fontsize=7.5, fontweight="normal")
        ax.tick_params(labelsize=6)
    fig.supylabel("messages kept", fontsize=8)
    return fig


def outcomes(table, ax=None):
    """Bars of open, closed and dropped queries in percent, here and published; dropped ones by reason.

    Parameters
    ----------
    table : pandas.DataFrame
        outcome, reason, n, share, published (share, NaN where there is none).
    ax : matplotlib.axes.Axes, optional
    """
    if table.empty:
        return None
    ax = style.axes(ax, (7.2, 0.9 + 0.3 * len(table)))
    y = np.arange(len(table))
    ax.barh(y - 0.18, table["share"], height=0.36, color=[OUTCOME_COLOURS[o] for o in table["outcome"]])
    ax.barh(y + 0.18, table["published"], height=0.36, color="none", edgecolor="#444444", lw=0.8)
    for at, row in zip(y, table.itertuples(), strict=True):
        ax.text(row.share + 0.008, at - 0.18, f"{row.n:,} ({percent(row.share, 1)})", va="center", fontsize=6.5)
        if pd.notna(row.published):
            text = f"published {percent(row.published, 1)}"
            ax.text(row.published + 0.008, at + 0.18, text, va="center", fontsize=6.5, color="#444444")
    names = [row.outcome if row.reason == "" else f"{row.outcome}: {row.reason}" for row in table.itertuples()]
    ax.set_yticks(y, names, parse_math=False)
    ax.set(ylim=(len(table) - 0.4, -0.6), xlim=(0, 1.12), xlabel="share of queries")
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.tick_params(axis="y", length=0)
    return ax


def open_endedness(degrees, alternatives, scores):
    """How many votes call queries open; how many alternatives annotators see; the labeller against annotators.

    Parameters
    ----------
    degrees : pandas.DataFrame
        open_share, n.
    alternatives : pandas.DataFrame
        response, share, lower, upper, published; empty where nobody was asked.
    scores : pandas.DataFrame
        measure, value, lower, upper: the labeller against annotators; may be empty.
    """
    panels = [(vote_degrees, degrees), (alternative_shares, alternatives), (labeller_scores, scores)]
    panels = [(draw, table) for draw, table in panels if len(table)]
    if not panels:
        return None
    size = (7.2 if len(panels) > 1 else 3.5, 2.5)
    fig, axes = style.pyplot().subplots(1, len(panels), figsize=size, squeeze=False)
    for ax, (draw, table) in zip(axes[0], panels, strict=True):
        draw(table, ax)
    return fig


def vote_degrees(table, ax=None):
    """Bars of queries by the share of votes that call them open: a table of open_share and n."""
    ax = style.axes(ax, style.size("column"))
    spread = max(0.03, 0.6 / max(2, len(table)))
    ax.bar(table["open_share"], table["n"], width=min(0.12, spread), color=style.ACCENT)
    ax.set(xlabel="share of votes for “open”", ylabel="queries", xlim=(-0.1, 1.1))
    ax.set_xticks([0, 0.5, 1], [percent(share) for share in (0, 0.5, 1)])
    return ax


def alternative_shares(table, ax=None):
    """Bars of the numbers of alternatives annotators see, with intervals, next to the published shares."""
    ax = style.axes(ax, style.size("column"))
    x = np.arange(len(table))
    ax.bar(x - 0.18, table["share"], width=0.36, color=style.ACCENT, label="here")
    errors = [table["share"] - table["lower"], table["upper"] - table["share"]]
    ax.errorbar(x - 0.18, table["share"], errors, fmt="none", ecolor="black", elinewidth=0.8)
    ax.bar(x + 0.18, table["published"], width=0.36, fc="none", ec="#444444", lw=0.8, label="published")
    ax.set_xticks(x, [textwrap.fill(answer, 9) for answer in table["answer"]], fontsize=6)
    ax.set(ylabel="share of annotations", xlabel="reasonable alternatives")
    ax.set_ylim(0, 1.25 * np.nanmax(table[["share", "upper", "published"]].to_numpy(float)))
    ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    ax.legend(loc="upper left", ncols=2, fontsize=6)
    return ax


def labeller_scores(table, ax=None):
    """Dots of the labeller's scores against the majority of annotators, with intervals."""
    ax = style.axes(ax, style.size("column"))
    y = np.arange(len(table))
    ax.hlines(y, table["lower"], table["upper"], color=style.ACCENT, lw=1.2)
    ax.plot(table["value"], y, "o", ms=4, color=style.ACCENT)
    for at, value in zip(y, table["value"], strict=True):
        if not np.isnan(value):
            place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{value:.2f}", (value, at), fontsize=6, **place)
    ax.set_yticks(y, table["measure"], fontsize=7)
    least = np.nanmin([0.55, *table["lower"], *table["value"]])
    ax.set(ylim=(len(table) - 0.4, -0.7), xlim=(least - 0.05, 1.03), xlabel="labeller against annotators")
    ax.tick_params(axis="y", length=0)
    return ax


def taxonomy(table, ax=None):
    """Bars of every leaf under its top level: share with interval, the published share as a ring.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``03_shares``.
    ax : matplotlib.axes.Axes, optional
    """
    if table.empty:
        return None
    rows, level = [], None
    for row in table.itertuples():
        alone = (table["level"] == row.level).sum() == 1 and row.level == row.category
        if row.level != level and not alone:
            rows.append((row.level, None))
        rows.append((row.category if alone else f"   {row.category}", row))
        level = row.level
    colours = dict(zip(dict.fromkeys(table["level"]), style.FAMILY_COLOURS, strict=False))
    ax = style.axes(ax, (4.6, 0.9 + 0.185 * len(rows)))
    for y, (_, row) in enumerate(rows):
        if row is not None:
            ax.barh(y, row.share, color=colours[row.level], height=0.7)
            ax.plot([row.lower, row.upper], [y, y], color="black", lw=0.8)
            if pd.notna(row.alpha):
                ax.annotate(f"α {row.alpha:.2f}", (1, y), xycoords=("axes fraction", "data"), fontsize=5.5, va="center")
            if pd.notna(row.published):
                ax.plot(row.published, y, "o", ms=4, mfc="white", mec="black", mew=0.8)
    labels = ax.set_yticks(range(len(rows)), [name for name, _ in rows], parse_math=False)
    for tick, (name, row) in zip(labels, rows, strict=True):
        tick.label1.set_fontsize(6.5)
        if row is None or not name.startswith(" "):
            tick.label1.set_fontweight("bold")
    for text in ax.get_yticklabels():
        text.set_horizontalalignment("left")
    longest = max(len(name) for name, _ in rows)
    ax.tick_params(axis="y", length=0, pad=3.55 * longest)
    top = np.nanmax(table[["upper", "published"]].to_numpy(float))
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, min(1, 1.06 * top)))
    ax.set_xlabel("share of open-ended queries (○ published)")
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    return ax


def cooccurrence(table, order, ax=None):
    """Heat map: how much more often than by chance one query has two categories; counts written in.

    Half a query is added to both, so that pairs too rare to tell stay pale.

    Parameters
    ----------
    table : pandas.DataFrame
        From `taxonomy.cooccurrence`.
    order : sequence of str
        Categories, top to bottom.
    ax : matplotlib.axes.Axes, optional
    """
    if table.empty:
        return None
    names = [name for name in order if name in set(table["a"]) | set(table["b"])]
    at = {name: i for i, name in enumerate(names)}
    size = len(names)
    lift, counts = np.full((size, size), np.nan), np.zeros((size, size), int)
    for row in table.itertuples():
        i, j = sorted((at[row.a], at[row.b]), reverse=True)
        lift[i, j], counts[i, j] = np.log2((row.n + 0.5) / (row.expected + 0.5)), row.n
    ax = style.axes(ax, (7.2, 2.2 + 0.21 * size))
    image = ax.imshow(lift[1:, :-1], cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
    for i in range(1, size):
        for j in range(i):
            if counts[i, j]:
                colour = "white" if abs(lift[i, j]) > 1.9 else "black"
                ax.text(j, i - 1, counts[i, j], ha="center", va="center", fontsize=5.5, color=colour)
    ax.set_xticks(
        range(size - 1), [textwrap.shorten(n, 38, placeholder="…") for n in names[:-1]], rotation=60, ha="right"
    )
    ax.set_yticks(range(size - 1), names[1:])
    ax.tick_params(length=0, labelsize=6.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, pad=0.01, ticks=[-3, -2, -1, 0, 1, 2, 3])
    bar.ax.set_yticklabels(["≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8"], fontsize=6.5)
    bar.set_label("times chance", fontsize=7)
    return ax


def novel(table, largest=25, ax=None):
    """Bars of the most common new categories after merging, with the spellings each holds.

    Parameters
    ----------
    table : pandas.DataFrame
        merged, n, spellings (how many names).
    largest : int
    ax : matplotlib.axes.Axes, optional
    """
    if table.empty:
        return None
    table = table.head(largest)
    y = np.arange(len(table))
    ax = style.axes(ax, (4.6, 0.8 + 0.2 * max(2, len(table))))
    ax.barh(y, table["n"], color=style.ACCENT, height=0.7)
    top = max(1, table["n"].max())
    for at, row in zip(y, table.itertuples(), strict=True):
        spellings = f"  {row.spellings} spellings" if row.spellings > 1 else ""
        ax.text(row.n + 0.01 * top, at, f"{row.n:,}{spellings}", va="center", fontsize=6)
    ax.set_yticks(y, [textwrap.shorten(name, 40, placeholder="…") for name in table["merged"]], parse_math=False)
    ax.set(ylim=(max(1.5, len(table) - 0.4), -0.6), xlim=(0, 1.3 * top), xlabel="queries")
    ax.tick_params(axis="y", length=0, labelsize=6.5)
    return ax


def trends(table):
    """Dots of the share of every category in each group (months, models) with intervals, largest categories first.

    Parameters
    ----------
    table : pandas.DataFrame
        by ("month" or "model"), group, category, share, lower, upper.
    """
    if table.empty:
        return None
    categories = list(dict.fromkeys(table["category"]))
    colours = dict(zip(categories, style.FAMILY_COLOURS, strict=False))
    sides = list(dict.fromkeys(table["by"]))
    fig, axes = style.pyplot().subplots(1, len(sides), figsize=(7.2, 2.9), sharey=True, squeeze=False)
    for ax, side in zip(axes[0], sides, strict=True):
        part = table[table["by"] == side]
        groups = list(dict.fromkeys(part["group"]))
        for k, category in enumerate(categories):
            rows = part[part["category"] == category].set_index("group").reindex(groups)
            x = np.arange(len(groups)) + 0.5 * (k / max(1, len(categories) - 1) - 0.5)
            errors = [rows["share"] - rows["lower"], rows["upper"] - rows["share"]]
            ax.errorbar(
                x, rows["share"], errors, fmt="o" if side == "model" else "o-", ms=3, lw=0.8, color=colours[category],
                label=category, elinewidth=0.6,
            )  # fmt: skip
        ax.set_xticks(range(len(groups)), [textwrap.fill(g, 14) for g in groups], rotation=0 if side == "model" else 30)
        ax.tick_params(labelsize=6)
        ax.set_title(f"by {side}", fontsize=7.5, fontweight="normal")
        ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    axes[0][0].set(ylabel="share of open-ended queries")
    axes[0][0].set_ylim(bottom=0)
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig
