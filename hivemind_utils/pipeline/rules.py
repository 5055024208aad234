"""The makefile that knows what has to run again."""

import json

from hivemind_utils.pipeline import notebooks, profiles, run
from hivemind_utils.responses import embeddings
from hivemind_utils.tables import files, parquet


def rules(spec):
    """Write ``executed/<profile>/rules.mk`` and the resolved parameters it depends on; returns its path.

    A notebook depends on its source, its input tables and files, the package modules it imports and its resolved
    parameters. A missing output, or a run that did not finish, forces it.
    """
    profile = profiles.load_profile(spec)
    profiles.check_common(profile)
    folder = files.root() / "executed" / profile.name
    inspected = {name[:2]: notebooks.inspect(name) for name in notebooks.notebooks()}
    chosen = {number: notebook for number, notebook in inspected.items() if number in profile.run}
    lines = [".PHONY: all FORCE", ".SUFFIXES:", f"all: {' '.join(chosen)}"]
    strict = f"\t@$(PYTHON) -m hivemind_utils.pipeline.run --partial --profile '{_shell(spec)}'"
    lines += ["ifneq ($(STRICT),)", strict, "endif", "FORCE:", ""]
    for number, notebook in chosen.items():
        values = profiles.resolve(profile, notebook)
        parameters = write_parameters(folder, notebook, values)
        stamp = folder / f"{number}.ipynb"
        outputs = [parquet.path(t, profile.name) for t in notebook.writes]
        if notebook.writes_embeddings:
            outputs += _embeddings(profile.name, values)
        needs = [notebook.path, parameters, *notebook.modules, *profiles.input_files(notebook, values)]
        for table in notebook.reads:
            needs += [parquet.path(table, profile.name)]
            writer = table[:2]
            needs += [folder / f"{writer}.ipynb"] if writer in chosen else []
        if notebook.reads_embeddings:
            needs += _embeddings(profile.name, values)
        unfinished = (folder / f"{number}.running.ipynb").exists() or not all(p.exists() for p in outputs)
        lines += [
            f".PHONY: {number}",
            f"{number}: {_make(stamp)}",
            f"{_make(stamp)}: {' '.join(_make(p) for p in dict.fromkeys(needs))}{' FORCE' if unfinished else ''}",
            f"\t@$(PYTHON) -m hivemind_utils.pipeline.run {notebook.name} --profile '{_shell(spec)}' $(STRICT)",
            *(f"{_make(p)}: {_make(stamp)} ;" for p in outputs),
            "",
        ]
    target = folder / "rules.mk"
    with files.atomic(target) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return target


def write_parameters(folder, notebook, values):
    """Write the resolved parameters if they changed; what they change reruns."""
    parameters = folder / f"{notebook.number}.params.json"
    text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if not parameters.exists() or parameters.read_text(encoding="utf-8") != text:
        with files.atomic(parameters) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return parameters


def _embeddings(profile, values):
    return list(embeddings.files(values["encoder"], files.folder(profile) / "embeddings"))


def _make(path):
    """Write a path as make reads it: relative to the root, spaces and dollars escaped."""
    return run._relative(path).replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")


def _shell(text):
    return str(text).replace("'", "'\\''").replace("$", "$$")
