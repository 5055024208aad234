"""Do people agree with the labels? Sheets to fill, answers read back, and scores of a classifier with intervals."""

import re

import numpy as np
import pandas as pd

from hivemind_utils.metrics import resample
from hivemind_utils.tables import files
from hivemind_utils.tables.files import read_file

ALTERNATIVES = ("fewer than 3", "3 to 10", "10 to 20", "more than 20")  # Table 1 of arXiv 2510.22954


_YES, _NO = {"yes", "y", "true", "1"}, {"no", "n", "false", "0"}


def sheet(items, n, rng, *, strata=None, answers=("open_ended", "alternatives")):
    """Draw items for people to judge.

    Parameters
    ----------
    items : pandas.DataFrame
        What people see.
    n : int
        Items wanted; all where there are fewer.
    rng : numpy.random.Generator
    strata : str, optional
        Column whose values are drawn in equal numbers, as far as they last; it is not shown to people.
    answers : sequence of str
        Columns left empty for the answers, after an empty `annotator`.

    Returns
    -------
    pandas.DataFrame
        The items in random order with `weight`, how many items each stands for.
    """
    order = items.iloc[rng.permutation(len(items))]
    groups = order[strata] if strata else pd.Series("all", index=order.index)
    sizes = groups.value_counts()
    quota, left = dict.fromkeys(sizes.index, 0), min(n, len(items))
    while left:
        open_groups = [name for name in sorted(quota) if quota[name] < sizes[name]]
        for name in open_groups[:left]:
            quota[name] += 1
        left -= len(open_groups[:left])
    chosen = groups.groupby(groups).cumcount() < groups.map(quota)
    drawn = order[chosen].assign(weight=groups[chosen].map(lambda name: sizes[name] / quota[name]))
    drawn = drawn.drop(columns=[strata] if strata else []).iloc[rng.permutation(int(chosen.sum()))]
    return drawn.assign(annotator="", **dict.fromkeys(answers, "")).reset_index(drop=True)


def write_sheet(frame, path, answers):
    """Write a sheet, unless one that somebody began to fill stands there; returns whether it was written.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `sheet`.
    path : Path
    answers : sequence of str
        Columns to fill.
    """
    if path.exists():
        old = read_file(path)
        given = [name for name in answers if name in old.columns]
        if old[given].map(lambda cell: str(cell).strip() != "").to_numpy().any():
            return False
    with files.atomic(path) as temporary:
        files.neutral(frame).to_csv(temporary, index=False)
    return True


def read_sheets(paths, keys, answers):
    """Read filled sheets: one file an annotator, or one with a column `annotator`.

    Parameters
    ----------
    paths : sequence of Path
        CSV files; a row without `annotator` belongs to the one the file is named after.
    keys : sequence of str
        Columns that name what was judged.
    answers : dict of str to callable
        Column of an answer to what reads it (`yes_or_no`, `alternatives`); None stands for an empty cell.

    Returns
    -------
    annotations : pandas.DataFrame
        keys, annotator, weight and the answers; rows without any answer are left out.
    problems : pandas.DataFrame
        file, row, column, value of every answer that could not be read, and of second answers of one annotator.
    """
    rows, problems = [], []
    for path in paths:
        frame = read_file(path)
        if missing := [name for name in (*keys, *answers) if name not in frame.columns]:
            raise ValueError(f"{path.name} lacks the columns {missing}; it has {list(frame.columns)}.")
        for number, row in enumerate(frame.to_dict("records"), start=2):  # line 1 holds the names
            read = {name: row[name] for name in keys}
            read["annotator"] = str(row.get("annotator") or "").strip() or path.stem
            read["weight"] = float(row.get("weight") or 1)
            for name, parse in answers.items():
                try:
                    read[name] = parse(row[name])
                except ValueError:
                    problems.append((path.name, number, name, str(row[name])))
                    read[name] = None
            if any(read[name] is not None for name in answers):
                rows.append(read | {"file": path.name, "row": number})
    columns = [*keys, "annotator", "weight", *answers]
    frame = pd.DataFrame(rows, columns=[*columns, "file", "row"])
    twice = frame.duplicated([*keys, "annotator"])
    problems += [(r.file, r.row, "annotator", f"{r.annotator} answered twice") for r in frame[twice].itertuples()]
    return frame.loc[~twice, columns].reset_index(drop=True), pd.DataFrame(
        problems, columns=["file", "row", "column", "value"]
    )


def yes_or_no(value):
    """Read "yes" or "no" in any usual spelling; an empty cell is None."""
    word = "" if pd.isna(value) else str(value).strip().lower()
    if word in _YES or word in _NO or word == "":
        return None if word == "" else word in _YES
    raise ValueError(f"Expected yes or no, but {value!r} was found.")


def alternatives(value):
    """Read a number of alternatives as one of Table 1's classes: the words, a range or a plain number."""
    word = "" if pd.isna(value) else re.sub(r"\s+", " ", str(value).strip().lower())
    if word == "":
        return None
    numbers = [int(number) for number in re.findall(r"\d+", word)]
    if numbers == [3, 10] or numbers == [10, 20]:
        return ALTERNATIVES[1] if numbers[0] == 3 else ALTERNATIVES[2]
    if numbers == [3] and re.match(r"(less|fewer) than|<", word):
        return ALTERNATIVES[0]
    if numbers == [20] and re.match(r"more than|over|>|20 ?\+", word):
        return ALTERNATIVES[3]
    if word.isdigit():
        return ALTERNATIVES[int(np.searchsorted([2, 10, 20], int(word)))]
    raise ValueError(f"Expected one of {list(ALTERNATIVES)}, but {value!r} was found.")


def matrix(annotations, key, answer, codes=None):
    """Answers as an array, items by annotators.

    Parameters
    ----------
    annotations : pandas.DataFrame
    key, answer : str or list of str, str
        Column(s) that name an item, and the answers.
    codes : sequence, optional
        Values in their order, coded 0, 1, ...; True and False become 1 and 0 without.

    Returns
    -------
    labels : ndarray of float, shape (n_items, n_annotators)
        NaN where missing.
    items : pandas.Index
    """
    given = annotations.dropna(subset=[answer])
    coded = given[answer].map({code: float(i) for i, code in enumerate(codes or (False, True))})
    wide = given.assign(code=coded).pivot(index=key, columns="annotator", values="code")
    return wide.to_numpy(float), wide.index


def majority(labels):
    """More than half of the answers say yes (1) or no (0); NaN for a tie or without answers.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        1, 0 or NaN.
    """
    n = (~np.isnan(labels)).sum(1)
    share = np.divide(np.nansum(labels, axis=1), n, out=np.full(len(labels), np.nan), where=n > 0)
    return np.where(np.isnan(share) | (share == 0.5), np.nan, (share > 0.5).astype(float))


def weighted_share(values, weights, draws):
    """Weighted share with a bootstrap interval over items.

    Parameters
    ----------
    values : ndarray of float, shape (n_items,)
        0 to 1; NaN is left out.
    weights : ndarray of float, shape (n_items,)
        Items each stands for.
    draws : ndarray of float, shape (n_boot, n_items)
        From `resample.bootstrap_weights`.

    Returns
    -------
    dict
        share, lower, upper, n.
    """
    values, weights = np.asarray(values, float), np.asarray(weights, float)
    there = ~np.isnan(values)
    above, below = np.where(there, values, 0) * weights, there * weights
    lower, upper = resample.interval(resample.weighted_ratios(above, below, draws))
    value = above.sum() / below.sum() if there.any() else np.nan
    return {"share": float(value), "lower": float(lower), "upper": float(upper), "n": int(there.sum())}


def answer_shares(labels, answers, n_boot, rng):
    """Share of all answers given to each value, with bootstrap intervals over items.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        Codes 0, 1, ... of `answers`; NaN where missing.
    answers : sequence of str
    n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        answer, share, lower, upper.
    """
    if not len(labels):
        return pd.DataFrame(columns=["answer", "share", "lower", "upper"])
    counts = np.stack([(labels == code).sum(1) for code in range(len(answers))], 1).astype(float)
    totals = counts.sum(1, keepdims=True) * np.ones(len(answers))
    draws = resample.bootstrap_weights(len(labels), n_boot, rng)
    lower, upper = resample.interval(resample.weighted_ratios(counts, totals, draws))
    return pd.DataFrame({"answer": answers, "share": counts.sum(0) / totals.sum(0), "lower": lower, "upper": upper})


def scores(truth, predicted, weights, draws):
    """Precision, recall, specificity, accuracy and Cohen's kappa of a classifier, with intervals over items.

    Parameters
    ----------
    truth, predicted : ndarray of bool, shape (n_items,)
    weights : ndarray of float, shape (n_items,)
        Items each stands for, for a stratified sample; else ones.
    draws : ndarray of float, shape (n_boot, n_items)
        From `resample.bootstrap_weights`.

    Returns
    -------
    pandas.DataFrame
        measure, value, lower, upper; NaN where a measure is not defined.
    """
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    if not len(truth) == len(predicted) == len(weights):
        raise ValueError(f"Equal lengths are needed, but {len(truth)}, {len(predicted)}, {len(weights)} were passed.")
    cells = np.stack([truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted], 1)
    cells = cells * np.asarray(weights, float)[:, None]
    here, drawn = _measures(cells.sum(0)), _measures(draws @ cells)
    rows = []
    for name, value in here.items():
        lower, upper = resample.interval(drawn[name])
        rows.append((name, float(value), float(lower), float(upper)))
    return pd.DataFrame(rows, columns=["measure", "value", "lower", "upper"])


def _measures(cells):
    """Measures from weighted counts of true and false positives and negatives in the last axis."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(cells, float), -1, 0)
    n = tp + fp + fn + tn
    with np.errstate(invalid="ignore", divide="ignore"):
        by_chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
        agreed = (tp + tn) / n
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "accuracy": agreed,
            "kappa": (agreed - by_chance) / (1 - by_chance),
        }
