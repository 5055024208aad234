"""Two widths, one colour per model family, and `save`: the only way a figure reaches the disk."""

import json
import os
import textwrap

from hivemind_utils.tables import files

# Colour-blind-safe hues (after Okabe and Ito, and Tol's muted scheme); families take them in sorted order.
FAMILY_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#332288", "#999933", "#882255", "#44AA99",
    "#661100", "#DDCC77", "#AA4499", "#117733", "#6E6E6E", "#F0E442",
)  # fmt: skip


# What DejaVu has no glyphs for (Chinese, Japanese, Korean, emoji) comes from the first of these that is installed.
FALLBACK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS", "Microsoft YaHei",
    "Malgun Gothic", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Segoe UI Symbol", "Unifont",
)  # fmt: skip


HUMAN_COLOUR = "#222222"


ACCENT, MUTED = "#0072B2", "#8A8F98"


SEQUENTIAL = "rocket_r"


_WIDTHS = {"column": 3.5, "page": 7.2}  # inches: one and two columns of a paper



def use():
    """Set the house style for every figure of a notebook."""
    import seaborn as sns

    sns.set_theme(
        context="paper",
        style="ticks",
        rc={
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.labelsize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "figure.dpi": 110,
            "savefig.dpi": 250,
            "figure.constrained_layout.use": True,
            "pdf.fonttype": 42,
            "font.size": 8,
            "font.family": fonts(),
        },
    )



def fonts():
    """Families to draw text with: DejaVu, then what is installed of `FALLBACK_FONTS`.

    Without any of them, a character that DejaVu lacks is a box in the figure; the CSV beside it has the text.
    """
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]



def distinct(n):
    """Give `n` different colours: `FAMILY_COLOURS`, then the same again, each time lighter.

    Returns
    -------
    list of str
        Hexadecimal colours.
    """
    from matplotlib.colors import to_hex, to_rgb

    rounds = [1 - 0.5**k for k in range(-(-n // len(FAMILY_COLOURS)))]  # share of white
    lighter = [to_hex([c + (1 - c) * white for c in to_rgb(hue)]) for white in rounds for hue in FAMILY_COLOURS]
    return lighter[:n]



def size(width, ratio=0.68):
    """Figure size in inches for a `width` of "column" or "page", height = width * ratio."""
    if width not in _WIDTHS:
        raise ValueError(f"The width must be one of {sorted(_WIDTHS)}, but {width!r} was passed.")
    return _WIDTHS[width], _WIDTHS[width] * ratio



def family_colours(models):
    """Colour of every family: one hue each, people near black.

    Parameters
    ----------
    models : pandas.DataFrame
        Table ``04_models``.

    Returns
    -------
    dict of str to str
    """
    people = set(models.loc[models["kind"] == "human", "family"])
    families = sorted(set(models["family"]) - people)
    colours = dict(zip(families, distinct(len(families)), strict=True))
    return colours | dict.fromkeys(people, HUMAN_COLOUR)



def title(fig, text):
    """Give a figure its finding as title: bold, at the left, wrapped to the width."""
    width = fig.get_size_inches()[0]
    wrapped = "\n".join(textwrap.wrap(text, int(width * 14)))
    fig.suptitle(wrapped, x=0.01, ha="left", fontsize=9, fontweight="bold", parse_math=False)



def save(fig, slug, table, *, profile, stamp, caption=""):
    """Write ``figures/<profile>/<slug>`` as PDF, PNG and CSV of the plotted numbers, the source printed on it.

    What is printed around the picture (title, caption, source) goes to ``<slug>.json``, which the report reads.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure.
    slug : str
        Name of the files.
    table : pandas.DataFrame
        The plotted numbers, tidy.
    profile : str
        Names the folder.
    stamp : dict
        Where the data come from, as `tables.stamp` returns it.
    caption : str, optional
        n, the interval and the unit resampled; printed below the figure.
    """
    fig.canvas.draw()  # lets the layout settle; what is added from here on stands outside of it
    fig.set_layout_engine("none")
    renderer = fig.canvas.get_renderer()
    for legend in fig.legends:  # one that stands outside the axes would follow the growing page
        corner = fig.transFigure.inverted().transform(legend.get_window_extent(renderer).p0)
        legend.borderaxespad = 0
        legend.set_loc("lower left")
        legend.set_bbox_to_anchor(corner, transform=fig.transFigure)
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox(renderer)  # inches, from the lower left corner
    below, above = (box.y0 - 0.1) / height, (box.y1 + 0.05) / height
    wrapped = textwrap.wrap(caption, int(width * 19)) + textwrap.wrap(source_line(stamp), int(width * 19))
    colour = "#A03000" if stamp["source"] == "simulated" else "#444444"
    plain = {"parse_math": False}  # a dollar is a dollar
    fig.text(box.x0 / width, below, "\n".join(wrapped), fontsize=6, color=colour, va="top", linespacing=1.25, **plain)
    if stamp.get("partial"):
        banner = f"PARTIAL: {stamp['partial']}"
        fig.text(box.x0 / width, above, banner, fontsize=6.5, color="#C00000", va="bottom", **plain)
    folder = files.root() / "figures" / profile
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {})):
        with files.atomic(folder / f"{slug}.{suffix}") as temporary:
            fig.savefig(temporary, format=suffix, bbox_inches="tight", pad_inches=0.06, metadata=metadata)
    with files.atomic(folder / f"{slug}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    printed = {
        "title": " ".join(fig.get_suptitle().split()),
        "caption": caption,
        "source": source_line(stamp),
        "partial": stamp.get("partial"),
    }
    with files.atomic(folder / f"{slug}.json") as temporary:
        temporary.write_text(json.dumps(printed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _note(slug)



def save_html(html, slug, *, profile):
    """Write ``figures/<profile>/<slug>.html``."""
    with files.atomic(files.root() / "figures" / profile / f"{slug}.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    _note(slug)



def _note(name):
    """Tell the runner, where there is one, what was drawn."""
    if "HIVEMIND_DRAWN" in os.environ:
        with open(os.environ["HIVEMIND_DRAWN"], "a", encoding="utf-8") as file:
            file.write(f"{name}\n")



def source_line(stamp):
    """One line that says where the data come from; simulated data say so in capitals."""
    if stamp["source"] == "simulated":
        return "SIMULATED DATA: invented models and people, planted behaviour. Not a finding."
    parts = [f"source: {stamp['source']}", stamp.get("origin"), stamp.get("encoder") and f"encoder {stamp['encoder']}"]
    return " · ".join(filter(None, parts))
