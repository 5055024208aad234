"""Numbers that the claims table and the report quote, one function per notebook; see `Study.takeaways`."""


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
