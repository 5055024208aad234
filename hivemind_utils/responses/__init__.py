"""Notebooks 04 to 07, 10 and 11: what models respond."""

from hivemind_utils.responses import design, headlines, ideas, modes, reference, results, table
from hivemind_utils.responses.loading import Responses, embed, load, truncated_vectors

__all__ = [
    "Responses",
    "design",
    "embed",
    "headlines",
    "ideas",
    "load",
    "modes",
    "reference",
    "results",
    "table",
    "truncated_vectors",
]
