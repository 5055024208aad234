"""Labels of modes: integers from 0, and -1 for noise."""

import numpy as np

NOISE = -1


def labels_of(labels, n):
    """Labels as an array of int, checked."""
    labels = np.asarray(labels)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` must be {n} integers, one per response, but {labels.dtype} {labels.shape} was passed."
        )
    if len(labels) and labels.min() < NOISE:
        raise ValueError(f"`labels` must be modes from 0, or -1 for noise, but {labels.min()} was passed.")
    return labels
