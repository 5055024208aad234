"""What a run's responses say as a pilot: the difference of two arms that a study of given size would find.

Diversity is one minus the mean cosine of a cell. Its difference between two arms varies between prompts, and within a
prompt because only so many responses are drawn; see `metrics.power`.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from hivemind_utils.metrics import power, similarity
from hivemind_utils.tables.wording import counted, number

N_PROMPTS, N_RESPONSES = (25, 50, 100, 200, 500), (5, 10, 20, 50)  # of the studies that are laid out
MOST_PAIRS = 300  # of arms, for the variance between prompts


class Pilot(NamedTuple):
    """Variance components of the difference in diversity of two arms.

    Attributes
    ----------
    one, both : float
        As in `power.pair_components`, mean over cells.
    between : float
        Variance between prompts of the true difference, mean over pairs of arms.
    n_prompts, n_arms : int
        Of the pilot. NaN components where it is too small; `reason` says why.
    reason : str
    """

    one: float
    both: float
    between: float
    n_prompts: int
    n_arms: int
    reason: str = ""

    def within(self, n):
        """Variance of a difference within a prompt, with n responses of either arm."""
        return 2 * power.diversity_variance(self.one, self.both, n)

    def difference(self, n_prompts, n):
        """Smallest difference in mean cosine found with 80 % chance; see `power.detectable_difference`."""
        return power.detectable_difference(n_prompts, self.between, self.within(n))


def of_run(responses, decoding):
    """Variance components of a run's models, under one decoding, on original prompts.

    Parameters
    ----------
    responses : Responses
    decoding : str

    Returns
    -------
    Pilot
    """
    rows = [row for rows in responses.open_ended(decoding).map(_cells) for row in rows]
    cells = pd.DataFrame(rows, columns=["arm", "prompt_id", "n", "diversity", "one", "both"])
    return of_cells(cells.sort_values(["arm", "prompt_id"], ignore_index=True))


def _cells(responses):
    """Diversity and components of the cells of one prompt that have four responses or more."""
    rows = []
    for (arm, prompt_id), at in responses.table.groupby(["arm", "prompt_id"]):
        if len(at) >= 4:
            unit = similarity.unit_rows(responses.vectors[at.index])
            gram = (unit @ unit.T).astype(float)
            n = len(gram)
            mean = (gram.sum() - np.trace(gram)) / (n * (n - 1))
            rows.append((arm, prompt_id, n, 1 - mean, *power.pair_components(gram)))
    return rows


def of_cells(cells):
    """Variance components from the diversity and the components of every cell.

    Parameters
    ----------
    cells : pandas.DataFrame
        arm, prompt_id, n, diversity, one and both: as `power.pair_components` returns them.

    Returns
    -------
    Pilot
    """
    n_prompts, n_arms = (int(cells[name].nunique()) for name in ("prompt_id", "arm"))
    nothing = Pilot(np.nan, np.nan, np.nan, n_prompts, n_arms)
    if n_arms < 2:
        return nothing._replace(reason="a difference needs two models with four responses to a prompt")
    wide = {name: cells.pivot(index="prompt_id", columns="arm", values=name) for name in ("diversity", "n")}
    of_arm = cells.groupby("arm")[["one", "both"]].mean()
    pairs, between = list(combinations(of_arm.index, 2)), []
    step = -(-len(pairs) // MOST_PAIRS)
    for pair in pairs[::step]:
        known = wide["diversity"][list(pair)].notna().all(axis=1)
        if known.sum() < 2:
            continue
        differences = (wide["diversity"][pair[0]] - wide["diversity"][pair[1]])[known]
        drawn = sum(
            power.diversity_variance(*of_arm.loc[arm], wide["n"].loc[known, arm].to_numpy(int)).mean() for arm in pair
        )
        between.append(differences.var(ddof=1) - drawn)
    if not between:
        return nothing._replace(reason="no two models answer two prompts alike with four responses")
    one, both = of_arm.mean()
    return Pilot(float(one), float(both), float(max(0.0, np.mean(between))), n_prompts, n_arms)


def studies(pilot):
    """Differences that studies of several sizes find, table ``05_power``.

    Parameters
    ----------
    pilot : Pilot

    Returns
    -------
    pandas.DataFrame
        n_prompts, n_responses, difference (in mean cosine; NaN without a pilot).
    """
    rows = [(p, n, float(pilot.difference(p, n))) for p in N_PROMPTS for n in N_RESPONSES]
    return pd.DataFrame(rows, columns=["n_prompts", "n_responses", "difference"])


def says(pilot, n_prompts=100, n_responses=50):
    """Say what difference a study would find, from a pilot.

    Examples
    --------
    >>> says(Pilot(0.001, 0.02, 0.002, 13, 25))
    '100 prompts × 50 responses find a difference in mean cosine of 0.013 between two models (80 % power)'
    """
    if pilot.reason:
        return f"Detectable differences are unknown: {pilot.reason}"
    found = number(float(pilot.difference(n_prompts, n_responses)), 3)
    return (
        f"{counted(n_prompts, 'prompt')} × {counted(n_responses, 'response')} find a difference in mean cosine of "
        f"{found} between two models (80 % power)"
    )


def next_dollars(pilot, n_prompts, n_responses, cost_usd, extra_usd=100.0):
    """What more money buys: more responses, more prompts, or the best of both.

    Parameters
    ----------
    pilot : Pilot
    n_prompts, n_responses : int
        Planned.
    cost_usd : float
        Of all of it, every model together.
    extra_usd : float

    Returns
    -------
    list of str
        Sentences. One that says why where nothing can be said.

    Examples
    --------
    >>> for sentence in next_dollars(Pilot(0.001, 0.02, 0.002, 13, 25), 100, 10, 50.0):
    ...     print(sentence)
    the next $100 buy 20 more responses to every prompt, which lowers 0.017 to 0.014
    or 200 more prompts, which lowers it to 0.010
    or at best 428 prompts × 7 responses in all, which lowers it to 0.009
    """
    if pilot.reason or not cost_usd > 0 or n_responses < 2 or n_prompts < 2:
        why = pilot.reason or ("no cost is known" if not cost_usd > 0 else "two prompts and responses are needed")
        return [f"what the next ${extra_usd:,.0f} buy is unknown: {why}"]
    each = cost_usd / n_prompts / n_responses
    now = float(pilot.difference(n_prompts, n_responses))
    responses, prompts = int(extra_usd / each / n_prompts + 1e-9), int(extra_usd / each / n_responses + 1e-9)
    more, wider = (
        pilot.difference(n_prompts, n_responses + responses),
        pilot.difference(n_prompts + prompts, n_responses),
    )
    best = power.best_plan(cost_usd + extra_usd, each, pilot.between, pilot.within)
    return [
        f"the next ${extra_usd:,.0f} buy {counted(responses, 'more response')} to every prompt, which lowers {now:.3f} "
        f"to {float(more):.3f}",
        f"or {counted(prompts, 'more prompt')}, which lowers it to {float(wider):.3f}",
        f"or at best {counted(best.n_prompts, 'prompt')} × {counted(best.n_responses, 'response')} in all, which "
        f"lowers it to {best.difference:.3f}",
    ]
