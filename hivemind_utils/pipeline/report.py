"""Build a profile's site, ``report/<profile>/index.html``: ``python -m hivemind_utils.pipeline.report --profile demo``.

The study in order, every figure beside its executed notebook, its CSV and PDF; the claims of the paper beside this
run's values; where everything came from. Plain HTML that opens from disk: no script, no font, no external request.
"""

import argparse
import base64
import fnmatch
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from hivemind_utils.pipeline import claims, manifests, profiles
from hivemind_utils.pipeline import notebooks as notebooks_pipeline
from hivemind_utils.pipeline import results as results_pipeline
from hivemind_utils.tables import files, parquet

TEMPLATES = Path(__file__).parent / "templates"


COMMON_PACKAGES = (
    "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "duckdb", "litellm", "umap-learn", "hdbscan", "matplotlib",
    "papermill", "tokenizers",
)  # fmt: skip


def guide():
    """What is known of every figure: a list of dicts in the study's order, from ``data/reference/figures.yaml``.

    Keys: ``slug`` (may hold ``*``), ``notebook`` (its number), ``paper`` (figure or table it rebuilds, or None),
    ``shows`` (what is drawn, for those who cannot see it) and ``read`` (how to read it, one line).
    """
    import yaml

    return yaml.safe_load((files.root() / "data" / "reference" / "figures.yaml").read_text(encoding="utf-8"))


def entry(slug, entries):
    """Guide's entry for a figure, and its place in the study; an unknown figure comes last, without explanation."""
    for place, known in enumerate(entries):
        if fnmatch.fnmatchcase(slug, known["slug"]):
            return place, known
    return len(entries), {"slug": slug, "paper": None, "shows": slug.replace("_", " "), "read": ""}


def build(spec):
    """Build the site of a profile.

    Parameters
    ----------
    spec : str
        A profile: name in ``params/``, or path of a YAML file.

    Returns
    -------
    pathlib.Path
        The index.

    Raises
    ------
    run.UserError
        If nothing of the profile has run.
    """
    notebooks_pipeline.skip_iri_grammar()
    profile = profiles.load_profile(spec)
    notebooks = [_notebook(name, profile) for name in notebooks_pipeline.notebooks()]
    ran = [n for n in notebooks if n["manifest"]]
    if not ran:
        raise notebooks_pipeline.UserError(
            f"Nothing of the profile {profile.name} has run yet: {parquet.how_to_run(spec)}."
        )
    table = claims.write(profile.name)

    target = files.root() / "report" / profile.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{profile.name}.") as temporary:
        folder = Path(temporary) / "site"
        _copy(profile.name, ran, folder)
        _write_notebooks(profile.name, ran, folder)
        page = _template("index.html").render(
            profile=profile.name,
            notebooks=notebooks,
            sources=_sources(ran),
            partial=_partial(ran),
            stray=_stray_figures(profile.name, ran),
            claims=_grouped(table),
            counts=table["verdict"].value_counts().to_dict(),
            packages=_packages(ran[0]["manifest"]),
            style=_css(),
        )
        (folder / "index.html").write_text(page, encoding="utf-8")
        if target.exists():
            os.replace(target, Path(temporary) / "old")
        os.replace(folder, target)
    return target / "index.html"


def notebook_html(notebook, links):
    """Body of an executed notebook as HTML: nothing in it is fetched, formulas are drawn.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The executed notebook.
    links : dict of str to str
        Page of every notebook that has one, by file name; links to other notebooks become text.

    Returns
    -------
    str
    """
    from nbconvert import HTMLExporter

    notebook.metadata.pop("widgets", None)
    injected = "injected-parameters"
    notebook.cells = [cell for cell in notebook.cells if injected not in cell.metadata.get("tags", [])]
    heading = "the notebook"
    for cell in notebook.cells:
        found = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        heading = found[-1] if found else heading
        outputs = cell.get("outputs", [])
        cell.outputs = [output for output in outputs if not _is_progress(output)]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": f"Drawn by the cell above; {heading}"}
        if cell.cell_type != "code":
            del cell["outputs"]
    exporter = HTMLExporter(template_name="basic", filters={"markdown2html": lambda text: markdown(text, links)})
    return exporter.from_notebook_node(notebook)[0]


def _is_progress(output):
    """Whether an output is a progress bar, which stands still on a page."""
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return widget or (output.get("name") == "stderr" and re.search(r"\d+%\|", output.get("text", "")) is not None)


def markdown(text, links):
    """Markdown as HTML, with formulas drawn in place; see `notebook_html` for `links`."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body):
            return formula(body)

        def block_math(self, body):
            return f'<span class="display">{formula(body)}</span>'

        def link(self, text, url, title=None):
            file = url.rsplit("/", 1)[-1]
            if file.endswith(".ipynb"):
                return f'<a href="{links[file]}">{text}</a>' if file in links else text
            return super().link(text, url, title)

    return MarkdownWithMath(renderer=Renderer(escape=True, exclude_anchor_links=True)).render(text)


def formula(tex):
    r"""Draw a formula as a picture of text size, read out as its TeX; what matplotlib cannot draw stays TeX.

    Parameters
    ----------
    tex : str
        Without the dollars, such as ``\sum_i x_i``.

    Returns
    -------
    str
        HTML.
    """
    from html import escape

    import matplotlib as mpl
    from matplotlib.mathtext import math_to_image

    drawn = io.BytesIO()
    try:
        with mpl.rc_context({"mathtext.fontset": "cm", "svg.hashsalt": "", "savefig.facecolor": "none"}):
            depth = math_to_image(f"${' '.join(tex.split())}$", drawn, dpi=72, format="svg")
    except ValueError:  # a command it does not know
        return f"<code>{escape(tex)}</code>"
    width, height = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', drawn.getvalue()).groups()
    place = f"width:{float(width) / 10:.2f}em;height:{float(height) / 10:.2f}em;vertical-align:{-depth / 10:.2f}em"
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}"
    return f'<img class="math" style="{place}" alt="{escape(tex)}" src="{source}">'


def _notebook(name, profile):
    """What the report says of one notebook: its question, its recorded run, its figures."""
    import nbformat

    number = name[:2]
    folder = files.root() / "executed" / profile.name
    source = nbformat.read(files.root() / "notebooks" / f"{name}.ipynb", as_version=4)
    title, *paragraphs = source.cells[0].source.strip().split("\n\n")
    manifest = manifests.require(profile.name, number)
    results = results_pipeline.read(profile.name, number)
    return {
        "name": name,
        "number": number,
        "title": re.sub(r"^# \d\d · ", "", title.split("\n")[0]),
        "question": markdown(paragraphs[0], {}) if paragraphs else "",
        "in_profile": number in profile.run,
        "failed": (folder / f"{number}.running.ipynb").exists(),
        "manifest": manifest,
        "source": results.get("source"),
        "answer": markdown(results["answer"], {}) if results.get("answer") else "",
        "value": results.get("number"),
        "few_prompts": results.get("prompts_note"),
        "results": bool(results),
        "figures": _figures(profile.name, manifest) if manifest else [],
    }


def _figures(profile, manifest):
    """Figures of a recorded run in the study's order, with what is printed around them."""
    folder, entries, digests = files.root() / "figures" / profile, guide(), manifests.Digests(files.root())
    written = manifest.get("outputs")
    found = []
    for slug in sorted(manifest["figures"], key=lambda slug: (entry(slug, entries)[0], slug)):
        picture = folder / f"{slug}.png"
        printed = _caption(folder / f"{slug}.json")
        drawn = picture if picture.exists() else folder / f"{slug}.html"
        if not drawn.exists():
            continue
        found.append(
            {"title": "", "caption": "", "source": ""}
            | printed
            | entry(slug, entries)[1]
            | {
                "slug": slug,
                "size": _size(picture, printed.get("title_share", 0)) if picture.exists() else None,
                "page": (folder / f"{slug}.html").exists(),
                "redrawn": written is not None and digests.of(drawn) != written.get(manifests.relative(drawn)),
            }
        )
    return found


def _size(picture, title_share=0):
    """Width and height of a picture in pixels, without its title, which the page prints as text."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            return image.width, image.height - round(title_share * image.height)
    except (OSError, ValueError, SyntaxError):  # what Pillow says of what is no picture
        raise results_pipeline.damaged(picture) from None


def _copy_untitled(picture, target, size):
    """Copy the lower part of a picture, `size` pixels of width and height."""
    from PIL import Image

    with Image.open(picture) as image:
        image.crop((0, image.height - size[1], *image.size)).save(target)


def _stray_figures(profile, ran):
    """Pictures that no recorded run drew: they are not shown."""
    recorded = {slug for notebook in ran for slug in notebook["manifest"]["figures"]}
    return sorted({p.stem for p in (files.root() / "figures" / profile).glob("*.png")} - recorded)


def _copy(profile, ran, folder):
    """Copy figures, their numbers, results and manifests into the site."""
    for name in ("figures", "results", "manifests", "notebooks"):
        (folder / name).mkdir(parents=True)
    for notebook in ran:
        for figure in notebook["figures"]:
            for file in (files.root() / "figures" / profile).glob(f"{figure['slug']}.*"):
                if file.suffix in (".png", ".pdf", ".csv", ".html"):
                    shutil.copyfile(file, folder / "figures" / file.name)
            if figure["size"]:
                picture = files.root() / "figures" / profile / f"{figure['slug']}.png"
                _copy_untitled(picture, folder / "figures" / f"{figure['slug']}.untitled.png", figure["size"])
        number = notebook["number"]
        executed = files.root() / "executed" / profile / f"{number}.manifest.json"
        shutil.copyfile(executed, folder / "manifests" / f"{number}.json")
        if notebook["results"]:
            results = files.root() / "results" / profile / f"{number}.json"
            shutil.copyfile(results, folder / "results" / f"{number}.json")
    for suffix in ("csv", "json"):
        shutil.copyfile(
            files.root() / "results" / profile / f"claims.{suffix}", folder / "results" / f"claims.{suffix}"
        )


def _write_notebooks(profile, ran, folder):
    """Write every executed notebook as a page."""
    import nbformat

    links = {f"{notebook['name']}.ipynb": f"{notebook['name']}.html" for notebook in ran}
    template, style = _template("notebook.html"), _css()
    for at, notebook in enumerate(ran):
        path = manifests.executed(profile, notebook["number"])
        try:
            executed = nbformat.read(path, as_version=4)
            nbformat.validate(executed)
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError, nbformat.ValidationError):
            raise results_pipeline.damaged(path) from None
        page = template.render(
            profile=profile,
            notebook=notebook,
            body=notebook_html(executed, links),
            before=ran[at - 1] if at else None,
            after=ran[at + 1] if at + 1 < len(ran) else None,
            style=style,
        )
        (folder / "notebooks" / f"{notebook['name']}.html").write_text(page, encoding="utf-8")


def _sources(ran):
    """Which notebooks rest on which kind of source."""
    sources = {}
    for notebook in ran:
        if notebook["source"]:
            sources.setdefault(notebook["source"], []).append(notebook["number"])
    return sources


def _partial(ran):
    """What the runs lack, each sentence once, with the numbers of the notebooks it holds for."""
    lacking = {}
    for notebook in ran:
        for sentence in (notebook["manifest"]["partial"] or "").split("; "):
            if sentence:
                lacking.setdefault(sentence, []).append(notebook["number"])
    return lacking


def _grouped(table):
    """Claims by the part of the study they belong to, in the order of the table, and whether any was measured here."""
    groups = table.groupby("topic", sort=False)
    return [(topic, rows.to_dict("records"), bool(rows["value"].notna().any())) for topic, rows in groups]


def _packages(manifest):
    versions = {name.lower(): version for name, version in manifest["packages"].items()}
    return {name: versions[name] for name in COMMON_PACKAGES if name in versions}


def _template(name):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = number
    return environment.get_template(name)


def number(value):
    """A number as a reader wants it: four significant digits, thousands apart; nothing for none."""
    if value is None or value != value:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _css():
    """The site's style with the colours of code in light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    text = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return f"{text}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _caption(path):
    """What is printed around a figure, empty where there is no file; one that cannot be read ends the report."""
    if not path.exists():
        return {}
    found = files.read_json(path)
    texts = ("title", "caption", "source")
    share = found.get("title_share", 0) if isinstance(found, dict) else None
    if (
        not isinstance(share, int | float)
        or not 0 <= share < 1
        or not all(isinstance(found.get(t, ""), str) for t in texts)
    ):
        raise results_pipeline.damaged(path)
    return found


def main(arguments=None):
    """Build from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hivemind_utils.pipeline.report", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--profile", default="demo", help="a name in params/ or a path to a YAML file (default: demo)")
    options = parser.parse_args(arguments)
    try:
        print(build(options.profile).relative_to(files.root()))
    except notebooks_pipeline.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
