"""The study's published correlations, as tables."""

import pandas as pd

from hivemind_utils.tables import files

# The paper scores language models by the perplexity of the whole conversation.
PUBLISHED_KINDS = {"lm": "lm perplexity", "RM": "reward", "judge": "judge"}


def published_values(folder):
    """The paper's means over the scorers of a kind, for the rules of its grids.

    Parameters
    ----------
    folder : Path
        ``data/reference``.

    Returns
    -------
    pandas.DataFrame
        items, scorer_type, rule, published.
    """
    models = pd.read_csv(folder / "tables23_26_lm_perplexity_selected_cols.csv").assign(type="lm")
    others = pd.read_csv(folder / "tables23_26_rm_and_judges.csv")
    both = pd.concat([models, others])
    table = both.assign(scorer_type=both["type"].map(PUBLISHED_KINDS)).groupby("scorer_type").mean(numeric_only=True)
    rows = []
    for column in table.columns:
        item_type, *rest = column.split("_")
        item_type = {"abs": "absolute", "pair": "pairs"}[item_type]
        if rest[0] in ("sim", "dis"):
            family = "similar" if rest[0] == "sim" else "contested" if item_type == "pairs" else "entropy"
            name = f"{family} {rest[1][1:]}"
        else:
            name = "full" if rest[0] == "full" else f"tukey {rest[0][1:]}"
        rows += [(item_type, kind, name, value) for kind, value in table[column].dropna().items()]
    return pd.DataFrame(rows, columns=["items", "scorer_type", "rule", "published"])


def selections(folder):
    """The paper's Table 20: means over the scorers of a kind for other measures of disagreement.

    Parameters
    ----------
    folder : Path
        ``data/reference``.

    Returns
    -------
    pandas.DataFrame
        selection, step, scorer_type, published.
    """
    printed = pd.read_csv(folder / "tables19_20_selections.csv").query("table == 20")
    printed = printed.rename(columns={"lm": "lm perplexity"})
    table = printed.melt(["selection", "subset"], ["lm perplexity", "reward", "judge"], "scorer_type", "published")
    return table.assign(step=table["subset"].str.removesuffix(" %")).drop(columns="subset")


def table_19():
    """Table 19 as printed: of its selections, Tukey alone is defined, and has the numbers of Sliding."""
    printed = pd.read_csv(files.root() / "data" / "reference" / "tables19_20_selections.csv").query("table == 19")
    return printed.drop(columns="table").set_index(["selection", "subset"])


def only_of_paper(table, source):
    """Table whose published values are left out where the items are not the paper's.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column published.
    source : str
        Of the annotations: "released" are the paper's, "simulated" ones are made after them.
    """
    return table if source in ("released", "simulated") else table.assign(published=float("nan"))
