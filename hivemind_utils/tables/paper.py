"""The published study's numbers: ``data/reference/claims.csv`` is their one source for prose, figures and code."""

import functools
import re

from hivemind_utils.tables import files


def claims():
    """Read the claims: one row per number of the paper.

    Returns
    -------
    pandas.DataFrame
        ``claim_id``; ``topic``, ``claim`` and ``where`` in the paper; ``paper``, the number as stated; ``stated``,
        the same as a number in the paper's ``unit``; ``direction``: "above" or "below" where the claim is that the
        value lies on that side of ``stated``, "count" where it is a whole number that reruns may change, "verdict"
        where it is the verdict on a kind of scorers; ``tolerance``, the largest difference on the released items;
        ``margin``, the largest difference that counts as none on new ones; ``paper_n``, prompts (or queries) behind
        the paper's number; ``result``, the place of this run's value, ``NN:key/key``, or several joined by ``|`` of
        which the first that is there counts; ``minus``, the place of what is taken from it; ``scale``, by which it is
        multiplied to have the paper's ``unit``; ``interval``, names or places of its bounds; ``bound``: "encoder"
        where the number belongs to the paper's encoder, "main25" or "all79" where also to its 25 or 79 models,
        "released" where to its data; ``note``.
    """
    import pandas as pd

    numbers = ["stated", "tolerance", "margin", "paper_n", "scale"]
    frame = pd.read_csv(files.root() / "data" / "reference" / "claims.csv", dtype=str, keep_default_na=False)
    frame[numbers] = frame[numbers].apply(pd.to_numeric)
    return frame.assign(scale=frame["scale"].fillna(1.0))


def main_models():
    """Names of the 25 models of the paper's figures; none where ``models.csv`` is somebody's own."""
    models = _models()
    return set(models.loc[models["main25"], "model"]) if "main25" in models else set()


def all_models():
    """Names of the 79 models of the paper's appendix."""
    return set(_models()["model"])


def _models():
    import pandas as pd

    return pd.read_csv(files.root() / "data" / "reference" / "models.csv")


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
