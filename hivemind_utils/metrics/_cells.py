"""Cells of responses along the last axis: masks, Gram matrices, ratios, binomial coefficients."""

import numpy as np
from scipy.special import gammaln


def square(cosines):
    """Check that the last two axes of cosines are alike."""
    cosines = np.asarray(cosines)
    if cosines.ndim < 2 or cosines.shape[-1] != cosines.shape[-2]:
        raise ValueError(f"`cosines` must have shape (..., n, n), but {cosines.shape} was passed.")
    return cosines


def mask_of(mask, shape):
    """Mask of a shape; all by default."""
    return np.ones(shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), shape)


def ratio(above, below):
    """Ratio with 0 / 0 = NaN."""
    below = np.broadcast_to(np.asarray(below, float), np.shape(above))
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)[()]


def log_choose(n, k):
    """Log of the binomial coefficient; minus infinity where it is 0."""
    n, k = np.broadcast_arrays(np.asarray(n, float), np.asarray(k, float))
    inside = (k >= 0) & (k <= n)
    n, k = np.where(inside, n, 0), np.where(inside, k, 0)
    return np.where(inside, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)
