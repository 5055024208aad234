"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""

from hivemind_utils.ratings import published
from hivemind_utils.ratings.calibration import MEASURE_NAMES
from hivemind_utils.tables import files


def human_preferences(annotations, agreements, reliability, annotators):
    """Numbers of notebook 08.

    Parameters
    ----------
    annotations : Annotations
    agreements, reliability, annotators : pandas.DataFrame
        Tables ``08_agreement``, ``08_reliability`` and ``08_annotators``.

    Returns
    -------
    dict
    """
    items, excluded = annotations.items, annotations.excluded
    overall = agreements[agreements["prompt_id"] == "all"].set_index(["items", "measure"])
    bounds = overall[["value", "lower", "upper"]]
    by_type = items.groupby("items")
    sizes = {
        item_type: {"n_items": len(found), "n_labels": len(annotations.labels[item_type])}
        for item_type, found in annotations.by_type.items()
    }
    return {
        "n_labels": sum(part["n_labels"] for part in sizes.values()),
        **sizes,
        "n_excluded": excluded.groupby(["items", "reason"]).size().rename("labels").reset_index().to_dict("records"),
        "labels_per_item": by_type["n"].agg(["min", "max"]).to_dict("index"),
        "entropy_bits": by_type["entropy_bits"].agg(["mean", "median", "max"]).to_dict("index"),
        "disagreement": by_type["disagreement"].value_counts().unstack(fill_value=0).to_dict("index"),
        "contested": {
            item_type: {"share": found.contested.share, "reason": found.contested.reason}
            for item_type, found in annotations.by_type.items()
        },
        "agreement": {item_type: bounds.loc[item_type].to_dict("index") for item_type in bounds.index.unique(0)},
        "reliability": reliability.to_dict("records"),
        "severity_sd": annotators.groupby("items")["severity"].std().to_dict(),
        "unanimous_ties": int(((items["n_ties"] == items["n"]) & (items["items"] == "pairs")).sum()),
    }


def judge_calibration(collected, judged, verdicts, grids, kinds, selections, typicality, ceilings):
    """Numbers of notebook 09.

    Parameters
    ----------
    collected : Collected
    judged : Judged
    verdicts, kinds, selections, typicality : pandas.DataFrame
        Tables ``09_verdicts``, ``09_kinds``, what `calibration.selections` returns, and ``09_pluralism``.
    grids : dict of str to Grid
    ceilings : dict
        From `calibration.human_ceiling`.

    Returns
    -------
    dict
    """
    return {
        "n_scorers": collected.table.groupby("scorer_type")["scorer"].nunique().to_dict(),
        "n_excluded": collected.excluded.groupby("reason").size().to_dict(),
        **nested_kinds(kinds, {item_type: grid.merged for item_type, grid in grids.items()}),
        "contested": {
            item_type: {"share": part.items.contested.share, "reason": part.items.contested.reason}
            for item_type, part in judged.scored.items()
        },
        "verdicts": nested_verdicts(verdicts[verdicts["items"] == "absolute"]),
        "verdicts_pairs": nested_verdicts(verdicts[verdicts["items"] == "pairs"]),
        "disagreement": nested_measures(selections),
        "selections": selections.to_dict("records"),
        "subsets": {
            item_type: dict(zip([rule.name for rule in grid.rules], grid.masks.sum(1), strict=True))
            for item_type, grid in grids.items()
        },
        "position_preference": collected.position,
        "asked": collected.asked.to_dict("records"),
        "pluralism": typicality.set_index("scorer")[["coefficient", "lower", "upper"]].to_dict("index"),
        "human_ceiling_full": ceilings,
    }


def nested_kinds(kinds, merged):
    """``09_kinds`` as results: type of item → kind → rule → numbers; merged rules are said under every name.

    Parameters
    ----------
    kinds : pandas.DataFrame
        Table ``09_kinds``.
    merged : dict of str to dict of str to list of str
        By type of item: name of a kept rule to the names of those that choose the same items.

    Returns
    -------
    dict
    """
    names = [
        "n", "rho", "lower", "upper", "se", "n_prompts", "within", "expected", "null_lower", "null_upper", "line",
        "crossed", "people",
    ]  # fmt: skip
    stated = published.published_values(files.root() / "data" / "reference")
    stated = stated.set_index(["items", "scorer_type", "rule"])["published"].to_dict()
    nested = {}
    for row in kinds.to_dict("records"):
        place = nested.setdefault(row["items"], {}).setdefault(row["scorer_type"], {})
        for name in (row["rule"], *merged[row["items"]].get(row["rule"], [])):
            own = {"published": stated.get((row["items"], row["scorer_type"], name))}
            place[name] = {key: row[key] for key in names} | own
    return nested


def nested_verdicts(verdicts):
    """``09_verdicts`` of one type of item as results: kind → verdict, share kept with its interval, scorers."""
    names = [
        "verdict", "reason", "kept", "lower", "upper", "p_degrades", "p_holds_up", "r", "e", "rho_full",
        "rho_contested", "expected", "null_lower", "null_upper", "n", "share", "effective_size", "n_prompts",
    ]  # fmt: skip
    nested = {}
    for row in verdicts.sort_values("level", kind="stable").to_dict("records"):
        numbers = {name: row[name] for name in names}
        if row["level"] == "kind":
            nested[row["scorer_type"]] = numbers | {"scorers": {}}
        else:
            nested.setdefault(row["scorer_type"], {"scorers": {}})["scorers"][row["scorer"]] = numbers
    return nested


def nested_measures(table):
    """`calibration.selections` as results: measure of Table 20 → items of 750 → kind → numbers."""
    nested = {}
    for row in table[table["family"].isin(MEASURE_NAMES)].to_dict("records"):
        place = nested.setdefault(MEASURE_NAMES[row["family"]], {})
        place.setdefault(str(round(7.5 * float(row["step"]))), {})[row["scorer_type"]] = {
            key: row[key] for key in ("n", "rho", "lower", "upper", "expected")
        }
    return nested
