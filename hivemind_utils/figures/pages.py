"""Pages that open offline, from templates: overlaps of responses side by side, and the map to explore."""

from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.figures import style
from hivemind_utils.metrics import overlap
from hivemind_utils.tables.wording import short

_FIELDS = {f"{kind}_{side}" for kind in ("model", "text", "spans") for side in "ab"}


_FIELDS |= {"prompt", "cosine", "longest_span_words"}


LARGEST_HOVER = 400  # characters of a response shown on hover


LARGEST_HEADING = 160  # characters of a heading; the whole is shown on hover


# Plotly's names of the markers in `style.FAMILY_SHAPES`.
_SYMBOLS = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross"}


def _render(name, **values):
    """Fill a template of ``templates/``, where every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["heading"] = lambda text: short(text, LARGEST_HEADING)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # in the order given
    return environment.get_template(name).render(values)


def overlap_html(pairs, title, *, source):
    """Lay out pairs of responses side by side with their shared spans marked.

    Parameters
    ----------
    pairs : iterable of dict
        Keys: ``prompt``, ``model_a``, ``text_a``, ``spans_a``, ``model_b``, ``text_b``, ``spans_b`` (spans as for
        `overlap.pieces`, from `shared_characters`), ``cosine`` and ``longest_span_words`` (either may be None or NaN).
    title : str
        Heading of the page.
    source : str
        Where the responses come from: shown under the heading.

    Returns
    -------
    str
        One HTML page that asks for nothing else: no script, no font, no image. Everything passed is escaped.
    """
    shown = []
    for number, pair in enumerate(pairs, start=1):
        missing = _FIELDS - pair.keys()
        if missing:
            raise ValueError(f"Pair {number} must have the keys {sorted(_FIELDS)}, but {sorted(missing)} are missing.")
        cosine, span = pair["cosine"], pair["longest_span_words"]
        shown.append(
            {
                "prompt": pair["prompt"], "model_a": pair["model_a"], "model_b": pair["model_b"],
                "cosine": "not measured" if pd.isna(cosine) else f"{cosine:.3f}",
                "words": "not measured" if pd.isna(span) else f"{int(span)} word{'' if span == 1 else 's'}",
                "pieces_a": overlap.pieces(pair["text_a"], pair["spans_a"]),
                "pieces_b": overlap.pieces(pair["text_b"], pair["spans_b"]),
            }
        )  # fmt: skip
    return _render("overlaps.html", title=title, source=source, pairs=shown)


def page(table, *, title, source, colours, shapes, mode_names):
    """Write the page: a WebGL scatter of one prompt's responses with colour, filter and search.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per response: x, y, model, family, mode (int), idea (str or missing), text.
    title, source : str
        Printed above and below.
    colours, shapes : dict of str to str
        Colour and marker of every family.
    mode_names : dict of int to str
        Name of every mode.

    Returns
    -------
    str
        HTML with plotly.js in it; nothing is fetched. Whatever the responses hold is shown as text.
    """
    from plotly.offline import get_plotlyjs

    named = list(mode_names.values())  # two modes may have the same keyphrases
    mode_names = {k: n if named.count(n) == 1 else f"{n} ({k + 1})" for k, n in mode_names.items()}
    idea = table["idea"].astype(object).where(table["idea"].notna(), "not labelled")
    groups = {
        "mode": table["mode"].map(lambda mode: mode_names.get(mode, "outside of all modes")),
        "family": table["family"],
        "model": table["model"],
        "idea": idea,
    }
    palettes = {
        "mode": {mode_names.get(k, "outside of all modes"): c for k, c in style.mode_colours(len(mode_names)).items()},
        "family": colours,
    }
    data = {
        "x": np.round(table["x"], 4).tolist(),
        "y": np.round(table["y"], 4).tolist(),
        "text": [" ".join(text.split()) for text in table["text"]],
        "groups": {},
    }
    for name, values in groups.items():
        sizes = values.value_counts()
        names = sorted(sizes.index, key=lambda n: (-sizes[n], n))
        palette = palettes.get(name) or dict(zip(names, style.distinct(len(names)), strict=True))
        code = {n: k for k, n in enumerate(names)}
        data["groups"][name] = {
            "names": [str(n) for n in names],
            "colours": [palette[n] for n in names],
            "shapes": [_SYMBOLS[shapes[n]] if name == "family" else _SYMBOLS["o"] for n in names],
            "codes": values.map(code).tolist(),
        }
    return _render(
        "map.html", title=title, source=source, n=f"{len(table):,}", plotly=get_plotlyjs(), data=data,
        longest=LARGEST_HOVER,
    )  # fmt: skip
