"""What arms cost: quality against diversity, the ladder of sampling, money, and what may be stated of them."""

import numpy as np
import pandas as pd

from hivemind_utils.metrics import frontier, intervals, interventions, quality, resample, statements
from hivemind_utils.responses import arm_quality
from hivemind_utils.responses import interventions as arms_compared
from hivemind_utils.responses.interventions import ARM

THRESHOLDS = np.linspace(0, 1, 21)
N_RESAMPLES = 2000


def _by_model(asked):
    """Rows of `asked.arms` of every model that was asked in several ways."""
    groups = asked.arms.groupby("model").groups
    return {model: rows.to_numpy() for model, rows in groups.items() if len(rows) > 1}


def frontier_table(asked, found, rng):
    """Table ``10_frontier``: quality and diversity of every arm, how often nothing beats it, gain over the ladder.

    Parameters
    ----------
    asked : interventions.Asked
    found : dict of str to ndarray
        From `interventions.measures`.
    rng : numpy.random.Generator
        Draws the resamples of prompts.

    Returns
    -------
    pandas.DataFrame
        One row per arm and measure of diversity, arms of one model compared; empty without quality.
    """
    rows = []
    if "quality" in found:
        opened = asked.open
        weights = resample.bootstrap_weights(int(opened.sum()), N_RESAMPLES, rng)
        for measure in [name for name in arms_compared.PRIMARY if name in found]:
            gain, n_rungs = ladder_gain(asked, found, measure)
            for at in _by_model(asked).values():
                q, d = found["quality"][opened][:, at], found[measure][opened][:, at]
                share = frontier.frontier_share(q, d, weights)
                means = [intervals.mean_interval(side) for side in (q, d)]
                for i, a in enumerate(at):
                    arm = asked.arms.iloc[a]
                    rows.append((
                        *arm[ARM], measure, arm["label"], bool(arm["is_rung"]), n_rungs[a],
                        *(float(np.asarray(getattr(side, name))[i]) for side in means
                          for name in ("estimate", "lower", "upper")),
                        float(share[i]), *(float(getattr(gain, name)[a]) for name in ("estimate", "lower", "upper")),
                    ))  # fmt: skip
    columns = [
        *ARM, "measure", "label", "is_rung", "n_rungs", "quality", "quality_lower", "quality_upper", "diversity",
        "diversity_lower", "diversity_upper", "share_on_frontier", "gain", "gain_lower", "gain_upper",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def ladder_gain(asked, found, measure):
    """Diversity beyond what sampling alone reaches at an arm's quality, and the number of rungs of its ladder.

    Numbers of ideas are compared by their logarithm, which mixing responses of two rungs reaches.

    Returns
    -------
    interventions.Contrast
        Of shape (n_arms,); NaN where there is no ladder.
    ndarray of int, shape (n_arms,)
    """
    n_arms, opened = len(asked.arms), asked.open
    fields = {name: np.full(n_arms, np.nan) for name in ("estimate", "lower", "upper", "se", "p")}
    n_prompts, n_rungs = np.zeros(n_arms, int), np.zeros(n_arms, int)
    for at in _by_model(asked).values():
        rungs = np.flatnonzero(asked.arms["is_rung"].to_numpy()[at])
        q, d = found["quality"][opened][:, at], found[measure][opened][:, at]
        n_rungs[at] = len(rungs)
        whole = ~np.isnan(q).any(1) & ~np.isnan(d).any(1)
        n_prompts[at] = whole.sum()
        if len(rungs) < 2 or whole.sum() < 2:
            continue
        weights = intervals.left_out_weights(np.arange(whole.sum()))
        values = frontier.ladder_gain(q[whole], d[whole], rungs, weights, log=measure == "ideas")
        one = interventions.replicate_contrast(values)
        for name, column in fields.items():
            column[at] = getattr(one, name)
    return interventions.Contrast(**fields, n_prompts=n_prompts), n_rungs


def effective_curve(asked):
    """Table ``10_effective``: effective diversity at every threshold of quality, mean over open-ended prompts."""
    columns = [*ARM, "threshold", "label", "effective_diversity", "lower", "upper", "n_prompts"]
    scored = arms_compared._scores(asked)
    if scored is None:
        return pd.DataFrame(columns=columns)
    q, there = scored
    values = quality.effective_diversity(
        asked.cosines, np.nan_to_num(q), THRESHOLDS, usable=asked.usable & there, asked=there
    )[asked.open]
    mean = intervals.mean_interval(values)
    rows = [
        (*arm[:3], threshold, arm[3], *(float(getattr(mean, name)[a, t]) for name in ("estimate", "lower", "upper")),
         int(mean.n_prompts[a, t]))
        for a, arm in enumerate(asked.arms[[*ARM, "label"]].itertuples(index=False, name=None))
        for t, threshold in enumerate(THRESHOLDS)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).dropna(subset="effective_diversity", ignore_index=True)


def cost_table(asked, found):
    """Table ``10_costs``: tokens and dollars per distinct valid idea, and the saving against the comparator.

    Everything that was asked for counts: failed calls, hidden tokens and prompts too. Without ideas, or where no tokens
    are known (imported responses), there is no row.
    """
    rows, saving = [], saving_contrast(asked, found)
    if saving is not None:
        tokens, usd = (_spent(asked, name)[asked.open] for name in ("tokens", "usd"))
        useful = found["distinct"][asked.open] * _share_asked(asked)[asked.open]
        none = np.full(len(asked.arms), -1)
        dollars = interventions.log_cost_ratio(usd, useful, none)[0]
        for a, arm in enumerate(asked.arms[[*ARM, "label", "comparator"]].itertuples(index=False, name=None)):
            per_useful, one = saving
            numbers = [float(getattr(one, name)[a]) for name in ("estimate", "lower", "upper")]
            ratio = [np.exp(-numbers[i]) for i in (0, 2, 1)]
            rows.append((*arm, float(np.nansum(tokens[:, a])), float(np.nansum(useful[:, a])), float(per_useful[a]),
                         float(dollars[a]), *ratio, int(one.n_prompts[a])))  # fmt: skip
    columns = [*ARM, "label", "comparator", "tokens", "useful", "tokens_per_useful", "usd_per_useful", "ratio", "lower",
               "upper", "n_prompts"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def saving_contrast(asked, found):
    """Tokens per useful response, and the contrast of their logs; None where tokens or ideas are unknown."""
    if "distinct" not in found or not asked.has("tokens"):
        return None
    tokens, useful = _spent(asked, "tokens"), found["distinct"] * _share_asked(asked)
    return interventions.log_cost_ratio(tokens[asked.open], useful[asked.open], asked.arms["other"])


def _spent(asked, name):
    """What a cell cost, scaled to as many responses as every arm of the prompt was asked for; NaN where unknown."""
    values = asked.at(name).astype(float)
    known = ~np.isnan(values)
    n, total = known.sum(-1), np.where(known, values, 0).sum(-1)
    return np.where(n > 0, total / np.maximum(n, 1) * _common(asked), np.nan)


def _common(asked):
    """Fewest responses that any arm was asked for, by prompt."""
    n = asked.asked.sum(-1)
    return np.where(n > 0, n, n.max()).min(1)[:, None]


def _share_asked(asked):
    """1 where a cell was asked, NaN where not."""
    return np.where(asked.asked.any(-1), 1.0, np.nan)


def judge(graded, found, margin=statements.MARGIN):
    """Table ``10_statements``: what may be said of every arm, and what fails where it may not.

    Parameters
    ----------
    graded : arm_quality.Graded
    found : dict of str to ndarray
        From `interventions.measures`.
    margin : float
        Loss of quality, 0 to 1, that does not matter; set beforehand.

    Returns
    -------
    pandas.DataFrame
        Four statements per arm that has a comparator, and is no rung of the ladder.
    """
    asked = graded.asked
    tested = np.flatnonzero(asked.arms["comparator"].notna() & ~asked.arms["is_rung"])
    measure, other = arms_compared.primary(found)
    opened, comparators = asked.open, asked.arms["other"].to_numpy()

    def contrast(name):
        return interventions.mean_contrast(arms_compared.differences(found, name, comparators)[opened])[tested]

    change = arms_compared.differences(found, measure, comparators)
    controlled = interventions.open_minus_closed(change[opened], change[~opened])[tested] if (~opened).any() else None
    raised = statements.raises_diversity(contrast(measure), contrast(other) if other else None, controlled)
    direct = asked.arms["direct"].to_numpy()
    kept = None
    if "quality" in found:
        kept = arm_quality.powered(graded)
        against = interventions.mean_contrast(arms_compared.differences(found, "quality", direct)[opened])
        kept = (against if kept is None else kept)[tested]
    own = [i for i, a in enumerate(tested) if a in graded.self_scored]
    without_loss = statements.keeps_quality(
        raised, kept, graded.known_bad, margin=margin, self_scored=own, reward_only=graded.reward_only
    )
    said = [raised, without_loss, _beats(asked, found, measure, tested), _cheaper(asked, found, tested)]
    rows = []
    for statement in said:
        for a, one in zip(tested, statement, strict=True):
            arm = asked.arms.iloc[a]
            fails = list(one.fails)
            if arm["other"] < 0 and one.decision != statements.HOLDS:
                fails = [f"its comparator, {arm['comparator']}, was not asked"]
            rows.append((*arm[ARM], one.words, arm["label"], measure, one.decision, "; ".join(fails) or None, one.p))
    columns = [*ARM, "statement", "label", "measure", "decision", "fails", "p"]
    return pd.DataFrame(rows, columns=columns)


def _beats(asked, found, measure, tested):
    if "quality" not in found:
        return [_inconclusive("beats hotter sampling", "no response has a quality") for _ in tested]
    gain, n_rungs = ladder_gain(asked, found, measure)
    made = statements.beats_hotter_sampling(gain[tested], statements.MIN_RUNGS)
    short = [f"the ladder has {n} rungs, {statements.MIN_RUNGS} are needed" for n in n_rungs[tested]]
    return [
        one if n_rungs[a] >= statements.MIN_RUNGS else _inconclusive(one.words, why)
        for a, one, why in zip(tested, made, short, strict=True)
    ]


def _cheaper(asked, found, tested):
    saving = saving_contrast(asked, found)
    if saving is None:
        why = "no tokens are known" if "distinct" in found else "no ideas are known"
        return [_inconclusive("costs less per useful response", why) for _ in tested]
    return statements.costs_less(saving[1][tested])


def _inconclusive(words, why):
    return statements.Statement(words, intervals.INCONCLUSIVE, (why,), float("nan"))
