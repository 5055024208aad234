"""The paper's numbers beside a run's: ``data/reference/claims.csv`` against ``results/<profile>/NN.json``.

A claim names where the paper states it, the place of this run's value, and the band in which the value must lie. What
the data cannot decide is said to be so, and simulated data decide nothing.
"""

import json
import math

from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import paper

PAPER_ENCODER = "text-embedding-3-small"


REPLICATES, DIFFERS = "replicates", "differs"


NOT_TESTABLE, NOT_MEASURED = "not testable on this data", "not measured here"


SIMULATED = "simulated data, no test"


PAPER_SCORERS = {"lm": 56, "reward": 6, "judge": 4}


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


def verdict(value, low, high, lower=math.nan, upper=math.nan):
    """Say whether a value with its interval lies in a band.

    Parameters
    ----------
    value : float
    low, high : float
        The band; NaN leaves a side open.
    lower, upper : float
        Interval of the value; NaN where there is none.

    Returns
    -------
    verdict, reason : str
        *replicates* if the value lies in the band, *differs* if its interval (or the value, where there is none) lies
        outside. Otherwise the data leave it open: the value lies outside but its interval reaches into the band, the
        interval reaches beyond both ends of the band, or the band is open to one side, a direction, and the interval
        holds the opposite one too.
    """
    low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
    lower, upper = (value if math.isnan(lower) else lower), (value if math.isnan(upper) else upper)
    direction = math.isinf(low) or math.isinf(high)
    inside = low <= value <= high
    beyond = not low <= lower <= upper <= high if direction else lower < low and upper > high
    if inside and not beyond:
        return REPLICATES, ""
    if not inside and (upper < low or lower > high):
        return DIFFERS, ""
    return NOT_TESTABLE, "the interval leaves it open"


def evaluate(profile):
    """Evaluate every claim on a profile's results.

    Returns
    -------
    pandas.DataFrame
        The columns of `read`, and ``value``, ``lower``, ``upper`` (the paper's unit, NaN for none), ``source``,
        ``verdict`` and ``reason``.
    """
    import pandas as pd

    frame = paper.claims()
    folder = table_files.root() / "results" / profile
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9][0-9].json"))}
    found = [_evaluate(row, files) for row in frame.itertuples()]
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
        value, siblings = _first(results, places)
        taken, _ = _first(results, row.minus) if row.minus else (0, {})
    except KeyError:
        return nothing | {"verdict": NOT_MEASURED, "reason": "this run has no such value"}
    if value is None or taken is None:
        return nothing | {"verdict": NOT_TESTABLE, "reason": "these data give no value"}
    names = row.interval.split(",") if row.interval else ()
    lower, upper = (siblings.get(name) for name in names) if names else (None, None)
    bounds = [math.nan if b is None else b * row.scale for b in (lower, upper)]
    measured = {"value": (value - taken) * row.scale, "lower": bounds[0], "upper": bounds[1]}
    measured["source"] = nothing["source"]
    decided, reason = _decide(row, results, measured)
    if results.get("partial") and decided != SIMULATED:
        reason = "; ".join(filter(None, [reason, "partial run"]))
    return measured | {"verdict": decided, "reason": reason}


def _first(results, places):
    """Value and siblings at the first of several places that is there."""
    for place in places.split("|"):
        try:
            return find(results, place)
        except KeyError:
            continue
    raise KeyError(places)


def _decide(row, results, measured):
    encoder = str(results.get("encoder", "")).rsplit("/", 1)[-1].removeprefix("litellm:")
    if measured["source"] == "simulated":
        return SIMULATED, ""
    if row.bound in ("encoder", "main25") and encoder != PAPER_ENCODER:
        return NOT_TESTABLE, f"the number belongs to {PAPER_ENCODER}; this run's encoder is {encoder or 'not stated'}"
    if row.bound == "main25" and set(results.get("models", ())) != _main25():
        return NOT_TESTABLE, "the number belongs to the paper's 25 models; this run has others (`models: main25`)"
    if row.bound == "released" and measured["source"] != "released":
        return NOT_TESTABLE, "the number belongs to the study's own data"
    kind = next((kind for kind in PAPER_SCORERS if f"/{kind}/" in row.result), None)
    if row.bound == "released" and row.result.endswith("/rho") and kind:
        if (n := results.get("n_scorers", {}).get(kind, 0)) != PAPER_SCORERS[kind]:
            return (
                NOT_TESTABLE,
                f"the number is a mean over the paper's {PAPER_SCORERS[kind]} scorers; this run has {n}",
            )
    if math.isnan(row.low) and math.isnan(row.high):
        return NOT_TESTABLE, row.note or "the paper gives no number to compare with"
    return verdict(measured["value"], row.low, row.high, measured["lower"], measured["upper"])


def _main25():
    """Names of the models in the paper's figures."""
    import pandas as pd

    models = pd.read_csv(table_files.root() / "data" / "reference" / "models.csv")
    return set(models.loc[models["main25"], "model"])
