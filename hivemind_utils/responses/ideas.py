"""Idea labels and what rests on them: three sources, how far they agree, similarity floors.

The sources, best first: labels that came with the data (given), a language model's (judge), modes of a lexical encoder
(lexical, which calls responses with the same words one idea, and so biases the different-idea null low). Never the
modes of the encoder whose similarity is reported: they are far apart because they were cut that way.
"""

import numpy as np
import pandas as pd

from hivemind_utils.llm import gguf_models, labeling
from hivemind_utils.metrics import clustering, intervals, similarity
from hivemind_utils.responses import repetition
from hivemind_utils.tables import files
from hivemind_utils.tables import ids as table_ids
from hivemind_utils.tables.wording import lost, percent

SOURCES = ("given", "judge", "lexical")
N_JUDGED = 60  # responses to a prompt that a judge is asked about, unless another number is asked for
NONE_LISTED = "(none listed) "  # the idea of a response that fits none on the judge's list
KINDS = (
    "different prompts", "people", "same prompt, different idea", "same prompt, ideas compared", "same prompt",
    "same prompt, same idea",
)  # fmt: skip


def collect(study, responses, points, judge_model=None, *, propose_path, assign_path, **options):
    """Collect the idea labels of every source there is.

    Parameters
    ----------
    study : Study
    responses : Responses
    points : pandas.DataFrame
        Table ``07_map`` of these responses.
    judge_model : str or None
        A litellm id; None: no judge.
    propose_path, assign_path : path-like
        The judge's instructions; see `judge`.
    **options
        Of `judge`: n_judged, seed, budget_usd.

    Returns
    -------
    labels : pandas.DataFrame
        Table ``07_ideas``.
    counts : dict or None
        Of `judge`; None without one.
    """
    counts, given, known = None, study.read("04_ideas"), responses.columns("response_id", "prompt_id")
    given = given[given["response_id"].isin(known["response_id"])].assign(origin="given")
    labels = [given[["response_id", "idea", "origin", "scope"]]]
    if judge_model is not None:
        instructions = [labeling.read_instructions(path) for path in (propose_path, assign_path)]
        store_path = files.store_path(study.number, study.profile)
        sampled = sample(responses, options.get("n_judged", N_JUDGED), options.get("seed", 0))
        judged, counts = judge(sampled, responses.prompts, judge_model, *instructions, store_path, **options)
        labels.append(judged)
    labels.append(from_modes(known, points["lexical_mode"]))
    return pd.concat(labels, ignore_index=True), counts


def sample(responses, n_judged, seed=0):
    """Responses that a judge is asked about: so many to every prompt (None: all), drawn at random.

    Parameters
    ----------
    responses : Responses
        Ordered by prompt_id.
    n_judged : int or None
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns response_id, prompt_id and text, indexed by the row among all responses.
    """
    starts = np.concatenate([[0], np.cumsum(responses.sizes)[:-1]])
    options = {"n_judged": n_judged, "seed": seed}
    return pd.concat(responses.map(_sampled, starts.tolist(), vectors=False, **options))


def _sampled(responses, start, *, n_judged, seed):
    """Rows of `sample` of one prompt, whose first row has the number `start`."""
    table = responses.table[["response_id", "prompt_id", "text"]]
    chosen = _drawn(table.set_index(table.index + start).sort_values("response_id"), n_judged, seed)
    return chosen.sort_index()


def _drawn(table, n_judged, seed):
    """Random responses to one prompt, ordered by response_id; all where there are no more."""
    rng = table_ids.generator("judged", seed, table["prompt_id"].iat[0])
    return table.iloc[np.sort(rng.permutation(len(table))[:n_judged])]


def by_source(labels):
    """Count what every source labels: responses, scopes and ideas."""
    groups = labels.groupby("origin")
    return groups.agg(responses=("idea", "size"), scopes=("scope", "nunique"), ideas=("idea", "nunique"))


def of_source(labels, source):
    """Idea of every response that a source labels, by response_id; empty for None."""
    return labels[labels["origin"] == source].set_index("response_id")["idea"]


def of_points(labels, source, points):
    """Idea of every row of ``07_map``, missing where it is not labelled, or by words alone."""
    return points["response_id"].map(of_source(labels, source if source in ("given", "judge") else None))


def from_modes(table, modes):
    """Modes of a lexical encoder as idea labels; a response outside of every mode is an idea of its own.

    Parameters
    ----------
    table : pandas.DataFrame
        With response_id and prompt_id.
    modes : sequence of int
        Lexical mode of every response, -1 for noise.

    Returns
    -------
    pandas.DataFrame
        Columns response_id, idea, origin (``lexical``), scope, as in ``07_ideas``.
    """
    modes = pd.Series(modes, index=table.index)
    named = ("words " + modes.astype(str)).where(modes != clustering.NOISE, "alone " + table["response_id"])
    columns = {"response_id": table["response_id"], "idea": named, "origin": "lexical", "scope": table["prompt_id"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def judge(
    table, prompts, model, propose, assign, store_path, *, n_judged=N_JUDGED, n_shown=40, n_ideas=15, seed=0, **options
):
    """Ask a language model for the idea of every response, from a list of ideas that it makes for each prompt.

    Labels of single responses would not compare ("river", "flowing water"), so the judge first reads a sample of the
    responses and names the ideas in it. A response that fits none gets an idea of its own.

    Parameters
    ----------
    table : pandas.DataFrame
        Usable responses with response_id, prompt_id, text.
    prompts : pandas.DataFrame
        Table ``04_prompts``, indexed by prompt_id.
    model : str
        A litellm id, or ``simulated/<name>``.
    propose, assign : str
        Instructions with ``$prompt`` and ``$answers``; with ``$prompt``, ``$ideas`` and ``$answer``.
    store_path : path-like
        Raw replies are kept there and not asked for again.
    n_judged : int or None
        Responses judged per prompt, a random sample; None judges all. Equal texts are asked once.
    n_shown, n_ideas : int
        Distinct responses the list is made from; most ideas on it.
    seed : int
        Of the sample: a generator per prompt, so that prompts do not depend on each other.
    **options
        Of `labeling.label`, such as budget_usd.

    Returns
    -------
    labelled : pandas.DataFrame
        Rows of ``07_ideas`` with origin ``judge``.
    counts : dict
        model, n_wanted (distinct responses to be labelled), n_asked (of these: those to a prompt whose list of ideas
        came), n_labelled, n_other (fit no idea on the list), n_failed, n_missing, n_prompts, n_prompts_without_list,
        and ``why``: what went wrong, in a sentence, or None.
    """
    from typing import Annotated

    import pydantic

    def own(idea):
        if idea.casefold() in example:
            raise ValueError("it is the example in the question, not an idea of these responses")
        return idea

    Idea = Annotated[pydantic.constr(strip_whitespace=True, min_length=1, max_length=80), pydantic.AfterValidator(own)]
    example = set()
    listing = pydantic.create_model("Ideas", ideas=(list[Idea], pydantic.Field(min_length=1, max_length=n_ideas)))
    if shown := labeling.parse(propose, listing)[0]:  # the instructions end in an example, which small models copy
        example.update(idea.casefold() for idea in shown["ideas"])
    with gguf_models.running([model]):  # from the first list to the last response
        return _judge(table, prompts, model, propose, assign, listing, n_judged, n_shown,
                      {"progress": False, "seed": seed, "store_path": store_path} | options)  # fmt: skip


def _judge(table, prompts, model, propose, assign, listing, n_judged, n_shown, options):
    import pydantic

    seed, sampled, shown = options["seed"], [], []
    for prompt_id, responses in table.sort_values("response_id").groupby("prompt_id"):
        chosen = _drawn(responses, n_judged, seed)
        distinct = chosen["text"].drop_duplicates().head(n_shown)
        sampled.append(chosen)
        shown.append((prompt_id, prompts["text"][prompt_id], "\n".join(f"- {_one_line(t)}" for t in distinct)))
    sampled = pd.concat(sampled)
    items = pd.DataFrame(shown, columns=["item_id", "prompt", "answers"])
    listed = labeling.label(items, propose, listing, model, **options)
    lists = listed.table
    lists = {row.item_id: list(dict.fromkeys(row.value["ideas"])) for row in lists.itertuples()}
    n_wanted = len(sampled.drop_duplicates(["prompt_id", "text"]))
    counts = {"model": model, "n_wanted": n_wanted}
    counts |= {"n_asked": 0, "n_labelled": 0, "n_other": 0, "n_failed": 0, "n_missing": 0, "n_prompts": len(shown)}
    labelled, problems = [], _problems("lists of ideas", listed)
    for prompt_id, ideas in lists.items():
        own = sampled[sampled["prompt_id"] == prompt_id]
        texts = own["text"].drop_duplicates()
        items = pd.DataFrame(
            {"item_id": texts.index.astype(str), "answer": texts, "prompt": prompts["text"][prompt_id]}
        )
        items["ideas"] = "\n".join(f"{k}. {idea}" for k, idea in enumerate(ideas, 1))
        number = pydantic.create_model("Number", idea=(int, pydantic.Field(ge=0, le=len(ideas))))
        labels = labeling.label(items, assign, number, model, **options)
        found = {texts[int(row.item_id)]: row.value["idea"] for row in labels.table.itertuples()}
        value = own["text"].map(found).dropna().astype(int)
        named = [
            ideas[k - 1] if k else f"{NONE_LISTED}{r}"
            for k, r in zip(value, own.loc[value.index, "response_id"], strict=True)
        ]
        labelled.append(
            pd.DataFrame({"response_id": own.loc[value.index, "response_id"], "idea": named, "scope": prompt_id})
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
    """Say why labels are missing: the most common reason, and how many."""
    reasons = pd.concat([labels.failures["reason"], labels.missing["reason"]])
    return (
        [] if reasons.empty else [f"{what}: {len(reasons)} missing, mostly because {reasons.mode().iat[0].rstrip('.')}"]
    )


def judge_says(counts, wanted=None, source=None):
    """Say in a sentence how often the judge of ideas gave no label, why, and what ideas rest on instead.

    Parameters
    ----------
    counts : dict or None
        Of `judge`; None where nobody was asked.
    wanted : str or None
        The judge that a profile names.
    source : str or None
        Whose ideas are used, from `best_source`.

    Returns
    -------
    str
        Empty where no judge is wanted and ideas come with the data.
    """
    instead = {"lexical": "ideas are told apart by words alone", None: "no ideas are told apart"}.get(source)
    if counts is None:
        why = "no judge is named" if wanted is None else "a simulated judge labels simulated responses only"
        return f"No judge labelled ideas ({why}): {instead}" if instead else ""
    n_lost = counts["n_wanted"] - counts["n_labelled"]
    said = lost(f"The judge of ideas {counts['model']}", "label", n_lost, counts["n_wanted"], counts["why"])
    if counts["n_labelled"]:
        said += f"; {percent(counts['n_other'] / counts['n_labelled'])} of its labels say that none of its ideas fits"
    return f"{said}: {instead}" if instead else said


def agreement(responses, points, labels):
    """How far idea labels agree: modes and words with better sources, the judge with given labels.

    Parameters
    ----------
    responses : Responses
    points : pandas.DataFrame
        Table ``07_map`` of these responses.
    labels : pandas.DataFrame
        Table ``07_ideas``.

    Returns
    -------
    pandas.DataFrame
        Table ``07_agreement``.
    """
    by_response = points.set_index("response_id")
    named = {"modes": by_response["mode"], "lexical": by_response["lexical_mode"], "judge": of_source(labels, "judge")}
    compared = {}
    for name, own in named.items():
        for source in ("given", "judge"):
            reference = labels[labels["origin"] == source]
            if name != source and len(own) and len(reference):
                compared[name, source] = (
                    _modes_agreement(responses, points, reference)
                    if name == "modes"
                    else scope_agreement(own, reference, responses.columns("response_id", "prompt_id"))
                )
    return agreement_means(compared)


def _modes_agreement(responses, points, reference):
    """Return what `scope_agreement` says of the modes and the cosines, prompt by prompt."""
    known = responses.columns("response_id", "prompt_id")
    prompt_of = known.set_index("response_id")["prompt_id"]
    modes, references = (
        dict(list(frame.groupby(frame["response_id"].map(prompt_of)))) for frame in (points, reference)
    )
    order, nothing = responses.prompt_order, scope_agreement(pd.Series(dtype=int), reference.iloc[:0], known)
    tables = responses.map(_prompt_agreement, (modes.get(p) for p in order), (references.get(p) for p in order))
    tables = [table for table in tables if table is not None and len(table)]
    return pd.concat(tables or [nothing], ignore_index=True).sort_values("scope", kind="stable", ignore_index=True)


def _prompt_agreement(responses, points, reference):
    """Rows of `scope_agreement` of one prompt, from its rows of ``07_map`` and its labels; None without them."""
    if points is None or reference is None:
        return None
    return scope_agreement(points.set_index("response_id")["mode"], reference, responses.table, responses.vectors)


def scope_agreement(labels, reference, table, vectors=None):
    """How far labels agree with a reference, scope by scope.

    Parameters
    ----------
    labels : pandas.Series
        Label by response_id: whole numbers with -1 for noise, or names. Compared within the reference's scopes.
    reference : pandas.DataFrame
        Rows of ``07_ideas`` of one origin.
    table : pandas.DataFrame
        With response_id and prompt_id; row i belongs to ``vectors[i]``.
    vectors : ndarray of float, shape (n_responses, n_dims), optional
        Adds the area under the curve of the cosine for pairs of the same reference label.

    Returns
    -------
    pandas.DataFrame
        Per scope of at least two responses with both labels: prompt_id, scope, n_responses, n_labels, n_reference,
        adjusted_rand (noise as singletons; NaN where the reference has a single class),
        adjusted_rand_without_noise, same_pair_agreement (share of pairs about which both say same or both different),
        auc (NaN where all pairs are alike).
    """
    from sklearn.metrics import roc_auc_score

    place = pd.Series(np.arange(len(table)), index=table["response_id"])
    known = reference[reference["response_id"].isin(labels.index) & reference["response_id"].isin(place.index)]
    rows = []
    for scope, members in known.groupby("scope"):
        if len(members) < 2:
            continue
        own = labels.loc[members["response_id"]]
        codes = own.to_numpy(int) if pd.api.types.is_integer_dtype(own) else pd.factorize(own, sort=True)[0]
        truth = pd.factorize(members["idea"], sort=True)[0]
        n_labels, n_reference = len(set(codes[codes >= 0])) + int((codes < 0).sum()), truth.max() + 1
        pairs = np.triu_indices(len(members), 1)
        same = truth[pairs[0]] == truth[pairs[1]]
        alike = (codes[pairs[0]] == codes[pairs[1]]) & (codes[pairs[0]] != clustering.NOISE)
        auc = np.nan
        if vectors is not None and same.any() and not same.all():
            unit = similarity.unit_rows(vectors[place[members["response_id"]].to_numpy()])
            auc = roc_auc_score(same, (unit @ unit.T)[pairs])
        rows.append((
            table["prompt_id"].iat[place[members["response_id"].iat[0]]], scope, len(members), n_labels, n_reference,
            clustering.adjusted_rand(codes, truth) if n_reference > 1 else np.nan,
            clustering.adjusted_rand(codes, truth, noise="dropped") if n_reference > 1 else np.nan,
            float((same == alike).mean()), auc,
        ))  # fmt: skip
    columns = ["prompt_id", "scope", "n_responses", "n_labels", "n_reference", "adjusted_rand",
               "adjusted_rand_without_noise", "same_pair_agreement", "auc"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def agreement_means(tables):
    """Mean of every measure of agreement over scopes, with its interval over prompts.

    Parameters
    ----------
    tables : dict of (str, str) to pandas.DataFrame
        From `scope_agreement`, by the names of labels and reference.

    Returns
    -------
    pandas.DataFrame
        Columns labels, reference, measure, mean, lower, upper, n_scopes (that have a value), n_single (one class in
        the reference), n_prompts.
    """
    rows = []
    for (name, reference), table in tables.items():
        single = int((table["n_reference"] == 1).sum())
        for measure in ("adjusted_rand", "adjusted_rand_without_noise", "same_pair_agreement", "auc"):
            known = table.dropna(subset=measure).groupby("prompt_id")[measure]
            if not known.ngroups:
                continue
            found = intervals.ratio_interval(known.sum(), known.size())
            bounds = found.estimate, found.lower, found.upper
            n = int(known.size().sum())
            rows.append((name, reference, measure, *map(float, bounds), n, single, table["prompt_id"].nunique()))
    columns = ["labels", "reference", "measure", "mean", "lower", "upper", "n_scopes", "n_single", "n_prompts"]
    return pd.DataFrame(rows, columns=columns)


def pair_counts(responses, labels, n_random, rng, progress=None):
    """Histograms of the cosine of pairs, by kind of pair, per prompt.

    Parameters
    ----------
    responses : Responses
    labels : pandas.DataFrame
        Rows of ``07_ideas``, of any origins. A response that fits no idea on the judge's list is left out.
    n_random : int
        Random pairs of responses to different prompts.
    rng : numpy.random.Generator
        Draws these.
    progress : callable, optional

    Returns
    -------
    dict of (str, str) to ndarray of int, shape (n_prompts, 2000)
        By kind and origin of the ideas (``none`` where they play no part), prompts in order; a single row for pairs of
        different prompts. Pairs of people are counted apart; all other kinds are of models.
    """
    known = responses.columns("response_id", "prompt_id", "model")
    human, order = known["model"].isin(responses.people).to_numpy(), responses.prompt_order
    prompt_of = known[~human].set_index("response_id")["prompt_id"]
    told = labels[labels["response_id"].isin(prompt_of.index) & ~labels["idea"].str.startswith(NONE_LISTED)]
    kinds = [(kind, "none") for kind, there in (("same prompt", ~human), ("people", human)) if there.any()]
    kinds += [(kind, origin) for origin in sorted(told["origin"].unique()) for kind in _OF_IDEAS]
    counts = {kind: np.zeros((len(order), similarity.N_BINS), np.int64) for kind in kinds}
    own = dict(list(told.groupby(told["response_id"].map(prompt_of))))
    found = responses.map(_pair_counts, (own.get(prompt_id) for prompt_id in order), progress=progress)
    for p, histograms in enumerate(found):
        for kind, histogram in histograms.items():
            counts[kind][p] = histogram
    cosines = repetition.random_cosines(responses.models_only(), n_random, rng)
    edges = np.linspace(-1, 1, similarity.N_BINS + 1)
    counts["different prompts", "none"] = np.histogram(np.clip(cosines, -1, 1), edges)[0][None]
    return counts


_OF_IDEAS = ("same prompt, same idea", "same prompt, different idea", "same prompt, ideas compared")


def _pair_counts(responses, told):
    """Histograms of the pairs of one prompt by kind and origin of the ideas; `told`: labels of its responses."""
    table, vectors, counts = responses.table, responses.vectors, {}
    for kind, chosen in (("same prompt", ~responses.is_human), ("people", responses.is_human)):
        rows = np.flatnonzero(chosen)
        if len(rows):
            cell = [(vectors[rows], np.zeros(len(rows), int))]
            counts[kind, "none"] = similarity.pair_histograms(cell, n_threads=1)[0, 0]
    place = pd.Series(table.index, index=table["response_id"])
    for origin, own in told.groupby("origin") if told is not None else ():
        scopes = [
            (vectors[place[scope["response_id"]].to_numpy()], pd.factorize(scope["idea"], sort=True)[0])
            for _, scope in own.groupby("scope")
        ]
        same, different = similarity.pair_histograms(scopes, n_threads=1).sum(0)
        for kind, histogram in zip(_OF_IDEAS, (same, different, same + different), strict=True):
            counts[kind, origin] = histogram
    return counts


def floors(counts, thresholds):
    """Distribution of every kind of pair, and the share above each threshold with its interval over prompts.

    Parameters
    ----------
    counts : dict of (str, str) to ndarray of int
        From `pair_counts`.
    thresholds : sequence of float

    Returns
    -------
    pandas.DataFrame
        Table ``07_floors``. Pairs are pooled over prompts; jackknife intervals over prompts, cut at 0 and 1 (none for
        random pairs).
    """
    n_prompts = max(len(histograms) for histograms in counts.values())
    rows = []
    for (kind, origin), histograms in counts.items():
        pooled = histograms.sum(0)
        if pooled.sum() == 0:
            continue
        quantiles = [similarity.histogram_quantile(pooled, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
        prompts = n_prompts if kind == "different prompts" else int((histograms.sum(1) > 0).sum())
        for threshold in thresholds:
            found = intervals.ratio_interval(*_above(histograms, threshold))
            bounds = np.clip([found.estimate, found.lower, found.upper], 0, 1)
            rows.append((kind, origin, threshold, int(pooled.sum()), prompts, *bounds, *quantiles))
    columns = ["pair_type", "ideas", "threshold", "n_pairs", "n_prompts", "share_above", "lower", "upper", "q05", "q25",
               "median", "q75", "q95"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _above(histograms, threshold):
    """Pairs at or above a threshold, and all pairs, per prompt; NaN where a prompt has none."""
    total = histograms.sum(1).astype(float)
    total[total == 0] = np.nan
    return similarity.share_at_least(histograms, threshold) * total, total


def excess(counts, source, threshold):
    """Same-prompt pairs at or above a threshold against those of different ideas, paired by prompt.

    Parameters
    ----------
    counts : dict of (str, str) to ndarray of int, shape (n_prompts, 2000)
        From `pair_counts`.
    source : str or None
        Of the ideas, from `best_source`; None: nothing to compare.
    threshold : float

    Returns
    -------
    dict or None
        difference, ratio: each with value, lower, upper. Both shares are of the same pairs: those whose ideas compare.
        Jackknife intervals over prompts, that of the ratio on the scale of its logarithm.
    """
    if source is None:
        return None
    same, null = (
        _above(counts[kind, source], threshold)
        for kind in ("same prompt, ideas compared", "same prompt, different idea")
    )
    weights = intervals.left_out_weights(np.arange(len(same[0])))
    with np.errstate(divide="ignore", invalid="ignore"):  # no pair, or none above: no ratio
        shares = [weights @ np.nan_to_num(above) / (weights @ np.nan_to_num(total)) for above, total in (same, null)]
        logs = np.log(shares[0]) - np.log(shares[1])
    logs[~np.isfinite(logs)] = np.nan
    ratio = intervals.jackknife_interval(logs, ~np.isnan(same[1]))
    difference = intervals.ratio_difference_interval(same, null)
    return {
        "difference": _quoted(difference.estimate, difference.lower, difference.upper),
        "ratio": _quoted(*np.exp([ratio.estimate, ratio.lower, ratio.upper])),
    }


def _quoted(value, lower, upper):
    return {"value": float(value), "lower": float(lower), "upper": float(upper)}


def best_source(labels, responses):
    """Best source of ideas of models' responses; None where none tells two ideas apart in any scope."""
    known = responses.columns("response_id", "model")
    machine = known.loc[~known["model"].isin(responses.people), "response_id"]
    told = labels[labels["response_id"].isin(machine) & ~labels["idea"].str.startswith(NONE_LISTED)]
    for origin in SOURCES:
        own = told[told["origin"] == origin]
        if len(own) and own.groupby("scope")["idea"].nunique().max() > 1:
            return origin
    return None


def _one_line(text, length=300):
    return " ".join(text.split())[:length]


def shown(table, source, threshold):
    """Rows of ``07_floors`` for the figure: every kind once, ideas of the best source, from the least alike upwards.

    Where all pairs have comparable ideas, they stand for themselves; where only some have (a sample was judged, classes
    compare within a cell), the pairs that the null is part of are shown next to all of the prompt.
    """
    own = table[(table["threshold"] == threshold) & table["ideas"].isin(["none", source])]
    whole = own.loc[own["pair_type"] == "same prompt", "n_pairs"].sum()
    own = own[(own["pair_type"] != "same prompt, ideas compared") | (own["n_pairs"] != whole)]
    return own.sort_values("pair_type", key=lambda kinds: kinds.map(KINDS.index), ignore_index=True)


def quoted(floors_shown, gain):
    """Floors for the results: share above with interval by kind; ratio and difference over the demanding null."""
    names = ["share_above", "lower", "upper", "n_pairs", "median"]
    kinds = {row["pair_type"]: {name: row[name] for name in names} for row in floors_shown.to_dict("records")}
    if gain is None:
        return kinds
    ratio = gain["ratio"]
    return kinds | {
        "difference": gain["difference"],
        "ratio": ratio["value"],
        "lower": ratio["lower"],
        "upper": ratio["upper"],
    }
