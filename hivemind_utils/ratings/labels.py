"""Read human annotations, from the released sets or files of your own, into the tables of notebook 08.

A file holds one label per row (long), one item per row with a list of labels (as released), or one item per row with a
column per annotator (wide); or one response per row with an annotator's rank, which becomes pairs. Nothing is dropped
silently: a label that is not used stands in ``08_excluded`` with its reason.
"""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.metrics import agreement, subsets
from hivemind_utils.metrics.contested import contested_set
from hivemind_utils.ratings import label_counts
from hivemind_utils.tables import files, ids, reading

ITEM_TYPES = ("absolute", "pairs")
MOST_OFF_SCALE = 0.05  # share of labels that may be off the scale before the run is partial
ENOUGH_LABELS = 10  # from which on labels mostly off the scale have another scale
_TIE = re.compile(
    r"\b(?:tied?|ties|both|equal(?:ly|s)?|draws?|drawn|same|similar|neither|none|neutral|undecided|unsure|even"
    r"|no[ _-]?(?:preference|difference|winner)|(?:can|could)(?:no|')t[ _-]?(?:say|tell|decide)|50[/:-]50)\b",
    re.IGNORECASE,
)
_SIDE = r"^(?:(?:model|response|assistant|answer|output|option)[ _-]?)?(?:%s)\b"
_FIRST, _SECOND = (re.compile(_SIDE % words, re.IGNORECASE) for words in ("a|1|one|first|left", "b|2|two|second|right"))


_FIELDS = {
    "item_id": "id of what was labelled",
    "prompt_id": "id of the prompt",
    "prompt": "text of the prompt",
    "response_1": "the response, or the first of a pair",
    "response_2": "the second response of a pair",
    "form_id": "form (sheet) the item stood on; in a form, place i of every list is the same person",
    "question_id": "number of the item in its form",
    "annotator": "id of the person",
    "label": "the label of one person",
    "labels": "list of labels, or counts of them ({e: 30, n: 70}), or JSON of one",
    "rank": "place of the response, 1 is best: rows of one annotator and item become pairs",
}


_RELEASED = {"user_query": "prompt", "response": "response_1", "human_labels": "labels"}


def read(paths, *, columns=None, where=None, label_columns=None, encoding=None):
    """Read labels into long form: one row per label.

    Parameters
    ----------
    paths : str, Path or list of them
        CSV, JSONL or Parquet files; an address such as ``hf://datasets/<owner>/<name>`` reads its Parquet files.
    columns : dict of str to str, optional
        The project's name of a column to the file's. The released sets' names are known.
    where : dict of str to value or list, optional
        Keep rows whose column (the file's name) has that value, or one of those; compared as text.
    label_columns : list of str, optional
        Columns with one annotator's labels each; a name ending in ``*`` stands for all that begin so.
    encoding : str, optional
        Of text files; see `reading.read_file`.

    Returns
    -------
    pandas.DataFrame
        Columns of `_FIELDS` that are known, ``label`` as it came, ``input_row``; ``one_row_an_item`` for lists and wide
        files.

    Raises
    ------
    ValueError
        If a mapping names an unknown field or column, a filter keeps nothing, or there are no labels.
    """
    paths = paths if _is_list(paths) else [paths]
    frames = [reading.read_any(path, encoding) for path in paths]
    ours = {"form_id", "question", "item_id", "annotator", "label"}  # columns of the sheets this project writes
    frame = pd.concat([files.natural(f) if ours <= set(f) else f for f in frames], ignore_index=True)
    file = ", ".join(Path(str(path)).name for path in paths)
    return unroll(frame, columns=columns, where=where, label_columns=label_columns, file=file)


def unroll(frame, *, columns=None, where=None, label_columns=None, file="the labels"):
    """Bring a frame of labels into long form; see `read`."""
    found = _unrolled(frame, dict(columns or {}), where, label_columns, file)
    return reading.with_texts(found, [f for f in _FIELDS if f not in ("labels", "rank")], file)


def _unrolled(frame, columns, where, label_columns, file):
    frame = keep_where(frame.assign(input_row=np.arange(len(frame))), where)
    for field, theirs in columns.items():
        if field not in _FIELDS:
            raise ValueError(f"`columns` may name {sorted(_FIELDS)}, but {field!r} was passed.")
        if "." not in theirs:
            require(frame, theirs, f"`{field}`")
    known = {field: theirs for theirs, field in _RELEASED.items() if theirs in frame and field not in frame}
    wide = _matching(frame, label_columns) if label_columns else []
    taken = {field: reading.field_values(frame, theirs, field, file) for field, theirs in (known | columns).items()}
    frame = frame.assign(**taken)
    keep = [f for f in _FIELDS if f in frame and f not in ("label", "labels", "rank")]
    if wide:
        long = frame.melt([*keep, "input_row"], wide, var_name="annotator", value_name="label")
        return long.assign(one_row_an_item=True).sort_values("input_row", kind="stable", ignore_index=True)
    if "rank" in frame:
        return _pairs_of_ranks(frame, file)
    if "labels" not in frame and "label" in frame and frame["label"].map(label_counts.is_counts).any():
        frame = frame.rename(columns={"label": "labels"})
    if "labels" in frame:
        is_counted = frame["labels"].map(label_counts.is_counts)
        if is_counted.any():
            frame = frame.assign(labels=label_counts.expanded(frame["labels"], frame["input_row"], file))
        frame = frame.assign(label=_lists(frame, "labels", file))
        if is_counted.any():  # nobody knows who gave which
            frame = frame.assign(annotator=frame["label"].map(lambda labels: [None] * len(labels)))
        else:
            frame = _named_by_form(frame, file)
        keep = [field for field in keep if field != "annotator"]
        frame = frame[[*keep, "annotator", "label", "input_row"]].assign(one_row_an_item=True)
        return frame.explode(["label", "annotator"], ignore_index=True)
    if "label" not in frame:
        raise ValueError(
            f"There is no column of labels: name it with `columns` (label, labels or rank) or `label_columns`. "
            f"The columns are {list(frame.columns)}."
        )
    return frame[[*keep, "label", "input_row"]].reset_index(drop=True)


def keep_where(frame, where):
    """Keep the rows whose columns have the given values, or one of a list of them; compared as text."""
    for name, value in (where or {}).items():
        require(frame, name, "`where`")
        wanted = {str(v) for v in (value if _is_list(value) else [value])}
        frame = frame[frame[name].astype(str).isin(wanted)]
        if frame.empty:
            raise ValueError(f"`where` keeps no row: no {name} is {sorted(wanted)}.")
    return frame


def tabulate(long, item_type, scale, *, label_values=None):
    """Validate labels and give every item an id.

    Parameters
    ----------
    long : pandas.DataFrame
        From `read`.
    item_type : {"absolute", "pairs"}
    scale : list
        Values a label may take, in order: numbers, or names of categories (which become 0, 1, ... in that order).
    label_values : dict, optional
        What stands in the file to the value it means, for example ``{"1": 1, "2": -1, "Tie": 0}``; None for a label
        that says nothing.

    Returns
    -------
    labels : pandas.DataFrame
        One row per label: item_id, slot, annotator, label. Table ``08_ratings`` or ``08_pairs``.
    items : pandas.DataFrame
        One row per item: item_id, items (the type), prompt and responses with ids, form_id. A pair has the sides of its
        first row; labels of rows that have them the other way round are mirrored.
    excluded : pandas.DataFrame
        Rows of ``08_excluded``.

    Raises
    ------
    ValueError
        If no label is left, with the most common reason; an item_id stands for different texts; the scale repeats a
        value, has fewer than two, or is one of pairs whose middle is not the tie; or the labels have another scale: a
        value off the scale recurs, most are off it, or labels of pairs name one side only.
    """
    if item_type not in ITEM_TYPES:
        raise ValueError(f"`item_type` must be one of {list(ITEM_TYPES)}, but {item_type!r} was passed.")
    _check_scale(scale, item_type)
    long = long.drop(columns=[f for f in ("item_id", "prompt_id") if f in long and _is_blank(long, f)])
    nameless = _nameless(long)
    unnamed = _excluded(long[nameless != ""], nameless[nameless != ""], item_type)
    frame = _identified(long[nameless == ""], item_type)
    meant = {spelled(k): v for k, v in (label_values or {}).items()}
    frame["label"] = frame["label"].map(lambda label: None if meant.get(spelled(label), 0) is None else label)
    values = frame["label"].map(_labeller(scale, meant)).astype(float)
    reason = pd.Series("", index=frame.index)
    reason[values.isna()] = "label not on the scale"
    reason[frame["label"].map(_is_missing)] = "label missing"
    _refuse_other_scale(frame, values, item_type, scale, meant)
    values = values.where(~frame["is_turned"], mirrored(values, scale))
    known = frame["annotator"].notna()
    good = reason == ""
    again = frame[known & good].duplicated(["item_id", "annotator"])
    reason[again.index[again]] = "annotator labelled the item before: first kept"
    if "one_row_an_item" in frame:
        first = frame.groupby(["item_id", "is_turned"])["input_row"].transform("first")
        reason[frame["input_row"] != first] = "item stands in an earlier row: first kept"
    left_out = _excluded(frame[reason != ""], reason[reason != ""], item_type)
    excluded = pd.concat([unnamed, left_out], ignore_index=True) if len(unnamed) else left_out
    frame = frame.assign(label=values)[reason == ""]
    if frame.empty:
        commonest = excluded["reason"].mode()
        raise ValueError(f"No label is left: {len(excluded)} were excluded, most often for {commonest.tolist()}.")
    shown = ["prompt_id", "prompt", "response_1", "response_2", "response_1_id", "response_2_id", "form_id"]
    items = frame.drop_duplicates("item_id")[["item_id", *shown]].assign(items=item_type)
    different = frame.groupby("item_id")[["prompt_id", "response_1_id", "response_2_id"]].nunique().gt(1).any(axis=1)
    if different.any():
        raise ValueError(f"Items must have one text each, but {different.idxmax()!r} has several prompts or responses.")
    frame["slot"] = _slots(frame)
    columns = ["item_id", "slot", "annotator", "label"]
    return frame[columns].reset_index(drop=True), items.reset_index(drop=True), excluded


def _excluded(frame, reason, item_type):
    """Rows of ``08_excluded``."""
    shown = frame.reindex(columns=["item_id", "annotator", "label"]).to_dict("records")
    facts = {"input_row": frame["input_row"], "reason": reason, "excerpt": [_excerpt(row) for row in shown]}
    return pd.DataFrame({"items": item_type, **facts}).reset_index(drop=True)


def matrix(labels, items):
    """Labels as an array, with the person behind every place where all are known.

    Parameters
    ----------
    labels : pandas.DataFrame
        From `tabulate`.
    items : pandas.DataFrame
        Its items; their order is the order of rows.

    Returns
    -------
    values : ndarray of float, shape (n_items, n_slots)
        NaN where missing.
    persons : ndarray of int, shape (n_items, n_slots), or None
        Number of the person; None where somebody is unknown.
    names : list of str
        Name of every person.
    """
    row = labels["item_id"].map(pd.Series(np.arange(len(items)), index=items["item_id"])).to_numpy()
    slot = labels["slot"].to_numpy()
    values = np.full((len(items), int(slot.max()) + 1), np.nan)
    values[row, slot] = labels["label"]
    if labels["annotator"].isna().any():
        return values, None, []
    codes, names = pd.factorize(labels["annotator"], sort=True)
    form = pd.factorize(items["form_id"].map(str))[0]
    who = np.full((form.max() + 1, values.shape[1]), -1)
    who[form[row], slot] = codes
    if (who[form[row], slot] != codes).any():  # a slot of a form holds several people: no such layout
        return values, None, []
    empty = who < 0
    who[empty] = len(names) + np.arange(empty.sum())
    return values, who[form], list(names)


def describe(items, values, scale, level):
    """Disagreement of every item: table ``08_items``.

    Parameters
    ----------
    items : pandas.DataFrame
        From `tabulate`.
    values : ndarray of float, shape (n_items, n_slots)
    scale : list
        As passed to `tabulate`.
    level : {"nominal", "ordinal", "interval"}
        Nominal labels have no mean.

    Returns
    -------
    pandas.DataFrame
    """
    measured = measures(values, scale, level, (items["items"] == "pairs").to_numpy())
    counts = agreement.label_counts(values, numbers(scale))
    n, nothing = counts.sum(1), np.full(len(items), np.nan)
    entropy, ordered = measured["entropy_bits"], level != "nominal"
    depth, p_value = agreement.valley(counts) if ordered and len(scale) > 2 else (nothing, nothing)
    squares = np.where(np.isnan(values), 0, (values - measured["mean"][:, None]) ** 2).sum(1)
    return items.assign(
        **measured,
        n=n,
        sd=np.sqrt(np.divide(squares, n - 1, out=nothing.copy(), where=n > 1)),
        entropy_corrected_bits=agreement.miller_madow_bits(counts),
        entropy_normalised=entropy / np.log2(len(scale)),
        consensus=agreement.ordinal_consensus(counts, numbers(scale)) if ordered else nothing,
        valley_depth=depth,
        valley_p=p_value,
        disagreement=np.select([p_value < 0.05, contested_set(entropy).mask], ["split", "noisy"], "agreed"),
    )


def measures(values, scale, level, is_pair):
    """Mean and the measures of disagreement that subset rules look at.

    Parameters
    ----------
    values : ndarray of float, shape (n_items, n_slots)
    scale, level
        See `describe`.
    is_pair : ndarray of bool, shape (n_items,)
        Pairs have ties and an agreement on the better response.

    Returns
    -------
    dict of str to ndarray of float, shape (n_items,)
    """
    numbered = numbers(scale)
    counts = agreement.label_counts(values, numbered)
    nothing = np.full(len(values), np.nan)
    is_pair = is_pair & (0 in numbered) & (min(numbered) == -max(numbered))  # elsewhere 0 is one side
    return {
        "mean": agreement.row_means(values, ~np.isnan(values)) if level != "nominal" else nothing,
        "entropy_bits": agreement.entropy_bits(counts),
        "entropy_grouped_bits": agreement.entropy_bits(agreement.grouped(counts)) if len(scale) == 5 else nothing,
        "gini": agreement.gini(counts),
        "pairwise_disagreement": agreement.pairwise_disagreement(counts),
        "minority_share": agreement.minority_share(counts),
        "fleiss_agreement": agreement.item_agreement(counts),
        "n_ties": np.where(is_pair, counts[:, np.asarray(numbered) == 0].sum(1), np.nan),
        "agreement": np.where(is_pair, agreement.pair_agreement(counts, numbered), np.nan),
    }


def statistics(measured, groups):
    """Statistics that the rules of `selection` look at.

    Parameters
    ----------
    measured : mapping of str to array_like, shape (n_items,)
        ``08_items`` of one type, or what `measures` returns.
    groups : ndarray of int, shape (n_items,)
        Prompt of every item.

    Returns
    -------
    dict of str to ndarray of float, shape (n_items,)
    """
    names = ("mean", "entropy_bits", "entropy_grouped_bits", "gini", "pairwise_disagreement", "minority_share")
    found = {name: np.asarray(measured[name], float) for name in (*names, "fleiss_agreement", "agreement")}
    return found | {
        "minus_ties": -np.asarray(measured["n_ties"], float),
        "gap": subsets.gaps(found["mean"]),
        "gap_within": subsets.gaps(found["mean"], groups),
    }


def numbers(scale):
    """Values of a scale as numbers; names of categories are numbered from 0.

    Examples
    --------
    >>> numbers([1, 2, 3]), numbers(["1", "2", "3"]), numbers(["no", "unsure", "yes"])
    ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 1, 2])
    """
    read = [reading.number(value) for value in scale]
    return list(range(len(scale))) if any(np.isnan(read)) else read


def off_scale(excluded, n_labels):
    """Say in a sentence how many labels lie off the scale; None where they are few and no value recurs.

    Parameters
    ----------
    excluded : pandas.DataFrame
        From `tabulate`.
    n_labels : int
        All labels.
    """
    off = excluded.loc[excluded["reason"] == "label not on the scale", "excerpt"]
    if len(off) > MOST_OFF_SCALE * n_labels:
        return f"{len(off)} of {n_labels} labels have values off the scale"
    given = off.map(lambda text: re.search(r'"label": (.*)\}$', text)).map(lambda found: found and found[1])
    counts = given.value_counts()
    n = int(counts[counts > 1].sum())
    return f"{n} of {n_labels} labels have values off the scale that recur" if n else None


def _check_scale(scale, item_type):
    """Refuse a scale that has fewer than two values, repeats one, or is of pairs and has the tie out of its middle."""
    what = "ratings" if item_type == "absolute" else "pairs"
    if len(scale) < 2:
        raise ValueError(f"`{what}_scale` must name two values or more, but {list(scale)} was passed.")
    repeated = [value for at, value in enumerate(numbers(scale)) if value in numbers(scale)[:at]]
    names = [spelled(value) for value in scale]
    repeated = repeated or [name for at, name in enumerate(names) if name in names[:at]]
    if repeated:
        raise ValueError(f"The scale of the {what} is {list(scale)}, which repeats {repeated[0]!r}: name a value once.")
    if item_type == "pairs":
        _check_middle(scale, names)


def _check_middle(scale, names):
    """Refuse a scale of pairs that does not run from "the second is better" over the tie to "the first is better"."""
    ends = numbers(scale)
    middle = (min(ends) + max(ends)) / 2
    if any(np.isnan(reading.number(value)) for value in scale):
        ties = [name for name in names if _TIE.search(name)]
        is_turned = _FIRST.search(names[0]) and _SECOND.search(names[-1])
        wrong = is_turned or ties != [name for name, at in zip(names, ends, strict=True) if at == middle]
    else:
        wrong = {2 * middle - value for value in ends} != set(ends) or (middle != 0 and 0 in ends and len(ends) > 2)
    if wrong:
        raise ValueError(
            f"The scale of the pairs is {list(scale)}, but it must run from the second response to the first, with the "
            f"tie, if there is one, in the middle: ['B', 'tie', 'A'] or [-1, 0, 1]. Set `pairs_scale` so, and say in "
            f"`pairs_values` what other labels mean, for example {{'A': 1, 'B': -1, 'tie': 0}}."
        )


def _refuse_other_scale(frame, values, item_type, scale, meant):
    """Refuse labels of another scale than the one that was said; `values` are those of the sides as they came."""
    given = frame["label"][~frame["label"].map(_is_missing)].map(spelled)
    off = given[values[given.index].isna()].value_counts()
    often = off[(off > 1) & (off >= max(0.01 * len(given), 2))]
    if len(given) >= ENOUGH_LABELS and off.sum() > len(given) / 2:
        often = off
    what = "ratings" if item_type == "absolute" else "pairs"
    if len(often) and values.notna().any():
        listed = ", ".join(f"{value!r} ({n} times)" for value, n in often.head(5).items())
        raise ValueError(
            f"The scale of the {what} is {list(scale)}, but {off.sum()} of {len(given)} labels are not: {listed}. "
            f"Set `{what}_scale`, or say in `{what}_values` what such a label means (null: nothing)."
        )
    used = values[given.index].dropna()
    told = dict(zip(given[used.index], used, strict=True))
    is_open = min(numbers(scale)) < 0 < max(numbers(scale)) and "of_ranks" not in frame and not set(told) <= set(meant)
    several = len(used) > 3 or len(set(frame.loc[used.index, "item_id"])) > 1
    if item_type == "pairs" and is_open and several and len(set(used)) > 1 and (min(used) >= 0 or max(used) <= 0):
        as_they_are = ", ".join(f"{label!r}: {value:g}" for label, value in sorted(told.items()))
        raise ValueError(
            f"The scale of the pairs is {list(scale)}, where positive means that the first response is better, but the "
            f"labels are {sorted(told)} only: no label says that the other response is. Say in `pairs_values` what "
            f"each means, for example {{'1': 1, '2': -1}} or {{'0': -1, '1': 1}}; where the labels are right as they "
            f"are, write {{{as_they_are}}}."
        )


def spelled(label):
    """Text of a label: a whole number without its fraction, without blanks and quotes around.

    Examples
    --------
    >>> spelled(2.0), spelled("2.0"), spelled(" '2' "), spelled("Tie"), spelled(2.5)
    ('2', '2', '2', 'Tie', '2.5')
    """
    text = str(label).strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return str(int(re.split("[.,]", text)[0])) if re.fullmatch(r"[+-]?[0-9]{1,15}(?:[.,]0*)?", text) else text


def mirrored(values, scale):
    """Labels of a pair as they are with its sides swapped: the scale from its other end.

    Examples
    --------
    >>> import numpy as np
    >>> mirrored(np.array([2.0, 0.0]), [-2, -1, 0, 1, 2]), mirrored(np.array([1.0]), [1, 2])
    (array([-2.,  0.]), array([2.]))
    """
    ends = numbers(scale)
    return min(ends) + max(ends) - values + 0.0


def _labeller(scale, label_values):
    """Function from what stands in the file to a number of the scale, or NaN."""
    values = numbers(scale)
    known = {spelled(v): n for v, n in zip(scale, values, strict=True)}
    is_number = not any(np.isnan([reading.number(v) for v in scale]))

    def value(label):
        text = spelled(label)
        if isinstance(label, bool | np.bool_) and text not in label_values and text not in known:
            return np.nan  # True is no 1
        text = spelled(label_values.get(text, text))
        if text in known:
            return known[text]
        number = reading.number(text) if is_number else np.nan
        return number if number in known.values() else np.nan

    return value


def _identified(long, item_type):
    """Give every row an item_id, prompt_id and ids of its responses."""
    frame = long.copy()
    for field in ("annotator", "form_id", "question_id", "prompt", "response_1", "response_2"):
        if field not in frame:
            frame[field] = None
        text = ids.written if field.endswith("_id") or field == "annotator" else _text
        frame[field] = pd.Series([text(value) for value in frame[field]], index=frame.index, dtype=object)
    if item_type == "pairs" and "item_id" not in frame and frame["response_2"].isna().all():
        raise ValueError("Pairs need item_id, or response_1 and response_2: name them with `columns`.")
    if "item_id" not in frame and frame["response_1"].isna().all():
        raise ValueError("Items need item_id, or a prompt and a response: name them with `columns`.")
    if "prompt_id" not in frame:
        if frame["prompt"].map(_is_missing).any():
            raise ValueError("The prompt is the unit of every interval: name prompt_id or prompt with `columns`.")
        frame["prompt_id"] = frame["prompt"].map(ids.prompt_id)
    frame["prompt_id"] = frame["prompt_id"].map(ids.written)
    for side in ("response_1", "response_2"):
        frame[f"{side}_id"] = [
            None if text is None else ids.text_id(json.dumps([prompt, text]))
            for prompt, text in zip(frame["prompt_id"], frame[side], strict=True)
        ]
    if "item_id" in frame:
        frame["item_id"] = frame["item_id"].map(ids.written)
    else:
        first = frame.groupby(_unordered(frame), sort=False).cumcount() == 0
        parts = ["prompt_id", "response_1_id", "response_2_id", "form_id", "question_id"]
        keys = [json.dumps(row) for row in frame[parts].itertuples(index=False, name=None)]
        named = pd.Series([ids.text_id(f"{item_type} {key}") for key in keys], index=frame.index)
        frame["item_id"] = _unordered(frame).map(dict(zip(_unordered(frame)[first], named[first], strict=True)))
    return _turned(frame)


def _nameless(long):
    """Why a row belongs to no item or prompt; "" where it belongs to one."""
    reason = pd.Series("", index=long.index)
    for field in ("prompt_id" if "prompt_id" in long else "prompt", "item_id"):
        if field in long and not _is_blank(long, field):
            reason[long[field].map(_is_missing)] = f"no {field}"
    return reason


def _is_blank(long, field):
    """Whether a column says nothing in any row."""
    return long[field].map(_is_missing).all()


def _text(value):
    return None if _is_null(value) else str(value)


def _unordered(frame):
    """What identifies every row's item: the same whichever of two responses stands first."""
    parts = ["prompt_id", "response_1_id", "response_2_id", "form_id", "question_id"]
    rows = frame[parts].itertuples(index=False, name=None)
    keys = [json.dumps([prompt, *sorted((a or "", b or "")), *rest]) for prompt, a, b, *rest in rows]
    return pd.Series(keys, index=frame.index)


def _turned(frame):
    """Put the sides of a pair as its first row has them, and mark the rows that had them the other way round."""
    sides = ["response_1_id", "response_2_id"]
    first = frame.groupby("item_id")[sides].transform("first")
    is_pair = frame[sides].notna().all(axis=1) & first.notna().all(axis=1) & (frame[sides[0]] != frame[sides[1]])
    turned = is_pair & (frame[sides[0]] == first[sides[1]]) & (frame[sides[1]] == first[sides[0]])
    for one, other in (("response_1", "response_2"), sides):
        swapped = frame[one].where(~turned, frame[other]), frame[other].where(~turned, frame[one])
        frame[one], frame[other] = swapped
    return frame.assign(is_turned=turned)


def _slots(frame):
    """Column of every label: one a person within a form where people are known, else a running number."""
    if frame["annotator"].isna().any():
        return frame.groupby("item_id").cumcount()
    form = frame["form_id"].map(str)
    return frame["annotator"].groupby(form).transform(lambda names: pd.factorize(names, sort=True)[0]).astype(int)


def _named_by_form(frame, file):
    """Name the person at every place of a list: by the form where its lists are equally long, else nobody knows.

    A list without a label names nobody, and says nothing about the other lists of its form.
    """
    lengths = frame["label"].map(len)
    if "annotator" in frame:
        given = _lists(frame, "annotator", file)
        unknown = frame["annotator"].map(_is_missing) | (lengths == 0)
        names = [[None] * n if skip else row for row, n, skip in zip(given, lengths, unknown, strict=True)]
        if any(len(row) != n for row, n in zip(names, lengths, strict=True)):
            raise ValueError("`annotator` must hold as many names as `labels` holds labels in every row.")
        return frame.assign(annotator=pd.Series(names, index=frame.index, dtype=object))
    if "form_id" not in frame:
        return frame.assign(annotator=lengths.map(lambda n: [None] * n))
    forms = frame["form_id"].map(ids.written)
    same = lengths.where(lengths > 0).groupby(forms).transform("nunique") == 1
    names = [
        [f"{form}:{place:03d}" if known else None for place in range(n)]
        for form, n, known in zip(forms, lengths, same, strict=True)
    ]
    return frame.assign(annotator=pd.Series(names, index=frame.index, dtype=object))


def _pairs_of_ranks(frame, file):
    """Every two responses one annotator ranked for an item become a pair, labelled 1, 0 or -1.

    A pair with a blank rank has no label, nor has a response that its annotator ranked alone: both are counted.
    """
    for field in ("item_id", "annotator", "response_1"):
        if field not in frame:
            raise ValueError(f"Ranks need `{field}`: name it with `columns`.")
    if (lacking := frame[["item_id", "annotator"]].map(_is_missing).any(axis=1)).any():
        raise ValueError(f"Ranks need an item and an annotator in every row, but {lacking.sum()} rows lack one.")
    ranks = [_rank(value, row, file) for value, row in zip(frame["rank"], frame["input_row"], strict=True)]
    who = {field: frame[field].map(ids.written) for field in ("item_id", "annotator")}
    frame = frame.assign(rank=ranks, **who)
    rows = []
    shared = [f for f in ("prompt_id", "prompt", "form_id") if f in frame]
    for (item, annotator), ranked in frame.sort_values("response_1").groupby(["item_id", "annotator"], sort=False):
        ranked = ranked.to_dict("records")
        alone = [(ranked[0], {"response_1": None, "rank": np.nan})] if len(ranked) == 1 else []
        for a, b in [*combinations(ranked, 2), *alone]:
            better = np.sign(b["rank"] - a["rank"])
            texts = {"response_1": a["response_1"], "response_2": b["response_1"]}
            key = ids.text_id(json.dumps([item, *texts.values()]))
            rows.append(
                {"prompt_id": item, **{f: a[f] for f in shared}, "item_id": key, "annotator": annotator, **texts}
                | {"label": better, "input_row": a["input_row"], "of_ranks": True}
            )
    return pd.DataFrame(rows)


def _rank(value, row, file):
    """Rank as a number, NaN where there is none."""
    rank = np.nan if isinstance(value, bool | np.bool_) else reading.number(value)
    if not np.isfinite(rank) and not _is_missing(value):
        raise ValueError(f"{file}, row {row + 1}: a rank must be a number, 1 is best, but {value!r} was found.")
    return rank


def _lists(frame, field, file):
    """Lists of a column; an empty one where there is nothing."""
    found = [_as_list(value, row, file) for value, row in zip(frame[field], frame["input_row"], strict=True)]
    return pd.Series(found, index=frame.index, dtype=object)


def _as_list(value, row, file):
    """List that a value is or spells: in JSON, Python or NumPy, or numbers with semicolons between."""
    if _is_missing(value):
        return []
    found = reading.as_list(value)
    if found is None and isinstance(value, str):
        parts = value.split(";")
        if len(parts) > 1 and not any(np.isnan(reading.number(part)) for part in parts):
            return [part.strip() for part in parts]
        if any(mark in value for mark in ";,["):
            raise ValueError(
                f'{file}, row {row + 1}: a list of labels must be JSON, such as [4, 5, 3] or ["yes", "no"], but '
                f"{value[:60]!r} was found."
            )
    if found is None:
        raise ValueError(
            f"{file}, row {row + 1}: A list of labels was expected, such as [4, 5, 3], but {value!r} was found. Name a "
            f"column of single labels `label`, not `labels`."
        )
    return found


def _is_list(value):
    return isinstance(value, list | tuple | np.ndarray)


def _is_missing(value):
    """Whether a value is null, or a blank as spreadsheets leave it."""
    return _is_null(value) or (isinstance(value, str) and not value.strip())


def _is_null(value):
    return value is None or value is pd.NA or value is pd.NaT or (_is_float(value) and np.isnan(value))


def _is_float(value):
    return isinstance(value, float | np.floating)


def _excerpt(row):
    return json.dumps(row, default=str, ensure_ascii=False)[:200]


def _matching(frame, names):
    found = []
    for name in names:
        matches = [c for c in frame.columns if c.startswith(name[:-1])] if name.endswith("*") else [name]
        for column in matches:
            require(frame, column, "`label_columns`")
        if not matches:
            raise ValueError(f"`label_columns` names {name!r}, but the columns are {list(frame.columns)}.")
        found += matches
    return found


def require(frame, column, what):
    """Refuse a column name that the frame does not have."""
    if column not in frame.columns:
        raise ValueError(f"{what} names the column {column!r}, but the columns are {list(frame.columns)}.")
