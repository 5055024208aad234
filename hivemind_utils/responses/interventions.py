"""Arms as notebook 10 compares them: what was asked for, what came, and measures of every prompt and arm."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from hivemind_utils.metrics import coverage, intervals, interventions, quality, similarity, words
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.responses import embeddings, loading, stored
from hivemind_utils.tables.study import NothingToMeasureError
from hivemind_utils.tables.wording import few_prompts, listed

PRIMARY = ("ideas", "diversity")
ARM = ["model", "condition", "decoding"]
MOST_READ = 8  # responses a reader looks at


@dataclass(frozen=True)
class OnDisk:
    """Vectors of responses that are read as rows of them are asked for; 0 for those without one.

    Attributes
    ----------
    cache : embeddings.Cache
    place : ndarray of int, shape (n_responses,)
        Row of the cache of every response; -1 for none.
    """

    cache: embeddings.Cache
    place: np.ndarray

    def __getitem__(self, rows):
        """Read the vectors of an array of row numbers: shape (*rows.shape, n_dims); -1 pads."""
        at = np.where(rows >= 0, self.place[rows], -1)
        found = np.zeros((*at.shape, self.cache.n_dims), np.float32)
        found[at >= 0] = self.cache.take(at[at >= 0])
        return found


@dataclass(frozen=True)
class Asked:
    """Everything that was asked for, by prompt and arm.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per response asked for, usable or not: columns of ``04_responses``, and tokens, usd (NaN where unknown),
        idea (missing where unknown), quality (0 to 1) and label (people's, 0 to 1), both NaN where unknown.
    arms : pandas.DataFrame
        One row per arm: model, condition, decoding, title, label, k, is_chain, is_rung, comparator (its condition),
        and other, direct: rows of the comparator and of the model's default; -1 where there is none.
    prompts : pandas.DataFrame
        prompt_id and prompt_kind.
    rows : ndarray of int, shape (n_prompts, n_arms, n)
        Row of every response in `table`; -1 pads.
    vectors : ndarray of float, shape (n_responses, n_dims), or OnDisk
        0 for what is not usable.
    never_asked : list of str
        Arms without any response.
    judged : dict or None
        What came of the judge of ideas, from `ideas.judge`; None where none was asked.
    """

    table: pd.DataFrame
    arms: pd.DataFrame
    prompts: pd.DataFrame
    rows: np.ndarray
    vectors: object
    never_asked: list
    judged: dict | None = None

    @property
    def open(self):
        """Which prompts are open-ended."""
        return (self.prompts["prompt_kind"] == "original").to_numpy()

    @property
    def asked(self):
        """Which entries of `rows` were asked for."""
        return self.rows >= 0

    @cached_property
    def usable(self):
        """Which entries of `rows` are usable."""
        return self.at("usable", False).astype(bool)

    @cached_property
    def cosines(self):
        """Cosines of all pairs of every cell, shape (n_prompts, n_arms, n, n)."""
        by_prompt = (
            interventions.cell_cosines(self.vectors[rows], usable)
            for rows, usable in zip(self.rows, self.usable, strict=True)
        )
        return np.stack(list(by_prompt))

    @cached_property
    def ideas(self):
        """Idea of every entry as a number, -1 where it is not usable or has none."""
        scoped = self.table["prompt_id"] + "\x1f" + self.table["idea"].astype(str)
        codes = np.where(self.table["idea"].notna(), pd.factorize(scoped)[0], -1)
        return np.where(self.usable, codes[self.rows], -1)

    def at(self, column, padding=np.nan):
        """Values of a column by prompt, arm and response."""
        return np.where(self.asked, self.table[column].to_numpy()[self.rows], padding)

    def has(self, column):
        """Whether any response has a value in a column."""
        return bool(self.table[column].notna().any())

    def with_columns(self, **columns):
        """Return the same with columns of `table` set."""
        return dataclasses.replace(self, table=self.table.assign(**columns))

    def describe(self):
        """Say in a sentence what is here."""
        n = self.asked.sum(-1)
        each = sorted({int(n[n > 0].min()), int(n.max())})
        sentence = (
            f"{len(self.table):,} responses asked for in {len(self.arms)} arms, {self.open.sum()} open-ended and "
            f"{(~self.open).sum()} closed-ended prompts, {' to '.join(map(str, each))} each"
        )
        return f"{sentence}; never asked: {listed(self.never_asked, 9)}" if self.never_asked else sentence


def load(study, encoder, *, models=None, decoding=None):
    """Load what was asked for in several ways.

    Parameters
    ----------
    study : Study
    encoder : str
        The encoder with which notebook 04 embedded the responses.
    models : list of str, optional
        Models and groups of people; None: those that were asked in several ways.
    decoding : str, optional
        Of the plain asking; None: top_p, else the most common.

    Returns
    -------
    Asked

    Raises
    ------
    NothingToMeasureError
        If there is no arm besides the plain asking.
    ValueError
        If a model that is named does not occur.
    """
    declared, path = study.read("04_arms").set_index("condition"), study.look("04_responses")
    table = study.read("04_responses", columns=[*ARM, "prompt_id"])
    prompts, known = study.read("04_prompts"), study.read("04_models").set_index("model")
    others = response_arms.interventions(declared.reset_index()) & set(table["condition"])
    if not others:
        raise NothingToMeasureError(
            "There is no arm to compare: name arms under `arms` of 04_generate, or conditions of your responses with "
            "their comparators. The shipped ones are in data/reference/arms.yaml."
        )
    varied = sorted(table.loc[table["condition"].isin(others), "model"].unique())
    if models is not None and (absent := sorted(set(models) - set(table["model"]))):
        raise ValueError(f"`models` names {absent}, but responses come from {sorted(table['model'].unique())}.")
    kinds = prompts.set_index("prompt_id")["prompt_kind"]
    table = table[table["model"].isin(varied if models is None else models)]
    table = table[table["prompt_id"].map(kinds).isin(["original", "closed"])]
    table = table[table["condition"].isin({*declared.index, response_arms.DEFAULT})]
    people = set(known.index[known["model_kind"] == "human"])
    plain = table["condition"] == response_arms.DEFAULT
    chosen = loading.choose_decoding(table[plain], people, decoding)
    table = table[~plain | (table["decoding"] == chosen) | table["model"].isin(people)]
    arms, prompt_ids = _arms(table, declared, varied), set(table["prompt_id"])
    table = stored.read_cells(path, arms[ARM]).pipe(lambda t: t[t["prompt_id"].isin(prompt_ids)])
    absent = [
        f"{declared['title'][name]} ({model})"
        for model in (varied if models is None else [m for m in models if m in varied])
        for name in declared.index[~declared["is_pool"]]
        if not ((arms["model"] == model) & (arms["condition"] == name)).any()
    ]
    asked = assemble(_with_costs(table, study.read("04_provenance")), arms, kinds, study, encoder, absent)
    study.stamp["prompts_note"] = few_prompts(int(asked.open.sum()))
    return asked


def _arms(table, declared, varied):
    """Arms that have responses, in the order they were declared."""
    order = {name: i for i, name in enumerate([*declared.index, response_arms.DEFAULT][::-1])}
    arms = table[ARM].drop_duplicates()
    arms = arms.assign(at=arms["condition"].map(order)).sort_values(
        ["model", "at", "decoding"], ascending=[True, False, True]
    )
    arms = arms.drop(columns="at").reset_index(drop=True)
    facts = declared.reindex(arms["condition"])
    is_plain = (arms["condition"] == response_arms.DEFAULT).to_numpy()
    title = facts["title"].where(facts["title"].notna(), "asked directly").to_numpy()
    arms["title"] = np.where(arms["model"].isin(varied), title, arms["model"])
    several = arms["model"].isin(varied) & (len(varied) > 1)
    arms["label"] = np.where(several, arms["model"] + ": " + arms["title"], arms["title"])
    arms["k"] = facts["k"].fillna(1).astype(int).to_numpy()
    arms["is_chain"] = facts["is_chain"].eq(True).to_numpy()
    arms["is_rung"] = (facts["is_rung"].eq(True).to_numpy() | is_plain) & arms["model"].isin(varied)
    arms["comparator"] = facts["comparator"].where(facts["comparator"].notna(), None).to_numpy()
    place = {pair: i for i, pair in enumerate(zip(arms["model"], arms["condition"], strict=True))}
    arms["other"] = [place.get(pair, -1) for pair in zip(arms["model"], arms["comparator"], strict=True)]
    direct = [place.get((model, response_arms.DEFAULT), -1) for model in arms["model"]]
    arms["direct"] = np.where(is_plain, -1, direct)
    return arms


def _with_costs(table, provenance):
    """Tokens and dollars of every response: its share of its call, prompt and hidden tokens too."""
    of = provenance.set_index("response_id")
    tokens = (of["prompt_tokens"] + of["completion_tokens"]) / of["n_in_call"]
    return table.assign(
        tokens=table["response_id"].map(tokens.astype(float)),
        usd=table["response_id"].map(of["cost_usd"].astype(float)),
    )


def assemble(table, arms, kinds, study, encoder, never_asked=()):
    """Put responses in order of prompts and arms, with their vectors."""
    table = table.sort_values([*ARM, "prompt_id", "sample_idx"], ignore_index=True)
    vectors, usable = np.zeros((len(table), 1), np.float32), table["usable"].to_numpy()
    if usable.any():
        cache, place = embeddings.cache(encoder, study.folder / "embeddings"), np.full(len(table), -1)
        place[usable] = cache.rows(table.loc[usable, "text_id"])
        vectors = OnDisk(cache, place)
    return arranged(table, arms, kinds, vectors, never_asked)


def arranged(table, arms, kinds, vectors, never_asked=()):
    """Make `Asked` of rows in order, their arms, the kinds of prompts by prompt_id, and vectors."""
    for name in ("idea", "quality", "label", "tokens", "usd"):
        if name not in table:
            table = table.assign(**{name: None if name == "idea" else np.nan})
    prompt_ids = sorted(table["prompt_id"].unique())
    p = table["prompt_id"].map({name: i for i, name in enumerate(prompt_ids)}).to_numpy()
    places = {tuple(row): i for i, row in enumerate(arms[ARM].itertuples(index=False, name=None))}
    a = np.array([places[row] for row in table[ARM].itertuples(index=False, name=None)])
    number = table.groupby([p, a]).cumcount().to_numpy()
    rows = np.full((len(prompt_ids), len(arms), number.max() + 1), -1)
    rows[p, a, number] = np.arange(len(table))
    prompts = pd.DataFrame({"prompt_id": prompt_ids, "prompt_kind": [kinds[name] for name in prompt_ids]})
    return Asked(table, arms, prompts, rows, vectors, list(never_asked))


def measures(asked, threshold=0.5, patience=quality.PATIENCE):
    """Measure every prompt and arm.

    Parameters
    ----------
    asked : Asked
    threshold : float
        Valid is what is usable and reaches this quality; everything usable where nothing has a quality.
    patience : float
        Of a reader, for the utility.

    Returns
    -------
    dict of str to ndarray of float, shape (n_prompts, n_arms)
        Those of `interventions.MEASURES` that the responses allow; NaN where a cell has none. The effective number of
        ideas is at one number of responses for all cells, distinct ideas and yield at the number that all arms of a
        prompt have.
    """
    usable, n = asked.usable, asked.asked.sum(-1)
    found = {"diversity": quality.diversity(asked.cosines, usable)}
    scored = _scores(asked)
    valid = usable if scored is None else usable & (np.nan_to_num(scored[0], nan=-1) >= threshold)
    if asked.has("idea"):
        known = valid & (asked.ideas >= 0)
        found["ideas"] = _hill(asked.ideas, usable & (asked.ideas >= 0))
        found["distinct"] = _distinct(asked.ideas, known, n)
    if scored is not None:
        q, there = scored
        found["diversity_valid"] = quality.diversity(asked.cosines, valid)
        found["quality"] = _mean(np.where(usable, q, 0), there)
        found["quality_usable"] = _mean(q, there & usable)
        if asked.has("idea"):
            found["utility"], found["yield"] = _to_readers(asked, known, q, patience)
    found |= _of_lists(asked)
    found["unparsed"] = _mean(asked.at("outcome", "") == response_arms.UNPARSED, asked.asked)
    lengths = np.array([len(found_words) for found_words in words.word_lists(asked.table["text"])], float)
    found["words"] = _mean(lengths[asked.rows], usable)
    return {name: found[name] for name in interventions.MEASURES if name in found}


def _to_readers(asked, known, q, patience):
    """Utility of the first responses, and yield, at as many responses as every arm of the prompt was asked for."""
    n, chain = asked.asked.sum(-1), asked.arms["is_chain"].to_numpy()
    most, utility, best = min(MOST_READ, n[n > 0].min()), np.full(n.shape, np.nan), np.full(n.shape, np.nan)
    for p, a in zip(*np.nonzero(n), strict=True):
        own = known[p, a, : n[p, a]]
        ideas, values = np.where(own, asked.ideas[p, a, : n[p, a]], -1), np.where(own, q[p, a, : n[p, a]], 0)
        options = {"usable": own, "patience": patience, "in_order": bool(chain[a])}
        utility[p, a] = quality.utility(ideas, values, int(most), **options)
        best[p, a] = quality.yield_of_ideas(ideas, values, int(n[p][n[p] > 0].min()), usable=own)
    return utility, best


def _scores(asked):
    """Quality of every entry, and which entries count: all but usable ones that nobody scored; None without any."""
    if not asked.has("quality"):
        return None
    q = asked.at("quality").astype(float)
    return q, asked.asked & ~(asked.usable & np.isnan(q))


def _mean(values, mask):
    values = np.where(mask, values, 0)
    return np.divide(values.sum(-1), mask.sum(-1), out=np.full(mask.shape[:-1], np.nan), where=mask.any(-1))


def _of_lists(asked):
    """Diversity within and between calls of lists and chains, and by stated probability."""
    found, several = {}, asked.arms["k"].to_numpy() > 1
    if several.any():
        calls = asked.at("reply").astype(object)
        calls = np.where(pd.isna(calls), -1 - np.arange(calls.shape[-1]), calls).astype(int)
        within, between = interventions.call_diversity(asked.cosines, calls, asked.usable)
        found = {"within_call": np.where(several, within, np.nan), "between_calls": np.where(several, between, np.nan)}
    if asked.has("probability"):
        found["weighted"] = interventions.weighted_diversity(
            asked.cosines, np.nan_to_num(asked.at("probability").astype(float), nan=-1), asked.usable
        )[0]
    return found


def _counts(ideas):
    return np.unique(ideas, return_counts=True)[1]


def _hill(ideas, known):
    """Effective number of ideas, order 1, at one number of responses for all prompts and arms.

    It grows with that number, so open-ended and closed-ended prompts compare at the same one: the smallest of all cells
    that have at least half as many as is usual. Cells with fewer have no value.
    """
    n = known.sum(-1)
    found = np.full(n.shape, np.nan)
    if not (n >= 2).any():
        return found
    least = max(2, np.median(n[n >= 2]) / 2)
    there = n >= least
    size = int(n[there].min())
    for p, a in zip(*np.nonzero(there), strict=True):
        found[p, a] = coverage.hill_at_size(_counts(ideas[p, a][known[p, a]]), size, (1,))[0]
    return found


def _distinct(ideas, known, n):
    """Distinct valid ideas expected among as many responses as every arm was asked for."""
    found = np.full(n.shape, np.nan)
    for p in range(len(n)):
        there = np.flatnonzero(n[p] > 0)
        for a in there:
            counts = _counts(ideas[p, a][known[p, a]])
            found[p, a] = coverage.distinct_at_size(counts, n[p, a], n[p, there].min()) if len(counts) else 0.0
    return found


def arm_means(asked, found):
    """Table ``10_arms``: mean of every measure over open-ended prompts, with its t interval.

    Parameters
    ----------
    asked : Asked
    found : dict of str to ndarray
        From `measures`.
    """
    rows, n = [], asked.asked.sum(-1)
    stated = pd.to_numeric(asked.table["probability"]).astype(float)
    stated = stated.where(stated >= 0)  # as `weighted_diversity` takes them
    cells = [asked.table[name] for name in ARM]
    total = stated.groupby(cells, sort=False).sum() / stated.groupby(cells, sort=False).size()
    for name, values in found.items():
        mean = intervals.mean_interval(values[asked.open])
        for a, arm in enumerate(asked.arms.itertuples()):
            there = n[:, a][n[:, a] > 0]
            if np.isnan(mean.estimate[a]):
                continue
            rows.append((
                arm.model, arm.condition, arm.decoding, name, arm.label, int(mean.n_prompts[a]), mean.estimate[a],
                mean.lower[a], mean.upper[a], int(there.min()), int(there.max()),
                arm.k * total[arm.model, arm.condition, arm.decoding] if name == "weighted" else np.nan,
            ))  # fmt: skip
    columns = [*ARM, "measure", "label", "n_prompts", "mean", "lower", "upper", "n_smallest", "n_largest",
               "sum_of_probabilities"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def differences(found, measure, other):
    """Arm minus comparator of every prompt, shape (n_prompts, n_arms); NaN where a side is missing."""
    other = np.asarray(other)
    return np.where(other >= 0, found[measure] - found[measure][:, other], np.nan)


def contrasts(asked, found):
    """Table ``10_contrasts``: every arm minus its comparator, paired by prompt.

    Parameters
    ----------
    asked : Asked
    found : dict of str to ndarray
        From `measures`.

    Returns
    -------
    pandas.DataFrame
        Per arm, measure and set of prompts: open-ended, closed-ended, the difference of both, and open-ended with
        responses paired by length.
    """
    rows, other = [], asked.arms["other"].to_numpy()
    for name in found:
        change = differences(found, name, other)
        sides = {"open-ended": change[asked.open], "closed-ended": change[~asked.open]}
        sets = {kind: interventions.mean_contrast(values) for kind, values in sides.items() if len(values)}
        if len(sets) == 2:
            sets["open-ended minus closed-ended"] = interventions.open_minus_closed(*sides.values())
        if name == "diversity":
            sets["open-ended, equal length"] = interventions.mean_contrast(_length_matched(asked)[asked.open])
        rows += [(name, kind, a, one) for kind, one in sets.items() for a in range(len(other)) if other[a] >= 0]
    columns = [*ARM, "label", "comparator", "measure", "prompts", "n_prompts", "estimate", "lower", "upper", "p"]
    return pd.DataFrame([_contrast_row(asked.arms, *row) for row in rows], columns=columns)


def _contrast_row(arms, name, kind, a, one):
    arm = arms.iloc[a]
    numbers = (float(np.asarray(getattr(one, field))[a]) for field in ("estimate", "lower", "upper", "p"))
    n = int(np.asarray(one.n_prompts)[a])
    return (*arm[ARM], arm["label"], arm["comparator"], name, kind, n, *numbers)


def _length_matched(asked):
    """Difference of diversity among responses of equal length, shape (n_prompts, n_arms)."""
    lengths = np.array([len(found) for found in words.word_lists(asked.table["text"])])
    lengths = np.where(asked.usable, lengths[asked.rows], 0)
    columns = []
    for a, other in enumerate(asked.arms["other"]):
        sides = [(asked.cosines[:, arm], lengths[:, arm]) for arm in (a, other)]
        columns.append(
            interventions.length_matched_difference(*sides[0], *sides[1])[0]
            if other >= 0
            else np.full(len(lengths), np.nan)
        )
    return np.stack(columns, axis=1)


def times_direct(asked, found):
    """Mean diversity of every arm over that of plain asking: value, lower, upper by row of `asked.arms`.

    Parameters
    ----------
    asked : Asked
    found : dict of str to ndarray
        From `measures`.

    Returns
    -------
    pandas.DataFrame
        Columns condition, model, value, lower, upper; jackknife intervals over open-ended prompts.
    """
    d, rows = found["diversity"][asked.open], []
    for a, arm in enumerate(asked.arms.itertuples()):
        if arm.direct >= 0:
            one = intervals.ratio_interval(d[:, a], np.where(np.isnan(d[:, a]), np.nan, d[:, arm.direct]))
            rows.append((arm.model, arm.condition, *map(float, (one.estimate, one.lower, one.upper))))
    return pd.DataFrame(rows, columns=["model", "condition", "value", "lower", "upper"])


def pool_contrast(study, encoder):
    """Diversity of as many responses of every model against the best model, chosen on other prompts.

    Parameters
    ----------
    study : Study
    encoder : str

    Returns
    -------
    dict or None
        n_models, n (responses), pool, single, estimate, lower, upper, n_prompts; None unless ``04_arms`` has a pool and
        at least two models were asked directly.
    """
    if not study.read("04_arms")["is_pool"].any():
        return None
    loaded = loading.load(
        study, encoder, prompt_kinds=["original"], one_decoding=True, conditions=[response_arms.DEFAULT]
    ).models_only()
    n_models, order = loaded.n_models, loaded.prompt_order
    if n_models < 2 or not order:
        return None
    found = loaded.map(_pool_parts, models=sorted(set(loaded.named["model"])))
    within, cosine, counts = (np.array(part) for part in zip(*found, strict=True))
    whole = (counts >= 2).all(1)
    n = n_models * max(1, round(float(np.median(counts)) / n_models))
    pool = np.where(whole, interventions.pool_diversity(within, 1 - cosine, n), np.nan)
    single = interventions.best_on_others(within)[1]
    one = interventions.mean_contrast(pool - single)
    names = {"estimate": one.estimate, "lower": one.lower, "upper": one.upper}
    return {"n_models": n_models, "n": n, "n_prompts": int(one.n_prompts), "pool": float(np.nanmean(pool)),
            "single": float(np.nanmean(single)), **{k: float(v) for k, v in names.items()}}  # fmt: skip


def _pool_parts(responses, *, models):
    """Diversity within every model on one prompt, mean cosine between models, and numbers of responses."""
    model = pd.Index(models).get_indexer(responses.table["model"])
    sums, counts = similarity.cell_sums(responses.vectors, model, len(models))
    means = sums / np.maximum(counts, 1)[:, None]
    total = means.sum(0)
    cosine = ((total**2).sum() - (means**2).sum()) / (len(models) * (len(models) - 1))
    return 1 - similarity.repetition(sums, counts), cosine, counts


def primary(found):
    """Names of the measure that decides, and of one of the other kind (None where there is none)."""
    there = [name for name in PRIMARY if name in found]
    return there[0], there[1] if len(there) > 1 else None
