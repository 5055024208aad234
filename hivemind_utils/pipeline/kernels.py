"""The kernel that notebooks run in: this interpreter, this tree, and nothing of the user's own settings."""

import json
import os

from hivemind_utils.pipeline import forks
from hivemind_utils.tables import files


def environment(folder):
    """Environment in which the kernel called python3 is this interpreter, untouched by the user's configuration.

    Parameters
    ----------
    folder : Path
        A folder of its own that lasts as long as the kernels; a kernel's specification and settings are written there.

    Returns
    -------
    dict of str to str
        Variables to add. ``JUPYTER_PATH`` comes before the user's own folders, so that another kernel of the name
        python3 is not taken; IPython's start-up files and the user's ``matplotlibrc`` are not read.
    """
    kernel = folder / "jupyter" / "kernels" / "python3"
    settings = folder / "ipython" / "profile_default" / "ipython_kernel_config.py"
    for place in (kernel, settings.parent):
        place.mkdir(parents=True, exist_ok=True)
    specification = {
        "argv": [*forks.python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
    settings.write_text("c.IPKernelApp.log_level = 50\n", encoding="utf-8")  # silent about TCP on the loopback
    (folder / "matplotlibrc").write_text("", encoding="utf-8")

    def first(value, name):
        return os.pathsep.join([str(value), *filter(None, [os.environ.get(name)])])

    return {
        "PYTHONPATH": first(files.root(), "PYTHONPATH"),  # the tree that runs is the tree imported
        "JUPYTER_PATH": first(folder / "jupyter", "JUPYTER_PATH"),
        "IPYTHONDIR": str(folder / "ipython"),
        "MATPLOTLIBRC": str(folder / "matplotlibrc"),
    }
