"""The documents: every link leads somewhere, every command exists and is exercised, every example runs."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml

from hivemind_utils.pipeline import notebooks, report

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "data").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
)
HOSTS = {"arxiv.org", "jobqueue.dask.org", "huggingface.co", "github.com", "docs.litellm.ai"}

# Every command of the documents, and where it is exercised: "here" (run below), a stage of .ci/run, or a test.
EXERCISED = {
    "make": "here",
    "make help": "here",
    "make plan PROFILE=paper": "test_the_costs_are_what_the_planner_says",
    "make plan PROFILE=quick": "here",
    "make plan PROFILE=local": "tests/responses/test_design.py",
    "make figures PROFILE=local": "by hand: ten minutes",
    "make setup-llama": "ci",
    "make figures PROFILE=quick": "tests/llm/test_sampler.py",
    "make NN PROFILE=paper": "by hand: the hub is not reachable from tests; its sources are tested on files",
    "make figures PROFILE=…": "test_the_readmes_examples_run_as_printed",
    "make report PROFILE=…": "test_the_readmes_examples_run_as_printed",
    "make figures": "ci",
    "make figures PROFILE=fixture": "ci",
    "make report": "ci",
    "make gallery": "ci",
    "make check": "ci",
    "make test": "ci",
    "make test-all": "by hand: see .ci/run",
    "make format": "here",
    "make lab": "tests/test_browser.py",
    "make lab PROFILE=…": "tests/pipeline/test_lab.py",
    "make export PROFILE=demo FORMAT=…": "tests/pipeline/test_ways_out.py",
    "make compare A=demo B=mine": "tests/pipeline/test_ways_out.py",
    "make clean": "tests/pipeline/test_names.py",
    "make setup": "ci",
    "make setup-dev": "ci",
    "make setup-local": "ci",
    "make setup-encoders": "ci",
    "make setup-scale": "ci",
    "make bench": "by hand: minutes, and only ratios matter",
    "make bench-scale": "by hand: minutes of computing at the size of the paper",
    "python -m hivemind_utils.tables.dictionary": "here",
    "python -m hivemind_utils.llm.store_care check data/mine/store/04.sqlite": "tests/llm/test_store_care.py",
    "python -m hivemind_utils.llm.store_care compact data/mine/store/04.sqlite": "tests/llm/test_store_care.py",
    "python -m hivemind_utils.llm.store_care check|compact": "tests/llm/test_store_care.py",
    "PIP_NO_DEPS=1 conda env create -f environment.yml": "by hand: no solver here; the file is parsed by a test",
}


def blocks(text):
    """Fenced blocks as (language, content)."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """Commands a document tells to type: in fenced shell blocks, and inline."""
    lines = [
        line for language, content in blocks(text) if language in ("", "sh", "bash") for line in content.splitlines()
    ]
    inline = re.findall(
        r"`((?:make|python -m|PIP_NO_DEPS=1 conda) ?[^`]*)`",
        re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE),
    )
    cleaned = [re.sub(r"\s+#.*", "", line).strip() for line in [*lines, *inline]]
    return {line for line in cleaned if re.match(r"(make|python -m|(PIP_NO_DEPS=1 )?conda)\b", line)}


def general(command):
    """The command without what a reader replaces: an own profile, a number, an interpreter."""
    command = re.sub(r" PYTHON=\S+", "", command)
    command = re.sub(r"PROFILE=(?!fixture|demo|paper|quick|local)\S+", "PROFILE=…", command)
    return re.sub(r"^make (NN|0\d)\b", "make NN", command)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)", text):
        url = urlparse(link)
        if url.scheme:
            assert url.scheme == "https" and url.netloc in HOSTS, f"{path.name} links to {link}"
            continue
        target = path.parent / url.path if url.path else path
        assert target.exists(), f"{path.name} links to {link}"
        if url.fragment:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert url.fragment in anchors, f"{path.name} links to {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_is_exercised(path):
    unknown = {general(c) for c in commands(path.read_text(encoding="utf-8"))} - set(EXERCISED)
    assert not unknown, f"{path.name} names commands that nothing exercises: {sorted(unknown)}"


def test_commands_said_to_be_exercised_are():
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command, where in EXERCISED.items():
        if where == "ci":
            options = " ".join(sorted(command.split()[1:]))
            stages = [" ".join(sorted(line.split()[1:])) for line in gate.splitlines() if line.startswith("make ")]
            assert any(set(options.split()) <= set(stage.split()) for stage in stages), f"{command} is not in .ci/run"
        elif where.startswith("tests/"):
            assert (ROOT / where).exists(), where


@pytest.mark.parametrize("command", [c for c, where in EXERCISED.items() if where == "here"])
def test_cheap_commands_run(command, make_project):
    project = make_project()
    program, *rest = command.split()
    words = {"make": ["make", f"PYTHON={sys.executable}"], "python": [sys.executable]}[program]
    done = subprocess.run([*words, *rest], cwd=project.folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_costs_are_what_the_planner_says(make_project):
    """Offline, without a key: the plan says what a run would cost and what it lacks."""
    told = make_project().make("plan", "PROFILE=paper").stdout
    (quoted,) = [content for language, content in blocks((ROOT / "README.md").read_text("utf-8")) if language == "text"]
    assert quoted.strip() in told, told[-3000:]
    assert "missing before it can run" in told


def test_make_help_names_every_target_with_a_line(make_project):
    text = make_project().make("help").stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^([a-z][a-z-]*):.*##", makefile, re.MULTILINE):
        assert re.search(rf"^ *{target} +\S", text, re.MULTILINE), target


def test_the_readme_maps_every_figure_and_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in notebooks.notebooks():
        assert f"(notebooks/{name}.ipynb)" in text
    for known in report.guide():
        assert f"`{known['slug'].replace('*', '<decoding>')}`" in text, known["slug"]


def test_the_readme_says_what_the_guide_says_of_the_paper():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("|")]
    for known in report.guide():
        (row,) = [row for row in rows if f"`{known['slug'].replace('*', '<decoding>')}`" in row]
        paper = row.strip("|").split("|")[-1].strip()
        assert (paper == "–") == (known["paper"] is None), f"{known['slug']}: README {paper}, guide {known['paper']}"


# ------------------------------------------------------------------------------------------------------------- examples


def examples():
    """The README's files by name: a fenced block under a line that names it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"`([\w-]+\.(?:csv|yaml))`[^\n`]*:\n\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def test_the_readme_has_its_examples():
    assert {"answers.csv", "mine.yaml"} <= set(examples())


@pytest.mark.long
@pytest.mark.parametrize("profile", [name for name in examples() if name.endswith(".yaml")])
def test_the_readmes_examples_run_as_printed(profile, make_project):
    project, files = make_project(), examples()
    for name, content in files.items():
        (project.folder / name).write_text(content, encoding="utf-8")
    project.make("figures", f"PROFILE={profile}")
    wanted = yaml.safe_load(files[profile])["common"]["run"]
    stem = Path(profile).stem
    ran = {path.stem for path in (project.folder / "executed" / stem).glob("[0-9][0-9].ipynb")}
    assert ran == {str(number) for number in wanted}
    assert list((project.folder / "figures" / stem).glob("*.png"))
    project.make("report", f"PROFILE={profile}")
    assert "SIMULATED" not in (project.folder / "report" / stem / "index.html").read_text(encoding="utf-8")
