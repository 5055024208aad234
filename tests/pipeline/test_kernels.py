"""The kernel is this interpreter's, whatever else the user has under that name."""

import json
import os
import sys

import nbformat

from hivemind_utils.pipeline import kernels

AMBIENT = """
import sys, os, matplotlib
print(sys.executable); print(matplotlib.rcParams["text.usetex"]); print("started" in globals())
import hivemind_utils; print(os.path.dirname(os.path.dirname(hivemind_utils.__file__)))
"""


def test_another_kernel_called_python3_and_a_users_settings_are_not_taken(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    theirs = tmp_path / "theirs"
    for place in (theirs / "data", theirs / "path"):
        kernel = place / "kernels" / "python3"
        kernel.mkdir(parents=True)
        dead = {"argv": ["/nowhere/python", "{connection_file}"], "display_name": "Old", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(dead))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(theirs / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(theirs / "path"))
    startup = theirs / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("started = True\n")
    monkeypatch.setenv("IPYTHONDIR", str(theirs / "ipython"))
    (theirs / "matplotlibrc").write_text("text.usetex: True\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(theirs / "matplotlibrc"))
    for name, value in kernels.environment(tmp_path / "ours").items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(AMBIENT)])
    NotebookClient(notebook, kernel_name="python3").execute(cwd=str(tmp_path))
    printed = notebook.cells[0].outputs[0].text.splitlines()
    assert printed[:3] == [sys.executable, "False", "False"]
    assert os.environ["JUPYTER_PATH"].endswith(str(theirs / "path")), "their other kernels stay"
