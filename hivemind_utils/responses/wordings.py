"""Instructions that come in many texts, such as personas, next to a placebo that comes in many neutral ones.

Do responses depend on which text a model was given, more than on which neutral one? And do models come closer? Both are
differences from the comparator, paired by prompt: any change of the message has some effect (METRICS: rho, see
`metrics.label_effects`).
"""

import json

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals, label_effects, similarity
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import loading

_MEASURES = ("omega_squared", "rho", "models_alike")
COLUMNS = [
    "condition", "comparator", "n_models", "n_prompts", "n_wordings", "n_per_wording",
    *(f"{name}{end}" for name in _MEASURES for end in ("", "_comparator", "_difference", "_lower", "_upper")),
]  # fmt: skip


def of_run(study, encoder, decoding=None):
    """Compare every arm whose instruction differs between responses with a comparator of that kind.

    Parameters
    ----------
    study : Study
    encoder : str
        The encoder with which notebook 04 embedded the responses.
    decoding : str, optional
        None: top_p, else the most common.

    Returns
    -------
    pandas.DataFrame
        Table ``11_wordings``; without rows, and without reading a response, where there is no such pair of arms.
    """
    declared = study.read("04_arms").set_index("condition")
    asked = set(study.read("04_responses", columns=["condition"])["condition"])
    varied = declared[declared["vary"].eq("response") & declared["slots"].notna() & declared.index.isin(asked)]
    rows = []
    for condition, comparator in varied.loc[varied["comparator"].isin(varied.index), "comparator"].items():
        kept = {"prompt_kinds": ["original"], "one_decoding": True, "decoding": decoding}
        loaded = loading.load(study, encoder, **kept, conditions=[condition, comparator]).models_only()
        rows.append(compare(loaded, varied.loc[[condition, comparator]]))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)


def compare(loaded, declared):
    """Compare two arms: how far responses depend on the text of the instruction, and how alike models are.

    Parameters
    ----------
    loaded : Responses
        Of models, under both arms.
    declared : pandas.DataFrame
        Their two rows of ``04_arms`` by condition; the second is the comparator.

    Returns
    -------
    pandas.DataFrame
        One row of ``11_wordings``. In every prompt both arms are measured with as many texts, and as many responses to
        each; `models_alike` is the mean cosine of responses of different models. Differences are paired by prompt.
    """
    found = list(loaded.map(_measured, slots=declared["slots"].map(json.loads).to_dict(), k=declared["k"].to_dict()))
    parts, alike, sizes = (np.array(part, float) for part in zip(*found, strict=True))
    complete = ~np.isnan(parts).any((1, 2, 3))
    row = dict(zip(("condition", "comparator"), declared.index, strict=True))
    row |= {"n_models": loaded.n_models, "n_prompts": int(complete.sum())}
    at = sizes[complete].mean(0) if complete.any() else (np.nan, np.nan)
    row |= {"n_wordings": float(at[0]), "n_per_wording": float(at[1])}
    for i, name in enumerate(_MEASURES[:2]):
        pairs = [tuple(np.where(complete, parts[:, arm, i, end], np.nan) for end in (0, 1)) for arm in (0, 1)]
        estimates = [intervals.ratio_interval(*pair).estimate for pair in pairs]
        row |= _named(name, estimates, intervals.ratio_difference_interval(*pairs))
    paired = np.where(np.isnan(alike).any(1, keepdims=True), np.nan, alike)
    estimates = [intervals.mean_interval(values).estimate for values in paired.T]
    row |= _named("models_alike", estimates, intervals.difference_interval(*paired.T))
    return pd.DataFrame([row], columns=COLUMNS)


def _named(name, estimates, difference):
    values = (*estimates, difference.estimate, difference.lower, difference.upper)
    ends = ("", "_comparator", "_difference", "_lower", "_upper")
    return {f"{name}{end}": float(value) for end, value in zip(ends, values, strict=True)}


def _measured(responses, *, slots, k):
    """Parts of both measures, shape (2 arms, 2 measures, 2), mean cosines between models, and the sizes compared."""
    table, vectors = responses.table, similarity.unit_rows(responses.vectors)
    groups, alike, nothing = [], [], np.full((2, 2, 2), np.nan)
    asked = table.groupby("model")["condition"].nunique()
    both = table["model"].isin(asked.index[asked == len(slots)])  # other models have no response under one of the arms
    if not both.any():
        return nothing, (np.nan, np.nan), (np.nan, np.nan)
    for condition in slots:
        at = np.flatnonzero(both & (table["condition"] == condition))
        at = at[np.lexsort((table["model"].iloc[at], table["sample_idx"].iloc[at]))]  # models take turns
        own = table.iloc[at].reset_index(drop=True)
        texts = wording(own, condition, slots[condition], k[condition])
        codes = pd.factorize(texts)[0]  # in the order they come
        groups.append([at[codes == code] for code in range(codes.max() + 1)])
        sums, counts = similarity.cell_sums(vectors[at], pd.factorize(own["model"])[0], own["model"].nunique())
        alike.append(_between(sums, counts))
    sizes = [sorted(map(len, of_arm), reverse=True) for of_arm in groups]
    n_groups = min(sum(size > 1 for size in of_arm) for of_arm in sizes)
    if n_groups < 2:
        return nothing, alike, (np.nan, np.nan)
    n_each, n_models = min(of_arm[n_groups - 1] for of_arm in sizes), table.loc[both, "model"].nunique()
    n_each -= n_each % n_models if n_each > n_models else 0  # of every model as many
    parts = []
    for of_arm in groups:
        chosen = np.concatenate([rows[:n_each] for rows in of_arm if len(rows) >= n_each][:n_groups])
        sums, counts = similarity.cell_sums(vectors[chosen], np.repeat(np.arange(n_groups), n_each), n_groups)
        parts.append(np.array(label_effects.label_parts(sums[None], counts[None]))[:, :, 0])
    return np.array(parts), alike, (n_groups, n_each)


def _between(sums, counts):
    """Mean cosine of responses of different models, pairs of models weighing equally; NaN for one model."""
    means = sums / np.maximum(counts, 1)[:, None]
    n = len(means)
    return ((means.sum(0) ** 2).sum() - (means**2).sum()) / (n * (n - 1)) if n > 1 else np.nan


def wording(table, condition, slots, k=1):
    """Text of the instruction that every response was given, from the number of its reply; see `arms.slot_values`.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of ``04_responses`` of one arm.
    condition : str
        The arm.
    slots : dict of str to list of str
        Its texts.
    k : int
        Responses of a reply.

    Returns
    -------
    pandas.Series of str
        Indexed as `table`.
    """
    arm, told = response_arms.Arm(condition, condition, slots=slots, vary="response"), {}
    for key in set(zip(table["prompt_id"], table["sample_idx"] // k, strict=True)):
        told[key] = " · ".join(response_arms.slot_values(arm, *key).values())
    return pd.Series(
        [told[key] for key in zip(table["prompt_id"], table["sample_idx"] // k, strict=True)], table.index, dtype=object
    )
