"""What may be said of an arm: every statement is made only if all that it needs holds, and says what fails if not.

A statement's chance to be made although it is false is held at 2.5 % over all arms together (Holm), under the worst
case that is still false: no difference, a loss of quality of exactly the margin, a point on the ladder, equal costs.
"""

from dataclasses import dataclass

import numpy as np

from hivemind_utils.metrics.frontier import MIN_RUNGS
from hivemind_utils.metrics.intervals import INCONCLUSIVE
from hivemind_utils.metrics.verdict import holm

HOLDS = "holds"
LEVEL = 0.025  # one-sided
MIN_PROMPTS = 10  # fewer decide nothing
MARGIN = 0.05  # of quality, 0 to 1, that may be lost


@dataclass(frozen=True)
class Statement:
    """One statement about one arm.

    Attributes
    ----------
    words : str
        What is stated, such as "raises diversity".
    decision : str
        "holds" or "inconclusive".
    fails : tuple of str
        What fails; empty if the statement holds.
    p : float
        Adjusted p-value of the primary contrast; NaN where there is none.
    """

    words: str
    decision: str
    fails: tuple
    p: float


def raises_diversity(primary, other=None, controlled=None):
    """State of arms that they raise diversity.

    Parameters
    ----------
    primary : Contrast
        Of shape (n_arms,): arm minus comparator on the one primary measure (ideas where they are labelled).
    other : Contrast, optional
        The same on a measure of the other kind; its sign must agree.
    controlled : Contrast, optional
        Change on open-ended minus change on closed-ended prompts; its lower bound must be above 0.

    Returns
    -------
    list of Statement
        One per arm.

    Notes
    -----
    Holm's adjustment is over the arms that have a contrast on the primary measure.

    Examples
    --------
    >>> from hivemind_utils.metrics.interventions import contrasts
    >>> values = np.arange(12)[:, None] * [0.001, 0.002] + [0.2, 0.5]
    >>> raises_diversity(contrasts(values, [-1, 0]))[1].fails
    ('there is no measure of another kind', 'there are no closed-ended prompts as a control')
    """
    adjusted = _adjusted(primary)
    found = []
    for arm in range(len(adjusted)):
        fails = _few(primary, arm)
        if not fails and not adjusted[arm] < LEVEL:
            fails.append("the difference from the comparator is not above 0 beyond chance")
        fails += _disagreement(primary, other, arm)
        if controlled is None:
            fails.append("there are no closed-ended prompts as a control")
        else:
            lack = _few(controlled, arm, "open-ended and of closed-ended prompts")
            if not lack and not controlled.lower[arm] > 0:
                lack = ["closed-ended prompts change as much, within chance"]
            fails += lack
        found.append(_statement("raises diversity", fails, adjusted[arm]))
    return found


def keeps_quality(raised, quality, known_bad, *, margin=MARGIN, self_scored=(), reward_only=False):
    """State of arms that they raise diversity without losing quality.

    Parameters
    ----------
    raised : list of Statement
        From `raises_diversity`.
    quality : Contrast or None
        Of shape (n_arms,): arm minus the direct arm; None where nothing has a quality.
    known_bad : Contrast or None
        Of shape (): quality of responses of other prompts minus that of the direct arm.
    margin : float
        Loss of quality that does not matter, set beforehand.
    self_scored : sequence of int
        Arms whose responses were scored by the model that gave them.
    reward_only : bool
        The only scorer is a reward model: the words say reward, not quality.

    Returns
    -------
    list of Statement

    Examples
    --------
    >>> raised = [Statement("raises diversity", HOLDS, (), 0.001)]
    >>> keeps_quality(raised, None, None)[0].fails
    ('no response has a quality',)
    """
    if not margin > 0:
        raise ValueError(f"`margin` must be above 0, but {margin} was passed. Set the loss that does not matter.")
    words = "raises diversity without losing " + ("reward" if reward_only else "quality")
    found = []
    for arm, before in enumerate(raised):
        fails = list(before.fails)
        if quality is None:
            found.append(_statement(words, [*fails, "no response has a quality"], before.p))
            continue
        lack = _few(quality, arm, "the arm's and of the direct arm's quality")
        if not lack and not quality.lower[arm] > -margin:
            lack = [f"a loss of quality of {margin:g} cannot be ruled out"]
        fails += lack
        if known_bad is None or np.isnan(known_bad.upper):
            fails.append("the scorer was not tried on responses of other prompts")
        elif not known_bad.upper < -margin:
            fails.append(f"the scorer does not put responses of other prompts below by more than {margin:g}")
        if arm in self_scored:
            fails.append("the scorer is the model that gave the responses")
        found.append(_statement(words, fails, before.p))
    return found


def beats_hotter_sampling(gain, n_rungs):
    """State of arms that they are more diverse than sampling alone at the same quality.

    Parameters
    ----------
    gain : Contrast
        Of shape (n_arms,), from `interventions.replicate_contrast` of `frontier.ladder_gain` with all prompts and
        without each. NaN where the arm is above the ladder's best quality, or is so without some prompt. Leave the
        rungs out: Holm's adjustment is over all arms passed.
    n_rungs : int
        Settings of the ladder; at least three are needed.

    Returns
    -------
    list of Statement

    Examples
    --------
    >>> from hivemind_utils.metrics.interventions import mean_contrast
    >>> gain = mean_contrast(0.2 + 0.01 * np.arange(12)[:, None])
    >>> [beats_hotter_sampling(gain, n)[0].decision for n in (2, 3)]
    ['inconclusive', 'holds']
    """
    adjusted = _adjusted(gain)
    found = []
    for arm in range(len(adjusted)):
        fails = [] if n_rungs >= MIN_RUNGS else [f"the ladder has {n_rungs} rungs, {MIN_RUNGS} are needed"]
        if gain.n_prompts[arm] >= MIN_PROMPTS and np.isnan(gain.estimate[arm]):
            fails.append("the arm's quality is above or at the edge of the ladder's")
        else:
            fails += _few(gain, arm)
            if not fails and not adjusted[arm] < LEVEL:
                fails.append("the gain over the ladder is not above 0 beyond chance")
        found.append(_statement("beats hotter sampling", fails, adjusted[arm]))
    return found


def costs_less(saving):
    """State of arms that a useful response costs less than with the comparator.

    Parameters
    ----------
    saving : Contrast
        Of shape (n_arms,), from `interventions.log_cost_ratio`; above 0 is cheaper.

    Returns
    -------
    list of Statement

    Examples
    --------
    >>> from hivemind_utils.metrics.interventions import mean_contrast
    >>> costs_less(mean_contrast(0.1 + 0.001 * np.arange(12)[:, None]))[0].decision
    'holds'
    """
    adjusted = _adjusted(saving)
    found = []
    for arm in range(len(adjusted)):
        fails = _few(saving, arm, "costs and useful responses")
        if not fails and not adjusted[arm] < LEVEL:
            fails.append("the cost per useful response is not lower beyond chance")
        found.append(_statement("costs less per useful response", fails, adjusted[arm]))
    return found


def _statement(words, fails, p):
    return Statement(words, INCONCLUSIVE if fails else HOLDS, tuple(fails), float(p))


def _adjusted(contrast):
    """Holm's p-values over the arms that have enough prompts."""
    p = np.where(np.asarray(contrast.n_prompts) >= MIN_PROMPTS, contrast.p, np.nan)
    return holm(np.atleast_1d(p))


def _few(contrast, arm, of="the arm and of its comparator"):
    n = int(contrast.n_prompts[arm])
    if n == 0:
        return [f"there are no prompts with values of {of}"]
    if n < MIN_PROMPTS:
        return [f"{n} prompts have values of {of}, {MIN_PROMPTS} are needed"]
    return ["there is no estimate without each of the prompts"] if np.isnan(contrast.se[arm]) else []


def _disagreement(primary, other, arm):
    if other is None or np.isnan(other.estimate[arm]):
        return ["there is no measure of another kind"]
    agree = np.sign(primary.estimate[arm]) == np.sign(other.estimate[arm])
    return [] if agree or np.isnan(primary.estimate[arm]) else ["the measures disagree"]
