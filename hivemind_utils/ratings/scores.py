"""Scores of responses or items from files, and their way into one table.

A score belongs to an item (a rated response, or a pair), named by its id or its texts; a score of a single response
also serves the pairs it is part of: first minus second. What cannot be used is counted with a reason.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.llm import checks
from hivemind_utils.metrics.comparison import prepare
from hivemind_utils.ratings import labels
from hivemind_utils.ratings.loading import AnnotatedItems
from hivemind_utils.tables import files, reading
from hivemind_utils.tables import ids as table_ids

_FIELDS = ("item_id", "prompt_id", "prompt", "response", "response_1", "response_2", "scorer", "scorer_type", "score")


CONSTANT = "the score is the same for all items"
ONE_SIDED = (
    "the scores of pairs are never negative (or never positive), but some pairs have their sides the other way round: "
    "say in `scores_values` what they mean, for example {1: 1, 2: -1} or {0: -1, 1: 1} (positive: the first is better)"
)
COLUMNS = ["item_id", "scorer", "scorer_type", "source", "score", "distribution"]


def read(paths, *, columns=None, where=None, score_columns=None, values=None, kinds=None, encoding=None):
    """Read scores that somebody computed.

    Parameters
    ----------
    paths : str, Path or list of them
        CSV, JSONL or Parquet.
    columns : dict of str to str, optional
        The project's name of a column to the file's.
    where : dict, optional
        Keep rows with these values; a list keeps any of them. A scorer's variants come in by naming the columns joined
        in ``scorer``, separated by ``+``: ``{"scorer": "scorer+prompt_variant"}``.
    score_columns : list of str, optional
        Columns that each hold the scores of one scorer, named after it.
    values : dict, optional
        What stands in the file to the number it means, for example ``{"1": 1, "2": -1, "Tie": 0}``. What lies between
        two of these numbers is read in proportion: there, 1.25 means 0.5.
    kinds : dict of str to str, optional
        Scorer to its kind (lm, reward, judge ...), where no column says it.
    encoding : str

    Returns
    -------
    pandas.DataFrame
        Long: what identifies the item, scorer, scorer_type, ``score`` (float, NaN where it is no number), ``raw``, and
        ``is_declared``: whether `values` say what scores mean.

    Raises
    ------
    ValueError
        If something is named that does not exist, or the commas in a scorer's numbers may be read in two ways.
    """
    paths = paths if isinstance(paths, list | tuple) else [paths]
    frame = pd.concat([reading.read_any(path, encoding) for path in paths], ignore_index=True)
    options = {"columns": columns, "where": where, "score_columns": score_columns, "values": values, "kinds": kinds}
    return unroll(frame, **options, file=", ".join(Path(str(path)).name for path in paths))


def unroll(frame, *, columns=None, where=None, score_columns=None, values=None, kinds=None, file="the scores"):
    """Bring a frame of scores into long form; see `read`."""
    columns = reading.current_names(columns or {}, "scorer_type")
    frame = labels.keep_where(frame, where)
    for field, theirs in columns.items():
        if field not in _FIELDS:
            raise ValueError(f"`columns` may name {sorted(_FIELDS)}, but {field!r} was passed.")
        parts = [theirs] if theirs in frame.columns else theirs.split("+")
        for part in parts:
            if "." not in part:
                labels.require(frame, part, f"`{field}`")
        joined, *more = (reading.field_values(frame, part, field, file) for part in parts)
        for part in more:
            joined = joined.astype(str) + " · " + part.astype(str)
        columns[field] = joined
    frame = reading.with_current_name(frame.assign(**columns), "scorer_type", file, columns)
    identifying = [f for f in _FIELDS[:6] if f in frame]
    if score_columns:
        for column in score_columns:
            labels.require(frame, column, "`score_columns`")
        frame = frame.melt(identifying, score_columns, var_name="scorer", value_name="score")
    for field in ("scorer", "score"):
        if field not in frame:
            raise ValueError(f"Scores need the column `{field}`, or `score_columns`; there are {list(frame.columns)}.")
    frame = reading.with_texts(frame, _FIELDS, file)
    if not identifying:
        raise ValueError(f"Scores need item_id, or prompt and response; there are {list(frame.columns)}.")
    checks.names("scores_kinds", kinds or {}, sorted(frame["scorer"].astype(str).unique()), of="scorers")
    if "scorer_type" not in frame:
        frame["scorer_type"] = [dict(kinds or {}).get(scorer, "other") for scorer in frame["scorer"]]
    elif kinds:
        frame["scorer_type"] = [kinds.get(s, k) for s, k in zip(frame["scorer"], frame["scorer_type"], strict=True)]
    raw = frame["score"]
    numbers = raw.groupby(frame["scorer"].map(str)).transform(lambda given: _numbers(given, given.name, file))
    numbers = _meant(raw, numbers, values or {}).where(np.isfinite)
    keep = [*identifying, "scorer", "scorer_type"]
    return frame[keep].assign(score=numbers, raw=raw.astype(str), is_declared=bool(values)).reset_index(drop=True)


def _numbers(given, scorer, file):
    """Numbers of one scorer, NaN where there is none; refused where nobody knows what its commas are."""
    texts = [value.strip() for value in given if isinstance(value, str)]
    with_comma = [text for text in texts if re.fullmatch(r"[+-]?\d+,\d+", text)]
    with_point = [text for text in texts if re.fullmatch(r"[+-]?\d*\.\d+", text)]
    if with_comma and (with_point or all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text) for text in with_comma)):
        beside = f" beside {with_point[0]!r}" if with_point else ""
        raise ValueError(
            f"{file}: scores of {scorer} are numbers with one decimal sign, but {with_comma[0]!r} was found{beside}: "
            f"its comma may mark decimals or thousands. Write decimals with a point, and thousands without a sign."
        )
    read = [np.nan if isinstance(value, bool | np.bool_) else reading.number(value) for value in given]
    return pd.Series(read, index=given.index, dtype=float)


def _meant(raw, numbers, values):
    """Scores with `values` for what stands in the file, in proportion between two numbers of it."""
    if wrong := {key: value for key, value in values.items() if not (value is None or isinstance(value, int | float))}:
        raise ValueError(f"`scores_values` must name numbers, or null for nothing, but {wrong} was passed.")
    known = {labels.spelled(key): np.nan if value is None else float(value) for key, value in values.items()}
    scale = sorted((reading.number(key), value) for key, value in known.items() if np.isfinite(reading.number(key)))
    if len(scale) > 1:
        at, meant = zip(*scale, strict=True)
        between = numbers.between(at[0], at[-1])
        numbers = numbers.where(~between, np.interp(numbers, at, meant))
    spelled = raw.map(labels.spelled)
    return numbers.where(~spelled.isin(list(known)), spelled.map(known)).astype(float)


def match(long, items, source):
    """Give every item the scores that belong to it.

    Parameters
    ----------
    long : pandas.DataFrame
        From `read`; may carry ``distribution``, and ``why`` a score is missing.
    items : pandas.DataFrame
        Table ``08_items``.
    source : str
        How the scores came.

    Returns
    -------
    scores : pandas.DataFrame
        Rows of ``09_scores``.
    excluded : pandas.DataFrame
        Rows of ``09_excluded``: no number, a second score, no such item, and items a scorer lacks. A scorer without a
        usable score has one row, of item_id "all", that says why.
    """
    long = long.assign(distribution=long.get("distribution", pd.Series(None, index=long.index, dtype=object)))
    long["scorer"] = long["scorer"].astype(str)
    name, turned = _named(long, items)
    one_sided = _one_sided(long, name, turned, items)
    long = _turn(long, turned)
    bad = long["score"].isna()
    again = (
        ~bad
        & (name != "")
        & long[~bad].assign(key=name[~bad]).duplicated(["scorer", "key"]).reindex(long.index, fill_value=False)
    )
    reason = np.select([bad, again], ["not a number", "scored before: first kept"], "").astype(object)
    if "why" in long:
        told = bad & long["why"].notna()
        reason[told] = "no score: " + long.loc[told, "why"].astype(str)
    reason[one_sided] = ONE_SIDED
    good = long.assign(key=name)[reason == ""]
    left_out = pd.DataFrame({"scorer": long["scorer"], "item_id": name, "reason": reason})[reason != ""]
    found = pd.concat([_direct(good, items), _differences(good, items)], ignore_index=True)
    found = found.drop_duplicates(["item_id", "scorer"])
    nothing = _without_score(long, good, found, items, name, reason)
    used = set(found["key"]) | set(found["second"].dropna())
    unknown = good.loc[~good["key"].isin(used), ["scorer", "key"]].rename(columns={"key": "item_id"})
    parts = [left_out, unknown.assign(reason="no such item"), _missing(found, items, left_out)]
    excluded = pd.concat(parts, ignore_index=True)
    excluded = pd.concat([excluded[~excluded["scorer"].isin(nothing["scorer"])], nothing], ignore_index=True)
    excluded = excluded.drop_duplicates(["scorer", "item_id", "reason"], ignore_index=True)
    return found.assign(source=source)[COLUMNS].reset_index(drop=True), excluded


def _without_score(long, good, found, items, name, reasons):
    """One row for every scorer none of whose scores serves an item, with the reason."""
    rows = []
    for scorer in sorted(set(long["scorer"]) - set(found["scorer"])):
        n = int((long["scorer"] == scorer).sum())
        if scorer in set(good["scorer"]):
            given = name[long["scorer"] == scorer].iloc[0]
            example = items["item_id"].iloc[0] if len(items) else "nothing"
            reason = (
                f"none of {n:,} scores matches an item: items have ids such as {example!r}, scores were given for "
                f"{given!r}; name item_id, or prompt and response, with `scores_columns`"
            )
        else:
            told = [text for text in reasons[long["scorer"] == scorer] if text.startswith("no score: ")]
            why = f" ({max(told, key=told.count)})" if told else ""
            reason = f"none of {n:,} scores is a number{why}"
            reason = ONE_SIDED if ONE_SIDED in set(reasons[long["scorer"] == scorer]) else reason
        rows.append((scorer, "all", reason))
    return pd.DataFrame(rows, columns=["scorer", "item_id", "reason"])


def usable(tables, items):
    """Join scores of several sources, and leave out scorers whose score is the same for everything.

    Parameters
    ----------
    tables : list of pandas.DataFrame
        Rows of ``09_scores``.
    items : pandas.DataFrame
        Table ``08_items``.

    Returns
    -------
    table : pandas.DataFrame
        Table ``09_scores``.
    excluded : pandas.DataFrame
        Rows of ``09_excluded``: constant scores; scores that an earlier source gave already.
    """
    table = pd.concat([part for part in tables if len(part)] or tables[:1], ignore_index=True)
    twice = table.duplicated(["item_id", "scorer"])
    again = table.loc[twice, ["scorer", "item_id"]].assign(reason="scored by an earlier source: first kept")
    table = table[~twice]
    item_type = table["item_id"].map(items.set_index("item_id")["items"])
    several = table["score"].groupby([table["scorer"], item_type]).transform("nunique") > 1
    constant = table[~several].drop_duplicates("scorer")
    everywhere = ~constant["scorer"].isin(table.loc[several, "scorer"])
    constant = constant.assign(item_id=np.where(everywhere, "all", "one type of item"), reason=CONSTANT)[
        ["scorer", "item_id", "reason"]
    ]
    return table[several].reset_index(drop=True), pd.concat([again, constant], ignore_index=True)


def remember(path, keys, compute, *, at_once=64):
    """Numbers of every key from a Parquet file; what it lacks is computed, a few at a time, and added to it at once.

    Parameters
    ----------
    path : Path
        Made where it is missing; one per model.
    keys : sequence of str
        Distinct.
    compute : callable
        ``compute(rows)`` returns a dict of name to array, one value for each of the rows of `keys` asked for.
    at_once : int
        Keys computed before they are written: what a stopped run loses at most.

    Returns
    -------
    pandas.DataFrame
        One row a key, in order; NaN is kept too, and asked again in the next run.
    """
    known = pd.read_parquet(path) if path.exists() else pd.DataFrame({"key": []}, dtype=object)
    known = known.set_index("key").dropna()
    lacking = [row for row, key in enumerate(keys) if key not in known.index]
    for start in range(0, len(lacking), at_once):
        rows = lacking[start : start + at_once]
        new = pd.DataFrame(compute(rows), index=pd.Index([keys[row] for row in rows], name="key"))
        known = new if known.empty else pd.concat([known, new])
        with files.atomic(path) as temporary:
            known.reset_index().to_parquet(temporary, index=False)
    return known.reindex(keys)


def text_lengths(items):
    """Length of the responses in characters as a scorer: what any scorer should beat."""
    first = items.dropna(subset=["response_1"])
    lengths = first["response_1"].str.len() - first["response_2"].str.len().fillna(0)
    return pd.DataFrame(
        {"item_id": first["item_id"], "scorer": "text length", "scorer_type": "text", "source": "text",
         "score": lengths.astype(float), "distribution": None}
    ).reset_index(drop=True)  # fmt: skip


def wide(scores, items):
    """Scores as an array.

    Returns
    -------
    scorers : pandas.DataFrame
        ``scorer`` and ``scorer_type``, in the order of rows: by type, then name.
    values : ndarray of float, shape (n_scorers, n_items)
        NaN where a scorer lacks an item. Scorers without any score of these items are left out.
    """
    at = scores[scores["item_id"].isin(items["item_id"])]
    scorers = at.drop_duplicates("scorer")[["scorer", "scorer_type"]].sort_values(
        ["scorer_type", "scorer"], ignore_index=True
    )
    table = at.pivot(index="scorer", columns="item_id", values="score")
    return scorers, table.reindex(index=scorers["scorer"], columns=items["item_id"]).to_numpy(float)


def responses(items):
    """Every rated response once: response_id, prompt, response. Pairs contribute both of theirs."""
    first = items[["response_1_id", "prompt_id", "prompt", "response_1"]]
    second = items[["response_2_id", "prompt_id", "prompt", "response_2"]]
    both = pd.concat(
        [part.set_axis(["response_id", "prompt_id", "prompt", "response"], axis=1) for part in (first, second)]
    )
    return both.dropna(subset=["response"]).drop_duplicates("response_id").reset_index(drop=True)


def _named(long, items):
    """What identifies every row's item, whichever side of a pair stands first, and where the sides are swapped."""
    nowhere = pd.Series(False, index=long.index)
    second = long.get("response_2")
    first = next((long[name] for name in ("response_1", "response") if name in long), None)
    if first is not None and {"prompt_id", "prompt"} & set(long):
        prompt = (
            long["prompt_id"].map(table_ids.written) if "prompt_id" in long else long["prompt"].map(table_ids.prompt_id)
        )
        first = _response_ids(prompt, first)
        second = None if second is None else _response_ids(prompt, second)
    if "item_id" in long:
        key = long["item_id"].map(table_ids.written).fillna("")  # a blank is no item's
        if second is None:
            return key, nowhere
        sides = items.set_index("item_id")[["response_1_id", "response_2_id"]].reindex(key)
        other = (sides["response_1_id"].to_numpy() == second.to_numpy()) & (
            sides["response_2_id"].to_numpy() == first.to_numpy()
        )
        return key, pd.Series(other, index=long.index)
    return (first, nowhere) if second is None else _pair_keys(first, second)


def _names(long):
    """What identifies every row's item, where no pair has an id."""
    return _named(long, None)[0]


def _response_ids(prompts, texts):
    made = [table_ids.text_id(json.dumps([p, r])) for p, r in zip(prompts, texts, strict=True)]
    return pd.Series(made, index=texts.index)


def _pair_keys(first, second):
    """Key of every pair, the same for both orders of its sides, and whether the order is the other one."""
    first, second = first.map(str), second.map(str)
    turned = first > second
    return first.where(~turned, second) + "+" + second.where(~turned, first), turned


def _one_sided(long, name, turned, items):
    """Where the scores of a scorer of pairs are never of both signs, though some are for sides the other way round.

    Scores from 0 to 1, or from 1 to 2, have their tie in the middle: with the sides swapped they are not negated.
    """
    if "response_2" not in long:
        return pd.Series(False, index=long.index)
    pairs = items.dropna(subset=["response_2_id"])
    keys, is_turned = _pair_keys(pairs["response_1_id"], pairs["response_2_id"])
    by_id = turned & name.isin(pairs["item_id"])
    against = by_id | (turned & name.isin(keys[~is_turned])) | (~turned & name.isin(keys[is_turned]))
    declared = long["is_declared"] if "is_declared" in long else False
    scores = long["score"].groupby(long["scorer"])
    same_side = (scores.transform("min") >= 0) | (scores.transform("max") <= 0)
    return against.groupby(long["scorer"]).transform("any") & same_side & (scores.transform("nunique") > 1) & ~declared


def _turn(scores, turned):
    """Scores of pairs with their sides swapped where `turned` says: negated, distributions from the other end."""
    shares = [
        json.dumps(json.loads(text)[::-1]) if turn and isinstance(text, str) else text
        for text, turn in zip(scores["distribution"], turned, strict=True)
    ]
    score = scores["score"].where(~turned.to_numpy(), -scores["score"])
    return scores.assign(score=score + 0.0, distribution=pd.Series(shares, index=scores.index, dtype=object))


def _direct(good, items):
    """Scores given for items themselves: by id, by the pair's texts, or by the only response."""
    single = items["response_2_id"].isna()
    both, turned = _pair_keys(items["response_1_id"], items["response_2_id"])
    by = {
        "id": items.assign(key=items["item_id"], turned=False),
        "pair": items.assign(key=both, turned=turned)[~single],
        "response": items.assign(key=items["response_1_id"], turned=False)[single & items["response_1_id"].notna()],
    }
    good = good.drop(columns="item_id", errors="ignore")
    parts = [good.merge(table[["item_id", "key", "turned"]], on="key") for table in by.values()]
    found = pd.concat(parts, ignore_index=True)
    return _turn(found, found["turned"].astype(bool)).drop(columns="turned").assign(second=None)


def _differences(good, items):
    """Scores of pairs from the scores of their two responses."""
    pairs = items.dropna(subset=["response_1_id", "response_2_id"])[["item_id", "response_1_id", "response_2_id"]]
    one = good[["key", "scorer", "scorer_type", "score"]]
    first = pairs.merge(one.rename(columns={"key": "response_1_id"}), on="response_1_id")
    second = one.rename(columns={"key": "response_2_id", "score": "other"}).drop(columns="scorer_type")
    found = first.merge(second, on=["response_2_id", "scorer"])
    found = found.assign(score=found["score"] - found["other"], key=found["response_1_id"], distribution=None)
    return found.assign(second=found["response_2_id"])[[*COLUMNS[:3], "score", "distribution", "key", "second"]]


def _missing(found, items, left_out):
    """Items a scorer has no score of, though it has some of that kind of item; what was excluded is not said twice."""
    rows = []
    kind_of = items.set_index("item_id")["items"]
    known = set(zip(left_out["scorer"], left_out["item_id"], strict=True))
    for (scorer, kind), at in found.groupby(["scorer", found["item_id"].map(kind_of)]):
        lacking = set(kind_of.index[kind_of == kind]) - set(at["item_id"])
        rows += [(scorer, i, "no score") for i in sorted(lacking) if (scorer, i) not in known]
    return pd.DataFrame(rows, columns=["scorer", "item_id", "reason"])


@dataclass(frozen=True)
class Scored:
    """Items of one type with the scores of every scorer.

    Attributes
    ----------
    items : AnnotatedItems
    scorers : pandas.DataFrame
        ``scorer`` and ``scorer_type``, by type and name.
    scores : ndarray of float, shape (n_scorers, n_items)
        NaN where a scorer lacks an item.
    distributions : dict of str to ndarray of float, shape (n_items, n_values)
        Of the scorers that give one; rows of NaN where there is none.
    """

    items: AnnotatedItems
    scorers: pd.DataFrame
    scores: np.ndarray
    distributions: dict

    @property
    def kinds(self):
        """Kind of every scorer."""
        return self.scorers["scorer_type"].to_numpy()

    @cached_property
    def prepared(self):
        """Normal scores less prompt effects, for `comparison.compare`."""
        return prepare(self.scores, self.items.means, self.items.prompts, pairs=self.items.is_pairs)


def scored(annotations, table):
    """Scores beside the annotations they are compared with.

    Parameters
    ----------
    annotations : Annotations
    table : pandas.DataFrame
        Table ``09_scores``.

    Returns
    -------
    dict of str to Scored
        By type of item; types that no scorer scored are left out.
    """
    found = {}
    for item_type, items in annotations.ordered.items():
        scorers, values = wide(table, items.table)
        if len(scorers):
            shares = distributions(table, items.table, len(items.scale))
            found[item_type] = Scored(items, scorers, values, shares)
    return found


def distributions(table, items, n_values):
    """Distributions of the scorers that give one, as arrays.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``09_scores``.
    items : pandas.DataFrame
    n_values : int
        Values of the annotators' scale; distributions over another number of values cannot be compared and are left
        out.

    Returns
    -------
    dict of str to ndarray of float, shape (n_items, n_values)
        Rows of NaN where there is none.
    """
    at = table.dropna(subset=["distribution"])
    place = pd.Series(np.arange(len(items)), index=items["item_id"])
    found = {}
    for scorer, rows in at[at["item_id"].isin(place.index)].groupby("scorer"):
        shares = [json.loads(text) for text in rows["distribution"]]
        if all(len(row) == n_values for row in shares):
            found[scorer] = np.full((len(items), n_values), np.nan)
            found[scorer][place[rows["item_id"]]] = shares
    return found
