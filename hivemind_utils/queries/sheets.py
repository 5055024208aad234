"""Do annotators agree with the labels? Sheets to fill, annotations read back, scores of a classifier with intervals."""

import re

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals
from hivemind_utils.metrics.shares import weighted_share
from hivemind_utils.tables import files
from hivemind_utils.tables.reading import read_file
from hivemind_utils.tables.wording import counted

ALTERNATIVES = ("fewer than 3", "3 to 10", "10 to 20", "more than 20")  # Table 1 of arXiv 2510.22954


def sheet(items, n, rng, *, strata=None, answers=("open_ended", "alternatives")):
    """Draw items for annotators to judge.

    Parameters
    ----------
    items : pandas.DataFrame
        What annotators see.
    n : int
        Items wanted; all where there are fewer.
    rng : numpy.random.Generator
    strata : str, optional
        Column whose values are drawn in equal numbers, as far as they last; annotators do not see it.
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


def offer(study, name, frame, answers):
    """Write a sheet to ``data/<profile>/sheets``, unless somebody began to fill it; returns what was done, in words.

    Parameters
    ----------
    study : Study
    name : str
        Name of the file, without suffix.
    frame : pandas.DataFrame
        From `sheet`.
    answers : sequence of str
        Columns to fill.
    """
    path = study.folder / "sheets" / f"{name}.csv"
    is_new = write_sheet(frame, path, answers)
    done = f"{counted(len(frame), 'row')} to fill" if is_new else "already begun, left as it is"
    return f"{path.relative_to(files.root())}: {done}"


def collect(study, name, frame, keys, answers, *, paths=None, fill=None, known=None):
    """Read the sheets that annotators filled, or those of the demo's annotators.

    Parameters
    ----------
    study : Study
    name : str
        Name of the sheet's file, without suffix.
    frame : pandas.DataFrame
        The sheet, for the demo's annotators.
    keys, answers
        As in `read_sheets`.
    paths : str or list of str, optional
        Filled sheets.
    fill : callable, optional
        Fills a sheet where `paths` names none: from `demo.logs.take_part`.
    known : collection of str, optional
        Values of the first key that there are; annotations of others are left out, which is said.

    Returns
    -------
    annotations, problems : pandas.DataFrame
        As `read_sheets`.
    """
    filled = files.addresses(paths)
    if fill is not None and not filled:
        filled = [study.folder / "sheets" / f"{name}_demo.csv"]
        with files.atomic(filled[0]) as temporary:
            fill(frame).to_csv(temporary, index=False)
    annotations, problems = read_sheets(filled, keys, answers)
    if known is not None:
        is_known = annotations[keys[0]].isin(known)
        if not is_known.all():
            print(f"WARNING: {counted(int((~is_known).sum()), 'annotation')} of unknown queries are left out")
        annotations = annotations[is_known].reset_index(drop=True)
    n_people = counted(annotations["annotator"].nunique(), "annotator")
    print(f"{counted(len(annotations), 'annotation')} of {n_people}; {len(problems)} cells could not be read")
    return annotations, problems


def read_sheets(paths, keys, answers):
    """Read filled sheets: one file per annotator, or one with a column `annotator`.

    Parameters
    ----------
    paths : sequence of Path
        CSV files; a row without `annotator` belongs to the one the file is named after.
    keys : sequence of str
        Columns that name what was judged.
    answers : dict of str to callable
        Column of an answer to what reads it (`yes_no.yes_or_no`, `alternatives`); None stands for an empty cell.

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


def answer_shares(labels, answers):
    """Share of all annotations given to each value, with jackknife intervals over items.

    Parameters
    ----------
    labels : ndarray of float, shape (n_items, n_annotators)
        Codes 0, 1, ... of `answers`; NaN where missing.
    answers : sequence of str

    Returns
    -------
    pandas.DataFrame
        answer, share, lower, upper (within 0 and 1; NaN for a single item).
    """
    if not len(labels):
        return pd.DataFrame(columns=["answer", "share", "lower", "upper"])
    counts = np.stack([(labels == code).sum(1) for code in range(len(answers))], 1).astype(float)
    totals = counts.sum(1, keepdims=True) * np.ones(len(answers))
    found = intervals.ratio_interval(counts, totals)
    lower, upper = np.clip([found.lower, found.upper], 0, 1)
    return pd.DataFrame({"answer": answers, "share": counts.sum(0) / totals.sum(0), "lower": lower, "upper": upper})


def scores(truth, predicted, weights):
    """Precision, recall, specificity, accuracy and Cohen's kappa of a classifier, with intervals over items.

    Parameters
    ----------
    truth, predicted : ndarray of bool, shape (n_items,)
    weights : ndarray of float, shape (n_items,)
        Items each stands for, for a stratified sample; else ones.

    Returns
    -------
    pandas.DataFrame
        measure, value, lower, upper; NaN where a measure is not defined. Intervals of shares are those of
        `metrics.shares.weighted_share`; that of kappa is a jackknife interval on the scale of its inverse hyperbolic
        tangent.
    """
    truth, predicted, weights = np.asarray(truth, bool), np.asarray(predicted, bool), np.asarray(weights, float)
    if not len(truth) == len(predicted) == len(weights):
        raise ValueError(f"Equal lengths are needed, but {len(truth)}, {len(predicted)}, {len(weights)} were passed.")
    all_items = np.ones(len(truth), bool)
    of = {"precision": (truth, predicted), "recall": (predicted, truth), "specificity": (~predicted, ~truth),
          "accuracy": (truth == predicted, all_items)}  # fmt: skip
    found = {name: weighted_share(hits[among], weights[among]) for name, (hits, among) in of.items()}
    cells = np.stack([truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted], 1)
    left_out = intervals.left_out_weights(np.arange(len(truth)))
    found["kappa"] = intervals.correlation_interval(_kappa(left_out @ (cells * weights[:, None])))
    rows = [(name, *map(float, (one.estimate, one.lower, one.upper))) for name, one in found.items()]
    return pd.DataFrame(rows, columns=["measure", "value", "lower", "upper"])


def _kappa(cells):
    """Cohen's kappa from weighted counts of true and false positives and negatives in the last axis."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(cells, float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = tp + fp + fn + tn
        by_chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
        return ((tp + tn) / n - by_chance) / (1 - by_chance)
