"""Tables of notebook 11: what similar models share. Frames and matrices in, tidy frames out.

Associations only: models were not assigned to vendors at random. The unit of inference for a shared label is the group
(vendor); errors from leaving models out, robust to shared models, and from permutations are shown next to it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals, label_effects, similarity
from hivemind_utils.metrics import sources as measures
from hivemind_utils.responses import families
from hivemind_utils.tables import files

PUBLISHED, OWN = "published", "this run"
FACTS = ["vendor", "family", "parent", "tuning", "size_b", "release_date"]


@dataclass(frozen=True)
class ModelPairs:
    """Similarity of every pair of models, and what is known of the models.

    Attributes
    ----------
    data : str
        "published" or "this run".
    similarity : ndarray of float, shape (n_models, n_models)
        Mean cosine; the diagonal is not used.
    models : pandas.DataFrame
        One row per model: model, vendor, family, parent, tuning, size_b, release_date; empty where unknown.
    n_left_out : int
        Models without a similarity to some other model, which are left out.
    """

    data: str
    similarity: np.ndarray
    models: pd.DataFrame
    n_left_out: int = 0

    @property
    def years(self):
        """Release of every model in years; NaN where it is unknown."""
        dates = pd.to_datetime(self.models["release_date"], format="ISO8601", errors="coerce")  # 2024-08: its first day
        return (dates.dt.year + (dates.dt.day_of_year - 1) / 365.25).to_numpy(float)

    @property
    def log_size(self):
        """Natural logarithm of the number of parameters in billions; NaN where it is unknown."""
        size = pd.to_numeric(self.models["size_b"], errors="coerce").to_numpy(float)
        return np.log(size, out=np.full(len(size), np.nan), where=size > 0)


def published_pairs():
    """Read the published similarities of 26 models, with the facts of the registry.

    Returns
    -------
    ModelPairs
    """
    folder = files.root() / "data" / "reference"
    table = pd.read_csv(folder / "table7_11_inter_model_main.csv", index_col="model") / 100
    facts = pd.read_csv(folder / "models.csv").dropna(subset=["table7_name"]).drop(columns="model")
    facts = facts.set_index("table7_name").reindex(table.index).rename_axis("model")
    values = table.reindex(columns=table.index).to_numpy(float)
    return ModelPairs(PUBLISHED, (values + values.T) / 2, facts[FACTS].reset_index())


def run_pairs(pairs, models):
    """Similarities of this run's models, several conditions of a model averaged, people left out.

    Parameters
    ----------
    pairs, models : pandas.DataFrame
        Tables ``06_model_pairs`` and ``04_models``.

    Returns
    -------
    ModelPairs
    """
    models = models if "model" in models else models.reset_index()
    facts = models[models["model_kind"] != "human"].set_index("model").sort_index()
    model_of = {arm: arm.split(" · ")[0] for arm in set(pairs["arm_a"]) | set(pairs["arm_b"])}
    named = pairs.assign(a=pairs["arm_a"].map(model_of), b=pairs["arm_b"].map(model_of))
    named = named[(named["a"] != named["b"]) & named["a"].isin(facts.index) & named["b"].isin(facts.index)]
    both = pd.concat([named, named.rename(columns={"a": "b", "b": "a"})])
    square = both.groupby(["a", "b"])["mean_cosine"].mean().unstack()
    square = square.reindex(index=square.index.union(square.columns), columns=square.index.union(square.columns))
    n = len(square)
    while len(square) > 1 and (missing := (square.isna().sum(axis=1) - 1)).max() > 0:
        square = square.drop(index=missing.idxmax(), columns=missing.idxmax())
    facts = facts.assign(family=facts["family"].where(facts["family"] != families.UNKNOWN))
    facts = facts.reindex(columns=FACTS).reindex(square.index).rename_axis("model").reset_index()
    return ModelPairs(OWN, square.to_numpy(float), facts, n - len(square))


@dataclass(frozen=True)
class Sources:
    """What `analyse` finds: frames as `pair_variance`, `lineage_effects` and `time_slope` return them."""

    summary: pd.DataFrame
    effects: pd.DataFrame
    residuals: pd.DataFrame
    lineage: pd.DataFrame
    slopes: pd.DataFrame


def analyse(pairs, rng, *, n_permutations=5_000):
    """Ask all questions of one set of pairs.

    Parameters
    ----------
    pairs : ModelPairs
    rng : numpy.random.Generator
    n_permutations : int

    Returns
    -------
    Sources
    """
    lineage = lineage_effects(pairs, rng, n_permutations=n_permutations)
    return Sources(*pair_variance(pairs), lineage, time_slope(pairs))


def both(published, own):
    """Put two frames of one table below each other; an empty one adds nothing."""
    parts = [part for part in (published, own) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else published


def pair_variance(pairs):
    """Split the variance of pairs into central models and what is particular to pairs.

    Parameters
    ----------
    pairs : ModelPairs

    Returns
    -------
    summary : pandas.DataFrame
        One row (none for fewer than four models): mean, r2, r2_noise, r2_adjusted, share, n_models, n_pairs.
    effects : pandas.DataFrame
        Per model, how much more similar to the others than average.
    residuals : pandas.DataFrame
        Per pair: similarity, expected from its two models, residual; largest residual first.
    """
    names = pairs.models["model"].to_numpy(object)
    m = len(names)
    first, second = np.triu_indices(m, 1)
    columns = ["data", "model_a", "model_b", "similarity", "expected", "residual", "same_vendor"]
    try:
        found = measures.additive_model(pairs.similarity)
    except ValueError:  # too few models, or all pairs equally alike
        empty = pd.DataFrame(columns=["data", "model", "effect"])
        return pd.DataFrame(columns=VARIANCE), empty, pd.DataFrame(columns=columns)
    summary = pd.DataFrame(
        [(pairs.data, found.mean, found.r2, found.r2_noise, found.r2_adjusted, found.share, m, len(first))],
        columns=VARIANCE,
    )
    effects = pd.DataFrame({"data": pairs.data, "model": names, "effect": found.effects})
    vendor = pairs.models["vendor"].fillna("").to_numpy(object)
    own, rest = pairs.similarity[first, second], found.residuals[first, second]
    residuals = pd.DataFrame(
        {
            "data": pairs.data,
            "model_a": names[first],
            "model_b": names[second],
            "similarity": own,
            "expected": own - rest,
            "residual": rest,
            "same_vendor": (vendor[first] == vendor[second]) & (vendor[first] != ""),
        }
    )
    order = residuals.sort_values(["residual", "model_a", "model_b"], ascending=[False, True, True])
    return summary, effects.sort_values("effect", ascending=False, ignore_index=True), order.reset_index(drop=True)


VARIANCE = ["data", "mean", "r2", "r2_noise", "r2_adjusted", "share", "n_models", "n_pairs"]
EFFECTS = [
    "data", "design", "effect", "unit", "estimate", "se", "lower", "upper", "p_value", "n_models", "n_pairs",
    "n_groups", "note",
]  # fmt: skip


def lineage_effects(pairs, rng, *, n_permutations=5_000):
    """How much more alike models are that share a vendor, a base, a family, a time or a size.

    Parameters
    ----------
    pairs : ModelPairs
    rng : numpy.random.Generator
    n_permutations : int

    Returns
    -------
    pandas.DataFrame
        One row per design, effect and unit of inference. ``unit`` is "vendor" for the primary estimate (a slope per
        vendor, their mean with its t interval), "model" (leaving models out), "pair" (robust to shared models) or
        "permutation" (p-value only). A design that cannot be estimated has one row with the reason in ``note``.
    """
    vendor = measures.same_label(pairs.models["vendor"])
    base = measures.same_label(pairs.models["parent"], unknown=0)
    family = measures.same_label(pairs.models["family"])
    release, size = measures.distance(pairs.years), measures.distance(pairs.log_size)
    designs = {
        "vendor": {"same vendor": vendor},
        "vendor and base": {"same vendor": vendor, "same base model": base},
        "vendor and family": {"same vendor": vendor, "same family": family},
        "vendor, release and size": {
            "same vendor": vendor, "years between releases": release, "log ratio of sizes": size
        },
    }  # fmt: skip
    rows = []
    for design, columns in designs.items():
        rows += _vendor_slopes(pairs, design, columns)
        rows += _regression(pairs, design, columns, rng, n_permutations)
    return pd.DataFrame(rows, columns=EFFECTS)


def _vendor_slopes(pairs, design, columns):
    """Return the primary row of a design: vendors as units."""
    try:
        found = measures.group_slopes(pairs.similarity, pairs.models["vendor"], list(columns.values())[1:])
    except ValueError as error:
        return [_row(pairs, design, "same vendor", "vendor", note=str(error))]
    numbers = {"estimate": found.mean, "se": found.se, "lower": found.lower, "upper": found.upper, "p_value": found.p}
    counts = {"n_groups": len(found.groups)} | _counts(found.used)
    note = "" if np.isfinite(found.lower) else f"{len(found.groups)} vendors with two models: no interval"
    return [_row(pairs, design, "same vendor", "vendor", note=note, **numbers, **counts)]


def _regression(pairs, design, columns, rng, n_permutations):
    """Return the secondary rows of a design: models or pairs as units, and permutations."""
    from scipy.stats import t as student

    values = list(columns.values())
    try:
        found = measures.dyadic_regression(pairs.similarity, values)
        p_values = [
            measures.permutation_test(pairs.similarity, values, k, n_permutations=n_permutations, rng=rng)
            for k in range(len(values))
        ]
    except ValueError as error:
        return [_row(pairs, design, effect, "model", note=str(error)) for effect in columns]
    rows, counts = [], _counts(found.used)
    t = student.ppf(0.975, max(len(found.used) - 1, 1))
    for k, effect in enumerate(columns):
        for unit, se in (("model", found.se_node[k]), ("pair", found.se_dyadic[k])):
            at = {"estimate": found.coefficients[k], "se": se}
            at |= {"lower": at["estimate"] - t * se, "upper": at["estimate"] + t * se}
            rows.append(_row(pairs, design, effect, unit, **at, **counts))
        at = {"estimate": found.coefficients[k], "p_value": p_values[k]}
        rows.append(_row(pairs, design, effect, "permutation", **at, **counts))
    return rows


def _counts(used):
    return {"n_models": len(used), "n_pairs": len(used) * (len(used) - 1) // 2}


def _row(pairs, design, effect, unit, *, note="", **numbers):
    known = dict.fromkeys(EFFECTS, np.nan) | {"n_models": len(pairs.models), "n_pairs": 0, "n_groups": 0}
    known |= {"data": pairs.data, "design": design, "effect": effect, "unit": unit, "note": note}
    return tuple((known | numbers)[name] for name in EFFECTS)


def primary(effects):
    """Return the primary estimate of a shared vendor: a row of `lineage_effects`, or None where there is none."""
    at = effects[(effects["design"] == "vendor") & (effects["unit"] == "vendor")]
    return None if at.empty or np.isnan(at["estimate"].iat[0]) else at.iloc[0]


def time_slope(pairs):
    """How much models' similarity to all others changes per year, within vendors.

    Returns
    -------
    pandas.DataFrame
        Rows ``left_out`` = "" (the estimate, with interval) and one per vendor left out; no rows where there are too
        few dates.
    """
    columns = ["data", "left_out", "slope", "lower", "upper", "p_value", "n_models"]
    try:
        effects = measures.additive_model(pairs.similarity).effects
        found = measures.time_slope(effects, pairs.years, pairs.models["vendor"])
    except ValueError:  # too few models or dates
        return pd.DataFrame(columns=columns)
    n = len(found.used)
    rows = [(pairs.data, "", found.mean, found.lower, found.upper, found.p, n)]
    none = (np.nan, np.nan, np.nan, n)
    rows += [(pairs.data, group, slope, *none) for group, slope in zip(found.groups, found.slopes, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def label_table(responses, labels, rng, *, n_permutations=2_000):
    """How much of the variance of responses lies between the groups of a label, prompt by prompt.

    Parameters
    ----------
    responses : Responses
        Of models.
    labels : list of str
        Columns of ``04_models`` ("vendor", "family", "tuning") or of the responses ("condition", "model").
    rng : numpy.random.Generator
    n_permutations : int

    Returns
    -------
    pandas.DataFrame
        Per label: n_groups, omega_squared and rho, each with its interval over prompts, p_value of a permutation of
        what the label was given to (models; or, for a condition, responses within a prompt).
    """
    rows = []
    for label in labels:
        named = responses.named
        values = named[label] if label in named else named["model"].map(responses.models[label])
        values = values.where(values != families.UNKNOWN) if label == "family" else values
        known = values.notna() & (values.astype(str) != "")
        if values[known].nunique() < 2:
            continue
        rows.append((label, *_label_row(responses.of_named(known), label, rng, n_permutations)))
    columns = [
        "label", "n_groups", "n_prompts", "omega_squared", "omega_lower", "omega_upper", "rho", "rho_lower",
        "rho_upper", "p_value",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _label_row(responses, label, rng, n_permutations):
    values = _values(responses, responses.named, label)
    groups, codes = np.unique(values, return_inverse=True)
    units, at = np.unique(responses.named["model"].to_numpy(object).astype(str), return_inverse=True)
    label_of = np.full(len(units), -1)
    label_of[at] = codes
    found = responses.map(_label_sums, label=label, names=groups, units=units, tested=len(groups) < len(units))
    omega, rho, grams, n_unit = zip(*found, strict=True)
    omega, rho = (intervals.ratio_interval(*np.concatenate(parts, axis=1)) for parts in (omega, rho))
    shape = len(responses.prompt_order), len(groups)
    p_value = np.nan
    if len(groups) < len(units):
        p_value = label_effects.label_test(
            np.concatenate(grams), np.array(n_unit), label_of, rng, n_permutations=n_permutations, together=True
        )[1]
    return (
        len(groups), shape[0], float(omega.estimate), float(omega.lower), float(omega.upper), float(rho.estimate),
        float(rho.lower), float(rho.upper), p_value,
    )  # fmt: skip


def _values(responses, table, label):
    """Group of every row by a label."""
    values = table[label] if label in table else table["model"].map(responses.models[label])
    return values.astype(str).to_numpy()


def _label_sums(responses, *, label, names, units, tested):
    """Parts of both measures of a label of one prompt; where it is tested, products of the units' sums; their sizes."""
    vectors = similarity.unit_rows(responses.vectors)
    codes = np.searchsorted(names, _values(responses, responses.table, label))
    sums, counts = similarity.cell_sums(vectors, codes, len(names))
    omega, rho = label_effects.label_parts(sums[None], counts[None])
    at = np.searchsorted(units, responses.table["model"].to_numpy(object).astype(str))
    sums, n_unit = similarity.cell_sums(vectors, at, len(units))
    gram = np.einsum("pud,pvd->puv", sums[None], sums[None]) if tested else np.empty((1, 0, 0))
    return np.array(omega), np.array(rho), gram, n_unit


def stage_contrasts(repetition, models, prompts):
    """Repetition after instruction tuning less that of the base model, lineage by lineage, open-ended prompts.

    Parameters
    ----------
    repetition, models, prompts : pandas.DataFrame
        Tables ``05_repetition`` and ``04_models``; ``04_prompts`` by prompt_id.

    Returns
    -------
    pandas.DataFrame
        Per lineage: base, model, difference of mean cosine with its interval, prompts paired; a last row "all
        lineages" with lineages as units where there are at least two.
    """
    columns = ["base", "model", "difference", "lower", "upper", "n_units", "unit"]
    facts = models if "model" not in models else models.set_index("model")
    repetition = repetition[repetition["prompt_id"].map(prompts["prompt_kind"]) == "original"]
    tuned = [m for m in facts.index if facts["parent"].get(m) in facts.index and facts["tuning"][m] != "base"]
    by_model = repetition.pivot_table(index="prompt_id", columns="model", values="mean_cosine")
    rows = []
    for model in sorted(set(tuned) & set(by_model)):
        base = facts["parent"][model]
        if base not in by_model or facts["tuning"][base] != "base":
            continue
        found = intervals.difference_interval(by_model[model].to_numpy(), by_model[base].to_numpy())
        n = int(found.n_prompts)
        rows.append((base, model, float(found.estimate), float(found.lower), float(found.upper), n, "prompt"))
    if len(rows) > 1:
        found = intervals.mean_interval([row[2] for row in rows])
        rows.append(
            ("all lineages", "", float(found.estimate), float(found.lower), float(found.upper), len(rows), "lineage")
        )
    return pd.DataFrame(rows, columns=columns)
