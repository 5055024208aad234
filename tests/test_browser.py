"""What a reader does in a browser: JupyterLab with Run All Cells, the report and its interactive pages.

Skipped where no Chromium is installed. Pictures of what was seen go to ``$HIVEMIND_SCREENSHOTS``, or a temporary
folder.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import pytest

from hivemind_utils.pipeline import notebooks

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on the PATH"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's driver ends with the interpreter
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    folder = Path(os.environ.get("HIVEMIND_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser):
    """Open a page that notes what it asked for and what went wrong."""
    opened = []

    def open_(url, width=1280, height=900):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.trouble, page.requested = [], []
        page.on("console", lambda message: page.trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(url)
        opened.append(page)
        return page

    yield open_
    for page in opened:
        page.close()


def external(page):
    return [url for url in page.requested if not url.startswith(("file:", "data:", "blob:"))]


def overflow(page):
    """Pixels by which the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


# ----------------------------------------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def site(fixture_run):
    fixture_run.make("report", "PROFILE=fixture")
    return fixture_run.folder / "report" / "fixture"


def pages(site):
    """The index, and one notebook and one interactive page of each kind."""
    return [
        site / "index.html",
        *sorted((site / "notebooks").glob("*.html")),
        *sorted((site / "figures").glob("*.html")),
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_of_the_report_opens_whole_and_alone(site, open_page, screenshots, width):
    for path in pages(site):
        page = open_page(path.as_uri(), width)
        page.wait_for_load_state("load")
        assert page.trouble == [] and external(page) == [], path.name
        assert overflow(page) <= 0, f"{path.name} scrolls sideways at {width} pixels"
        page.screenshot(path=screenshots / f"report_{path.stem}_{width}.png")


def test_every_picture_of_the_report_loads(site, open_page):
    page = open_page((site / "index.html").as_uri())
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
    page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
    assert page.evaluate("[...document.images].filter(image => image.naturalWidth == 0).map(i => i.src)") == []
    assert page.evaluate("document.images.length") > 10


def test_the_report_is_used_with_the_keyboard_alone(site, open_page):
    page = open_page((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    summary = page.locator("summary").nth(1)
    is_open = summary.evaluate("element => element.parentElement.open")
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.evaluate("element => element.parentElement.open") != is_open
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_from_a_figure_to_its_notebook_and_back(site, open_page):
    page = open_page((site / "index.html").as_uri())
    with page.expect_navigation():
        page.locator("#inter_heatmap").get_by_text("Notebook 06").click()
    assert page.locator("h1").first.inner_text().startswith("06 · ")
    with page.expect_navigation():
        page.get_by_text("Report: fixture").click()
    assert page.url.endswith("index.html") and page.trouble == []


def test_dark_and_light_are_both_readable(site, open_page):
    page = open_page((site / "index.html").as_uri())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, paper = page.evaluate(
            "['color', 'backgroundColor'].map(p => getComputedStyle(document.body)[p].match(/\\d+/g).map(Number))"
        )
        assert abs(sum(ink) - sum(paper)) > 3 * 150, f"{ink} on {paper} ({scheme})"


# ----------------------------------------------------------------------------------------------------------- JupyterLab


@pytest.mark.parametrize("width", [1280, 390])
def test_the_interactive_map_hovers_filters_and_searches(site, open_page, screenshots, width):
    maps = sorted((site / "figures").glob("*_map.html"))
    if not maps:
        pytest.skip("this tree has no notebook 07")
    page = open_page(maps[0].as_uri(), width)
    page.wait_for_function("document.getElementById('map').data?.length > 0")
    count = page.locator("#count")
    everything = count.inner_text()
    x, y, text = page.evaluate(FIRST_POINT)
    page.mouse.move(x - 30, y)
    page.mouse.move(x, y, steps=5)
    page.wait_for_selector(".hoverlayer .hovertext", state="attached")
    assert len(page.locator(".hoverlayer .hovertext").first.text_content()) > 5
    page.screenshot(path=screenshots / f"map_{width}.png")
    page.select_option("#model", index=1)
    assert count.inner_text() != everything
    page.select_option("#model", index=0)
    assert count.inner_text() == everything
    page.fill("#search", "no answer holds these words")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('0 of')")
    word = max(re.sub("<.*?>", " ", text.split("<br>", 1)[1]).split(), key=len)
    page.fill("#search", word)
    page.wait_for_function("!document.getElementById('count').textContent.startsWith('0 of')")
    for option in range(page.locator("#by option").count()):
        page.select_option("#by", index=option)
        assert page.evaluate("document.getElementById('map').data.length") > 0
    assert page.trouble == [] and external(page) == [] and overflow(page) <= 0


FIRST_POINT = """() => {
    const map = document.getElementById("map"), trace = map.data[0], layout = map._fullLayout;
    const box = map.getBoundingClientRect();
    return [
        box.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[0]),
        box.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[0]),
        trace.text[0],
    ];
}"""

LAB_SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is on the page, not only those in view
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture
def lab(fixture_run, tmp_path):
    """JupyterLab as `make lab` starts it, on a copy of a project that has run; its address and folder."""
    project = tmp_path / "project"
    shutil.copytree(fixture_run.folder, project)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (
        f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token= --allow-root"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    environment |= {"PYTHONPATH": str(project), "IPYTHONDIR": str(tmp_path / "ipython")}
    environment |= {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings = tmp_path / "config" / "lab" / "user-settings" / "@jupyterlab"
    for name, values in LAB_SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    log = (tmp_path / "lab.log").open("wb")
    server = subprocess.Popen(
        ["make", "lab", "PROFILE=fixture", f"PYTHON={sys.executable}", f"LAB_ARGS={options}"],
        cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{address}/api/status"), 60, lambda: (tmp_path / "lab.log").read_text())
        yield address, project
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server stops its kernels
        try:
            server.wait(20)
        finally:
            log.close()


def wait_for(condition, seconds, explain):
    """Wait until a condition holds, or fail with an explanation."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {explain()}"
        time.sleep(0.5)


def answers(url):
    try:
        return json.loads(urllib.request.urlopen(url, timeout=5).read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


@pytest.mark.long
@pytest.mark.parametrize("name", notebooks.notebooks())
def test_run_all_cells_in_jupyterlab_with_untouched_parameters(lab, open_page, screenshots, name):
    address, project = lab
    path = project / "executed" / "fixture" / "lab" / f"{name}.ipynb"
    page = open_page(f"{address}/lab/tree/executed/fixture/lab/{path.name}", 1400, 1000)
    page.get_by_text("Python 3 (ipykernel)").first.wait_for(timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    def finished():
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1500)
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        errors = [o for c in cells for o in c["outputs"] if o["output_type"] == "error"]
        assert not errors, errors[0]["evalue"]
        return all(c["execution_count"] for c in cells) and {s["kernel"]["execution_state"] for s in sessions()} == {
            "idle"
        }

    def sessions():
        return answers(f"{address}/api/sessions") or []

    wait_for(finished, 420, lambda: page.locator(".jp-Notebook").inner_text()[-2000:])
    assert page.locator('.jp-Notebook [data-mime-type="application/vnd.jupyter.error"]').count() == 0
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() >= 1
    pictures.first.scroll_into_view_if_needed()
    assert pictures.first.evaluate("image => image.naturalWidth") > 100
    page.screenshot(path=screenshots / f"lab_{name}.png")
    hosts = {urlparse(url).netloc for url in page.requested if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlparse(address).netloc}
