"""The site of a profile: complete, self-contained, escaped."""

import json
import re
import shutil
from html import escape
from html.parser import HTMLParser
from urllib.parse import unquote, urlparse

import nbformat
import pandas as pd
import pytest

from hivemind_utils.figures import style
from hivemind_utils.pipeline import claims, gallery, notebooks, report
from hivemind_utils.tables import files, paper

FETCHED = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
}


class Page(HTMLParser):
    """Tags of a page with their attributes, its text, and the ids it holds."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def site(fixture_run):
    fixture_run.make("report", "PROFILE=fixture")
    return fixture_run.folder / "report" / "fixture"


def figures(page):
    return [a for a in page.all("img") if not a["src"].startswith("data:")]


def pages(site):
    return sorted(site.rglob("*.html"))


# ---------------------------------------------------------------------------------------------- on the fixture profile


def test_every_figure_of_every_run_is_shown_with_words_and_linked_to_its_files(site, fixture_run):
    page = Page(site / "index.html")
    texts = {a["src"]: a["alt"] for a in page.all("img")}
    links = {a.get("href") for a in page.all("a")}
    for manifest in (fixture_run.folder / "executed" / "fixture").glob("*.manifest.json"):
        record = json.loads(manifest.read_text())
        assert f"notebooks/{record['notebook']}.html" in links
        for slug in record["figures"]:
            if (fixture_run.folder / "figures" / "fixture" / f"{slug}.png").exists():
                assert len(texts[f"figures/{slug}.untitled.png"]) > 40
                assert {f"figures/{slug}.{suffix}" for suffix in ("csv", "pdf", "png")} <= links
            if (fixture_run.folder / "figures" / "fixture" / f"{slug}.html").exists():
                assert f"figures/{slug}.html" in links


def test_the_study_stands_in_order_with_claims_and_provenance(site):
    page = Page(site / "index.html")
    sections = [i for i in page.ids if re.fullmatch(r"n\d\d|claims|provenance", i)]
    assert sections == [f"n{name[:2]}" for name in notebooks.notebooks()] + ["claims", "provenance"]
    assert "SIMULATED DATA" in page.text and claims.SIMULATED in page.text


def test_every_link_leads_somewhere(site):
    for path in pages(site):
        page = Page(path)
        assert len(page.ids) == len(set(page.ids)), path.name
        for _, attributes in page.tags:
            for name in ("href", "src"):
                target = urlparse(attributes.get(name) or "")
                if target.scheme:
                    continue
                if target.path:
                    assert (path.parent / unquote(target.path)).exists(), f"{path.name}: {attributes[name]}"
                elif target.fragment:
                    assert target.fragment in page.ids, f"{path.name}: #{target.fragment}"


def test_no_page_of_ours_fetches_or_runs_anything(site):
    for path in [site / "index.html", *(site / "notebooks").glob("*.html")]:
        page = Page(path)
        assert not page.all("script") and not page.all("iframe")
        (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
        assert policy.startswith("default-src 'none'")


def test_nothing_in_the_site_names_another_host_to_fetch_from(site):
    for path in pages(site):
        for tag, attributes in Page(path).tags:
            for name, value in attributes.items():
                if (tag, name) in FETCHED and value:
                    assert urlparse(value).scheme in ("", "data"), f"{path.name}: {value[:80]}"


def test_pictures_in_notebooks_have_words_and_formulas_are_drawn(site):
    for path in (site / "notebooks").glob("*.html"):
        assert all(a.get("alt") for a in Page(path).all("img"))
    page = Page(site / "notebooks" / "05_intra_model.html")
    assert any("n(n-1)" in a["alt"] for a in page.all("img"))
    assert "$" not in "".join(re.findall(r"For unit vectors.*", page.text))


def test_claims_are_written_beside_the_results(site, fixture_run):
    table = pd.read_csv(site / "results" / "claims.csv")
    assert len(table) == len(paper.claims())
    assert set(table["verdict"]) <= {claims.SIMULATED, claims.NOT_MEASURED, claims.NOT_TESTABLE}
    assert (fixture_run.folder / "results" / "fixture" / "claims.json").exists()


def test_every_claim_finds_its_value_where_its_notebook_ran(site, fixture_run):
    """A result path with a typo would read "not measured here" for ever."""
    table = pd.read_csv(site / "results" / "claims.csv", keep_default_na=False)
    lost = table.loc[table["reason"] == "this run has no such value", ["claim_id", "result"]]
    # the demo has no such model, arm, or prompts of which annotators expect more than 20 responses
    known = ["deepseek_qwen", "deepseek_gpt4o", "vs_gain", "open_high", "open_low", "open_difference"]
    assert lost[~lost["claim_id"].isin(known)].empty, lost.to_string()


def test_every_figure_of_the_fixture_is_explained_in_the_guide(fixture_run):
    entries = report.guide()
    numbers = {name[:2] for name in notebooks.notebooks()}
    for manifest in (fixture_run.folder / "executed" / "fixture").glob("*.manifest.json"):
        record = json.loads(manifest.read_text())
        for slug in record["figures"]:
            place, known = report.entry(slug, entries)
            assert place < len(entries), f"data/reference/figures.yaml does not explain {slug}"
            assert known["notebook"] == record["notebook"][:2]
    for known in entries:
        assert known["notebook"] in numbers and known["shows"] and known["read"].endswith((".", "?"))


def test_building_again_replaces_the_site(site, fixture_run):
    (site / "stale.html").write_text("old")
    fixture_run.make("report", "PROFILE=fixture")
    assert not (site / "stale.html").exists() and (site / "index.html").exists()
    assert [p.name for p in site.parent.iterdir()] == ["fixture"], "no temporary folder is left"


def test_a_profile_that_has_not_run_says_what_to_do(fixture_run):
    done = fixture_run.make("report", check=False)
    assert done.returncode and "Nothing of the profile demo has run yet: run `make figures`" in done.stderr


# -------------------------------------------------------------------------------------------------- on a hostile study

HOSTILE = "<script>alert(1)</script> & 5 $ x"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A study whose every text tries to be markup."""
    root = files.root()
    for name in ("pyproject.toml",):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "data" / "reference", tmp_path / "data" / "reference")
    for name in ("notebooks", "params", "executed/mine", "figures/mine", "results/mine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "params" / "mine.yaml").write_text("common: {run: ['05']}\n")
    parameters = nbformat.v4.new_code_cell('profile: str = "demo"  # x', metadata={"tags": ["parameters"]})
    title = nbformat.v4.new_markdown_cell("# 05 · Is it <b>so</b>?\n\nA question <script>alert(2)</script> in $x^2$.")
    notebook = nbformat.v4.new_notebook(cells=[title, parameters])
    nbformat.write(notebook, tmp_path / "notebooks" / "05_intra_model.ipynb")
    frame = nbformat.v4.new_output("execute_result", {"text/html": pd.DataFrame({"x": [HOSTILE]}).to_html()})
    stream = nbformat.v4.new_output("stream", text=HOSTILE)
    notebook.cells.append(nbformat.v4.new_code_cell("x", outputs=[frame, stream]))
    nbformat.write(notebook, tmp_path / "executed" / "mine" / "05.ipynb")
    manifest = {
        "notebook": "05_intra_model", "profile": "mine", "figures": ["odd"], "packages": {"numpy": "2"}, "seconds": 1.5,
        "git_commit": None, "partial": HOSTILE, "finished": "2030-01-01T00:00:00+00:00",
    }  # fmt: skip
    (tmp_path / "executed" / "mine" / "05.manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "results" / "mine" / "05.json").write_text(json.dumps({"source": "imported", "partial": HOSTILE}))
    picture = root / "docs" / "gallery" / "rarefaction.png"
    shutil.copy(picture, tmp_path / "figures" / "mine" / "odd.png")
    shutil.copy(picture, tmp_path / "figures" / "mine" / "stray.png")
    printed = {"title": HOSTILE, "caption": HOSTILE, "source": HOSTILE, "partial": None}
    (tmp_path / "figures" / "mine" / "odd.json").write_text(json.dumps(printed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_whatever_the_data_say_is_text(hostile):
    index = report.build("mine")
    for path in (index, index.parent / "notebooks" / "05_intra_model.html"):
        page = Page(path)
        assert not page.all("script") and "<script>alert(1)</script>" in page.text
    page = Page(index)
    assert figures(page)[0]["alt"].endswith(HOSTILE) and "PARTIAL" in page.text
    assert "SIMULATED" not in page.text


def test_a_figure_that_no_run_recorded_is_named_and_not_shown(hostile):
    page = Page(report.build("mine"))
    assert "stray, drawn by hand" in page.text
    assert [a["src"] for a in figures(page)] == ["figures/odd.untitled.png"]


def test_a_failed_run_is_told(hostile):
    (hostile / "executed" / "mine" / "05.running.ipynb").touch()
    assert "The latest run failed" in Page(report.build("mine")).text


# --------------------------------------------------------------------------------------------------------- small things


@pytest.mark.parametrize("tex", [r"\sum_i x_i", "s", "a < b"])
def test_a_formula_is_a_picture_with_its_tex_as_text(tex):
    drawn = report.formula(tex)
    assert drawn.startswith("<img") and f'alt="{escape(tex)}"' in drawn and "data:image/svg+xml;base64," in drawn


def test_a_formula_that_cannot_be_drawn_stays_tex():
    assert report.formula(r"\nosuchcommand{<b>}") == r"<code>\nosuchcommand{&lt;b&gt;}</code>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (3.0, "3"),
        (31250, "31,250"),
        (0.123456, "0.1235"),
        (79.08, "79.08"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_are_written_for_readers(value, text):
    assert report.number(value) == text


def test_links_to_notebooks_lead_to_their_pages_or_nowhere():
    text = "[here](06_x.ipynb) and [there](07_y.ipynb) and [paper](https://arxiv.org/abs/2510.22954)"
    html = report.markdown(text, {"06_x.ipynb": "06_x.html"})
    assert '<a href="06_x.html">here</a>' in html and "there" in html and "07_y" not in html
    assert 'href="https://arxiv.org/abs/2510.22954"' in html


def test_a_small_picture_of_the_gallery_keeps_the_colours_of_families(tmp_path):
    import numpy as np
    from PIL import Image

    hues = [tuple(bytes.fromhex(c[1:])) for c in style.FAMILY_COLOURS]
    pixels = np.full((400, 400, 3), 255, dtype=np.uint8)
    pixels[:, :200] = np.linspace(0, 255, 200)[None, :, None]  # a gradient wants colours too
    for k, hue in enumerate(hues):
        pixels[10 * k : 10 * k + 8, 300:308] = hue
    Image.fromarray(pixels).save(tmp_path / "large.png")
    gallery.shrink(tmp_path / "large.png", tmp_path / "small.png")
    small = np.asarray(Image.open(tmp_path / "small.png").convert("RGB")).astype(int)
    for k, hue in enumerate(hues):
        assert np.abs(small[10 * k + 4, 304] - hue).max() <= 20


def test_the_gallery_is_the_demos_and_every_picture_of_it_is_explained():
    folder = files.root() / "docs" / "gallery"
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "simulated" in text
    assert {p.name for p in folder.glob("*.png")} == set(re.findall(r"\]\((\w+\.png)\)", text))
