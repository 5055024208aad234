"""Figures of notebook 07: finished tables in, a Figure or Axes out."""

import textwrap

import numpy as np
import pandas as pd

from hivemind_utils.figures import pages, style
from hivemind_utils.figures.measures import idea_profile as idea_profile
from hivemind_utils.tables.wording import short, short_name

KIND_COLOURS = {
    "different prompts": "#8A8F98", "people": style.HUMAN_COLOUR, "same prompt, different idea": "#D55E00",
    "same prompt": "#0072B2", "same prompt, ideas compared": "#0072B2", "same prompt, same idea": "#009E73",
}  # fmt: skip


def reference_map(real):
    """Map of a `responses.reference.Reference`, as `prompt_map`; None without one."""
    if real is None:
        return None
    return prompt_map(real.shown.points, real.shown.modes, real.shown.row, real.responses.models)


def prompt_map(points, modes, prompt, models, n_named=10):
    """One prompt: PCA as published, UMAP by mode and by family, a list of the modes.

    Parameters
    ----------
    points : pandas.DataFrame
        Rows of ``07_map`` of one prompt, with family.
    modes : pandas.DataFrame
        Its rows of ``07_modes``.
    prompt : mapping
        Its row of ``07_prompts``.
    models : pandas.DataFrame
        Table ``04_models``, for the families' colours.
    n_named : int
        Largest modes that are named.
    """
    plt, palette = style.pyplot(), style.mode_colours(len(modes))
    fig, axes = plt.subplots(2, 2, figsize=(7.2, 6.3), height_ratios=[1, 1.05])
    order = np.random.default_rng(0).permutation(len(points))  # no family or mode lies on top of the others
    size = np.clip(1800 / len(points) ** 0.8, 1.5, 14)
    panels = ((axes[0, 0], "pc_1", "pc_2", "family"), (axes[0, 1], "x", "y", "mode"), (axes[1, 0], "x", "y", "family"))
    for ax, x, y, by in panels:
        # A text given many times is one dot; its area grows with the root of the number.
        dots = points.iloc[order].groupby([x, y, by], sort=False).size().reset_index(name="n")
        look = {"s": size * dots["n"] ** 0.5, "lw": 0, "alpha": 0.75, "rasterized": len(points) > 3000}
        if by == "family":
            style.family_dots(ax, dots[x], dots[y], dots[by].tolist(), models, **look)
        else:
            ax.scatter(dots[x], dots[y], c=dots[by].map(palette), **look)
        ax.set(xticks=[], yticks=[])
    first, second = (f"{100 * prompt[name]:.0f} %" for name in ("explained_1", "explained_2"))
    axes[0, 0].set(xlabel=f"first component ({first} of the variance)", ylabel=f"second component ({second})")
    for ax, text in zip(axes.flat, ("PCA by family, as published", "UMAP by mode", "UMAP by family", ""), strict=True):
        ax.set_title(text, fontsize=8, fontweight="normal")
    for ax in (axes[0, 1], axes[1, 0]):
        ax.set(xlabel="UMAP 1", ylabel="UMAP 2")
    named = modes.head(n_named)
    _name_modes(axes[0, 1], points, named, palette)
    _exemplars(axes[1, 1], named, palette, len(modes) - len(named))
    style.family_legend(fig, points["family"], models, columns=7, loc="outside lower left")
    return fig


def _name_modes(ax, table, modes, palette):
    """Write every mode's name above it, pushed apart where names would overlap, with a line to its place."""
    ax.margins(0.14)
    places = table.groupby("mode")[["x", "y"]]
    centres, tops = places.median(), places.quantile(0.98)["y"]
    up = 0.045 * np.subtract(*ax.get_ylim()[::-1])
    texts = []
    for row in modes.itertuples():
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": palette[row.mode], "lw": 0.7, "alpha": 0.9}
        name = short(" · ".join(row.keyphrases.split(" · ")[:2]), 26) + ("" if row.supported else " *")
        texts.append(
            ax.text(centres["x"][row.mode], tops[row.mode] + up, name, fontsize=5.8, ha="center", va="center", bbox=box,
                    parse_math=False, zorder=5)
        )  # fmt: skip
    spread_labels(ax, texts)
    for text, row in zip(texts, modes.itertuples(), strict=True):
        (x, y), (text_x, text_y) = centres.loc[row.mode], text.get_position()
        ax.plot([x, text_x], [y, text_y], color="#444444", lw=0.5, zorder=4)


def spread_labels(ax, texts, n_rounds=300):
    """Move centred texts apart until none overlaps another or leaves the axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    texts : list of matplotlib.text.Text
        In data coordinates, centred.
    n_rounds : int
    """
    if not texts:
        return
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    half = np.array([(box.width / 2 + 5, box.height / 2 + 4) for box in boxes])
    centre = ax.transData.transform([text.get_position() for text in texts]).astype(float)
    area = ax.get_window_extent(renderer)
    low, high = np.array([area.x0, area.y0]) + half, np.array([area.x1, area.y1]) - half
    for _ in range(n_rounds):
        centre = np.clip(centre, low, np.maximum(low, high))
        moved = False
        for i in range(len(texts)):
            for j in range(i):
                gap = centre[i] - centre[j]
                overlap = half[i] + half[j] - np.abs(gap)
                if (overlap > 0).all():
                    axis = 1 if overlap[1] <= overlap[0] else 0  # the shorter way out
                    push = (overlap[axis] / 2 + 0.5) * (1 if gap[axis] >= 0 else -1)
                    centre[i, axis] += push
                    centre[j, axis] -= push
                    moved = True
        if not moved:
            break
    for text, place in zip(texts, ax.transData.inverted().transform(centre), strict=True):
        text.set_position(place)


def _exemplars(ax, modes, palette, n_more):
    """List the modes with their share and the response in their middle, as many lines as there is room for."""
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    step = 1 / max(len(modes), 6)
    n_lines = 2 if len(modes) <= 8 else 1
    for k, row in enumerate(modes.itertuples()):
        top = 1 - k * step
        ax.scatter(0.012, top - 0.018, s=16, color=palette[row.mode], clip_on=False)
        mark = "" if row.supported else ", not stable"
        head = f"{short(row.keyphrases, 32)} ({100 * row.share:.0f} %{mark})"
        ax.text(0.05, top, head, fontsize=6.4, fontweight="bold", va="top", parse_math=False)
        lines = textwrap.wrap(" ".join(row.exemplar_text.split()), 62)
        text = "\n".join(lines[:n_lines]) + ("…" if len(lines) > n_lines else "")
        ax.text(0.05, top - 0.036, text, fontsize=5.8, va="top", color="#333333", linespacing=1.1, parse_math=False)
    if n_more > 0:
        ax.text(0.05, -0.02, f"and {n_more} smaller modes", fontsize=6, va="top", color="#333333")


def overview(points, modes, prompts, n_columns=4, largest=24):
    """Small multiples: the map of every prompt, coloured by mode; modes that are not stable are hollow.

    Parameters
    ----------
    points, modes : pandas.DataFrame
        ``07_map`` and ``07_modes``.
    prompts : pandas.DataFrame
        ``07_prompts`` with text, in the order drawn.
    n_columns, largest : int
    """
    plt = style.pyplot()
    shown = prompts.head(largest)
    n_columns = min(n_columns, len(shown))
    n_rows = -(-len(shown) // n_columns)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=(1.8 * n_columns + 0.1, 1.95 * n_rows), squeeze=False)
    for ax, row in zip(axes.flat, shown.itertuples(), strict=False):
        here, own = points[points["prompt_id"] == row.prompt_id], modes[modes["prompt_id"] == row.prompt_id]
        palette = style.mode_colours(len(own))
        stable = here["mode"].isin(own.loc[own["supported"], "mode"])
        size = np.clip(900 / len(here) ** 0.8, 0.8, 9)
        ax.scatter(
            here.loc[stable, "x"],
            here.loc[stable, "y"],
            s=size,
            c=here.loc[stable, "mode"].map(palette),
            lw=0,
            alpha=0.8,
        )
        rest = here[~stable]
        ax.scatter(rest["x"], rest["y"], s=size, facecolors="none", edgecolors=rest["mode"].map(palette), lw=0.35)
        ax.set(xticks=[], yticks=[])
        ax.margins(0.06)
        ax.set_title("\n".join(textwrap.wrap(short(row.text, 52), 27)), fontsize=6.3, parse_math=False)
        ax.set_xlabel(f"{row.n_supported} of {row.n_modes} modes stable", fontsize=6.3)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    return fig


def ledger(points, modes, models, largest=18, ax=None):
    """Bars of the size of every mode, stacked by family, with its owner: the family with most of its responses.

    Parameters
    ----------
    points : pandas.DataFrame
        Rows of ``07_map`` of one prompt, with model and family.
    modes : pandas.DataFrame
        Its rows of ``07_modes``.
    models : pandas.DataFrame
        Table ``04_models``, indexed by model.
    largest : int
        Modes drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes or None
        None without modes.
    """
    if modes.empty:
        return None
    shown, colours, hatches = modes.head(largest), style.family_colours(models), style.family_hatches(models)
    sizes = pd.crosstab(points["mode"], points["family"]).reindex(shown["mode"])
    sizes = sizes.loc[:, sizes.sum() > 0]
    machine = (
        points[points["model"].map(models["model_kind"]) != "human"].groupby("mode")[["model", "family"]].nunique()
    )
    machine = machine.reindex(shown["mode"], fill_value=0)
    ax = style.axes(ax, (7.2, max(1.8, 1.1 + 0.27 * len(shown))))
    y, start = np.arange(len(shown)), np.zeros(len(shown))
    for family in sizes.columns:
        look = {"color": colours[family], "hatch": hatches[family], "edgecolor": "white", "lw": 0}
        ax.barh(y, sizes[family], left=start, height=0.72, label=family, **look)
        start += sizes[family].to_numpy()
    for k, row in enumerate(shown.itertuples()):
        given = f"{_counted(machine['model'].iloc[k], 'model')} of {_counted(machine['family'].iloc[k], 'family')}"
        times = row.owner_share / row.owner_expected
        text = f"{given}; {row.owner} {100 * row.owner_share:.0f} %, {times:.1f}× its share of all"
        ax.text(start[k] + start.max() * 0.012, k, text, va="center", fontsize=6, parse_math=False)
    labels = [short(row.keyphrases, 34) + ("" if row.supported else " *") for row in shown.itertuples()]
    ax.set(xlabel="responses", ylim=(len(shown) - 0.4, -0.6), xlim=(0, start.max() * 1.72))
    ax.set_yticks(y, labels, parse_math=False)
    ax.tick_params(axis="y", length=0, labelsize=6.5)
    style.plain(ax.figure.legend(loc="outside lower center", ncols=7, fontsize=6.5))
    return ax


def _counted(n, noun):
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n} {noun if n == 1 else plural}"


def stability(prompts, largest=40):
    """Per prompt: modes found, stable and in structureless data; agreement over seeds, subsamples and with words.

    Parameters
    ----------
    prompts : pandas.DataFrame
        ``07_prompts`` with text, in the order drawn.
    largest : int
        Prompts drawn.
    """
    plt = style.pyplot()
    table = prompts.head(largest).reset_index(drop=True)
    y = np.arange(len(table))
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, max(2.0, 1.25 + 0.2 * len(table))), sharey=True)
    left.hlines(
        y, table["null_modes_min"], table["null_modes_max"], color=style.NOISE_COLOUR, lw=6, label="structureless data"
    )
    left.scatter(table["n_modes"], y, s=26, facecolors="none", edgecolors=style.ACCENT, label="found", zorder=3)
    left.scatter(table["n_supported"], y, s=11, color="#D55E00", label="stable", zorder=4)
    left.set(xlabel="modes", xlim=(-0.4, None), ylim=(len(table) - 0.4, -0.6))
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set_yticks(y, [short(text, 44) for text in table["text"]], parse_math=False)
    marks = (("seeds", "o", "#0072B2"), ("subsamples", "s", "#E69F00"), ("lexical", "^", "#009E73"))
    for name, marker, colour in marks:
        label = {"seeds": "other seeds", "subsamples": "80 % of the responses", "lexical": "words only"}[name]
        right.scatter(table[f"ari_{name}"], y, s=16, marker=marker, color=colour, label=label, alpha=0.9, lw=0)
    right.axvline(0, color=style.MUTED, lw=0.7, ls=":")
    right.set(xlabel="adjusted Rand index with the modes found", xlim=(-0.15, 1.05))
    for ax in (left, right):
        ax.tick_params(axis="y", length=0, labelsize=6)
        ax.grid(axis="y", color="#EEEEEE", lw=0.5)
        ax.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=6, handletextpad=0.2, columnspacing=0.9
        )
    return fig


def floors(table, threshold):
    """Kinds of pairs: distribution on the left, share at or above the threshold with its interval on the right.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of ``07_floors`` at one threshold, in the order drawn, from the bottom.
    threshold : float

    Returns
    -------
    matplotlib.figure.Figure or None
        None without pairs.
    """
    if table.empty:
        return None
    plt = style.pyplot()
    y = np.arange(len(table))
    colours = [KIND_COLOURS[kind] for kind in table["pair_type"]]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, max(1.8, 1.0 + 0.34 * len(table))), sharey=True, width_ratios=[1.25, 1]
    )
    left.hlines(y, table["q05"], table["q95"], color=colours, lw=2, alpha=0.35)
    left.hlines(y, table["q25"], table["q75"], color=colours, lw=7, alpha=0.45)
    left.scatter(table["median"], y, s=22, color=colours, zorder=3, marker="|", lw=1.6)
    left.axvline(threshold, color="black", lw=0.7, ls="--")
    left.set(xlabel="cosine similarity of two responses", ylim=(-0.6, len(table) - 0.4))
    left.set_yticks(y, [_floor_label(row) for row in table.itertuples()])
    right.barh(y, table["share_above"], color=colours, height=0.55, alpha=0.85)
    known = table["lower"].notna().to_numpy()
    right.hlines(y[known], table["lower"][known], table["upper"][known], color="black", lw=0.9)
    highest = np.nanmax(table[["share_above", "upper"]].to_numpy())
    for row, height in zip(table.itertuples(), y, strict=True):
        end = np.nanmax([row.share_above, row.upper])
        right.text(end + highest * 0.02, height, f"{100 * row.share_above:.1f} %", va="center", fontsize=6.5)
    right.set(xlabel=f"share of pairs at or above {threshold:g}", xlim=(0, max(highest * 1.22, 1e-3)))
    for ax in (left, right):
        ax.tick_params(axis="y", length=0, labelsize=6.8)
    return fig


def _floor_label(row):
    sources = {"given": ", given ideas", "judge": ", ideas of the judge", "lexical": ", lexical ideas: biased low"}
    marked = sources.get(row.ideas, "")
    return f"{row.pair_type}\n(n = {row.n_pairs:,}{marked})"


def dominance(table, family_of, models):
    """Share of the most common idea, one row per arm, dots with intervals; a panel for each way to tell ideas apart.

    Parameters
    ----------
    table : pandas.DataFrame
        ``07_dominance``.
    family_of : dict of str to str
        Family of every arm.
    models : pandas.DataFrame
        Table ``04_models``, for the families' colours.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for an empty table.
    """
    if table.empty:
        return None
    plt, colours = style.pyplot(), style.family_colours(models)
    kinds = list(dict.fromkeys(table["ideas"]))
    order = table.drop_duplicates("arm").sort_values("dominant_share")["arm"].tolist()
    size = 7.2, max(1.8, 0.9 + 0.15 * len(order))
    fig, axes = plt.subplots(1, len(kinds), figsize=size, sharey=True, sharex=True, squeeze=False)
    for ax, kind in zip(axes[0], kinds, strict=True):
        own = table[table["ideas"] == kind]
        y = own["arm"].map({arm: k for k, arm in enumerate(order)})
        families = [family_of[arm] for arm in own["arm"]]
        ax.hlines(y, own["lower"], own["upper"], color=[colours[family] for family in families], lw=1)
        style.family_dots(ax, own["dominant_share"], y, families, models, s=16, zorder=3, lw=0)
        given = kind == "given"
        ax.set_title("ideas: labels given with the data" if given else f"stable {kind}" if kind == "modes" else kind,
                     fontsize=8, fontweight="normal")  # fmt: skip
        ax.set(
            xlabel=f"share {'with the most common idea' if given else 'in the largest mode'}",
            ylim=(-0.6, len(order) - 0.4),
        )
        ax.grid(axis="y", color="#EEEEEE", lw=0.5)
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(order)), [short_name(arm, 44) for arm in order], parse_math=False)
    axes[0, 0].tick_params(axis="y", labelsize=6)
    return fig


def explorer(points, modes, models, *, title, source):
    """Write the page to explore one prompt's responses: one HTML file that opens offline; see `pages.page`.

    Parameters
    ----------
    points : pandas.DataFrame
        Rows of ``07_map`` of one prompt, with model, family, text and idea (missing where not labelled).
    modes : pandas.DataFrame
        Its rows of ``07_modes``.
    models : pandas.DataFrame
        Table ``04_models``, for the families' colours.
    title, source : str

    Returns
    -------
    str
    """
    stable = modes["supported"].map({True: "", False: " (not stable)"})
    names = dict(zip(modes["mode"], modes["keyphrases"] + stable, strict=True))
    looks = {"colours": style.family_colours(models), "shapes": style.family_shapes(models)}
    return pages.page(points, title=title, source=source, mode_names=names, **looks)
