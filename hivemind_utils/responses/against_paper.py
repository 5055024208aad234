"""A run next to the paper, model by model (Table 6) and pair by pair (Tables 7 to 11), where they share models."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import crossed, intervals, resample
from hivemind_utils.tables import files

EDGES = np.arange(10) / 10


def published_bins():
    """Percent of prompts per bin of mean similarity, by model: Table 6. Columns are the bins' lower bounds."""
    table = pd.read_csv(files.root() / "data" / "reference" / "table6_intra_model_top_p.csv", index_col="model")
    table = table.drop(columns="in_main25_table5").drop(index="Average")
    table.columns = [float(name.split("-")[0]) for name in table.columns]
    return table.sort_index(axis=1)


def published_similarities():
    """Mean similarity of pairs of models, by the registry's names: Tables 7 to 11."""
    folder = files.root() / "data" / "reference"
    table = pd.read_csv(folder / "table7_11_inter_model_main.csv", index_col="model") / 100
    models = pd.read_csv(folder / "models.csv").reindex(columns=["model", "table7_name"]).dropna()
    names = models.set_index("table7_name")["model"]
    return table.rename(index=names, columns=names)


def per_model(cells, people, decoding):
    """Percent of prompts per bin of this run's models and the paper's, for the models both have.

    Parameters
    ----------
    cells : pandas.DataFrame
        Cells with arm, model, decoding, prompt_id and mean_cosine; see `repetition.originals`.
    people : set of str
    decoding : str
        The paper's table is of top-p.

    Returns
    -------
    pandas.DataFrame
        Table ``05_against_paper``; without rows where no model is among the paper's.
    """
    published, rows = published_bins(), []
    own = cells[(cells["decoding"] == decoding) & cells["model"].isin(published.index) & ~cells["model"].isin(people)]
    for (arm, model), cell in own.groupby(["arm", "model"]):
        values = cell["mean_cosine"].dropna()
        counts, _ = np.histogram(np.clip(values, 0, 1), np.append(EDGES, 1.0))
        printed = published.loc[model].to_numpy()
        for k, low in enumerate(EDGES):
            share = intervals.share_interval((values >= low).to_numpy(float))
            three = (100 * float(x) for x in (share.estimate, share.lower, share.upper))
            percent = 100 * counts[k] / len(values)
            rows.append((arm, model, low, len(values), percent, printed[k], *three, printed[k:].sum()))
    names = ["arm", "model", "low", "n_prompts", "percent", "published", "at_least", "lower", "upper"]
    table = pd.DataFrame(rows, columns=[*names, "published_at_least"])
    return table.astype(dict.fromkeys(table.columns[4:], float) | {"n_prompts": int, "low": float})


def per_pair(pairs, model_of):
    """Mean similarity of pairs of models in this run and in the paper, for the pairs both have.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Table ``06_model_pairs``.
    model_of : dict of str to str
        Model of every arm. A model's conditions are averaged; there is an interval where it has one.

    Returns
    -------
    pandas.DataFrame
        Table ``06_pairs_against_paper``; without rows where no two models are among the paper's.
    """
    published = published_similarities()
    named = pairs.assign(a=pairs["arm_a"].map(model_of), b=pairs["arm_b"].map(model_of))
    named = named[(named["a"] != named["b"]) & named["a"].isin(published.index) & named["b"].isin(published.index)]
    ends = np.sort(named[["a", "b"]].to_numpy(str), axis=1).reshape(-1, 2)
    named = named.assign(model_a=ends[:, 0], model_b=ends[:, 1])
    rows = []
    for (a, b), at in named.groupby(["model_a", "model_b"]):
        bounds = (at["lower"].iloc[0], at["upper"].iloc[0]) if len(at) == 1 else (np.nan, np.nan)
        rows.append((a, b, int(at["n_prompts"].max()), at["mean_cosine"].mean(), *bounds, published.loc[a, b]))
    names = ["model_a", "model_b", "n_prompts", "mean_cosine", "lower", "upper", "published"]
    return pd.DataFrame(rows, columns=names).astype({"n_prompts": int} | dict.fromkeys(names[3:], float))


def rank_agreement(own, published):
    """Spearman correlation of two series; NaN for fewer than three."""
    return float(resample.rank_agreement(own, published)) if len(own) > 2 else float("nan")


def crossed_mean(cells, people, decoding):
    """Mean repetition for other prompts and other models: both as crossed random effects.

    Parameters
    ----------
    cells : pandas.DataFrame
        See `repetition.originals`; a model's conditions are averaged.
    people : set of str
    decoding : str

    Returns
    -------
    metrics.crossed.Crossed
    """
    own = cells[(cells["decoding"] == decoding) & ~cells["model"].isin(people)]
    wide = own.groupby(["prompt_id", "model"])["mean_cosine"].mean().unstack()
    return crossed.crossed_mean(wide.to_numpy(float))


def open_split(prompts):
    """Mean repetition of prompts with many good responses and of the others, and their difference; App. B.3.

    Parameters
    ----------
    prompts : pandas.DataFrame
        From `repetition.by_prompt`. A prompt has many if any annotator expects more than 20 (``many_answers`` above 0);
        one without annotators counts in neither group.

    Returns
    -------
    dict
        ``many``, ``few`` and ``difference`` (many less few), each with mean, lower, upper (jackknife over prompts) and
        n_prompts; empty where one group has no prompt.
    """
    known = prompts[prompts["prompt_kind"] == "original"].dropna(subset=["many_answers", "mean_cosine"])
    many, values = known["many_answers"].to_numpy(float) > 0, known["mean_cosine"].to_numpy(float)
    if not 0 < many.sum() < len(many):
        return {}
    weights = intervals.left_out_weights(known["prompt_id"])
    sums = {"many": many.astype(float), "few": (~many).astype(float)}
    means = {
        name: np.divide(
            weights @ (values * own), weights @ own, out=np.full(len(weights), np.nan), where=weights @ own > 0
        )
        for name, own in sums.items()
    }
    means["difference"] = means["many"] - means["few"]
    found = {}
    for name, replicates in means.items():
        n = int(sums[name].sum()) if name in sums else len(many)
        at = intervals.jackknife_interval(replicates).within(-2, 2)
        ends = (at.lower, at.upper) if min(many.sum(), (~many).sum()) > 1 else (np.nan, np.nan)
        bounds = dict(zip(("lower", "upper"), map(float, ends), strict=True))
        found[name] = {"mean": float(replicates[0])} | bounds | {"n_prompts": n}
    return found


def queries_above(neighbours, n_nearest=50, n_sources=10):
    """Number of prompts whose nearest responses come from more than some models, and of prompts counted; Figure 8.

    Parameters
    ----------
    neighbours : pandas.DataFrame
        Table ``06_neighbours``.

    Returns
    -------
    dict
        above, n_prompts and largest; zero prompts where nobody has so many neighbours.
    """
    at = neighbours[(neighbours["by"] == "model") & (neighbours["n_nearest"] == n_nearest)]
    found = at["n_sources"]
    largest = float(found.max()) if len(at) else None
    return {"above": int((found > n_sources).sum()), "n_prompts": len(at), "largest": largest}
