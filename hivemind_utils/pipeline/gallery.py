"""Copy the demo's figures to ``docs/gallery``, small, with a page that says how to read each.

``python -m hivemind_utils.pipeline.gallery`` after ``make figures``. Only the demo's: what is committed is
simulated and says so.
"""

import json
import sys

from hivemind_utils.pipeline import notebooks, profiles, report
from hivemind_utils.tables import files

WIDTH = 1300  # pixels: enough to read on a page; a figure then takes some 30 to 90 kB


HEAD = """# Gallery

Every figure of the demo, in the study's order, with a line on how to read it. **The data are simulated**: invented
models and people with planted behaviour, so that a reader sees each figure and a test can check that the measures find
what was planted. None of this is a finding. `make gallery` writes this page from `data/reference/figures.yaml` and the
figures of the last `make figures`.
"""


def shrink(picture, target):
    """Write a PNG again, at most `WIDTH` pixels wide and with a palette; equal pictures give equal bytes."""
    from PIL import Image

    with Image.open(picture) as image:
        image = image.convert("RGB")
        if image.width > WIDTH:
            image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        # Median cut would merge the colours of families, which are few pixels each.
        small = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    with files.atomic(target) as temporary:
        small.save(temporary, format="PNG", optimize=True)


def page(figures):
    """Text of the page; `figures` as `recorded` returns them."""
    lines, notebook = [HEAD], None
    for figure in figures:
        if figure["notebook_name"] != notebook:
            notebook = figure["notebook_name"]
            lines += [f"\n## [{notebook}](../../notebooks/{notebook}.ipynb)\n"]
        paper = f" In the paper: {figure['paper']}." if figure["paper"] else ""
        lines += [f"### `{figure['slug']}`\n", f"{figure['read']}{paper}\n"]
        lines += [f"![{figure['shows']}]({figure['slug']}.png)\n"]
    return "\n".join(lines)


def recorded():
    """Figures that the demo's recorded runs drew, in the study's order.

    Returns
    -------
    list of dict
        The guide's keys (see `report.guide`), ``slug`` and ``notebook_name``.

    Raises
    ------
    run.UserError
        If a notebook of the demo has not run: the gallery would lose its figures.
    """
    profile, entries, found = profiles.load_profile("demo"), report.guide(), []
    for number in profile.run:
        manifest = files.root() / "executed" / "demo" / f"{number}.manifest.json"
        if not manifest.exists():
            raise notebooks.UserError(f"Notebook {number} of the demo has not run: run `make figures` first.")
        record = json.loads(manifest.read_text(encoding="utf-8"))
        for slug in record["figures"]:
            place, known = report.entry(slug, entries)
            if (files.root() / "figures" / "demo" / f"{slug}.png").exists():
                found.append((place, known | {"slug": slug, "notebook_name": record["notebook"]}))
    return [
        figure for _, figure in sorted(found, key=lambda pair: (pair[1]["notebook_name"], pair[0], pair[1]["slug"]))
    ]


def main():
    """Write the gallery; returns the exit status."""
    try:
        figures = recorded()
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    folder = files.root() / "docs" / "gallery"
    for figure in figures:
        shrink(files.root() / "figures" / "demo" / f"{figure['slug']}.png", folder / f"{figure['slug']}.png")
    for old in set(folder.glob("*.png")) - {folder / f"{figure['slug']}.png" for figure in figures}:
        old.unlink()
    with files.atomic(folder / "README.md") as temporary:
        temporary.write_text(page(figures), encoding="utf-8")
    print(f"docs/gallery: {len(figures)} figures, {sum(p.stat().st_size for p in folder.glob('*.png')) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
