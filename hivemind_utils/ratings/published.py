"""The study's published correlations, as tables."""

import pandas as pd

PUBLISHED_KINDS = {"RM": "reward", "judge": "judge"}


def published_values(folder):
    """The paper's means over the scorers of a kind, for the rules of its grids.

    Parameters
    ----------
    folder : Path
        ``data/reference``.

    Returns
    -------
    pandas.DataFrame
        items, kind, rule, published.
    """
    models = pd.read_csv(folder / "tables23_26_lm_perplexity_selected_cols.csv").assign(kind="lm")
    others = pd.read_csv(folder / "tables23_26_rm_and_judges.csv")
    others = others.assign(kind=others["type"].map(PUBLISHED_KINDS))
    table = pd.concat([models, others]).groupby("kind").mean(numeric_only=True)
    rows = []
    for column in table.columns:
        items, *rest = column.split("_")
        items = {"abs": "absolute", "pair": "pairs"}[items]
        if rest[0] in ("sim", "dis"):
            grid = "similar" if rest[0] == "sim" else "contested" if items == "pairs" else "entropy"
            name = f"{grid} {rest[1][1:]}"
        else:
            name = "full" if rest[0] == "full" else f"tukey {rest[0][1:]}"
        rows += [(items, kind, name, value) for kind, value in table[column].dropna().items()]
    rows += [(items, "lm perplexity", name, value) for items, kind, name, value in rows if kind == "lm"]
    return pd.DataFrame(rows, columns=["items", "kind", "rule", "published"])
