"""What `homogeneity` computes of the responses to one prompt: each function runs wherever the study's work is done."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, lexical, overlap, similarity
from hivemind_utils.metrics import words as words_metrics
from hivemind_utils.responses.families import of_own


def neighbours(responses, *, n_nearest):
    """Rows of `neighbours` of one prompt."""
    at = responses.table.sort_values("response_id")
    prompt_id, vectors, rows = at["prompt_id"].iat[0], responses.vectors[at.index.to_numpy()], []
    sources = {"model": at["model"], "family": at["model"].map(of_own(responses.models["family"]))}
    coded = {by: pd.factorize(source, sort=True) for by, source in sources.items()}
    coded = {by: (codes, names) for by, (codes, names) in coded.items() if len(names) > 1}
    if not coded:
        return rows
    nearest = similarity.nearest_rows(vectors, n_nearest)
    for by, (codes, names) in coded.items():
        counts = np.bincount(codes)
        found = similarity.distinct_sources(nearest, codes).mean(0)
        floor, expected = (f(counts, n_nearest) for f in (similarity.separated_sources, similarity.expected_sources))
        rows += [
            (prompt_id, by, n + 1, found[n], floor[n], expected[n], len(names), len(at)) for n in range(len(found))
        ]
    return rows


def overlaps(responses, *, min_span_words, n_spans_kept, n_nearest_pairs):
    """Rows of `overlaps` of one prompt, and its row of shares (None where one model answered)."""
    at, vectors, rows = responses.table.sort_values("response_id"), responses.vectors, []
    prompt_id = at["prompt_id"].iat[0]
    if at["model"].nunique() < 2:
        return [], None
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
            _overlap("exact", prompt_id, (first, second), names, ids, duplicate.n_models, duplicate.n_responses,
                     cosine, n_words, 1.0 if n_words >= 8 else np.nan, same)
        )  # fmt: skip
    told = {text: k for k, text in enumerate(dict.fromkeys(normal))}
    asked = words_metrics.normalise(responses.prompts["text"][prompt_id]).split()
    unquoted = [overlap.without_quotes(words, asked, told[text]) for words, text in zip(lists, normal, strict=True)]
    pairs = overlap.verbatim_pairs(unquoted, names, min_words=min_span_words)
    spanned = {normal[k] for k in np.unique(pairs[["i", "j"]].to_numpy())}
    either = exact | spanned
    share = np.mean([(text in exact, text in either) for text in normal], axis=0)
    shares = (prompt_id, share[0], share[1], len(at), len(pairs))
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
    return rows, shares


def _overlap(kind, prompt_id, pair, models, ids, n_models, n_responses, cosine, n_words, share, span):
    a, b = sorted(pair, key=lambda k: (models[k], ids[k]))
    return (kind, prompt_id, models[a], models[b], ids[a], ids[b], n_models, n_responses, cosine, n_words, share, span)


def pools(responses, generator, *, sizes, n_draws):
    """Mean effective numbers of one prompt, shape (3, n_sizes); NaN where a pool is too small."""
    at, people = responses.table.sort_values("response_id"), responses.people
    unit, values = similarity.unit_rows(responses.vectors), np.full((3, len(sizes)), np.nan)
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
                values[pool, s] = np.mean(scores)
    return values


def _one_model(members):
    return lambda k, rng: rng.choice(members[rng.integers(len(members))], k, replace=False)


def _many_models(members):
    return lambda k, rng: np.array([rng.choice(members[m]) for m in rng.permutation(len(members))[:k]])


def terms(responses):
    """Return the terms of the texts of one prompt, and how many texts have each."""
    terms, counts = lexical.term_counts(responses.words)
    return terms, lexical.texts_with(counts)


def lexical_totals(responses, n_with_term, *, arms, n_texts):
    """Totals and pairs of one prompt as `similarity.homogeneity`, from sparse rows of length 1 or 0."""
    from scipy import sparse

    rows = lexical.weighted(lexical.term_counts(responses.words)[1], n_with_term, n_texts)
    arm = pd.Index(arms).get_indexer(responses.table["arm"])
    lengths = np.asarray(rows.multiply(rows).sum(1)).ravel()
    member = sparse.csr_array((np.ones(len(arm)), (arm, np.arange(len(arm)))), shape=(len(arms), len(arm)))
    sums, counts = member @ rows, np.bincount(arm, minlength=len(arms))
    totals = (sums @ sums.T).toarray() - np.diag(np.bincount(arm, lengths, minlength=len(arms)))
    return np.array([totals, np.outer(counts, counts) - np.diag(counts)])
