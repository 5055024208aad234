"""Profiles' names and folders, YAML that says things twice, one writer per profile, and what clean removes."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hivemind_utils.pipeline import clean, lab, manifests, names, notebooks, profiles, run, writers
from hivemind_utils.pipeline import rules as rules_pipeline

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one notebook."""
    import nbformat

    for folder in ("notebooks", "params", "a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "Makefile").write_bytes((REPOSITORY / "Makefile").read_bytes())
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# 04 · Answers", id="t"),
        nbformat.v4.new_code_cell('profile: str = "demo"  # the name\nn: int = 1  # é', id="p"),
        nbformat.v4.new_code_cell("print(n)", id="c"),
    ]
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, tmp_path / "notebooks" / "04_generate.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(spec):
    with pytest.raises(notebooks.UserError) as error:
        profiles.load_profile(spec)
    return str(error.value)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["mine", "my study", "llama-3.1_8b", "été", ".hidden", "v1.0", "-x", "a..b", "Ａ"])
def test_ordinary_names_are_taken(project, name):
    (project / "a" / f"{name}.yaml").touch()
    assert profiles.load_profile(f"a/{name}.yaml").name == name
    (project / "b" / f"{name}.yml").touch()
    assert profiles.load_profile(f"b/{name}.yml").name == name


@pytest.mark.parametrize(
    "name",
    [".", "..", "...", "a;b", "a{x}", "it's", 'a"b', "a:b", "a$b", "a#b", "a*b", "a\\b", "a\nb", " a", "a ", "", "%s",
     "a|b", "a&b", "a`b", "a\tb"],
)  # fmt: skip
def test_names_that_name_no_folder_are_refused_in_words(project, name):
    (project / "a" / f"{name}.yaml").touch()
    assert "cannot name a folder: use letters, digits" in refused(f"a/{name}.yaml")


@pytest.mark.parametrize("name", ["reference", "Reference", "REFERENCE"])
def test_the_projects_own_folders_are_no_profiles(project, name):
    (project / "params" / f"{name}.yaml").touch()
    assert refused(name) == f"{name!r}: the folder reference belongs to the project: use another name."
    assert "belongs to the project" in refused(f"params/{name}.yaml")


@pytest.mark.parametrize("folder", names.FOLDERS)
def test_a_name_that_is_a_file_where_folders_lie_is_refused(project, folder):
    (project / folder).mkdir()
    (project / folder / "README.md").touch()
    (project / "a" / "README.md.yaml").touch()
    expected = f"a/README.md.yaml needs a folder {folder}/README.md, which is a file: use another name."
    assert refused("a/README.md.yaml") == expected


def test_a_name_that_is_too_long_for_what_it_names_is_refused(project):
    for name, taken in (("a" * 110, True), ("a" * 111, False), ("é" * 56, False)):
        (project / "a" / f"{name}.yaml").touch()
        if taken:
            assert profiles.load_profile(f"a/{name}.yaml").name == name
        else:
            assert "takes 110 at most: use a shorter one" in refused(f"a/{name}.yaml")
    assert refused(f"{'a' * 5000}/x.yaml").startswith("There is no profile ")
    assert clean.main(["--profile", f"{'a' * 5000}/x.yaml"]) == 0


@pytest.mark.parametrize("content", [b"\xff", b"", b"[]", b"5", b'{"path": 5}', b'{"path": "\\u0000"}', b"[" * 100_000,
                                     b'{"path": "' + b"a" * 5000 + b'"}'])  # fmt: skip
def test_a_damaged_record_of_a_profile_is_written_anew(project, content):
    (project / "params" / "tiny.yaml").touch()
    record = project / "executed" / "tiny" / "profile.json"
    record.parent.mkdir(parents=True)
    for name in ("profile.json", "digests.json", "04.params.json", "04.manifest.json", "run.json"):
        (record.parent / name).write_bytes(content)
    rules_pipeline.rules("tiny")
    assert json.loads(record.read_text()) == {"path": "params/tiny.yaml"}
    assert manifests.read("tiny", "04") is None and clean.main(["--profile", "tiny"]) == 0


@pytest.mark.parametrize("spec", ["/", "a/", "..", "a", "", ".", "a/notes.txt"])
def test_what_is_no_profile_is_refused(project, spec):
    (project / "a" / "notes.txt").write_text("common:")
    assert refused(spec)
    assert clean.main([f"--profile={spec}"]) == (0 if spec == "a" else 1)


@pytest.mark.long  # two dozen makes
def test_make_passes_names_as_they_are(project):
    for spec in ("a/it's.yaml", "a/x;touch pwned.yaml", "$(touch pwned)", "a b/`touch pwned`.yaml", "/", '"'):
        for target in ("figures", "04", "report", "plan", "clean"):
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
            done = subprocess.run(
                ["make", target, f"PYTHON={sys.executable}"], cwd=project, capture_output=True, text=True, check=False,
                env=environment | {"PYTHONPATH": str(REPOSITORY), "PROFILE": spec},
            )  # fmt: skip
            assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
            assert "syntax" not in done.stderr and not (project / "pwned").exists()
    dollars = project / "a$dir (1)$(x)"
    dollars.mkdir()
    (dollars / "it$.yaml").touch()
    (dollars / "mine.yaml").touch()
    for spec, code in (("a$dir (1)$(x)/mine.yaml", 0), ("a$dir (1)$(x)/it$.yaml", 2)):
        for given in ({"PROFILE": spec}, {}):
            command = ["make", "figures", f"PYTHON={sys.executable}", *([] if given else [f"PROFILE={spec}"])]
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
            done = subprocess.run(
                command, cwd=project, capture_output=True, text=True, check=False,
                env=environment | {"PYTHONPATH": str(REPOSITORY)} | given,
            )  # fmt: skip
            assert done.returncode == code, done.stderr
            assert (dollars.name in done.stderr) == bool(code)


def test_two_files_of_one_name_are_refused_with_both_paths(project):
    for folder in ("a", "b"):
        (project / folder / "same.yaml").touch()
    rules_pipeline.rules("a/same.yaml")
    message = refused("b/same.yaml")
    assert "b/same.yaml and a/same.yaml would share" in message and "make clean PROFILE='same'" in message
    assert clean.main(["--profile", "b/same.yaml"]) == 1
    assert profiles.load_profile("a/same.yaml").name == "same"
    clean.clean("same")
    assert profiles.load_profile("b/same.yaml").name == "same"
    rules_pipeline.rules("b/same.yaml")
    (project / "b" / "same.yaml").rename(project / "params" / "same.yaml")  # moved: nothing to confuse
    assert profiles.load_profile("params/same.yaml").name == "same"
    assert "a/same.yaml would share its folders with params/same.yaml" in refused("a/same.yaml")


def test_one_name_with_both_suffixes_is_refused(project):
    for suffix in ("yaml", "yml"):
        (project / "params" / f"same.{suffix}").touch()
    assert "would share its folders with" in refused("params/same.yml")


# ---------------------------------------------------------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "line", "first", "key"),
    [
        ("04_generate: {n: 1}\ncommon: {}\n04_generate: {n: 2}\n", 3, 1, "04_generate"),
        ("common:\n  run: ['04']\ncommon: {n: 2}\n", 3, 1, "common"),
        ("04_generate:\n  n: 1\n  n: 2\n", 3, 2, "n"),
        ("04_generate: {n: 1, 'n': 2}\n", 1, 1, "n"),
        ("common: {deep: {er: [{x: 1, x: 2}]}}\n", 1, 1, "x"),
    ],
)
def test_what_a_file_says_twice_is_refused(project, text, line, first, key):
    (project / "params" / "tiny.yaml").write_text(text)
    assert refused("tiny") == (f"tiny.yaml, line {line}: '{key}' stands there already, in line {first}. Join the two.")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"a: \x00", b"\x80abc", b"a: !!python/object/apply:os.system [ls]", b"{" * 3000, b"a: *x",
     b"a: 2026-13-45"],
)  # fmt: skip
def test_a_file_that_is_no_yaml_is_refused(project, content):
    (project / "params" / "tiny.yaml").write_bytes(content)
    assert refused("tiny").startswith("tiny.yaml")


ELSEWHERE = ["tcp://10.0.0.1:8786", "tls://127.0.0.1.example.org:8786", "tcp://localhost.example.org:1",
             "ws://example.org:8786", "wss://10.0.0.1:443", "ucx://10.0.0.1:1", "tcp://0.0.0.0:1", "tcp://2130706433:1",
             "tcp://0x7f000001:1", "tcp://127.1:1", "tcp://localhost.:1", "tcp://[fd00::1]:8786",
             "tcp://[::ffff:10.0.0.1]:1", "tcp://EXAMPLE.org:1"]  # fmt: skip
FILES = ["s3://their-bucket/all", "ftp://example.org/all", "https://127.example.org/all", "s3://localhost/all",
         "gs://127.0.0.1/all", "abfs://all@localhost/all", "abfs://all@account.example.org/all", "hf://localhost/x",
         "smb://me@example.org/share", "https://127.0.0.1@example.org/all", "s3://127.0.0.1/all"]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        *ELSEWHERE,
        *({"processes": 2, "files": files} for files in FILES),
        {"address": "local", "files": FILES[0]},
        {"address": ELSEWHERE[0], "files": "file:///x"},
    ],
)
def test_a_profile_alone_names_no_scheduler_and_no_place_for_copies_elsewhere(project, monkeypatch, said):
    monkeypatch.delenv(profiles.CLUSTER_HOSTS, raising=False)
    Path("mine.yaml").write_text(json.dumps({"common": {"scheduler": said}}))
    told = refused("mine.yaml")
    assert "which is not on this machine. A scheduler can run programs here" in told
    assert f"{profiles.CLUSTER_HOSTS}=" in told
    given = said.values() if isinstance(said, dict) else [said]
    hosts = {urlsplit(one).hostname for one in given if "://" in str(one)} - {None}
    monkeypatch.setenv(profiles.CLUSTER_HOSTS, " , ".join(sorted(hosts)))
    assert profiles.load_profile("mine.yaml").scheduler == said


@pytest.mark.parametrize(
    "said",
    ["local", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "wss://LOCALHOST:1",
     *({"processes": 2, "files": files} for files in ("file:///shared", "memory://x", "http://127.0.0.1:9000/x"))],
)  # fmt: skip
def test_a_scheduler_on_this_machine_needs_no_word(project, monkeypatch, said):
    monkeypatch.delenv(profiles.CLUSTER_HOSTS, raising=False)
    Path("mine.yaml").write_text(json.dumps({"common": {"scheduler": said}}))
    assert profiles.load_profile("mine.yaml").scheduler == said


def test_a_host_that_is_listed_is_that_host_alone(project, monkeypatch):
    monkeypatch.setenv(profiles.CLUSTER_HOSTS, " [FD00::1] , , bucket")
    for address, taken in (("tcp://[fd00::1]:1", True), ("tcp://[fd00::2]:1", False), ("tcp://bucket.org:1", False)):
        Path("mine.yaml").write_text(json.dumps({"common": {"scheduler": address}}))
        if taken:
            assert profiles.load_profile("mine.yaml").scheduler == address
        else:
            assert "is not on this machine" in refused("mine.yaml")


def bomb(levels, first="[x,x,x,x,x,x,x,x,x,x]", form="[{}]"):
    lines = [f"a0: &a0 {first}"]
    for k in range(1, levels):
        lines.append(f"a{k}: &a{k} {form.format(','.join([f'*a{k - 1}'] * 10))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [bomb(6), bomb(7), bomb(30), bomb(6, "{x: 1}", "[{}]"), bomb(9, "{x: 1}", "{{<<: [{}]}}")],
)
def test_what_expands_without_end_is_refused_at_once(project, text):
    (project / "params" / "tiny.yaml").write_text(text)
    started = time.process_time()
    assert "more than 100,000 values" in refused("tiny")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["common: &a {run: *a}", "common: &a [*a]", "a: &a {b: [{c: *a}]}", "&a [*a]"])
def test_an_alias_in_itself_is_refused(project, text):
    (project / "params" / "tiny.yaml").write_text(text)
    assert "an alias stands in what it stands for" in refused("tiny")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("010", "010 is 8 in YAML, which counts by 8 here: write 10 or 8, or '010' in quotes"),
        ("-0_17", "-0_17 is -15 in YAML, which counts by 8 here: write -17 or -15"),
        ("1:30", "1:30 is 90 in YAML, which counts by 60 here: write 90, or '1:30' in quotes"),
        ("1:30.5", "1:30.5 is 90.5 in YAML, which counts by 60"),
        ("190:20:30", "190:20:30 is 685230 in YAML, which counts by 60"),
        ("1e5", "1e5 is a text in YAML: write the number with a point and a sign, such as 1.0e+5, or '1e5'"),
        ("1.5E3", "1.5E3 is a text in YAML"),
        ("no", "no may be a word, or true or false: write 'no' in quotes if it is text, else true or false"),
        *((word, f"{word} may be a word, or true or false") for word in ("No", "NO", "yes", "Yes", "on", "OFF")),
        ("2024-01-01", "2024-01-01 is a date in YAML: write '2024-01-01' in quotes"),
        ("!!binary aGk=", "tag:yaml.org,2002:binary is a type that no parameter has"),
        ("!!set {a}", "tag:yaml.org,2002:set is a type that no parameter has"),
        ("=", "tag:yaml.org,2002:value is a type that no parameter has"),
    ],
)
@pytest.mark.parametrize("form", ["04_generate:\n  n: {}", "04_generate:\n  n: [a, {}]", "common:\n  {}: 1",
                                  "04_generate:\n  n: &x {}"])  # fmt: skip
def test_what_yaml_reads_otherwise_than_people_is_refused_with_what_to_write(project, written, said, form):
    (project / "params" / "tiny.yaml").write_text(form.format(written))
    assert refused("tiny").startswith(f"tiny.yaml, line 2: {said}")


@pytest.mark.parametrize(
    ("written", "value"),
    [("'010'", "010"), ("'no'", "no"), ('"1:30"', "1:30"), ("'1e5'", "1e5"), ("08", "08"), ("007", 7), ("0", 0),
     ("1_000", 1000), ("0x10", 16), ("1.0e+5", 1e5), ("true", True), ("False", False), ("~", None), ("y", "y"),
     ("1.5", 1.5), ("a:b", "a:b"), ("12:00x", "12:00x"), ("|\n   no", "no\n")],
)  # fmt: skip
def test_what_has_one_meaning_is_read(project, written, value):
    (project / "params" / "tiny.yaml").write_text(f"04_generate:\n  n: {written}\n")
    found = profiles.load_profile("tiny").blocks["04_generate"]["n"]
    assert found == value and type(found) is type(value)


def test_numbers_of_notebooks_may_begin_with_a_nought(project):
    (project / "params" / "tiny.yaml").write_text("common: {run: [04]}\n")
    assert profiles.load_profile("tiny").run == ("04",)


def test_anchors_and_merges_stay_possible(project):
    (project / "params" / "tiny.yaml").write_text("common: &c {n: 3}\n04_generate: {<<: *c}\n")
    assert profiles.load_profile("tiny").blocks == {"04_generate": {"n": 3}}


# ---------------------------------------------------------------------------------------------------------- one writer


def test_the_second_writer_is_refused_with_the_firsts_process_id(project, capsys):
    (project / "params" / "tiny.yaml").touch()
    holder = (
        "import sys, time\nfrom hivemind_utils.pipeline import writers\n"
        "with writers.only_one('tiny', 'make figures'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    try:
        assert first.stdout.readline() == "held\n"
        for arguments in (["--make", "all"], ["04"], ["--make", "04"]):
            assert run.main([*arguments, "--profile", "tiny"]) == 1
            message = capsys.readouterr().err
            assert message.startswith(f"error: Process {first.pid} (make figures, since ") and "'tiny'" in message
        assert clean.main(["--profile", "tiny"]) == 1
        with writers.only_one("other", "make figures"):
            pass  # another profile is free
    finally:
        first.communicate("")
    with writers.only_one("tiny", "make figures"):
        assert json.loads((project / "executed" / "tiny" / "run.json").read_text())["pid"] == os.getpid()
    assert not (project / "executed" / "tiny" / "run.json").exists()


def test_the_lock_lasts_as_long_as_what_the_holder_started(project):
    killed = (
        "import os, subprocess, sys\nfrom hivemind_utils.pipeline import writers\n"
        "with writers.only_one('tiny', 'make figures') as descriptors:\n"
        "    subprocess.Popen([sys.executable, '-c', 'input()'], pass_fds=descriptors)\n    os.kill(os.getpid(), 9)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", killed], stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    child.wait()
    try:
        with pytest.raises(notebooks.UserError, match="is writing the profile 'tiny'"), writers.only_one("tiny", "x"):
            pass
    finally:
        child.stdin.write(b"\n")
        child.stdin.close()
    time.sleep(1)
    with writers.only_one("tiny", "x"):
        pass


def test_of_many_at_once_one_writes(project):
    seen, together = [], threading.Barrier(4)

    def try_it():
        together.wait()
        done = subprocess.run(
            [sys.executable, "-c", "import time\nfrom hivemind_utils.pipeline import writers\n"
             "with writers.only_one('tiny', 'x'):\n    print('ran'); time.sleep(3)"],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        seen.append(done)

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    ran = [done for done in seen if done.returncode == 0]
    assert len(ran) >= 1
    assert all("is writing the profile" in done.stderr for done in seen if done.returncode)


# --------------------------------------------------------------------------------------------------------------- clean


PAIR = ("npy", "parquet")


def everything(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_clean_removes_what_a_run_wrote_and_nothing_else(project, capsys):
    (project / "params" / "tiny.yaml").touch()
    before = everything(project)
    theirs = {
        "data/tiny/store/04.sqlite", "data/tiny/sheets/02_open_ended.csv", "data/tiny/answers.csv",
        "data/tiny/04_mine.parquet", "data/tiny/embeddings/notes.txt", "data/tiny/embeddings/own.npy",
        "figures/tiny/poster.png", "results/tiny/notes.md", "executed/tiny/mine.ipynb", "report/other/mine.txt",
        "data/reference/04_responses.parquet", "data/reference/embeddings/x.npy", "export/tiny/mine.csv",
    }  # fmt: skip
    ours = {
        "data/tiny/04_responses.parquet", "data/tiny/embeddings/minilm.npy", "data/tiny/embeddings/minilm.parquet",
        "data/tiny/embeddings/queries/minilm.npy", "data/tiny/embeddings/queries/minilm.parquet",
        *(f"data/tiny/embeddings/{kind}/e.{suffix}" for kind in ("sets", "files", "translated") for suffix in PAIR),
        "data/tiny/truth/ideas.parquet", "figures/tiny/map.png", "figures/tiny/map.csv", "figures/tiny/begun.png",
        "results/tiny/04.json", "results/tiny/claims.csv", "executed/tiny/04.ipynb", "report/tiny/index.html",
    }  # fmt: skip
    for name in theirs | ours:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    record = {"figures": ["map"], "parameters": {}, "inputs": {}, "packages": {}, "partial": None}
    manifests.write(record, "tiny", "04")
    (project / "executed" / "tiny" / "04.figures.txt").write_text("begun\n")
    rules_pipeline.rules("tiny")
    assert clean.main(["--all"]) == 0
    assert everything(project) == before | theirs
    assert "left as they are, for no run wrote them: executed/tiny/mine.ipynb" in capsys.readouterr().out


def test_clean_takes_away_the_folders_it_emptied(project):
    (project / "params" / "tiny.yaml").touch()
    before = everything(project)
    rules_pipeline.rules("tiny")
    lab.copies("tiny")
    assert clean.main(["--profile", "tiny"]) == 0
    assert everything(project) == before and not (project / "executed" / "tiny").exists()


# ---------------------------------------------------------------------------------------------------------- JupyterLab


def test_copies_hold_the_profiles_values_and_edits_are_kept(project):
    (project / "params" / "tiny.yaml").write_text("04_generate: {n: 5}\n")
    original = (project / "notebooks" / "04_generate.ipynb").read_bytes()
    (copy,), kept = lab.copies("tiny")
    assert kept == [] and copy == project / "executed" / "tiny" / "lab" / "04_generate.ipynb"
    cells = json.loads(copy.read_text())["cells"]
    assert "".join(cells[1]["source"]) == "profile: str = 'tiny'  # the name\nn: int = 5  # é"
    run_all = json.loads(copy.read_text())
    run_all["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["5\n"]}]
    copy.write_text(json.dumps(run_all))
    assert lab.copies("tiny")[1] == [] and json.loads(copy.read_text()) == run_all, "outputs stay"
    run_all["cells"][1]["source"] = "profile: str = 'tiny'\nn: int = 99"
    copy.write_text(json.dumps(run_all))
    _, kept = lab.copies("tiny")
    assert [path.name for path in kept] == ["04_generate.edited-1.ipynb"] and "99" in kept[0].read_text()
    assert "n: int = 5" in copy.read_text()
    clean.clean("tiny")
    assert everything(project / "executed" / "tiny") == {"lab/04_generate.edited-1.ipynb"}
    assert (project / "notebooks" / "04_generate.ipynb").read_bytes() == original


def test_values_are_put_where_they_belong():
    source = 'a: str = "é é"  # é\nb: list[str] = [  # two\n    "x",\n    "y",\n]  # end\nc: int = 1; d: int = 2\n'
    put = lab.assign(source, {"a": "o'k\n", "b": ["z"], "c": 1, "d": 3})
    assert put == "a: str = \"o'k\\n\"  # é\nb: list[str] = ['z']  # end\nc: int = 1; d: int = 3\n"
    assert re.search("é", put) and lab.assign(source, {"a": "é é", "b": ["x", "y"], "c": 1, "d": 2}) == source


def test_a_name_alone_is_enough_to_clean(project):
    assert names.name_of("params/tiny.yaml") == names.name_of("tiny") == names.name_of("x/tiny.yml") == "tiny"


# --------------------------------------------------------------------------------------- numbers of a profile


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("budget_usd: .nan", "`budget_usd` must be a finite number, but nan was given"),
        ("budget_usd: .inf", "`budget_usd` must be a finite number, but inf was given"),
        ("budget_usd: -1.0", "`budget_usd` must be a number from 0, but -1.0 was given"),
        ("prices: {m: [1.0, -2.0]}", "`prices: m: output` must be a number from 0, but -2.0 was given"),
        ("prices: {m: [.nan, 2.0]}", "`prices: m: 0` must be a finite number, but nan was given"),
        ("limits: {default: {concurrency: '4'}}", "`limits: default: concurrency` must be a whole number"),
        ("limits: {default: {concurrency: 2.5}}", "`limits: default: concurrency` must be a whole number"),
        ("limits: {default: {concurrency: }}", "but None was given"),
        ("decodings: {d: {temperture: 0.2}}", "Did you mean 'temperature'?"),
        ("decodings: {d: {max_tokens: '100'}}", "`decodings: d: max_tokens` must be a whole number"),
        ("decodings: {d: {max_tokens: -5}}", "`decodings: d: max_tokens` must be a whole number"),
        ("decodings: {d: {extra_body: {max_tokens: 100000}}}", "may not hold 'max_tokens'"),
        ("paraphrasing: {wirter: x}", "`paraphrasing` names 'wirter', which is not known. Did you mean 'writer'?"),
    ],
)
def test_numbers_and_names_are_refused_before_a_kernel_starts(monkeypatch, tmp_path, capsys, block, message):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "odd_numbers.yaml").write_text(f"04_generate: {{{block}}}\n")
    profile = profiles.load_profile(tmp_path / "odd_numbers.yaml")
    with pytest.raises(notebooks.UserError, match=re.escape(message)) as error:
        profiles.resolve(profile, notebooks.inspect("04"))
    assert str(error.value).startswith("odd_numbers.yaml, 04_generate: ")
