"""Tables of notebook 06, homogeneity between models: frames and embeddings in, tidy frames out."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals, lexical, resample, similarity
from hivemind_utils.responses import homogeneity_of_prompt as of_prompt
from hivemind_utils.responses.families import UNKNOWN
from hivemind_utils.responses.overlap_page import page_records as page_records
from hivemind_utils.tables import ids
from hivemind_utils.tables.study import NothingToMeasureError


def arm_sums(responses, arms=None, prompt_order=None):
    """Sum of unit vectors and number of responses for every (prompt, arm).

    Parameters
    ----------
    responses : Responses
    arms, prompt_order : sequence of str, optional
        Every arm and prompt of the responses, and possibly more.

    Returns
    -------
    sums : ndarray of float, shape (n_prompts, n_arms, n_dims)
    counts : ndarray of int, shape (n_prompts, n_arms)
    """
    arms = responses.arms if arms is None else arms
    prompt_order = responses.prompt_order if prompt_order is None else prompt_order
    prompt = pd.Index(prompt_order).get_indexer(responses.table["prompt_id"])
    arm = pd.Index(arms).get_indexer(responses.table["arm"])
    for name, codes in (("arm", arm), ("prompt_id", prompt)):
        if (codes < 0).any():
            unknown = responses.table[name][codes < 0].iloc[0]
            raise ValueError(f"Every {name} of the responses must be listed, but {unknown!r} is not.")
    shape = len(prompt_order), len(arms)
    sums, counts = similarity.cell_sums(responses.vectors, prompt * shape[1] + arm, shape[0] * shape[1])
    return sums.reshape(*shape, -1), counts.reshape(shape)


def model_pairs(responses):
    """Mean similarity of every pair of arms, pooled over the prompts that both answered.

    Parameters
    ----------
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Table ``06_model_pairs``: the lower triangle with the diagonal; intervals over prompts.
    """
    arms, family, found = responses.arms, responses.family_of, responses.kept("pair_totals", pair_totals)
    totals, pairs = found["totals"], found["pairs"]
    published, words = found["published"], _lexical_means(responses)
    pooled = intervals.ratio_interval(totals, np.where(pairs > 0, pairs, np.nan)).within(-1, 1)
    pooled = {name: _square(getattr(pooled, name), len(arms)) for name in ("estimate", "lower", "upper")}
    n_prompts, n_pairs = _square((pairs > 0).sum(0), len(arms)), _square(pairs.sum(0), len(arms))
    rows = [
        {
            "arm_a": arms[a],
            "arm_b": arms[b],
            "family_a": family[arms[a]],
            "family_b": family[arms[b]],
            "n_prompts": int(n_prompts[a, b]),
            "n_pairs": int(n_pairs[a, b] / (2 if a == b else 1)),
            "mean_cosine": pooled["estimate"][a, b],
            "mean_cosine_published": published[a, b],
            "mean_tfidf": words[a, b],
            "lower": pooled["lower"][a, b],
            "upper": pooled["upper"][a, b],
        }
        for a in range(len(arms))
        for b in range(a, len(arms))
    ]
    return pd.DataFrame(rows)


def pair_totals(responses):
    """Sums of cosines and numbers of pairs of every pair of arms, prompt by prompt; as published, over all prompts.

    Returns
    -------
    dict
        ``totals``, ``pairs``: ndarray of float, shape (n_prompts, n_arms (n_arms + 1) / 2), pairs of arms in the order
        of `numpy.triu_indices`; ``published``: mean cosine, shape (n_arms, n_arms); ``own_totals``, ``own_pairs``:
        of every arm with itself, every response with itself too, shape (n_prompts, n_arms).
    """
    upper, n_prompts = np.triu_indices(len(responses.arms)), len(responses.prompt_order)
    totals, pairs = np.empty((2, n_prompts, len(upper[0])))
    published, own_sums = np.zeros((2, len(responses.arms), len(responses.arms))), []
    for p, (own, with_itself) in enumerate(responses.map(_prompt_totals, arms=responses.arms)):
        totals[p], pairs[p] = own[0][upper], own[1][upper]
        published += with_itself
        own_sums.append(np.diagonal(with_itself, axis1=1, axis2=2))
    own_totals, own_pairs = np.array(own_sums).swapaxes(0, 1)
    return {"totals": totals, "pairs": pairs, "published": similarity.pooled_mean(*published[:, None]),
            "own_totals": own_totals, "own_pairs": own_pairs}  # fmt: skip


def with_themselves(responses):
    """Sums of cosines and numbers of pairs of every arm with itself, every response paired with itself too.

    Returns
    -------
    totals, pairs : ndarray of float, shape (n_prompts, n_arms)
    """
    found = responses.kept("pair_totals", pair_totals)
    return found["own_totals"], found["own_pairs"]


def _prompt_totals(responses, *, arms):
    """Totals and pairs of one prompt, without and with responses paired with themselves."""
    sums, counts = arm_sums(responses, arms)
    return tuple(np.concatenate(similarity.homogeneity(sums, counts, self_pairs=own)) for own in (False, True))


def _square(values, n):
    """Symmetric matrix from its upper triangle."""
    square = np.empty((n, n), values.dtype)
    upper = np.triu_indices(n)
    square[upper] = square.T[upper] = values
    return square


def blocks(responses):
    """Mean similarity between groups of arms, pairs of arms weighing equally, with intervals over prompts.

    Parameters
    ----------
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Indexed by block, such as "different models"; mean, lower, upper, n_arm_pairs; NaN without a pair. In ``attrs``
        n_models, and n_unknown of them whose family nobody knows.
    """
    groups = _blocks(responses)
    found = group_means(responses, groups).set_index("block").reindex(list(groups))
    found = found.fillna({"n_arm_pairs": 0}).astype({"n_arm_pairs": int})
    models = {responses.model_of[arm]: responses.family_of[arm] for arm in responses.arms}
    of = [family for model, family in models.items() if model not in responses.people]
    found.attrs = {"n_models": len(of), "n_unknown": of.count(UNKNOWN)}
    return found


def block_means(responses):
    """Mean similarity of every block of `blocks` for every prompt.

    Returns
    -------
    dict of str to ndarray of float, shape (n_prompts,)
        By block; prompts as in `Responses.prompt_order`, NaN where a prompt has no such pair.
    """
    return {name: values for name, (values, _) in _group_values(responses, _blocks(responses)).items()}


def _blocks(responses):
    """Which pairs of arms belong to a block, by its name."""
    model, family = responses.model_of, responses.lineage_of
    human = {arm: model[arm] in responses.people for arm in responses.arms}

    def machines(a, b):
        return not (human[a] or human[b])

    return {
        "same model": lambda a, b: a == b and machines(a, b),
        "different models": lambda a, b: model[a] != model[b] and machines(a, b),
        "different models, same family": lambda a, b: (
            model[a] != model[b] and family[a] == family[b] and machines(a, b)
        ),
        "different families": lambda a, b: family[a] != family[b] and machines(a, b),
        "same model, different conditions": lambda a, b: a != b and model[a] == model[b] and machines(a, b),
        "people": lambda a, b: human[a] and human[b],
        "people and models": lambda a, b: human[a] != human[b],
    }


def group_means(responses, groups):
    """Mean similarity of groups of pairs of arms, pairs of arms weighing equally, with intervals over prompts.

    Parameters
    ----------
    responses : Responses
    groups : dict of str to callable
        Name of a group to a function of (arm_a, arm_b) that says whether the pair belongs; a pair may be an arm with
        itself.

    Returns
    -------
    pandas.DataFrame
        Columns block, mean, lower, upper, n_arm_pairs.
    """
    rows = []
    for name, (values, n_arm_pairs) in _group_values(responses, groups).items():
        found = intervals.mean_interval(values).within(-1, 1)
        rows.append((name, float(found.estimate), float(found.lower), float(found.upper), n_arm_pairs))
    return pd.DataFrame(rows, columns=["block", "mean", "lower", "upper", "n_arm_pairs"])


def _group_values(responses, groups):
    """Mean of a group's pairs of arms for every prompt, and the number of pairs; no group without a pair."""
    arms, found = responses.arms, {}
    totals, pairs = (responses.kept("pair_totals", pair_totals)[name] for name in ("totals", "pairs"))
    means = np.divide(totals, pairs, out=np.full(totals.shape, np.nan), where=pairs > 0)
    place = _square(np.arange(totals.shape[1]), len(arms))
    for name, belongs in groups.items():
        chosen = [(a, b) for a in range(len(arms)) for b in range(a, len(arms)) if belongs(arms[a], arms[b])]
        if not chosen:
            continue
        values = means[:, [place[pair] for pair in chosen]]
        known = ~np.isnan(values)
        per_prompt = np.where(known.any(1), np.nansum(values, 1) / np.maximum(known.sum(1), 1), np.nan)
        found[name] = per_prompt, int(known.any(0).sum())
    return found


def family_blocks(responses):
    """Mean similarity of different models of every pair of families, people left out; intervals over prompts.

    Parameters
    ----------
    responses : Responses

    Returns
    -------
    pandas.DataFrame
        Columns arm_a, arm_b (families, in order), mean, lower, upper, n_arm_pairs; no diagonal for a family of one.
    """
    family, model, people = responses.family_of, responses.model_of, responses.people
    names = sorted({family[arm] for arm in responses.arms if model[arm] not in people} - {UNKNOWN})

    def of(one, other):
        def belongs(a, b):
            machines = model[a] not in people and model[b] not in people
            return machines and model[a] != model[b] and {family[a], family[b]} == {one, other}

        return belongs

    pairs = [(a, b) for k, a in enumerate(names) for b in names[k:]]
    table = group_means(responses, {pair: of(*pair) for pair in pairs})
    split = pd.DataFrame(table["block"].tolist(), columns=["arm_a", "arm_b"], index=table.index)
    return pd.concat([split, table.drop(columns="block")], axis=1)


def people_pairs(pairs, responses):
    """Whether each row of ``06_model_pairs`` holds people."""
    human = {arm for arm, model in responses.model_of.items() if model in responses.people}
    return pairs["arm_a"].isin(human) | pairs["arm_b"].isin(human)


def different_models(pairs, responses):
    """Rows of ``06_model_pairs`` of two different models."""
    model = responses.model_of
    differ = pairs["arm_a"].map(model) != pairs["arm_b"].map(model)
    return pairs[differ & ~people_pairs(pairs, responses)]


def family_order(pairs):
    """Arms ordered by average-linkage clustering of 1 - mean cosine; returns the order and the linkage (or None).

    Missing pairs count as the mean of the known ones.
    """
    from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    arms = sorted(set(pairs["arm_a"]) | set(pairs["arm_b"]))
    if len(arms) < 3:
        return arms, None
    distance = 1 - square(pairs, arms).to_numpy()
    np.fill_diagonal(distance, 0)
    off = ~np.eye(len(arms), dtype=bool)
    distance[np.isnan(distance)] = np.nanmean(distance[off]) if (~np.isnan(distance[off])).any() else 1
    condensed = np.clip(squareform(distance, checks=False), 0, None)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    from scipy.cluster.hierarchy import leaves_list

    return [arms[i] for i in leaves_list(tree)], tree


def square(pairs, arms, column="mean_cosine"):
    """Symmetric matrix of a column of ``06_model_pairs`` as a frame with `arms` on both sides."""
    one = pairs.pivot(index="arm_a", columns="arm_b", values=column).reindex(index=arms, columns=arms)
    return one.where(one.notna(), one.T)


def family_square(families):
    """Symmetric matrix of the means of `family_blocks`."""
    names = sorted(set(families["arm_a"]) | set(families["arm_b"]))
    return square(families, names, "mean")


def neighbours(responses, n_nearest, progress=None):
    """Sources of the N nearest responses, per prompt, by model and by family, with floor and expectation.

    Parameters
    ----------
    responses : Responses
        Ties in similarity are broken by response_id, a hash.
    n_nearest : int
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Table ``06_neighbours``; prompts with responses of one source only are left out.
    """
    found = responses.map(of_prompt.neighbours, progress=progress, n_nearest=n_nearest)
    rows = [row for rows in found for row in rows]
    columns = ["prompt_id", "by", "n_nearest", "n_sources", "separated", "expected", "n_available", "n_responses"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"n_nearest": int, "n_responses": int} | dict.fromkeys(columns[3:6], float)
    )


def telling_row(curve, by="model"):
    """Row of the largest N at which random labels would find at most 95 % of the sources there are.

    Beyond, finding many sources says nothing. The paper's N = 50 of 25 models with 50 responses each lies before.
    """
    at = curve[curve["by"] == by]
    telling = at[at["expected"] <= 0.95 * at["n_available"]]
    telling = telling if len(telling) else at
    return telling.loc[telling["n_nearest"].idxmax()]


def neighbour_curve(table):
    """Mean over prompts of the source-model curve with its interval, per grouping and N, beside its references.

    The curve ends at the largest N that half of the prompts reach; prompts with fewer responses are left out, so that
    every N averages the same `n_prompts` prompts.
    """
    rows = []
    for by, at in table.groupby("by"):
        last = int(at.groupby("prompt_id")["n_nearest"].max().quantile(0.5, interpolation="lower"))
        wide = at.pivot(index="prompt_id", columns="n_nearest", values="n_sources").loc[:, :last].dropna()
        mean = intervals.mean_interval(wide.to_numpy())
        same = at[at["prompt_id"].isin(wide.index)].groupby("n_nearest")
        other = same[["separated", "expected", "n_available"]].mean().loc[wide.columns]
        spread = wide.quantile([0.25, 0.75]).to_numpy()
        rows.append(
            pd.DataFrame(
                {"by": by, "n_nearest": wide.columns,
                 "n_sources": mean.estimate, "lower": mean.lower, "upper": mean.upper,
                 "quartile_1": spread[0], "quartile_3": spread[1], "n_prompts": len(wide)}
            ).assign(**{name: other[name].to_numpy() for name in other})
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def overlaps(responses, min_span_words, n_spans_kept, n_nearest_pairs, progress=None):
    """Responses of different models with words in common: same text, long shared spans, and the nearest pairs.

    Parameters
    ----------
    responses : Responses
    min_span_words : int
        Shortest shared run that counts as a span.
    n_spans_kept : int
        Pairs with a span kept in the table per prompt, longest first; all of them are counted.
    n_nearest_pairs : int
        Cross-model pairs kept by cosine, per prompt.
    progress : callable, optional

    Returns
    -------
    table : pandas.DataFrame
        Table ``06_overlaps``.
    shares : pandas.DataFrame
        Columns prompt_id, exact and span (share of the prompt's responses whose text, or text or a long run of it,
        another model gives too; runs that quote the prompt do not count), n_responses, n_span_pairs (pairs of distinct
        texts with a long run, kept or not).
    """
    options = {"min_span_words": min_span_words, "n_spans_kept": n_spans_kept, "n_nearest_pairs": n_nearest_pairs}
    rows, shares = [], []
    for own, share in responses.map(of_prompt.overlaps, progress=progress, **options):
        rows += own
        shares += [share] if share else []
    columns = ["overlap_type", "prompt_id", "model_a", "model_b", "response_a", "response_b", "n_models", "n_responses",
               "cosine", "longest_span_words", "shared_8grams", "span"]  # fmt: skip
    whole = dict.fromkeys(["n_models", "n_responses", "longest_span_words"], int)
    table = pd.DataFrame(rows, columns=columns).astype(whole | {"cosine": float, "shared_8grams": float})
    return table, pd.DataFrame(shares, columns=["prompt_id", "exact", "span", "n_responses", "n_span_pairs"])


def pair_agreement(pairs):
    """Spearman correlation between cosine and TF-IDF over pairs of different arms; NaN for fewer than three."""
    known = pairs[pairs["arm_a"] != pairs["arm_b"]]
    return resample.rank_agreement(known["mean_cosine"], known["mean_tfidf"])


def pools(responses, sizes, n_draws, rng, progress=None):
    """Effective number of responses among k, drawn from one model, from k models, or from people.

    Parameters
    ----------
    responses : Responses
    sizes : sequence of int
        The k to look at.
    n_draws : int
        Draws per prompt, pool and k; for one model each draw picks the model anew.
    rng : numpy.random.Generator
        Spawned per prompt, so that results do not depend on the order of prompts or responses.
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Table ``06_pools``. For one model, arms with fewer responses than the prompt's median arm stay out; a curve ends
        at the largest k that half of the prompts allow, and averages the same prompts throughout.
    """
    names = ("one model, k responses", "k models, one response each", "people")
    sizes = sorted({int(k) for k in sizes if k >= 1})
    start = int(rng.integers(2**62))
    generators = (ids.generator(start, prompt_id) for prompt_id in responses.prompt_order)
    found = responses.map(of_prompt.pools, generators, progress=progress, sizes=sizes, n_draws=n_draws)
    values = np.array(list(found)).swapaxes(0, 1)
    rows = []
    for pool, name in enumerate(names):
        reach = (~np.isnan(values[pool])).sum(1)  # how many of the sizes each prompt allows
        if not reach.any():
            continue
        last = int(np.quantile(reach[reach > 0], 0.5, method="lower"))
        kept = reach >= last
        mean = intervals.mean_interval(values[pool][kept, :last])
        summary = zip(sizes[:last], mean.estimate, mean.lower, mean.upper, strict=True)
        rows += [(name, *numbers, int(kept.sum())) for numbers in summary]
    return pd.DataFrame(rows, columns=["pool", "k", "vendi_1", "lower", "upper", "n_prompts"])


def models_needed(table):
    """Smallest k of the table at which k models, one response each, are as diverse as one model's largest k.

    Returns
    -------
    dict or None
        ``k``, the responses of one model; ``models``, None where even ``most`` models do not reach it. None where there
        are too few responses or models to compare.
    """
    one = table[table["pool"] == "one model, k responses"]
    many = table[table["pool"] == "k models, one response each"]
    if one.empty or many.empty:
        return None
    target = one.loc[one["k"].idxmax()]
    if target["k"] < 2:
        return None
    enough = many[many["vendi_1"] >= target["vendi_1"]]
    models = int(enough["k"].min()) if len(enough) else None
    return {"k": int(target["k"]), "models": models, "most": int(many["k"].max())}


def _lexical_means(responses):
    """Mean TF-IDF cosine of every pair of arms over all prompts, shape (n_arms, n_arms)."""
    n_texts = len(responses)
    with lexical.TextsWithTerm() as found:
        for terms, n_with_term in responses.map(of_prompt.terms, vectors=False):
            found.add(terms, n_with_term)
        found.finish()
        if found.n_terms == 0:
            raise NothingToMeasureError(f"Measures of form need words, but none of {n_texts} responses has any.")
        n_with_term = (found.of(k) for k in range(len(responses.prompt_order)))
        whole = sum(
            responses.map(of_prompt.lexical_totals, n_with_term, vectors=False, arms=responses.arms, n_texts=n_texts)
        )
    return similarity.pooled_mean(*whole[:, None])
