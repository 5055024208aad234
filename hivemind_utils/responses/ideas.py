"""Idea labels and what rests on them: three doors, how far they agree, similarity floors. Frames in, frames out.

The doors, best first: labels that came with the data (given), a language model's (judge), modes of a lexical encoder
(lexical, which calls answers with the same words one idea, and so biases the different-idea null low). Never the modes
of the encoder whose similarity is reported: they are far apart because they were cut that way.
"""

import numpy as np
import pandas as pd

from hivemind_utils.llm import gguf_models, labeling
from hivemind_utils.metrics import clustering, resample, similarity
from hivemind_utils.tables import ids as table_ids

DOORS = ("given", "judge", "lexical")


NONE_LISTED = "(none listed) "  # the idea of an answer that fits none on the judge's list


KINDS = (
    "different prompts", "people", "same prompt, different idea", "same prompt, ideas compared", "same prompt",
    "same prompt, same idea",
)  # fmt: skip


def read_given(ideas, answers):
    """Labels that came with the data, of the answers kept.

    Parameters
    ----------
    ideas : pandas.DataFrame
        Table ``04_ideas``.
    answers : pandas.DataFrame
        With response_id.

    Returns
    -------
    pandas.DataFrame
        Columns response_id, idea, origin, scope, as in ``07_ideas``.
    """
    kept = ideas[ideas["response_id"].isin(answers["response_id"])]
    return kept.assign(origin="given")[["response_id", "idea", "origin", "scope"]].reset_index(drop=True)


def from_modes(answers, modes):
    """Modes of a lexical encoder as idea labels; an answer outside of every mode is an idea of its own.

    Parameters
    ----------
    answers : pandas.DataFrame
        With response_id and prompt_id.
    modes : sequence of int
        Lexical mode of every answer, -1 for noise.

    Returns
    -------
    pandas.DataFrame
        As `read_given`, origin ``lexical``.
    """
    modes = pd.Series(modes, index=answers.index)
    named = ("words " + modes.astype(str)).where(modes != clustering.NOISE, "alone " + answers["response_id"])
    columns = {"response_id": answers["response_id"], "idea": named, "origin": "lexical", "scope": answers["prompt_id"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def judge(
    answers, prompts, model, propose, assign, store_path, *, n_judged=60, n_shown=40, n_ideas=15, seed=0, **options
):
    """Ask a language model which idea every answer rests on: first a list of ideas per prompt, then one per answer.

    Labels of single answers would not compare ("river", "flowing water"), so the judge reads a sample of the answers
    first and names the ideas in it. An answer that fits none gets an idea of its own.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers with response_id, prompt_id, text.
    prompts : pandas.DataFrame
        Table ``04_prompts``, indexed by prompt_id.
    model : str
        A litellm id, or ``simulated/<name>``.
    propose, assign : str
        Instructions with ``$prompt`` and ``$answers``; with ``$prompt``, ``$ideas`` and ``$answer``.
    store_path : path-like
        Raw answers are kept there and not asked for again.
    n_judged : int or None
        Answers judged per prompt, a random sample; None judges all. Equal texts are asked once.
    n_shown, n_ideas : int
        Distinct answers the list is made from; most ideas on it.
    seed : int
        Of the sample: a generator per prompt, so that prompts do not depend on each other.
    **options
        Of `labeling.label`, such as budget_usd.

    Returns
    -------
    labelled : pandas.DataFrame
        As `read_given`, origin ``judge``.
    counts : dict
        n_asked, n_labelled, n_other (fit no idea on the list), n_failed, n_missing, n_prompts_without_list, and
        ``why``: what went wrong, in a sentence, or None.
    """
    import pydantic

    Idea = pydantic.constr(strip_whitespace=True, min_length=1, max_length=80)
    listing = pydantic.create_model("Ideas", ideas=(list[Idea], pydantic.Field(min_length=1, max_length=n_ideas)))
    with gguf_models.running([model]):  # from the first list to the last answer
        return _judge(answers, prompts, model, propose, assign, listing, n_judged, n_shown,
                      {"progress": False, "seed": seed, "store_path": store_path} | options)  # fmt: skip


def _judge(answers, prompts, model, propose, assign, listing, n_judged, n_shown, options):
    import pydantic

    seed, sampled, shown = options["seed"], [], []
    for prompt_id, at in answers.sort_values("response_id").groupby("prompt_id"):
        rng = table_ids.generator("judged", seed, prompt_id)
        chosen = at.iloc[np.sort(rng.permutation(len(at))[:n_judged])]
        distinct = chosen["text"].drop_duplicates().head(n_shown)
        sampled.append(chosen)
        shown.append((prompt_id, prompts["text"][prompt_id], "\n".join(f"- {_one_line(t)}" for t in distinct)))
    sampled = pd.concat(sampled)
    items = pd.DataFrame(shown, columns=["item_id", "prompt", "answers"])
    listed = labeling.label(items, propose, listing, model, **options)
    lists = listed.table
    lists = {row.item_id: list(dict.fromkeys(row.value["ideas"])) for row in lists.itertuples()}
    counts = {"n_asked": 0, "n_labelled": 0, "n_other": 0, "n_failed": 0, "n_missing": 0}
    labelled, problems = [], _problems("lists of ideas", listed)
    for prompt_id, ideas in lists.items():
        at = sampled[sampled["prompt_id"] == prompt_id]
        texts = at["text"].drop_duplicates()
        items = pd.DataFrame(
            {"item_id": texts.index.astype(str), "answer": texts, "prompt": prompts["text"][prompt_id]}
        )
        items["ideas"] = "\n".join(f"{k}. {idea}" for k, idea in enumerate(ideas, 1))
        number = pydantic.create_model("Number", idea=(int, pydantic.Field(ge=0, le=len(ideas))))
        labels = labeling.label(items, assign, number, model, **options)
        found = {texts[int(row.item_id)]: row.value["idea"] for row in labels.table.itertuples()}
        value = at["text"].map(found).dropna().astype(int)
        named = [
            ideas[k - 1] if k else f"{NONE_LISTED}{r}"
            for k, r in zip(value, at.loc[value.index, "response_id"], strict=True)
        ]
        labelled.append(
            pd.DataFrame({"response_id": at.loc[value.index, "response_id"], "idea": named, "scope": prompt_id})
        )
        counts["n_asked"] += len(texts)
        counts["n_labelled"] += len(labels.table)
        counts["n_other"] += int((value == 0).sum())
        counts["n_failed"] += len(labels.failures)
        counts["n_missing"] += len(labels.missing)
        problems += _problems("ideas of answers", labels)
    counts["n_prompts_without_list"] = len(shown) - len(lists)
    counts["why"] = "; ".join(dict.fromkeys(problems)) or None
    empty = pd.DataFrame(columns=["response_id", "idea", "scope"], dtype=object)
    labelled = pd.concat([empty, *labelled], ignore_index=True).assign(origin="judge")
    return labelled[["response_id", "idea", "origin", "scope"]], counts


def _problems(what, labels):
    """Why labels are missing: the commonest reason, and how many."""
    reasons = pd.concat([labels.failures["reason"], labels.missing["reason"]])
    return (
        [] if reasons.empty else [f"{what}: {len(reasons)} missing, mostly because {reasons.mode().iat[0].rstrip('.')}"]
    )


def agreement(labels, reference, answers, vectors=None):
    """How far labels agree with a reference, scope by scope.

    Parameters
    ----------
    labels : pandas.Series
        Label by response_id: whole numbers with -1 for noise, or names. Compared within the reference's scopes.
    reference : pandas.DataFrame
        Rows of ``07_ideas`` of one origin.
    answers : pandas.DataFrame
        With response_id and prompt_id; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims), optional
        Adds the area under the curve of the cosine for pairs of the same reference label.

    Returns
    -------
    pandas.DataFrame
        Per scope of at least two answers with both labels: prompt_id, scope, n_answers, n_labels, n_reference,
        adjusted_rand (noise as singletons; NaN where the reference has a single class),
        adjusted_rand_without_noise, same_pair_agreement (share of pairs about which both say same or both different),
        auc (NaN where all pairs are alike).
    """
    place = pd.Series(np.arange(len(answers)), index=answers["response_id"])
    known = reference[reference["response_id"].isin(labels.index) & reference["response_id"].isin(place.index)]
    rows = []
    for scope, at in known.groupby("scope"):
        if len(at) < 2:
            continue
        own = labels.loc[at["response_id"]]
        codes = own.to_numpy(int) if pd.api.types.is_integer_dtype(own) else pd.factorize(own, sort=True)[0]
        truth = pd.factorize(at["idea"], sort=True)[0]
        n_labels, n_reference = len(set(codes[codes >= 0])) + int((codes < 0).sum()), truth.max() + 1
        told = n_reference > 1
        pairs = np.triu_indices(len(at), 1)
        same = truth[pairs[0]] == truth[pairs[1]]
        alike = (codes[pairs[0]] == codes[pairs[1]]) & (codes[pairs[0]] != clustering.NOISE)
        auc = np.nan
        if vectors is not None and same.any() and not same.all():
            unit = similarity.unit_rows(vectors[place[at["response_id"]].to_numpy()])
            auc = area_under_curve((unit @ unit.T)[pairs], same)
        rows.append((
            answers["prompt_id"].iat[place[at["response_id"].iat[0]]], scope, len(at), n_labels, n_reference,
            clustering.adjusted_rand(codes, truth) if told else np.nan,
            clustering.adjusted_rand(codes, truth, noise="dropped") if told else np.nan,
            float((same == alike).mean()), auc,
        ))  # fmt: skip
    columns = ["prompt_id", "scope", "n_answers", "n_labels", "n_reference", "adjusted_rand",
               "adjusted_rand_without_noise", "same_pair_agreement", "auc"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def area_under_curve(values, positive):
    """Probability that a random positive has the larger value than a random negative, ties counting half.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    positive : ndarray of bool, shape (n,)

    Returns
    -------
    float
        0.5: the values say nothing; NaN unless there are both.
    """
    from scipy.stats import rankdata

    positive = np.asarray(positive, bool)
    n, m = positive.sum(), (~positive).sum()
    if not n or not m:
        return float("nan")
    return float((rankdata(values)[positive].sum() - n * (n + 1) / 2) / (n * m))


def agreement_means(tables, n_boot, rng):
    """Mean of every column of agreement over scopes, with an interval over resampled prompts.

    Parameters
    ----------
    tables : dict of (str, str) to pandas.DataFrame
        From `agreement`, by the names of labels and reference.
    n_boot : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Columns labels, reference, measure, mean, lower, upper, n_scopes (that have a value), n_single (one class in
        the reference), n_prompts.
    """
    rows = []
    for (name, reference), table in tables.items():
        codes, prompts = pd.factorize(table["prompt_id"], sort=True)
        weights = resample.bootstrap_weights(max(len(prompts), 1), n_boot, rng)
        for measure in ("adjusted_rand", "adjusted_rand_without_noise", "same_pair_agreement", "auc"):
            known = table[measure].notna().to_numpy()
            if not known.any():
                continue
            totals = np.bincount(codes[known], table[measure].to_numpy()[known], len(prompts))
            counts = np.bincount(codes[known], minlength=len(prompts))
            lower, upper = _bounds(totals, counts, weights)
            mean = totals.sum() / counts.sum()
            single = int((table["n_reference"] == 1).sum())
            rows.append((name, reference, measure, mean, lower, upper, int(known.sum()), single, len(prompts)))
    columns = ["labels", "reference", "measure", "mean", "lower", "upper", "n_scopes", "n_single", "n_prompts"]
    return pd.DataFrame(rows, columns=columns)


def _bounds(totals, counts, weights):
    """Interval of a pooled mean over resampled prompts; NaN for a single one."""
    if (np.asarray(counts) > 0).sum() < 2:
        return float("nan"), float("nan")
    lower, upper = resample.interval(resample.weighted_ratios(totals, counts, weights))
    return float(lower), float(upper)


def pair_counts(answers, vectors, people, labels, progress=None):
    """Histograms of the cosine of pairs, by kind of pair, per prompt.

    Parameters
    ----------
    answers : pandas.DataFrame
        Usable answers with response_id, prompt_id, model; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_answers, n_dims)
    people : set of str
    labels : pandas.DataFrame
        Rows of ``07_ideas``, of any origins.
    progress : callable, optional

    Returns
    -------
    prompt_order : list of str
    counts : dict of (str, str) to ndarray of int, shape (n_prompts, 2000)
        By kind and origin of the ideas (``none`` where they play no part). Pairs of people are counted apart; all
        other kinds are of models.
    """
    order = sorted(answers["prompt_id"].unique())
    position = {prompt: p for p, prompt in enumerate(order)}
    is_person = answers["model"].isin(people)
    counts = {}

    def add(kind, origin, prompt_ids, histograms):
        total = counts.setdefault((kind, origin), np.zeros((len(order), similarity.N_BINS), np.int64))
        np.add.at(total, [position[p] for p in prompt_ids], histograms)

    for kind, chosen in (("same prompt", ~is_person), ("people", is_person)):
        groups = [(p, at.index.to_numpy()) for p, at in answers[chosen].groupby("prompt_id")]
        if groups:
            found = similarity.pair_histograms(
                [(vectors[i], np.zeros(len(i), int)) for _, i in groups], progress=progress
            )
            add(kind, "none", [p for p, _ in groups], found[:, 0])
    place = answers[~is_person].reset_index().set_index("response_id")["index"]
    for origin, at in labels[labels["response_id"].isin(place.index)].groupby("origin"):
        scopes = [
            (at.loc[i, "response_id"], pd.factorize(at.loc[i, "idea"], sort=True)[0])
            for i in at.groupby("scope").groups.values()
        ]
        rows = [place[ids].to_numpy() for ids, _ in scopes]
        found = similarity.pair_histograms([(vectors[r], codes) for r, (_, codes) in zip(rows, scopes, strict=True)])
        prompt_ids = [answers["prompt_id"].iat[r[0]] for r in rows]
        add("same prompt, same idea", origin, prompt_ids, found[:, 0])
        add("same prompt, different idea", origin, prompt_ids, found[:, 1])
        add("same prompt, ideas compared", origin, prompt_ids, found.sum(1))
    return order, counts


def random_counts(answers, vectors, prompts, n_pairs, rng):
    """Histogram of random pairs of answers to different prompts, shape (1, 2000); a paraphrase is no other prompt."""
    parents = answers["prompt_id"].map(prompts["parent_id"])
    codes = pd.factorize(answers["prompt_id"].where(parents.isna(), parents), sort=True)[0]
    cosines = similarity.random_pair_cosines(vectors, codes, n_pairs, rng)
    return np.histogram(np.clip(cosines, -1, 1), np.linspace(-1, 1, similarity.N_BINS + 1))[0][None]


def floors(counts, thresholds, weights):
    """Distribution of every kind of pair, and the share above each threshold with its interval.

    Parameters
    ----------
    counts : dict of (str, str) to ndarray of int
        From `pair_counts` and `random_counts`.
    thresholds : sequence of float
    weights : ndarray of float, shape (n_boot, n_prompts)

    Returns
    -------
    pandas.DataFrame
        Table ``07_floors``. Pairs are pooled over prompts; intervals resample prompts (none for random pairs).
    """
    rows = []
    for (kind, origin), histograms in counts.items():
        pooled = histograms.sum(0)
        if pooled.sum() == 0:
            continue
        quantiles = [similarity.histogram_quantile(pooled, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
        for threshold in thresholds:
            above, below = np.nan_to_num(_above(histograms, threshold)), histograms.sum(1)
            own = weights if len(histograms) == weights.shape[1] else np.ones((1, len(histograms)))
            share = above.sum() / below.sum()
            prompts = int((below > 0).sum()) if kind != "different prompts" else weights.shape[1]
            rows.append(
                (kind, origin, threshold, int(pooled.sum()), prompts, share, *_bounds(above, below, own), *quantiles)
            )
    columns = ["kind", "ideas", "threshold", "n_pairs", "n_prompts", "share_above", "lower", "upper", "q05", "q25",
               "median", "q75", "q95"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _above(histograms, threshold):
    return similarity.share_at_least(histograms, threshold) * histograms.sum(1)


def excess(counts, origin, threshold, weights):
    """Excess of same-prompt pairs over the demanding null, same prompt and different idea, paired over prompts.

    Parameters
    ----------
    counts : dict of (str, str) to ndarray of int, shape (n_prompts, 2000)
    origin : str
        Of the ideas.
    threshold : float
    weights : ndarray of float, shape (n_boot, n_prompts)

    Returns
    -------
    dict
        difference, ratio of the shares above, each with ``lower`` and ``upper``. Both shares are of the same pairs:
        those whose ideas compare.
    """
    same, null = (counts[kind, origin] for kind in ("same prompt, ideas compared", "same prompt, different idea"))
    draws, values = [], []
    for histograms in (same, null):
        above, total = np.nan_to_num(_above(histograms, threshold)), histograms.sum(1)
        values.append(above.sum() / total.sum() if total.sum() else np.nan)
        draws.append(resample.weighted_ratios(above, total, weights))
    result = {}
    for name, f in (("difference", np.subtract), ("ratio", _ratio)):
        lower, upper = resample.interval(f(*draws)) if (null.sum(1) > 0).sum() > 1 else (np.nan, np.nan)
        result[name] = {"value": float(f(*values)), "lower": float(lower), "upper": float(upper)}
    return result


def _ratio(a, b):
    b = np.asarray(b, float)
    return np.divide(a, b, out=np.full(b.shape, np.nan), where=b > 0)


def best_door(labels):
    """Origin of the best labels there are; None without any. Labels of fewer than two ideas anywhere do not count."""
    for origin in DOORS:
        at = labels[labels["origin"] == origin]
        if len(at) and at.groupby("scope")["idea"].nunique().max() > 1:
            return origin
    return None


def _one_line(text, length=300):
    return " ".join(text.split())[:length]


def drawn(table, door, threshold):
    """Rows of ``07_floors`` for the figure: every kind once, ideas of the best door, from the least alike upwards.

    Where all pairs have comparable ideas, they stand for themselves; where only some have (a sample was judged, classes
    compare within a cell), the pairs that the null is part of are shown beside all of the prompt.
    """
    at = table[(table["threshold"] == threshold) & table["ideas"].isin(["none", door])]
    whole = at.loc[at["kind"] == "same prompt", "n_pairs"].sum()
    at = at[(at["kind"] != "same prompt, ideas compared") | (at["n_pairs"] != whole)]
    return at.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), ignore_index=True)


def headline(drawn_floors, gain, threshold):
    """Title of the floors: the demanding null beside the pairs it belongs to."""
    share = drawn_floors.set_index("kind")["share_above"]
    if gain is None or "same prompt, different idea" not in share:
        if "same prompt" not in share:
            return f"{share['people']:.0%} of pairs of people are ≥ {threshold:g}; no models to compare with"
        alike = share["same prompt"]
        return f"{alike:.0%} of same-prompt pairs are ≥ {threshold:g}; no idea labels to compare with"
    null = share["same prompt, different idea"]
    times = gain["ratio"]["value"]
    same = null + gain["difference"]["value"]
    more = f", {times:.1f} times as many" if np.isfinite(times) else ""
    floor = f"{null:.0%} of pairs with different ideas are ≥ {threshold:g} already"
    return f"{floor}; of all pairs whose ideas compare {same:.0%}{more}"


def quoted(drawn_floors, gain):
    """Floors for the results: share above with interval by kind; ratio and difference over the demanding null."""
    kinds = {row.kind: {"share_above": row.share_above, "lower": row.lower, "upper": row.upper, "n_pairs": row.n_pairs,
                        "median": row.median} for row in drawn_floors.itertuples()}  # fmt: skip
    if gain is None:
        return kinds
    ratio = gain["ratio"]
    return kinds | {
        "difference": gain["difference"],
        "ratio": ratio["value"],
        "lower": ratio["lower"],
        "upper": ratio["upper"],
    }
