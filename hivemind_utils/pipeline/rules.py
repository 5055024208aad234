"""The makefile of a profile's notebooks: their order, and which of them have to run.

Files are compared by content and outside of make (see `manifests`), so that neither a clock nor a file's name matters
to it: targets are the notebooks' numbers.
"""

import json
import sys

from hivemind_utils.pipeline import manifests, names, notebooks, profiles
from hivemind_utils.tables import files

FIRST = ("04", "05", "07", "06", "08", "09")  # the longest, and what others wait for: begun last, one would run alone


def rules(spec):
    """Write ``executed/<profile>/rules.mk`` and the resolved parameters; returns its path.

    A notebook runs if its parameters, its cells, the package modules it imports, its input files or its tables are not
    those of its last finished run, or if what that run wrote is not there as it was written. What depends on a
    notebook that runs is asked again afterwards, and runs if its inputs changed.
    """
    profile = profiles.load_profile(spec)
    profiles.check_common(profile)
    names.claim(profile.name, profile.path)
    folder = files.root() / "executed" / profile.name
    digests = manifests.Digests(folder)
    chosen = {number: notebooks.inspect(number) for number in sorted(profile.run)}
    order = sorted(chosen, key=lambda number: FIRST.index(number) if number in FIRST else len(FIRST))
    lines = [f".PHONY: all {' '.join(chosen)}", ".SUFFIXES:", f"all: {' '.join(order)}"]
    strict = f"\t@$(PYTHON) -m hivemind_utils.pipeline.run --partial --profile={_shell(spec)}"
    lines += ["ifneq ($(STRICT),)", strict, "endif", ""]
    possible = set()  # numbers of notebooks that run, or may have to after another ran
    for number, notebook in chosen.items():
        for sentence in notebooks.edited(notebook):
            print(f"NOTE: {sentence}", file=sys.stderr)
        values = profiles.resolve(profile, notebook)
        write_parameters(folder, notebook, values)
        input_files = profiles.input_files(notebook, values)
        needs = _needs(notebook, chosen)
        why = manifests.why_stale(notebook, profile.name, values, input_files, digests)
        lines += [f"{number}: {' '.join(needs)}"]
        if why or possible & set(needs):
            possible.add(number)
            command = f"$(PYTHON) -m hivemind_utils.pipeline.run {notebook.name} --unless-current"
            lines += [f"\t@{command} --profile={_shell(spec)} $(STRICT)"]
        lines += [""]
    digests.save()
    target = folder / "rules.mk"
    with files.atomic(target) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return target


def n_running(makefile):
    """Number of notebooks that may run under a makefile of `rules`."""
    return makefile.read_text(encoding="utf-8").count(" --unless-current ")


def _needs(notebook, chosen):
    """Numbers of the chosen notebooks whose tables or embeddings a notebook reads."""
    writers = {table[:2] for table in notebook.reads} | ({"04"} if notebook.reads_embeddings else set())
    return sorted(writers & set(chosen) - {notebook.number})


def write_parameters(folder, notebook, values):
    """Write the resolved parameters, for readers."""
    parameters = folder / f"{notebook.number}.params.json"
    text = json.dumps(values, indent=1, sort_keys=True) + "\n"
    if not parameters.exists() or parameters.read_text(encoding="utf-8", errors="replace") != text:
        with files.atomic(parameters) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _shell(text):
    """Write a text as one word of a shell in a recipe of make."""
    return "'" + str(text).replace("'", "'\\''").replace("$", "$$") + "'"
