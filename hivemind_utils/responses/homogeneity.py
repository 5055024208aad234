"""Tables of notebook 06, homogeneity between models: frames and embeddings in, tidy frames out."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, overlap, resample, similarity
from hivemind_utils.metrics import words as words_metrics


def choose_decoding(answers, people, wanted=None):
    """Pick the decoding to compare models under: the one asked for, else top_p, else the commonest.

    Raises
    ------
    ValueError
        If the one asked for does not occur.
    """
    counts = answers.loc[~answers["model"].isin(people), "decoding"].value_counts()
    if wanted is not None:
        if wanted not in counts.index:
            raise ValueError(
                f"The value for `decoding` must be one of {sorted(counts.index)}, but {wanted!r} was passed."
            )
        return wanted
    if counts.empty:
        return "none"
    return "top_p" if "top_p" in counts.index else sorted(counts[counts == counts.max()].index)[0]


def arm_sums(answers, vectors, arms, prompt_order):
    """Sum of unit vectors and number of answers for every (prompt, arm).

    Parameters
    ----------
    answers : pandas.DataFrame
        With prompt_id and arm; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims)
    arms, prompt_order : sequence of str
        Every arm and prompt of the answers, and possibly more.

    Returns
    -------
    sums : ndarray of float, shape (n_prompts, n_arms, n_dims)
    counts : ndarray of int, shape (n_prompts, n_arms)
    """
    prompt = pd.Index(prompt_order).get_indexer(answers["prompt_id"])
    arm = pd.Index(arms).get_indexer(answers["arm"])
    for name, codes in (("arm", arm), ("prompt_id", prompt)):
        if (codes < 0).any():
            unknown = answers[name][codes < 0].iloc[0]
            raise ValueError(f"Every {name} of the answers must be listed, but {unknown!r} is not.")
    shape = len(prompt_order), len(arms)
    sums, counts = similarity.cell_sums(vectors, prompt * shape[1] + arm, shape[0] * shape[1])
    return sums.reshape(*shape, -1), counts.reshape(shape)


def model_pairs(answers, vectors, lexical, families, arms, prompt_order, weights):
    """Mean similarity of every pair of arms, pooled over prompts, joined by prompt id.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers with the column arm.
    vectors : ndarray of float, shape (n_answers, n_dims)
    lexical : sparse matrix, shape (n_answers, n_terms)
        TF-IDF rows of the same answers.
    families : dict of str to str
        Family of every arm.
    arms, prompt_order : sequence of str
    weights : ndarray of float, shape (n_boot, n_prompts)

    Returns
    -------
    pandas.DataFrame
        Table ``06_model_pairs``: the lower triangle with the diagonal.
    """
    sums, counts = arm_sums(answers, vectors, arms, prompt_order)
    totals, pairs = similarity.homogeneity(sums, counts)
    published = similarity.pooled_mean(*similarity.homogeneity(sums, counts, self_pairs=True))
    mean = similarity.pooled_mean(totals, pairs)
    lower, upper = resample.interval(resample.weighted_ratios(totals, pairs, weights))
    words = similarity.pooled_mean(*_lexical_homogeneity(answers, lexical, arms, prompt_order))
    enough = (pairs > 0).sum(0)
    rows = [
        {
            "arm_a": arms[a],
            "arm_b": arms[b],
            "family_a": families[arms[a]],
            "family_b": families[arms[b]],
            "n_prompts": int(enough[a, b]),
            "n_pairs": int(pairs[:, a, b].sum() / (2 if a == b else 1)),
            "mean_cosine": mean[a, b],
            "mean_cosine_published": published[a, b],
            "mean_tfidf": words[a, b],
            "lower": lower[a, b] if enough[a, b] > 1 else np.nan,
            "upper": upper[a, b] if enough[a, b] > 1 else np.nan,
        }
        for a in range(len(arms))
        for b in range(a, len(arms))
    ]
    return pd.DataFrame(rows)


def blocks(answers, vectors, arms, prompt_order, groups, weights):
    """Mean similarity between groups of arms, pairs of arms weighing equally, with intervals over prompts.

    Parameters
    ----------
    groups : dict of str to callable
        Name of a block to a function of (arm_a, arm_b) that says whether the pair belongs; pairs of different arms, and
        an arm with itself under the name it is asked with.

    Returns
    -------
    pandas.DataFrame
        Columns block, mean, lower, upper, n_arm_pairs.
    """
    totals, pairs = similarity.homogeneity(*arm_sums(answers, vectors, arms, prompt_order))
    means = np.divide(totals, pairs, out=np.full(totals.shape, np.nan), where=pairs > 0)
    rows = []
    for name, belongs in groups.items():
        chosen = [(a, b) for a in range(len(arms)) for b in range(a, len(arms)) if belongs(arms[a], arms[b])]
        if not chosen:
            continue
        values = means[:, [a for a, _ in chosen], [b for _, b in chosen]]
        known = ~np.isnan(values)
        per_prompt = np.where(known.any(1), np.nansum(values, 1) / np.maximum(known.sum(1), 1), np.nan)
        mean, lower, upper = resample.mean_interval(per_prompt, weights)
        rows.append((name, float(mean), float(lower), float(upper), int(known.any(0).sum())))
    return pd.DataFrame(rows, columns=["block", "mean", "lower", "upper", "n_arm_pairs"])


def family_blocks(answers, vectors, arms, prompt_order, family, model_of, people, weights):
    """Mean similarity of different models of every pair of families, people left out; intervals over prompts.

    Parameters
    ----------
    family, model_of : mapping of str to str
        Family and model of every arm.
    people : set of str
        Other parameters as for `blocks`.

    Returns
    -------
    pandas.DataFrame
        Columns arm_a, arm_b (families, in order), mean, lower, upper, n_arm_pairs; no diagonal for a family of one.
    """
    names = sorted({family[arm] for arm in arms if model_of[arm] not in people})
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k:]]

    def of(one, other):
        def belongs(a, b):
            machines = model_of[a] not in people and model_of[b] not in people
            return machines and model_of[a] != model_of[b] and {family[a], family[b]} == {one, other}

        return belongs

    table = blocks(answers, vectors, arms, prompt_order, {pair: of(*pair) for pair in pairs}, weights)
    split = pd.DataFrame(table["block"].tolist(), columns=["arm_a", "arm_b"], index=table.index)
    return pd.concat([split, table.drop(columns="block")], axis=1)


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


def neighbours(answers, vectors, families, n_nearest, progress=None):
    """Sources of the N nearest answers, per prompt, by model and by family, with floor and expectation.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers; row i belongs to ``vectors[i]``. Ties in similarity are broken by response_id, a hash.
    vectors : ndarray of float, shape (n_answers, n_dims)
    families : dict of str to str
        Family of every model.
    n_nearest : int
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Table ``06_neighbours``; prompts with answers of one source only are left out.
    """
    rows = []
    groups = answers.sort_values("response_id").groupby("prompt_id")
    for prompt_id, at in progress(groups, total=groups.ngroups, unit="prompt") if progress else groups:
        for by, source in (("model", at["model"]), ("family", at["model"].map(families))):
            codes, names = pd.factorize(source, sort=True)
            if len(names) < 2:
                continue
            counts = np.bincount(codes)
            found = similarity.nearest_sources(vectors[at.index.to_numpy()], codes, n_nearest).mean(0)
            floor, expected = (
                f(counts, n_nearest) for f in (similarity.separated_sources, similarity.expected_sources)
            )
            rows += [
                (prompt_id, by, n + 1, found[n], floor[n], expected[n], len(names), len(at)) for n in range(len(found))
            ]  # fmt: skip
    columns = ["prompt_id", "by", "n_nearest", "n_sources", "separated", "expected", "n_available", "n_answers"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"n_nearest": int, "n_answers": int} | dict.fromkeys(columns[3:6], float)
    )


def telling_row(curve, by="model"):
    """Row of the largest N at which random labels would find at most 95 % of the sources there are.

    Beyond, finding many sources says nothing. The paper's N = 50 of 25 models with 50 answers each lies before.
    """
    at = curve[curve["by"] == by]
    telling = at[at["expected"] <= 0.95 * at["n_available"]]
    telling = telling if len(telling) else at
    return telling.loc[telling["n_nearest"].idxmax()]


def neighbour_curve(table, n_boot, rng):
    """Mean over prompts of the source-model curve with its interval, per grouping and N, beside its references.

    The curve ends at the largest N that half of the prompts reach; prompts with fewer answers are left out, so that
    every N averages the same `n_prompts` prompts.
    """
    rows = []
    for by, at in table.groupby("by"):
        last = int(at.groupby("prompt_id")["n_nearest"].max().quantile(0.5, interpolation="lower"))
        wide = at.pivot(index="prompt_id", columns="n_nearest", values="n_sources").loc[:, :last].dropna()
        mean, lower, upper = resample.mean_interval(wide.to_numpy(), resample.bootstrap_weights(len(wide), n_boot, rng))
        same = at[at["prompt_id"].isin(wide.index)].groupby("n_nearest")
        other = same[["separated", "expected", "n_available"]].mean().loc[wide.columns]
        spread = wide.quantile([0.25, 0.75]).to_numpy()
        rows.append(
            pd.DataFrame(
                {"by": by, "n_nearest": wide.columns, "n_sources": mean, "lower": lower, "upper": upper,
                 "quartile_1": spread[0], "quartile_3": spread[1], "n_prompts": len(wide)}
            ).assign(**{name: other[name].to_numpy() for name in other})
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def overlaps(answers, vectors, min_span_words, n_spans_kept, n_nearest_pairs, progress=None):
    """Answers of different models with words in common: same text, long shared spans, and the nearest pairs.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims)
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
        Columns prompt_id, exact and span (share of the prompt's answers whose text, or text or a long run of it,
        another model gives too), n_answers, n_span_pairs (pairs of distinct texts with a long run, kept or not).
    """
    rows, shares = [], []
    groups = answers.sort_values("response_id").groupby("prompt_id")
    for prompt_id, at in progress(groups, total=groups.ngroups, unit="prompt") if progress else groups:
        if at["model"].nunique() < 2:
            continue
        texts, names, ids = at["text"].tolist(), at["model"].tolist(), at["response_id"].tolist()
        rows_of = at.index.to_numpy()
        lists = words_metrics.word_lists(texts)
        normal = [" ".join(words) for words in lists]
        exact = set()
        for duplicate in overlap.exact_duplicates(texts, names).itertuples():
            same = words_metrics.normalise(duplicate.text)
            members = [k for k, text in enumerate(normal) if text == same]
            exact.add(same)
            first = members[0]
            second = next(k for k in members if names[k] != names[first])
            n_words = len(lists[first])
            cosine = similarity.mean_cross_cosine(vectors[rows_of[[first]]], vectors[rows_of[[second]]])
            rows.append(
                _overlap("exact", prompt_id, (first, second), names, ids, duplicate.n_models, duplicate.n_answers,
                         cosine, n_words, 1.0 if n_words >= 8 else np.nan, same)
            )  # fmt: skip
        pairs = overlap.verbatim_pairs(texts, names, min_words=min_span_words)
        spanned = {normal[k] for k in np.unique(pairs[["i", "j"]].to_numpy())}
        either = exact | spanned
        share = np.mean([(text in exact, text in either) for text in normal], axis=0)
        shares.append((prompt_id, share[0], share[1], len(at), len(pairs)))
        longest = pairs.sort_values("longest_span_words", ascending=False, kind="stable").head(n_spans_kept)
        for pair in longest.itertuples():
            cosine = similarity.mean_cross_cosine(vectors[rows_of[[pair.i]]], vectors[rows_of[[pair.j]]])
            rows.append(
                _overlap("span", prompt_id, (pair.i, pair.j), names, ids, 2, 2, cosine, pair.longest_span_words,
                         pair.shared_8gram_share, pair.span)
            )  # fmt: skip
        nearest = overlap.top_pairs(vectors[rows_of], names, n_nearest_pairs, texts=texts)
        for i, j, cosine in zip(*nearest, strict=True):
            length, start, _ = overlap.longest_common_span(lists[i], lists[j])
            share = overlap.shared_ngram_share(lists[i], lists[j])
            run = " ".join(lists[i][start : start + length])
            rows.append(_overlap("nearest", prompt_id, (i, j), names, ids, 2, 2, cosine, length, share, run))
    columns = ["kind", "prompt_id", "model_a", "model_b", "response_a", "response_b", "n_models", "n_answers", "cosine",
               "longest_span_words", "shared_8grams", "span"]  # fmt: skip
    whole = dict.fromkeys(["n_models", "n_answers", "longest_span_words"], int)
    table = pd.DataFrame(rows, columns=columns).astype(whole | {"cosine": float, "shared_8grams": float})
    return table, pd.DataFrame(shares, columns=["prompt_id", "exact", "span", "n_answers", "n_span_pairs"])


def page_records(table, answers, prompt_texts, n):
    """Pairs for `overlap.overlap_html`: the longest shared spans first, one pair per span and prompt.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``06_overlaps``.
    answers : pandas.DataFrame
        With response_id and text.
    prompt_texts : pandas.Series
        Text by prompt_id.
    n : int
        Pairs wanted: a quarter each of the same text and the nearest, the rest spans, filled up from the others.

    Returns
    -------
    list of dict
    """
    text = answers.set_index("response_id")["text"]
    ranked = table.sort_values(
        ["longest_span_words", "cosine", "response_a"], ascending=[False, False, True], kind="stable"
    ).drop_duplicates(["prompt_id", "span"])
    quota = {"exact": n // 4, "nearest": n // 4, "span": n - 2 * (n // 4)}
    chosen = pd.concat([ranked[ranked["kind"] == kind].head(k) for kind, k in quota.items()])
    spare = ranked.drop(chosen.index).head(n - len(chosen))
    records = []
    for row in (
        pd.concat([chosen, spare]).sort_values("longest_span_words", ascending=False, kind="stable").itertuples()
    ):
        text_a, text_b = text[row.response_a], text[row.response_b]
        shortest = min(4, row.longest_span_words) if row.kind == "exact" else 4  # "yes" is the whole text
        spans = overlap.shared_characters(text_a, text_b, shortest)
        records.append(
            {
                "prompt": prompt_texts[row.prompt_id],
                "model_a": row.model_a,
                "text_a": text_a,
                "spans_a": spans[0],
                "model_b": row.model_b,
                "text_b": text_b,
                "spans_b": spans[1],
                "cosine": row.cosine,
                "longest_span_words": row.longest_span_words,
            }
        )
    return records


def pair_agreement(pairs):
    """Spearman correlation between cosine and TF-IDF over pairs of different arms; NaN for fewer than three."""
    known = pairs[pairs["arm_a"] != pairs["arm_b"]]
    return resample.rank_agreement(known["mean_cosine"], known["mean_tfidf"])


def pools(answers, vectors, people, sizes, n_draws, n_boot, rng, progress=None):
    """Effective number of answers among k, drawn from one model, from k models, or from people.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers with the column arm; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims)
    people : set of str
    sizes : sequence of int
        The k to look at.
    n_draws : int
        Draws per prompt, pool and k; for one model each draw picks the model anew.
    n_boot : int
    rng : numpy.random.Generator
        Spawned per prompt, so that results do not depend on the order of prompts or answers.
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Table ``06_pools``. For one model, arms with fewer answers than the prompt's median arm stay out; a curve ends
        at the largest k that half of the prompts allow, and averages the same prompts throughout.
    """
    names = ("one model, k answers", "k models, one answer each", "people")
    sizes = sorted({int(k) for k in sizes if k >= 1})
    unit = similarity.unit_rows(vectors)
    groups = answers.sort_values("response_id").groupby("prompt_id")
    values = np.full((len(names), groups.ngroups, len(sizes)), np.nan)
    wrapped = progress(groups, total=groups.ngroups, unit="prompt") if progress else groups
    for p, ((_, at), generator) in enumerate(zip(wrapped, rng.spawn(groups.ngroups), strict=True)):
        machine = at[~at["model"].isin(people)]
        sizes_here = machine.groupby("arm").size()
        whole = sizes_here.index[sizes_here >= sizes_here.median()] if len(sizes_here) else []  # thin arms stay out
        by_arm = [i.index.to_numpy() for name, i in machine.groupby("arm") if name in whole]
        by_model = [i.index.to_numpy() for _, i in machine.groupby("model")]
        persons = at.index[at["model"].isin(people)].to_numpy()
        most = min(map(len, by_arm), default=0), len(by_model) if len(by_model) > 1 else 0, len(persons)
        for s, k in enumerate(sizes):
            for pool, draw in enumerate((_one_model(by_arm), _many_models(by_model), _one_model([persons]))):
                if k <= most[pool]:
                    scores = [diversity.vendi_score(unit[draw(k, generator)]) for _ in range(n_draws)]
                    values[pool, p, s] = np.mean(scores)
    weights = resample.bootstrap_weights(groups.ngroups, n_boot, rng)
    rows = []
    for pool, name in enumerate(names):
        reach = (~np.isnan(values[pool])).sum(1)  # how many of the sizes each prompt allows
        if not reach.any():
            continue
        last = int(np.quantile(reach[reach > 0], 0.5, method="lower"))
        kept = reach >= last
        summary = resample.mean_interval(values[pool][kept, :last], weights[:, kept])
        rows += [(name, k, *numbers, int(kept.sum())) for k, *numbers in zip(sizes[:last], *summary, strict=True)]
    return pd.DataFrame(rows, columns=["pool", "k", "vendi_1", "lower", "upper", "n_prompts"])


def _one_model(members):
    return lambda k, rng: rng.choice(members[rng.integers(len(members))], k, replace=False)


def _many_models(members):
    return lambda k, rng: np.array([rng.choice(members[m]) for m in rng.permutation(len(members))[:k]])


def models_needed(table):
    """Smallest k of the table at which k models, one answer each, are as diverse as one model's largest k.

    Returns
    -------
    dict or None
        ``k``, the answers of one model; ``models``, None where even ``most`` models do not reach it. None where there
        are too few answers or models to compare.
    """
    one = table[table["pool"] == "one model, k answers"]
    many = table[table["pool"] == "k models, one answer each"]
    if one.empty or many.empty:
        return None
    target = one.loc[one["k"].idxmax()]
    if target["k"] < 2:
        return None
    enough = many[many["vendi_1"] >= target["vendi_1"]]
    models = int(enough["k"].min()) if len(enough) else None
    return {"k": int(target["k"]), "models": models, "most": int(many["k"].max())}


def _lexical_homogeneity(answers, lexical, arms, prompt_order):
    """Totals and pairs as `similarity.homogeneity`, from sparse rows of length 1 or 0."""
    from scipy import sparse

    prompt = pd.Index(prompt_order).get_indexer(answers["prompt_id"])
    arm = pd.Index(arms).get_indexer(answers["arm"])
    lengths = np.asarray(lexical.multiply(lexical).sum(1)).ravel()
    totals = np.zeros((len(prompt_order), len(arms), len(arms)))
    pairs = np.zeros_like(totals)
    for p in range(len(prompt_order)):
        rows = np.flatnonzero(prompt == p)
        member = sparse.csr_array((np.ones(len(rows)), (arm[rows], np.arange(len(rows)))), shape=(len(arms), len(rows)))
        sums = member @ lexical[rows]
        counts = np.bincount(arm[rows], minlength=len(arms))
        totals[p] = (sums @ sums.T).toarray() - np.diag(np.bincount(arm[rows], lengths[rows], minlength=len(arms)))
        pairs[p] = np.outer(counts, counts) - np.diag(counts)
    return totals, pairs


def _overlap(kind, prompt_id, pair, models, ids, n_models, n_answers, cosine, n_words, share, span):
    a, b = sorted(pair, key=lambda k: (models[k], ids[k]))
    return (kind, prompt_id, models[a], models[b], ids[a], ids[b], n_models, n_answers, cosine, n_words, share, span)
