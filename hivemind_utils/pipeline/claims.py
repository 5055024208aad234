"""The paper's numbers next to a run's: ``data/reference/claims.csv`` against ``results/<profile>/NN.json``.

A claim names where the paper states it and the place of this run's value. The decision is that of `metrics.intervals`:
on the released items a tolerance, on new items a margin and the interval, for directions the interval, for scorers the
verdict of notebook 09. What the data cannot decide is said to be so, and simulated data decide nothing.
"""

import math

from hivemind_utils.metrics import intervals
from hivemind_utils.metrics.intervals import DIFFERS, INCONCLUSIVE, NOT_TESTABLE, REPLICATES, Claim
from hivemind_utils.pipeline import results as results_files
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import paper, wording

PAPER_ENCODER = "text-embedding-3-small"
NOT_MEASURED = "not measured here"
SIMULATED = "simulated data, no test"
DECISIONS = (REPLICATES, DIFFERS, INCONCLUSIVE, NOT_TESTABLE, NOT_MEASURED, SIMULATED)
PAPER_SCORERS = {"lm perplexity": 56, "reward": 6, "judge": 4}
_SUBSET = "main25/"  # place of the values of the paper's 25 models in a run of more


def find(results, place):
    """Value at a place in a notebook's results.

    Parameters
    ----------
    results : dict
        Content of ``results/<profile>/NN.json``.
    place : str
        Keys joined by slashes. ``key=value`` picks the record of a list that has that value.

    Returns
    -------
    value : object
        None where the notebook had too little data for it.
    siblings : dict
        The mapping the value stands in.

    Raises
    ------
    KeyError
        If there is no such value.

    Examples
    --------
    >>> find({"kinds": [{"scorer_type": "judge", "rho": 0.3}]}, "kinds/scorer_type=judge/rho")[0]
    0.3
    """
    value, siblings, steps = results, {}, place.split("/")
    while steps and value is not None:
        if isinstance(value, list):
            key, _, wanted = steps.pop(0).partition("=")
            records = [r for r in value if isinstance(r, dict) and str(r.get(key)) == wanted]
            if not records:
                raise KeyError(place)
            value = records[0]
        else:  # a key may hold slashes itself: the longest that is there
            keys = value if isinstance(value, dict) else {}
            n = next((n for n in range(len(steps), 0, -1) if "/".join(steps[:n]) in keys), None)
            if n is None:
                raise KeyError(place)
            siblings, value = value, value["/".join(steps[:n])]
            del steps[:n]
    return value, siblings


def evaluate(profile):
    """Evaluate every claim on a profile's results.

    Returns
    -------
    pandas.DataFrame
        The columns of `paper.claims`, and ``value``, ``lower``, ``upper`` (the paper's unit, NaN for none), ``source``,
        ``verdict``, one of `DECISIONS`, and ``reason``.

    Raises
    ------
    UserError
        If a file of results is damaged.
    """
    import pandas as pd

    frame = paper.claims()
    folder = table_files.root() / "results" / profile
    files = {path.stem: results_files.read(profile, path.stem) for path in sorted(folder.glob("[0-9][0-9].json"))}
    found = []
    for row in frame.itertuples():
        try:
            found.append(_evaluate(row, files))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # text for a number
            file = results_files.path(profile, row.result.partition(":")[0])
            raise results_files.damaged(file, f"{row.result.partition(':')[2]}: {error}") from error
    return frame.join(pd.DataFrame(found, index=frame.index))


def write(profile):
    """Evaluate the claims and write ``results/<profile>/claims.csv`` and ``claims.json``; returns the table."""
    table = evaluate(profile)
    folder = table_files.root() / "results" / profile
    with table_files.atomic(folder / "claims.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    with table_files.atomic(folder / "claims.json") as temporary:
        table.to_json(temporary, orient="records", indent=1, force_ascii=False)
    return table


def decide(row, results, measured):
    """Decide a claim.

    Parameters
    ----------
    row : namedtuple
        Row of `paper.claims`.
    results : dict
        Content of the notebook's results.
    measured : dict
        ``value``, ``lower``, ``upper`` and ``se`` in the paper's unit, ``n_prompts`` (both None where unknown),
        ``source``, ``place``.

    Returns
    -------
    Claim
    """
    obstacle = _obstacle(row, results, measured)
    if obstacle:
        return Claim(NOT_TESTABLE, obstacle)
    value, lower, upper = (measured[name] for name in ("value", "lower", "upper"))
    if row.direction == "count":
        return intervals.count_claim(value, row.stated, lower, upper)
    if row.direction:
        sign = 1 if row.direction == "above" else -1
        bounds = sorted(sign * (bound - row.stated) for bound in (lower, upper))
        return intervals.direction_claim(*bounds)
    if math.isnan(row.stated):
        return Claim(NOT_TESTABLE, row.note or "the paper gives no number to compare with")
    if not math.isnan(row.tolerance) and (math.isnan(row.margin) or measured["source"] == "released"):
        return intervals.same_items_claim(value, row.stated, row.tolerance)
    n = measured["n_prompts"] or row.paper_n
    n = intervals.PAPER_PROMPTS if math.isnan(n) else int(n)
    in_paper = intervals.PAPER_PROMPTS if math.isnan(row.paper_n) else int(row.paper_n)
    se = measured["se"] if measured["se"] is not None else _standard_error(lower, upper, n)
    if math.isnan(se):
        return Claim(NOT_TESTABLE, "no interval")
    return intervals.new_items_claim(value, row.stated, se, n, row.margin, n_prompts_paper=in_paper)


def _standard_error(lower, upper, n):
    """Standard error that a 95 % interval with Student's t comes from; NaN without an interval."""
    from scipy.special import stdtrit

    if n < 2:
        return math.nan
    return (upper - lower) / 2 / -stdtrit(n - 1, (1 - intervals.LEVEL) / 2)


def _evaluate(row, files):
    """Value, interval, source and verdict of one claim."""
    nothing = {"value": math.nan, "lower": math.nan, "upper": math.nan, "source": ""}
    if not row.result:
        return nothing | {"verdict": NOT_MEASURED, "reason": row.note}
    number, _, places = row.result.partition(":")
    if number not in files:
        return nothing | {"verdict": NOT_MEASURED, "reason": f"notebook {number} has not run"}
    results = files[number]
    nothing["source"] = results.get("source", "")
    try:
        value, siblings, place = _first(results, places)
        taken = _first(results, row.minus)[0] if row.minus else 0
    except KeyError:
        return nothing | {"verdict": NOT_MEASURED, "reason": "this run has no such value"}
    if row.direction == "verdict":
        claim = intervals.contrast_claim(value, siblings.get("reason") or "")
        measured = nothing | {name: _number(siblings.get(key)) for name, key in _KEPT.items()}
    else:
        if value is None or taken is None:
            return nothing | {"verdict": NOT_TESTABLE, "reason": "these data give no value"}
        measured = _measured(row, results, value, taken, siblings, place) | {"source": nothing["source"]}
        claim = decide(row, results, measured)
    if nothing["source"] == "simulated":
        claim = Claim(SIMULATED, "")
    reason = claim.reason
    if claim.decision != SIMULATED:
        n = measured.get("n_prompts")
        few = wording.few_prompts(n) if n else results.get("prompts_note")
        reason = "; ".join(filter(None, [reason, "partial run" if results.get("partial") else "", few]))
    numbers = {name: measured[name] for name in nothing}
    return numbers | {"verdict": claim.decision, "reason": reason}


_KEPT = {"value": "kept", "lower": "lower", "upper": "upper"}


def _measured(row, results, value, taken, siblings, place):
    """Value of this run with its interval in the paper's unit, and the prompts it rests on.

    Bounds are named beside the value, or by their own place; what is taken from the value, such as what chance
    predicts, is taken from them too.
    """
    bounds = [math.nan, math.nan]
    for i, name in enumerate(row.interval.split(",") if row.interval else ()):
        try:
            bound = find(results, name)[0] if "/" in name else siblings.get(name)
        except KeyError:
            bound = None
        bounds[i] = _number(bound)
    lower, upper = ((bound - taken) * row.scale for bound in bounds)
    n_prompts = next(
        (siblings[key] for key in ("n_prompts", "n_queries") if siblings.get(key)), results.get("n_prompts")
    )
    se = siblings.get("se")
    return {
        "value": (value - taken) * row.scale, "lower": lower, "upper": upper, "n_prompts": n_prompts, "place": place,
        "se": None if se is None else se * row.scale,
    }  # fmt: skip


def _number(value):
    return math.nan if value is None else float(value)


def _first(results, places):
    """Value, siblings and place of the first of several places that is there."""
    for place in places.split("|"):
        try:
            return (*find(results, place), place)
        except KeyError:
            continue
    raise KeyError(places)


def _obstacle(row, results, measured):
    """Say why a value cannot be compared with the paper's, or nothing."""
    encoder = str(results.get("encoder", "")).rsplit("/", 1)[-1].removeprefix("litellm:")
    if row.bound in ("encoder", "main25", "all79") and encoder != PAPER_ENCODER:
        return f"the number belongs to {PAPER_ENCODER}; this run's encoder is {encoder or 'not stated'}"
    models = set(results.get("models", ()))
    if row.bound == "main25" and not measured["place"].startswith(_SUBSET) and models != paper.main_models():
        return (
            "the number belongs to the paper's 25 models; this run lacks some of them, or has no values for them alone"
        )
    if row.bound == "all79" and models != paper.all_models():
        return "the number belongs to the paper's 79 models; this run has others"
    if row.bound != "released":
        return ""
    released = measured["source"] == "released"
    if not released and math.isnan(row.margin):
        return "the number belongs to the study's own data"
    if released and row.stated >= 1 and measured["value"] == 0:
        return "not in this release"
    kind = next((kind for kind in PAPER_SCORERS if f"/{kind}/" in row.result), None)
    if kind and measured["place"].endswith("/rho"):
        n = results.get("n_scorers", {}).get(kind, 0)
        if n != PAPER_SCORERS[kind]:
            return f"the number is a mean over the paper's {PAPER_SCORERS[kind]} scorers; this run has {n}"
    return ""
