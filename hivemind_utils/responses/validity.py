"""Do the measures of diversity measure ideas? Their values on sets of responses whose content is known.

What a measure says of a set is compared with its label: high where the responses differ in content. Every measure here
rises with diversity; those that fall with it are turned round.

Which axioms hold. M: a new idea never lowers the value. U: a unique response replaced by a copy never raises it. R:
giving every response twice changes nothing. S: the expected value does not depend on the number of responses. The
effective number of ideas keeps M, U and R. One minus the mean cosine keeps S only (R: it falls by the factor
2 (n - 1) / (2 n - 1)). One minus the squared length of the mean vector, and the Vendi score, keep R only. Measures of
form keep none of them: distinct n-grams and compression fall with length and number, whatever is said. The tests are in
``tests/metrics/test_validity.py``.
"""

import re

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, similarity, validity, words
from hivemind_utils.responses import embeddings
from hivemind_utils.tables import files, reading, schema

SETS = ["context", "set_id", "label", "response"]
MEASURES = {  # printed names; "form": the measure knows words, not meaning
    "mean_cosine": "1 − mean cosine",
    "mean_vector": "1 − squared mean vector",
    "vendi_1": "Vendi score",
    "vendi_2": "Vendi score, order 2",
    "mean_tfidf": "1 − TF-IDF cosine (form)",
    "effective_distinct": "effective number of wordings (form)",
    "distinct_1": "distinct words (form)",
    "distinct_2": "distinct word pairs (form)",
    "self_overlap": "1 − n-gram overlap (form)",
    "compression_ratio": "1 / compression ratio (form)",
    "opener_share": "1 − most common opener (form)",
}
_ONE_LESS = ("self_overlap", "opener_share")
_NAMES = {  # of columns in files of labelled sets
    "context": ("context", "prompt", "question", "query"),
    "set_id": ("set_id", "sample_id", "id"),
    "label": ("label", "label_value", "content_diversity"),
}
_RESPONSE = ("response", "resp", "text", "answer")
_NUMBERED = re.compile(r"resp(onse)?_?\d+")


def read_sets(path):
    r"""Read sets of responses of labelled content: one row per set with a column per response, or one row per response.

    Parameters
    ----------
    path : str or path-like
        A table with a context, a label (1 or "high", 0 or "low") and responses: columns whose names begin with
        ``resp`` (``resp_0`` …, as McDiv and ConTest have), a column ``responses`` of lists, or one row per response
        with ``response`` and ``set_id``.

    Returns
    -------
    pandas.DataFrame
        One row per response: context, set_id, label (0 or 1), response. Empty responses are left out.

    Raises
    ------
    ValueError
        If a column is missing, a label is none of these, or a set has two labels.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "sets.csv"
    >>> _ = path.write_text("context,label,resp_0,resp_1\nSay hello.,1,Hi,Good day\nSay hello.,0,Hi,Hi there\n")
    >>> read_sets(path)["label"].tolist()
    [1, 1, 0, 0]
    """
    frame = reading.read_any(path if files.is_address(path) else files.resolve(path))
    names = {name: _column(frame, options) for name, options in _NAMES.items()}
    for name in ("context", "label"):
        if names[name] is None:
            raise ValueError(
                f"{path} needs a column `{name}` (or {', '.join(_NAMES[name][1:])}), but has {list(frame.columns)}."
            )
    one, many = _column(frame, _RESPONSE), [name for name in frame if _NUMBERED.fullmatch(str(name).lower())]
    listed = _column(frame, ("responses",))
    sets = pd.DataFrame({"context": frame[names["context"]].astype(str), "label": _labels(frame[names["label"]], path)})
    sets["set_id"] = frame[names["set_id"]].astype(str) if names["set_id"] else sets.index.astype(str)
    if many:
        sets["response"] = frame[many].to_numpy().tolist()
    elif listed:
        sets["response"] = [reading.as_list(value) for value in frame[listed]]
    elif one and names["set_id"]:
        sets["response"] = frame[one]
    else:
        raise ValueError(
            f"{path} needs responses: columns resp_0, resp_1 …, a column of lists `responses`, or one row per response "
            f"with `response` and `set_id`, but has {list(frame.columns)}."
        )
    sets = sets.explode("response", ignore_index=True)[SETS]
    sets = sets[sets["response"].map(lambda text: isinstance(text, str) and bool(text.strip()))]
    if sets.drop_duplicates(["set_id", "label", "context"])["set_id"].duplicated().any():
        raise ValueError(f"{path} has a set with two labels or contexts: every set needs an id of its own.")
    return sets.reset_index(drop=True)


def measured(study, sets, encoder, *, may_pay=False):
    """Values of every measure on every set (`set_values`), with the vectors kept in the profile's folder.

    Without leave to pay an encoder that costs money it says so, and returns no sets.
    """
    try:
        values = set_values(sets, encoder, study.folder / "embeddings" / "sets", may_pay=may_pay)
    except embeddings.UnpaidError as error:
        print(f"Sets of known content are left out: {error}")
        return pd.DataFrame(columns=[*sets.columns.drop("response"), "n", *MEASURES])
    if single := sets["set_id"].nunique() - len(values):
        print(f"{single:,} sets have one response and are left out")
    return values


def set_values(sets, encoder, folder, *, may_pay=False):
    """Value of every measure on every set of two or more responses.

    Parameters
    ----------
    sets : pandas.DataFrame
        One row per response, with the columns of `SETS` and any others that belong to the set.
    encoder : str
    folder : path-like
        Where vectors of these texts are kept.
    may_pay : bool
        As in `embeddings.embed`.

    Returns
    -------
    pandas.DataFrame
        One row per set: its columns, n (responses) and one column per measure of `MEASURES`, each rising with
        diversity; NaN where a measure has no value.
    """
    sets = sets.reset_index(drop=True)
    vectors = similarity.unit_rows(
        embeddings.vectors(sets["response"], encoder, folder, may_pay=may_pay, progress=False)
    )
    lists = words.word_lists(sets["response"])
    groups = sets.groupby("set_id", sort=False)
    codes = groups.ngroup().to_numpy()
    tfidf = diversity.mean_pairwise_cosine_sparse(diversity.lexical_vectors(lists), codes, groups.ngroups)
    rows, firsts = [], []
    for k, members in enumerate(groups.indices.values()):
        firsts.append(members[0])
        if len(members) < 2:
            rows.append({"n": len(members)})
            continue
        own = diversity.summarise([lists[i] for i in members], vectors[members])
        own |= {name: 1 - own[name] for name in _ONE_LESS} | {"compression_ratio": 1 / own["compression_ratio"]}
        own |= {"mean_cosine": 1 - similarity.mean_pairwise_cosine(vectors[members]), "mean_tfidf": 1 - tfidf[k]}
        own["mean_vector"] = 1 - float((vectors[members].mean(0, dtype=float) ** 2).sum())
        rows.append({"n": len(members)} | {name: own[name] for name in MEASURES})
    facts = sets.loc[firsts].drop(columns="response").reset_index(drop=True)
    values = pd.concat([facts, pd.DataFrame(rows, columns=["n", *MEASURES])], axis=1)
    return values[values["n"] >= 2].reset_index(drop=True)


def compare(values, rng):
    """How well every measure tells sets of varied content from others, next to what noise would give.

    Parameters
    ----------
    values : pandas.DataFrame
        From `set_values`. Where it says whether the form of a set is fixed, the label is judged at varied form.
    rng : numpy.random.Generator
        For the accuracy of noise.

    Returns
    -------
    pandas.DataFrame
        Table ``05_measure_validity``; without rows where there are no values.

    Raises
    ------
    ValueError
        If there are no sets of both labels.
    """
    if values.empty:
        return schema.empty("05_measure_validity")
    crossed = {"ideas", "form"} <= set(values)
    judged = values[values["form"] == "varied"] if crossed else values
    if judged["label"].nunique() < 2:
        raise ValueError(
            f"Sets of both labels are needed, but {len(judged)} sets of label {judged['label'].unique()} are there."
        )
    rows = []
    for measure, name in MEASURES.items():
        known = judged[judged[measure].notna()]
        scores, labels = known[measure].to_numpy(), known["label"].to_numpy()
        if known["label"].nunique() < 2:
            continue
        area = validity.auc_interval(scores, labels, known["context"]).within(0, 1)
        row = {
            "measure": measure,
            "name": name.removesuffix(" (form)"),
            "sees": "form" if name.endswith("(form)") else "meaning",
            "n_sets": len(known),
            "n_contexts": known["context"].nunique(),
            "auc": float(area.estimate),
            "auc_lower": float(area.lower),
            "auc_upper": float(area.upper),
            "accuracy": validity.best_accuracy(scores, labels),
            "accuracy_noise": validity.noise_accuracy(int(labels.sum()), int((1 - labels).sum()), rng),
        }
        rows.append(row | (_crossed(values, measure) if crossed else {}))
    return pd.DataFrame(rows).reindex(columns=[*rows[0], *(c for c in _WITHIN if c not in rows[0])])


_KINDS = ("ideas", "form", "against")
_WITHIN = [f"{kind}{end}" for kind in _KINDS for end in ("", "_lower", "_upper")]


def _crossed(values, measure):
    """Ranks within prompts of the four kinds of sets; see `metrics.validity.crossed_accuracy`."""
    order = ["context", "ideas", "form"]
    cells = values.sort_values([*order, "set_id"], kind="stable").groupby("context")
    shaped = [at[measure].to_numpy().reshape(2, 2, -1).transpose(2, 0, 1) for _, at in cells]
    found = validity.crossed_accuracy(np.stack(shaped)).within(0, 1)
    columns = zip(found.estimate, found.lower, found.upper, strict=True)
    return dict(zip(_WITHIN, (float(x) for three in columns for x in three), strict=True))


def _column(frame, options):
    lower = {str(column).lower(): column for column in frame.columns}
    return next((lower[name] for name in options if name in lower), None)


def _labels(column, path):
    known = {"1": 1, "1.0": 1, "high": 1, "true": 1, "0": 0, "0.0": 0, "low": 0, "false": 0}
    labels = column.map(lambda value: known.get(str(value).strip().lower()))
    if labels.isna().any():
        odd = sorted(set(map(str, column[labels.isna()])))[:3]
        raise ValueError(f"Labels in {path} must be 1 (high) or 0 (low), but {odd} came. Cut scores at a value first.")
    return labels.astype(int)
