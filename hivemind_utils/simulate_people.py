"""Simulated annotators and scorers whose behaviour is planted: latent quality, taste groups, severity, noise.

One annotator sees a response as quality + taste of his or her group + severity + noise, and picks the nearest of five
values. What is planted is known, so that tests can say whether a verdict is right.
"""

import numpy as np

CUTS = (-1.8, -1.0, -0.2, 0.8)  # where a perceived quality becomes 2, 3, 4, 5: 4 is the commonest label


def draw_quality(n_prompts, n_items, rng, *, prompt_sd=0.4):
    """Latent quality of every response, standard deviation 1, with part of it shared by the responses of a prompt.

    Heavy-tailed and skewed to bad responses: Tukey fences of the means then keep about as many items as the paper
    prints.

    Returns
    -------
    quality : ndarray of float, shape (n_prompts * n_items,)
    groups : ndarray of int, shape (n_prompts * n_items,)
        Prompt of every response.
    """
    groups = np.repeat(np.arange(n_prompts), n_items)
    own = rng.standard_t(5, size=len(groups)) * np.sqrt(3 / 5) - rng.exponential(size=len(groups))
    shared = prompt_sd * rng.normal(size=n_prompts)
    return shared[groups] + np.sqrt(1 - prompt_sd**2) * (own + 1) / np.sqrt(2), groups


def draw_perceived(
    quality, n_annotators, rng, *, spread=0.55, noise=0.9, severity_sd=0.3, taste_sd=0.3, n_tastes=2, groups=None
):
    """What every annotator sees, before it becomes a label.

    Parameters
    ----------
    quality : ndarray of float, shape (n_items,)
    n_annotators : int
    rng : numpy.random.Generator
    spread : float
        What one standard deviation of quality is worth to an annotator.
    noise, severity_sd : float
        Standard deviations of what an annotator adds to one label, and to all of them.
    taste_sd : float
        Mean size of an item's divisiveness: how far the taste groups stand apart on it; it varies between items.
    n_tastes : int
        Taste groups; annotators belong to them in turn.
    groups : ndarray of int, shape (n_items,), optional
        Every prompt has annotators of its own (a form); None: the same annotators label all items.

    Returns
    -------
    ndarray of float, shape (n_items, n_annotators)
    """
    form = np.zeros(len(quality), int) if groups is None else groups
    severity = severity_sd * rng.normal(size=(form.max() + 1, n_annotators))[form]
    divisiveness = taste_sd * rng.exponential(size=len(quality))
    tastes = rng.normal(size=(len(quality), n_tastes))
    tastes -= tastes.mean(1, keepdims=True)
    taste = (divisiveness[:, None] * tastes)[:, np.arange(n_annotators) % n_tastes]
    return spread * quality[:, None] + taste + severity + noise * rng.normal(size=severity.shape)


def ratings(perceived, cuts=CUTS):
    """Labels 1 to 5 of what annotators perceive."""
    return 1.0 + np.searchsorted(cuts, perceived)


def score(signal, strength, rng):
    """A scorer: `strength` parts of the standardised signal, the rest noise; standard deviation 1.

    Parameters
    ----------
    signal : ndarray of float, shape (n_items,)
    strength : float
        Correlation of the score with the signal, -1 to 1.
    rng : numpy.random.Generator
    """
    signal = (signal - signal.mean()) / signal.std()
    return strength * signal + np.sqrt(1 - strength**2) * rng.normal(size=len(signal))


def blind_on(scores, where, rng):
    """The same scorer without any signal on some items: its scores there are shuffled among themselves."""
    blind = scores.copy()
    blind[where] = rng.permutation(scores[where])
    return blind
