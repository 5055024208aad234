"""Tables of notebook 09: every scorer under every rule with its controls, kinds of scorers, verdicts.

Each function takes one kind of items (ratings, or pairs): ``items`` is that part of ``08_items``, ``values`` the
labels as an array (`ratings.matrix`), ``scorers`` and ``scores`` what `scores.wide` returns.
"""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import agreement, calibration, nulls, resample, soft_labels, subsets
from hivemind_utils.ratings import labels as rating_labels

MEASURES = (
    "entropy_bits", "entropy_grouped_bits", "gini", "pairwise_disagreement", "minority_share", "fleiss_agreement",
)  # fmt: skip


PRIMARY = "contested third"


def distinct_rules(rules, items):
    """Rules that can be applied, those that choose the same items merged into one, with their masks.

    With few annotators entropy takes few values, and neighbouring steps of a grid keep the same items.

    Parameters
    ----------
    rules : list of selection.Rule
    items : pandas.DataFrame

    Returns
    -------
    rules : list of selection.Rule
    masks : ndarray of float, shape (n_rules, n_items)
    merged : dict of str to list of str
        Name of a kept rule to the names of those that equal it.
    """
    groups = pd.factorize(items["prompt_id"])[0]
    statistics = rating_labels.statistics(items, groups)
    kept, masks, merged = [], [], {}
    for rule in rules:
        name = rule.statistic.removesuffix("_within") if rule.statistic not in statistics else rule.statistic
        if rule.method != "all" and np.isnan(statistics[name]).any():
            continue  # this scale has no such statistic
        mask = subsets.kept_weights(rule, statistics, groups=groups)
        same = [i for i, m in enumerate(masks) if (m == mask).all() and kept[i].family == rule.family]
        if same:
            merged.setdefault(kept[same[0]].name, []).append(rule.name)
        else:
            kept.append(rule)
            masks.append(mask)
    return kept, np.stack(masks), merged


def study(items, values, scorers, scores, rules, *, n_boot, n_null, rng):
    """Draws that every table rests on: correlations, bootstrap, null.

    Parameters
    ----------
    items : pandas.DataFrame
    values : ndarray of float, shape (n_items, n_slots)
    scorers : pandas.DataFrame
    scores : ndarray of float, shape (n_scorers, n_items)
    rules : list of selection.Rule
        "full" first.
    n_boot, n_null : int
        Resamples of prompts; simulated scorers per strength.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``rules``, ``masks``, ``merged`` (see `distinct_rules`), ``rho`` (n_rules, n_scorers), ``draws`` (n_boot,
        n_rules, n_scorers), ``null`` (n_strengths, n_rules, n_null) or None, ``no_null`` (why there is none), and the
        arguments.
    """
    rules, masks, merged = distinct_rules(rules, items)
    target = items["mean"].to_numpy(float)
    groups = pd.factorize(items["prompt_id"])[0]
    boot_rng, null_rng = rng.spawn(2)
    draws = calibration.clustered_bootstrap(
        scores, target, rating_labels.statistics(items, groups), rules, groups, n_boot, boot_rng
    )
    null, no_null = None, None
    try:
        null = nulls.null_draws(nulls.shrunken_means(values)[0], target, masks, n_null, null_rng)
    except ValueError as error:
        no_null = str(error)
    return {
        "items": items, "values": values, "scorers": scorers, "scores": scores, "target": target, "groups": groups,
        "rules": rules, "masks": masks, "merged": merged, "draws": draws, "null": null, "no_null": no_null,
        "rho": calibration.rank_correlations(scores, target, masks),
    }  # fmt: skip


def calibration_table(made, *, n_permutations, n_boot, rng):
    """Every scorer under every rule, with all its controls: rows of ``09_calibration``.

    Parameters
    ----------
    made : dict
        From `study`.
    n_permutations, n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
    """
    masks, target, scores, groups = (made[name] for name in ("masks", "target", "scores", "groups"))
    several = groups.max() > 0
    permute_rng, random_rng, boot_rng, null_rng = rng.spawn(4)
    permuted, _, _, p_value = nulls.block_permutation(scores, target, masks, n_permutations, permute_rng)
    _, random_low, random_high = nulls.random_subsets(scores, target, masks.sum(1), n_permutations, random_rng)
    within = calibration.within_correlations(scores, target, masks, groups)
    weights = resample.bootstrap_weights(int(groups.max()) + 1, n_boot, boot_rng)
    mean_within, within_low, within_high = resample.mean_interval(within.transpose(1, 0, 2), weights)
    lower, upper = resample.interval(made["draws"])
    nothing = np.full(made["rho"].shape, np.nan)
    expected, null_low, null_high = (
        nulls.null_band(made["null"], made["rho"][0]) if made["null"] is not None else (nothing,) * 3
    )
    present = ~np.isnan(scores)
    for seen in np.unique(present[~present.all(1)], axis=0) if made["null"] is not None else ():
        who = np.flatnonzero((present == seen).all(1))  # scorers of these items only: simulated on these only
        quality = nulls.shrunken_means(made["values"])[0]
        own = nulls.null_draws(quality, target, masks * seen, made["null"].shape[2], null_rng)
        expected[:, who], null_low[:, who], null_high[:, who] = nulls.null_band(own, made["rho"][0, who])
    parts = {
        "n": np.rint((masks[:, None] * ~np.isnan(scores)).sum(2)).astype(int),
        "rho": made["rho"],
        "lower": lower if several else nothing,
        "upper": upper if several else nothing,
        "pearson": calibration.linear_correlations(scores, target, masks),
        "within": mean_within,
        "within_lower": within_low,
        "within_upper": within_high,
        "expected": expected,
        "null_lower": null_low,
        "null_upper": null_high,
        "permuted": permuted,
        "permutation_p": p_value,
        "random_lower": random_low,
        "random_upper": random_high,
    }
    frames = []
    for r, rule in enumerate(made["rules"]):
        columns = {name: part[r] for name, part in parts.items()}
        frames.append(made["scorers"].assign(rule=rule.name, family=rule.family, **columns))
    return pd.concat(frames, ignore_index=True).assign(items=made["items"]["items"].iloc[0])


def kinds_table(made, calibrated, crossed, published):
    """The unweighted mean over the scorers of a kind, with cross-fitting and the human ceiling: ``09_kinds``.

    Parameters
    ----------
    made : dict
        From `study`.
    calibrated : pandas.DataFrame
        From `calibration_table`.
    crossed : pandas.DataFrame or None
        From `cross_fit_table`.
    published : pandas.DataFrame
        From `published_values`.

    Returns
    -------
    pandas.DataFrame
    """
    keys = ["items", "kind", "rule"]
    table = calibrated.groupby([*keys, "family"], sort=False, as_index=False).agg(
        n=("n", "max"), n_scorers=("scorer", "size"),
        **{name: (name, "mean") for name in ("rho", "within", "expected", "null_lower", "null_upper")},
    )  # fmt: skip
    kinds = made["scorers"]["kind"].to_numpy()
    bounds = []
    for r, rule in enumerate(made["rules"]):
        for kind in dict.fromkeys(kinds):
            lower, upper = resample.interval(resample.mean_of_known(made["draws"][:, r, kinds == kind], axis=1))
            bounds.append((kind, rule.name, lower, upper))
    table = table.merge(pd.DataFrame(bounds, columns=["kind", "rule", "lower", "upper"]), on=["kind", "rule"])
    if made["groups"].max() == 0:
        table[["lower", "upper"]] = np.nan
    if crossed is None:
        table = table.assign(crossed=np.nan, half_panel=np.nan, people=np.nan)
    else:
        means = crossed.groupby(["kind", "rule"], as_index=False)[["crossed", "half_panel", "people"]].mean()
        table = table.merge(means, on=["kind", "rule"], how="left")
    return table.merge(published, on=keys, how="left")


def cross_fit_table(made, persons, scale, level, *, n_splits, rng):
    """Cross-fitted correlations of every scorer, and people's own, for every rule; None where labels are too few.

    Returns
    -------
    pandas.DataFrame or None
        scorer, kind, rule, crossed, half_panel, people; see `nulls.cross_fit`.
    """
    enough = (~np.isnan(made["values"])).sum(1) >= nulls.LEAST_LABELS
    if enough.mean() < 0.5:
        return None
    is_pair = (made["items"]["items"] == "pairs").to_numpy()[enough]
    groups = made["groups"][enough]

    def statistics_of(labels, rows):
        return rating_labels.statistics(rating_labels.measures(labels, scale, level, is_pair[rows]), groups[rows])

    found = nulls.cross_fit(
        made["values"][enough], made["scores"][:, enough], made["rules"], statistics_of, n_splits, rng,
        groups=groups, persons=None if persons is None else persons[enough],
    )  # fmt: skip
    frames = [
        made["scorers"].assign(
            rule=rule.name, crossed=found["crossed"][r], half_panel=found["same"][r], people=found["human"][r]
        )
        for r, rule in enumerate(made["rules"])
    ]
    return pd.concat(frames, ignore_index=True)


def verdict_table(made):
    """The verdict on every kind of scorer and every scorer: ``09_verdicts``.

    Holm's adjustment runs over the kinds, and within every kind over its scorers.

    Parameters
    ----------
    made : dict
        From `study`, with the primary rule among its rules.

    Returns
    -------
    pandas.DataFrame
    """
    names = [rule.name for rule in made["rules"]]
    r = names.index(PRIMARY)
    contested = made["masks"][r] > 0
    kinds = made["scorers"]["kind"].to_numpy()
    target = calibration.normal_scores(made["target"])[0]
    replicates, n_prompts = calibration.contrast_jackknife(made["scores"], target, contested, made["groups"])
    shortfall = _shortfall(made, r)
    rows = [_verdict_rows("scorer", made, r, made["scorers"], replicates, n_prompts, made["draws"][:, r] - shortfall)]
    distinct = [kind for kind in dict.fromkeys(kinds) if kind != "text"]  # length is a yardstick, no suspect
    if not distinct:
        return _adjusted(rows[0], made)
    filled = np.where(np.isnan(replicates), replicates[:1], replicates)  # a prompt a scorer lacks changes nothing
    means = np.stack([resample.mean_of_known(filled[:, :, kinds == k], axis=2) for k in distinct], axis=2)
    of_kind = pd.DataFrame({"scorer": distinct, "kind": distinct})
    margin = np.stack(
        [resample.mean_of_known((made["draws"][:, r] - shortfall)[:, kinds == k], axis=1) for k in distinct], axis=1
    )
    seen = np.stack([(~np.isnan(replicates[1:, 1][:, kinds == k])).any(1) for k in distinct], axis=1)
    means[1:] = np.where(seen[:, None], means[1:], np.nan)  # a prompt that no scorer of the kind has
    averaged = {
        **made,
        "rho": np.stack([resample.mean_of_known(made["rho"][:, kinds == k], axis=1) for k in distinct], axis=1),
    }
    rows.append(_verdict_rows("kind", averaged, r, of_kind, means, seen.sum(0), margin))
    rows[1]["n"] = [rows[0].loc[rows[0]["kind"] == kind, "n"].max() for kind in distinct]
    return _adjusted(pd.concat(rows, ignore_index=True), made)


def _adjusted(table, made):
    family = np.where(table["level"] == "kind", "kinds", table["kind"])
    table["p_holm"] = table.groupby(family)["p_value"].transform(lambda p: calibration.holm(p.to_numpy()))
    table["verdict"] = calibration.verdicts(table["p_holm"], table["acquittal_lower"])
    return table.assign(items=made["items"]["items"].iloc[0])


def _shortfall(made, r):
    """Half of what range restriction alone predicts for the subset, in every bootstrap draw."""
    if made["null"] is None:
        return np.full(made["draws"][:, r].shape, np.nan)
    return nulls.expected_correlations(made["null"], made["draws"][:, 0])[r] / 2


def _verdict_rows(level, made, r, scorers, replicates, n_prompts, margin):
    test = calibration.contrast_test(replicates, n_prompts)
    full = made["rho"][0]
    expected = nulls.expected_correlations(made["null"], full)[r] if made["null"] is not None else np.nan
    lower, _ = resample.interval(margin)
    return scorers.assign(
        level=level,
        n=(made["masks"][r] * ~np.isnan(made["scores"])).sum(1).astype(int) if level == "scorer" else 0,
        rho_full=full,
        rho_contested=made["rho"][r],
        expected=expected,
        acquittal_lower=np.where(full > 0, lower, np.nan),  # who runs against people has nothing to keep
        **{name: test[name] for name in ("difference", "lower", "upper", "p_value")},
    )


def soft_table(made, distributions, scale, *, n_boot, rng):
    """Distributions against people's, concordance and ties of pairs: ``09_soft``.

    Parameters
    ----------
    made : dict
        From `study`.
    distributions : dict of str to ndarray of float, shape (n_items, n_values)
        Per scorer; rows of NaN where there is none.
    scale : sequence of float
    n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
    """
    groups, rows = made["groups"], []
    weights = resample.bootstrap_weights(int(groups.max()) + 1, n_boot, rng)
    counts = agreement.label_counts(made["values"], scale)
    kind_of = made["scorers"].set_index("scorer")["kind"]

    def add(scorer, measure, per_item):
        rows.append((scorer, kind_of[scorer], measure, *mean_over_items(per_item, groups, weights)))

    for scorer, shares in distributions.items():
        known = ~np.isnan(shares).any(1)
        found = soft_labels.soft_scores(shares[known], counts[known], scale)
        for measure, values in found.items():
            per_item = np.full(len(groups), np.nan)
            per_item[known] = values
            add(scorer, measure, per_item)
    if made["items"]["items"].iloc[0] == "pairs":
        symmetric = soft_labels.symmetric_spearman(made["scores"], made["target"], np.ones(len(groups)))[0]
        at = np.asarray(scale, float)
        sides = np.stack([counts[:, side].sum(1) for side in (at < 0, at == 0, at > 0)], axis=1)
        most = sides == sides.max(1, keepdims=True)
        classes = np.where(most.sum(1) > 1, 0, sides.argmax(1) - 1)  # what most annotators say; undecided: a tie
        for s, scorer in enumerate(made["scorers"]["scorer"]):
            row = made["scores"][s]
            add(scorer, "concordance", soft_labels.concordant(row, made["target"])[0])
            known = ~np.isnan(row)
            threshold, _ = soft_labels.tie_calibration(row[known], classes[known])
            accuracy = soft_labels.tie_accuracy(row[known], classes[known], groups[known])
            for name, value in (
                ("spearman_both_orders", symmetric[s]),
                ("tie_threshold", threshold),
                ("tie_accuracy", accuracy),
            ):
                rows.append((scorer, kind_of[scorer], name, value, np.nan, np.nan, int(known.sum())))
    columns = ["scorer", "kind", "measure", "value", "lower", "upper", "n"]
    return pd.DataFrame(rows, columns=columns).assign(items=made["items"]["items"].iloc[0])


def mean_over_items(per_item, groups, weights):
    """Mean over items with an interval over resampled prompts.

    Returns
    -------
    mean, lower, upper : float
    n : int
        Items that have a value.
    """
    known = ~np.isnan(per_item)
    n_prompts = weights.shape[1]
    sums = np.bincount(groups[known], per_item[known], n_prompts)
    counts = np.bincount(groups[known], minlength=n_prompts)
    if not known.any():
        return np.nan, np.nan, np.nan, 0
    lower, upper = resample.interval(resample.weighted_ratios(sums, counts, weights))
    return float(per_item[known].mean()), float(lower), float(upper), int(known.sum())


MEASURE_NAMES = {
    "entropy_bits": "Entropy",
    "entropy_grouped_bits": "Entropy Grouped",
    "gini": "Gini",
    "pairwise_disagreement": "Pairwise Disagreement",
    "minority_share": "Majority-vs-Minority",
    "fleiss_agreement": "Fleiss Kappa Single",
}


def selections_table(made, rules, reference, *, n_boot, rng):
    """Mean correlation per kind of scorer along other grids, with the paper's Table 20 beside.

    Parameters
    ----------
    made : dict
        From `study`.
    rules : list of selection.Rule
        "full" first.
    reference : Path
        ``data/reference``.
    n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        kind, family, step, rule, n, rho, lower, upper, expected, published.
    """
    rules, masks, merged = distinct_rules(rules, made["items"])
    rho = calibration.rank_correlations(made["scores"], made["target"], masks)
    statistics = rating_labels.statistics(made["items"], made["groups"])
    boot, simulate = rng.spawn(2)
    draws = calibration.clustered_bootstrap(
        made["scores"], made["target"], statistics, rules, made["groups"], n_boot, boot
    )
    expected = np.full(rho.shape, np.nan)
    if made["null"] is not None:
        quality = nulls.shrunken_means(made["values"])[0]
        null = nulls.null_draws(quality, made["target"], masks, 100, simulate)
        expected = nulls.expected_correlations(null, rho[0])
    kinds, rows = made["scorers"]["kind"].to_numpy(), []
    for r, rule in enumerate(rules[1:], start=1):
        for kind in dict.fromkeys(kinds):
            lower, upper = resample.interval(resample.mean_of_known(draws[:, r, kinds == kind], axis=1))
            means = [float(resample.mean_of_known(part[r, kinds == kind], axis=0)) for part in (rho, expected)]
            for alias in (rule.name, *merged.get(rule.name, [])):
                step = alias.rsplit(" ", 1)[-1]
                rows.append((kind, rule.family, step, alias, int(masks[r].sum()), means[0], lower, upper, means[1]))
    columns = ["kind", "family", "step", "rule", "n", "rho", "lower", "upper", "expected"]
    table = pd.DataFrame(rows, columns=columns)
    printed = pd.read_csv(reference / "tables19_20_selections.csv").melt(
        ["table", "selection", "subset"], ["lm", "reward", "judge"], var_name="kind", value_name="published"
    )
    printed["step"] = printed["subset"].str.removesuffix(" %")
    table["selection"] = table["family"].map(MEASURE_NAMES)
    return table.merge(printed[["selection", "step", "kind", "published"]], how="left").drop(columns="selection")


def narrowest(table, suffix):
    """Mean correlation over kinds of scorers at the narrowest step of the families whose names end in `suffix`."""
    at = table[table["family"].str.endswith(suffix) & (table["kind"] != "text")]
    steps = at["step"].astype(float)
    return float(at.loc[steps == steps.groupby(at["family"]).transform("min"), "rho"].mean())


def selection_panels(table):
    """Families of `selections_table` with the titles of their panels."""
    return {family: MEASURE_NAMES.get(family, family) for family in dict.fromkeys(table["family"])}


def distributions(scores, items, n_values):
    """Distributions of the scorers that give one, as arrays.

    Parameters
    ----------
    scores : pandas.DataFrame
        ``09_scores``.
    items : pandas.DataFrame
    n_values : int
        Values of the people's scale; distributions over another number of values cannot be compared and are left out.

    Returns
    -------
    dict of str to ndarray of float, shape (n_items, n_values)
        Rows of NaN where there is none.
    """
    import json

    at = scores.dropna(subset=["distribution"])
    place = pd.Series(np.arange(len(items)), index=items["item_id"])
    found = {}
    for scorer, rows in at[at["item_id"].isin(place.index)].groupby("scorer"):
        shares = [json.loads(text) for text in rows["distribution"]]
        if all(len(row) == n_values for row in shares):
            found[scorer] = np.full((len(items), n_values), np.nan)
            found[scorer][place[rows["item_id"]]] = shares
    return found


def human_ceiling(made, persons, n_splits, rng):
    """Split-half correlation of the annotators on the full set, and the highest correlation a scorer can reach."""
    half, _ = agreement.split_half(made["values"], n_splits, rng, persons)
    return {"split_half": half, "ceiling": nulls.full_ceiling(half)}


def nested_kinds(kinds, merged):
    """``09_kinds`` as results: items → kind → rule → numbers; rules that were merged are said under every name."""
    nested = {}
    names = [
        "n",
        "rho",
        "lower",
        "upper",
        "within",
        "expected",
        "null_lower",
        "null_upper",
        "crossed",
        "people",
        "published",
    ]
    for row in kinds.to_dict("records"):
        place = nested.setdefault(row["items"], {}).setdefault(row["kind"], {})
        for name in (row["rule"], *merged[row["items"]].get(row["rule"], [])):
            place[name] = {key: row[key] for key in names} | ({} if name == row["rule"] else {"published": None})
    return nested


def nested_verdicts(verdicts):
    """``09_verdicts`` as results: kind → contrast, interval and verdict, with its scorers."""
    nested = {}
    for row in verdicts.sort_values("level").to_dict("records"):
        numbers = {"contrast": row["difference"]} | {
            key: row[key]
            for key in (
                "lower",
                "upper",
                "p_holm",
                "rho_full",
                "rho_contested",
                "expected",
                "acquittal_lower",
                "verdict",
            )
        }
        if row["level"] == "kind":
            nested[row["kind"]] = numbers | {"scorers": {}}
        else:
            nested.setdefault(row["kind"], {"scorers": {}})["scorers"][row["scorer"]] = numbers
    return nested


def nested_measures(table):
    """`selections_table` as results: measure of Table 20 → items of 750 → kind → numbers."""
    nested = {}
    for row in table.to_dict("records") if len(table) else []:
        if row["family"] in MEASURE_NAMES:
            place = nested.setdefault(MEASURE_NAMES[row["family"]], {})
            place.setdefault(str(round(7.5 * float(row["step"]))), {})[row["kind"]] = {
                key: row[key] for key in ("n", "rho", "lower", "upper", "expected")
            }
    return nested
