"""Figures on disk: PNG, PDF, the plotted numbers, and what is printed around them, with the source of the data."""

import contextlib
import functools
import io
import json
import os
import textwrap

from hivemind_utils.tables import files

BANNER_LINES = 4  # of what a partial run lacks; the whole is in the JSON beside the picture


_PADDING = 0.06  # inches around a saved picture


_LAYOUT_TABLES = ("GSUB", "GPOS", "GDEF", "kern", "MATH")


def title(fig, text):
    """Give a figure its finding as title: bold, at the left, wrapped to the width."""
    width = fig.get_size_inches()[0]
    wrapped = "\n".join(_wrap(text, int(width * 14)))
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
        Where the data come from, as `parquet.stamp` returns it.
    caption : str, optional
        n, the interval and the unit resampled; printed below the figure.

    Returns
    -------
    pathlib.Path
        The PNG.
    """
    if layout := fig.get_layout_engine():
        layout.execute(fig)  # what is added from here on stands outside of it
    folder = files.root() / "figures" / profile
    with _without_layout(fig):
        _print_around(fig, caption, stamp)
        page = _png_page(fig)
        with files.atomic(folder / f"{slug}.png") as temporary:
            fig.savefig(temporary, format="png", bbox_inches=page)
        with files.atomic(folder / f"{slug}.pdf") as temporary:
            fig.savefig(temporary, format="pdf", bbox_inches=_pdf_page(fig), metadata={"CreationDate": None})
    with files.atomic(folder / f"{slug}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    printed = {
        "title": " ".join(fig.get_suptitle().split()),
        "caption": caption,
        "source": source_line(stamp),
        "partial": stamp.get("partial"),
        "title_share": _title_share(fig, page),
    }
    with files.atomic(folder / f"{slug}.json") as temporary:
        temporary.write_text(json.dumps(printed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _note(slug)
    return folder / f"{slug}.png"


def half_size(path):
    """Content of a PNG file at half its width and height, as PNG."""
    from PIL import Image

    shown = io.BytesIO()
    with Image.open(path) as picture:
        picture.reduce(2).save(shown, "png")
    return shown.getvalue()


@contextlib.contextmanager
def _without_layout(fig):
    """Leave everything where it stands: matplotlib draws a figure that has a layout engine twice for every format."""
    import matplotlib as mpl

    _embed_glyphs_only()
    with mpl.rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
        fig.set_layout_engine(None)
        yield


@functools.cache
def _embed_glyphs_only():
    """Leave the tables for laying out text out of the fonts in a PDF: its letters are placed one by one.

    To read and subset these tables takes longer than to draw the figure.
    """
    from fontTools import subset

    load = subset.load_font

    @functools.wraps(load)
    def load_without(*arguments, **options):
        font = load(*arguments, **options)
        for name in _LAYOUT_TABLES:
            if name in font:
                del font[name]
        return font

    subset.load_font = load_without


def _print_around(fig, caption, stamp):
    """Print caption, source and banner around a figure."""
    renderer = fig.canvas.get_renderer()
    for legend in fig.legends:  # one that stands outside the axes would follow the growing page
        corner = fig.transFigure.inverted().transform(legend.get_window_extent(renderer).p0)
        legend.borderaxespad = 0
        legend.set_loc("lower left")
        legend.set_bbox_to_anchor(corner, transform=fig.transFigure)
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox(renderer)  # inches, from the lower left corner
    below, above = (box.y0 - 0.1) / height, (box.y1 + 0.05) / height
    wrapped = _wrap(caption, int(width * 19)) + _wrap(source_line(stamp), int(width * 19))
    colour = "#A03000" if stamp["source"] == "simulated" else "#444444"
    plain = {"parse_math": False}  # a dollar is a dollar
    fig.text(box.x0 / width, below, "\n".join(wrapped), fontsize=6, color=colour, va="top", linespacing=1.25, **plain)
    if stamp.get("partial"):
        lines = textwrap.wrap(f"PARTIAL: {stamp['partial']}", int(width * 18), break_on_hyphens=False)
        banner = "\n".join(lines if len(lines) <= BANNER_LINES else [*lines[: BANNER_LINES - 1], "… (see the report)"])
        fig.text(box.x0 / width, above, banner, fontsize=6.5, color="#C00000", va="bottom", **plain)


def _png_page(fig):
    """What is saved of a figure, a box in inches: measured in the dots of the PNG, to which letters are fitted."""
    import matplotlib as mpl

    saved = mpl.rcParams["savefig.dpi"]
    with _dpi(fig, fig.dpi if saved == "figure" else saved):
        return fig.get_tightbbox(fig.canvas.get_renderer()).padded(_PADDING)


def _pdf_page(fig):
    """The same in a PDF, where letters are a little wider or narrower.

    With ``bbox_inches="tight"`` matplotlib would draw the figure once more to find it.
    """
    from matplotlib.backends import backend_pdf

    dpi = backend_pdf.FigureCanvasPdf.fixed_dpi
    width, height = fig.get_size_inches()
    with _dpi(fig, dpi), contextlib.closing(backend_pdf.PdfFile(io.BytesIO())) as nowhere:
        return fig.get_tightbbox(backend_pdf.RendererPdf(nowhere, dpi, height, width)).padded(_PADDING)


@contextlib.contextmanager
def _dpi(fig, dpi):
    usual, fig.dpi = fig.dpi, dpi
    try:
        yield
    finally:
        fig.dpi = usual


def _title_share(fig, page):
    """Share of the saved picture's height, from the top, that the title takes."""
    if not fig.get_suptitle():
        return 0.0
    bottom = fig._suptitle.get_window_extent(fig.canvas.get_renderer()).y0 / fig.dpi
    return round((page.y1 - bottom) / page.height, 4)


def _wrap(text, width):
    """Lines of a text, none of which ends between a number and its percent sign."""
    return textwrap.wrap(text.replace(" %", "\u00a0%"), width)


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
