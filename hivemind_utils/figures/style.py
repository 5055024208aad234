"""Two widths, one colour and shape per model family, one look for every figure."""

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


# Ten families are told apart by colour alone; the next ten have another shape (in bars: a hatch) as well.
FAMILIES_PER_SHAPE = 10


FAMILY_SHAPES, FAMILY_HATCHES = "osD^vP", ("", "////", "....", "xxxx", "||||", "oooo")


HUMAN_COLOUR, NOISE_COLOUR = "#222222", "#C9CDD3"


ACCENT, MUTED = "#0072B2", "#8A8F98"


SEQUENTIAL = "rocket_r"


_WIDTHS = {"column": 3.5, "page": 7.2}  # inches: one and two columns of a paper


def use():
    """Set the look of every figure of this process, unless it is set; `pyplot` and `axes` call it."""
    import matplotlib as mpl
    import seaborn as sns

    rc = mpl.rcParams
    if rc["axes.titlelocation"] == "left" and rc["pdf.fonttype"] == 42 and not rc["text.usetex"]:
        return
    mpl.rcdefaults()  # a user's matplotlibrc may ask for LaTeX, or a font nobody has
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
            "ps.fonttype": 42,  # matplotlib asks for it in PDFs too: with 3 it embeds two parts of every font
            "font.size": 8,
            "font.family": fonts(),
        },
    )


def pyplot():
    """Return matplotlib.pyplot with the project's look."""
    import matplotlib.pyplot as plt

    use()
    return plt


def axes(ax, figsize):
    """Return the axes passed, or those of a new figure of that size in inches."""
    return pyplot().subplots(figsize=figsize)[1] if ax is None else ax


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


def mode_colours(n_modes):
    """Colour of every mode, the largest first; -1, outside of all, is grey."""
    return dict(enumerate(distinct(n_modes))) | {-1: NOISE_COLOUR}


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
    families, people = _families(models)
    colours = dict(zip(families, distinct(len(families)), strict=True))
    return colours | dict.fromkeys(people, HUMAN_COLOUR)


def family_shapes(models):
    """Marker of every family: the same for ten families, then the next; people have the first.

    Parameters
    ----------
    models : pandas.DataFrame
        Table ``04_models``.

    Returns
    -------
    dict of str to str
    """
    return _by_tens(models, FAMILY_SHAPES)


def family_hatches(models):
    """Hatch of every family's bars: none for ten families and people, then the next; see `family_shapes`."""
    return _by_tens(models, FAMILY_HATCHES)


def _by_tens(models, looks):
    """One look for ten families, the next for the next ten; people have the first."""
    families, people = _families(models)
    turns = {family: k // FAMILIES_PER_SHAPE % len(looks) for k, family in enumerate(families)}
    return {family: looks[turns.get(family, 0)] for family in (*families, *people)}


def _families(models):
    """Sorted families of models, and those of people."""
    models = models if "model" in models else models.reset_index()
    people = set(models.loc[models["model_kind"] == "human", "family"])
    return sorted(set(models["family"]) - people), sorted(people)


def family_dots(ax, x, y, families, models, **kwargs):
    """Scatter of dots in the colour and shape of their families.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : sequence of float
    families : sequence of str
        Family of every dot.
    models : pandas.DataFrame
        Table ``04_models``.
    **kwargs
        Of `matplotlib.axes.Axes.scatter`.

    Returns
    -------
    matplotlib.collections.PathCollection
    """
    from matplotlib.markers import MarkerStyle

    colours, shapes = family_colours(models), family_shapes(models)
    dots = ax.scatter(x, y, c=[colours[family] for family in families], **kwargs)
    marks = {shape: MarkerStyle(shape) for shape in set(shapes.values())}
    outlines = {shape: mark.get_path().transformed(mark.get_transform()) for shape, mark in marks.items()}
    if len(families):
        dots.set_paths([outlines[shapes[family]] for family in families])
    return dots


def family_legend(fig, families, models, columns=8, loc="outside lower center"):
    """Legend of families by colour and shape, below the figure; none for a single family."""
    names = sorted(set(families))
    if len(names) < 2:
        return
    colours, shapes = family_colours(models), family_shapes(models)
    handles = [pyplot().Line2D([], [], marker=shapes[f], ls="", ms=4, color=colours[f]) for f in names]
    plain(fig.legend(handles, names, loc=loc, ncols=min(len(names), columns), fontsize=6.5, handletextpad=0.2))


def plain(legend):
    """Print a dollar in a legend as a dollar."""
    for text in legend.get_texts():
        text.set_parse_math(False)
