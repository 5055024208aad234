"""How two runs differ: ``python -m hivemind_utils.pipeline.compare demo mine``; see ``report/compare/``.

Numbers per prompt are compared on the prompts that both runs have, paired; the notebooks' headline numbers and the
claims' values as they stand, unpaired; then what differed in provenance.
"""

import argparse
import json
import math
import sys

import numpy as np
import pandas as pd

from hivemind_utils.metrics import resample
from hivemind_utils.pipeline import claims, manifests, notebooks, profiles, report, results
from hivemind_utils.tables import files, parquet

# Per prompt, comparable between runs: table, columns that mean something across runs, and what each is.
PER_PROMPT = (
    ("05_repetition", "mean_cosine", "similarity of a model's responses"),
    ("05_repetition", "mean_cosine_equal_n", "the same at equal numbers of responses"),
    ("05_repetition", "mean_cosine_centred", "the same, embeddings centred"),
    ("05_repetition", "mean_tfidf", "the same in words only"),
    ("05_repetition", "vendi_1_equal_n", "effective number of responses, equal numbers"),
    ("07_prompts", "n_modes", "modes of a prompt"),
    ("07_prompts", "n_supported", "supported modes of a prompt"),
    ("07_prompts", "dominant_share", "share of the largest mode"),
    ("07_prompts", "effective_modes", "effective number of modes"),
    ("08_items", "entropy_corrected_bits", "entropy of human annotations, bits"),
)


def paired(a, b, n_boot=2_000, seed=0):
    """Differences B - A of numbers per prompt, over the prompts that both runs have.

    Parameters
    ----------
    a, b : str
        Names of the profiles.
    n_boot : int
        Bootstrap resamples of prompts.
    seed : int

    Returns
    -------
    pandas.DataFrame
        what, n_prompts, a, b, difference, lower, upper (95 %); a run's number of a prompt is its mean over models.
    """
    rows = []
    for table, column, what in PER_PROMPT:
        sides = [_per_prompt(table, column, name) for name in (a, b)]
        if any(side is None for side in sides):
            continue
        both = pd.concat(sides, axis=1, keys=["a", "b"], join="inner").dropna().sort_index()
        if both.empty:
            continue
        rows.append({"what": what} | difference(both["a"].to_numpy(), both["b"].to_numpy(), n_boot, seed))
    return pd.DataFrame(rows, columns=["what", "n_prompts", "a", "b", "difference", "lower", "upper"])


def difference(a, b, n_boot=2_000, seed=0):
    """Mean of paired differences with its 95 % interval, pairs resampled; no interval for a single pair.

    Parameters
    ----------
    a, b : ndarray of float, shape (n_prompts,)
    n_boot : int
    seed : int

    Returns
    -------
    dict
        n_prompts, a, b (means), difference (of b from a), lower, upper.

    Examples
    --------
    >>> found = difference(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    >>> found["difference"], found["lower"], found["upper"]
    (1.0, 1.0, 1.0)
    """
    found = {"n_prompts": len(a), "a": float(a.mean()), "b": float(b.mean()), "difference": float((b - a).mean())}
    lower = upper = math.nan
    if len(a) > 1:
        weights = resample.bootstrap_weights(len(a), n_boot, np.random.default_rng(seed))
        lower, upper = (float(bound) for bound in resample.interval(resample.weighted_means(b - a, weights)))
    return found | {"lower": lower, "upper": upper}


def unpaired(a, b):
    """Difference B - A of two values with intervals, as of independent runs: the intervals' halves add in squares.

    Parameters
    ----------
    a, b : dict
        value, lower, upper; NaN or None where there is none.

    Returns
    -------
    tuple of float
        difference, lower, upper; NaN bounds where either run has no interval.

    Examples
    --------
    >>> unpaired({"value": 1.0, "lower": 0.7, "upper": 1.3}, {"value": 2.0, "lower": 1.6, "upper": 2.4})
    (1.0, 0.5, 1.5)
    """
    (va, la, ua), (vb, lb, ub) = ([_number(side.get(k)) for k in ("value", "lower", "upper")] for side in (a, b))
    middle = vb - va
    down, up = math.hypot(vb - lb, ua - va), math.hypot(ub - vb, va - la)
    return middle, middle - down, middle + up


def headlines(a, b):
    """The notebooks' one number in both runs: notebook, what, both values with intervals, difference with interval."""
    rows = []
    for name in notebooks.notebooks():
        numbers = [_results(run, name[:2]).get("number") for run in (a, b)]
        if all(isinstance(number, dict) for number in numbers) and numbers[0]["label"] == numbers[1]["label"]:
            rows.append(_row(name, numbers[0]["label"], *numbers))
    return rows


def claimed(a, b):
    """The claims whose value both runs have: notebook, claim, both values, difference."""
    tables = [claims.evaluate(name) for name in (a, b)]
    rows = []
    for left, right in zip(tables[0].to_dict("records"), tables[1].to_dict("records"), strict=True):
        if left["value"] == left["value"] and right["value"] == right["value"]:
            rows.append(_row(left["result"].partition(":")[0], left["claim"], left, right))
    return rows


def differences(a, b):
    """What differs in provenance: notebook, what, in A, in B."""
    rows = []
    for name in notebooks.notebooks():
        number = name[:2]
        left, right = (manifests.require(run, number) for run in (a, b))
        if (left is None) != (right is None):
            rows.append((number, "ran", "no" if left is None else "yes", "no" if right is None else "yes"))
        if left is None or right is None:
            continue
        rows += [(number, k, left.get(k), right.get(k)) for k in ("python", "git_commit", "partial")]
        rows += _differing(number, "parameter", left["parameters"], right["parameters"], skip=("profile",))
        inputs = [{_outside(f, run): d[:12] for f, d in m["inputs"].items()} for run, m in ((a, left), (b, right))]
        rows += _differing(number, "input", *inputs)
        codes = [{f: d[:12] for f, d in m.get("code", {}).items()} for m in (left, right)]
        rows += _differing(number, "code", *codes)
        rows += _differing("", "package", left["packages"], right["packages"])
        for key in ("source", "encoder"):
            rows.append((number, key, _results(a, number).get(key), _results(b, number).get(key)))
    return [row for row in dict.fromkeys((n, w, _text(x), _text(y)) for n, w, x, y in rows) if row[2] != row[3]]


def write(spec_a, spec_b):
    """Write the page and its numbers beside it as JSON; returns the page's path.

    Raises
    ------
    UserError
        If either has not run.
    """
    names = [profiles.load_profile(spec).name for spec in (spec_a, spec_b)]
    for name, spec in zip(names, (spec_a, spec_b), strict=True):
        if not any(manifests.require(name, notebook[:2]) for notebook in notebooks.notebooks()):
            raise notebooks.UserError(f"Nothing of the profile {name} has run yet: {parquet.how_to_run(spec)}.")
    if names[0] == names[1]:
        raise notebooks.UserError(f"A and B must be two profiles, but both are {names[0]}.")
    found = {
        "a": names[0], "b": names[1], "paired": paired(*names).to_dict("records"), "headlines": headlines(*names),
        "claims": claimed(*names), "provenance": differences(*names),
        "sources": [sorted({s for n in notebooks.notebooks() if (s := _results(name, n[:2]).get("source"))})
                    for name in names],
    }  # fmt: skip
    target = files.root() / "report" / "compare" / f"{names[0]}_{names[1]}.html"
    page = report._template("compare.html").render(**found, style=report._css())
    with files.atomic(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    with files.atomic(target.with_suffix(".json")) as temporary:
        text = json.dumps(json.loads(json.dumps(found), parse_constant=lambda _: None), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def _per_prompt(table, column, name):
    """A column's mean over models by prompt; None where the run has no such table."""
    if not parquet.path(table, name).exists():
        return None
    frame = parquet.read(table, name)
    if column not in frame:
        return None
    return frame.groupby("prompt_id")[column].mean()


def _row(notebook, what, a, b):
    middle, lower, upper = unpaired(a, b)
    kept = [{k: _number(side.get(k)) for k in ("value", "lower", "upper")} for side in (a, b)]
    return {
        "notebook": notebook[:2], "what": what, "a": kept[0], "b": kept[1],
        "difference": middle, "lower": lower, "upper": upper,
    }  # fmt: skip


def _results(name, number):
    return results.read(name, number)


def _differing(number, what, a, b, skip=()):
    return [
        (number, f"{what} {key}", a.get(key), b.get(key))
        for key in sorted({*a, *b} - set(skip))
        if a.get(key) != b.get(key)
    ]


def _outside(file, run):
    """Path of an input without the profile's own folder, so that equal tables of two profiles stand side by side."""
    return file.removeprefix(f"data/{run}/")


def _text(value):
    if value is None:
        return "—"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _number(value):
    return math.nan if value is None else float(value)


def main(arguments=None):
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hivemind_utils.pipeline.compare", description=__doc__.split("\n")[0]
    )
    parser.add_argument("a", help="a profile that has run: a name in params/ or a path to a YAML file")
    parser.add_argument("b", help="another one")
    options = parser.parse_args(arguments)
    if not options.a or not options.b:
        print("error: name two profiles that have run: make compare A=demo B=mine", file=sys.stderr)
        return 1
    try:
        print(manifests.relative(write(options.a, options.b)))
    except notebooks.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
