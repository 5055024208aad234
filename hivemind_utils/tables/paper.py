"""The published study's numbers: ``data/reference/claims.csv`` is their one source for prose, figures and code."""

import functools
import re

from hivemind_utils.tables import files


def claims():
    """Read the claims: one row per number of the paper.

    Returns
    -------
    pandas.DataFrame
        ``claim_id``; ``topic``, ``claim`` and ``where`` in the paper; ``paper``, the number as stated; ``result``, the
        place of this run's value, ``NN:key/key``, or several joined by ``|`` of which the first that is there counts;
        ``minus``, the place of what is taken from it; ``scale``, by which it is multiplied to have the paper's
        ``unit``; ``interval``, names of the bounds beside the value; ``low`` and ``high``, the band that replicates,
        in the paper's unit; ``bound``: "encoder" where the number belongs to the paper's encoder, "main25" where also
        to its 25 models, "released" where to its data; ``note``.
    """
    import pandas as pd

    text = ["claim_id", "topic", "claim", "where", "paper", "result", "minus", "unit", "interval", "bound", "note"]
    frame = pd.read_csv(files.root() / "data" / "reference" / "claims.csv", dtype=dict.fromkeys(text, str))
    return frame.fillna(dict.fromkeys(text, "")).assign(scale=frame["scale"].fillna(1.0))


class Paper:
    """What the paper states, by claim.

    Examples
    --------
    >>> paper = Paper()
    >>> paper["inter_mean"], paper.number("inter_mean"), paper("inter_mean")
    ('75.94 %', 75.94, '(paper: 75.94 %)')
    """

    @functools.cached_property
    def _stated(self):
        return dict(claims()[["claim_id", "paper"]].itertuples(index=False, name=None))

    def __getitem__(self, claim_id):
        if claim_id not in self._stated:
            raise KeyError(f"data/reference/claims.csv has no claim {claim_id!r}.")
        return self._stated[claim_id]

    def __contains__(self, claim_id):
        """Whether there is such a claim."""
        return claim_id in self._stated

    def __call__(self, claim_id):
        """Return what the paper states in brackets, to stand after a number of this run."""
        return f"(paper: {self[claim_id]})"

    def number(self, claim_id):
        """First number of a claim's text, as a float in the unit that the paper prints."""
        found = re.search(r"[-−]?\d[\d,]*\.?\d*|[-−]?\.\d+", self[claim_id])
        if not found:
            raise ValueError(f"The claim {claim_id!r} holds no number: {self[claim_id]!r}.")
        return float(found.group(0).replace(",", "").replace("−", "-"))
