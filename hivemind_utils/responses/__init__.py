"""Notebooks 04 to 07, 10 and 11: what models respond."""

from hivemind_utils.responses import (
    arm_quality,
    design,
    headlines,
    ideas,
    interventions,
    modes,
    reference,
    results,
    table,
    tradeoffs,
)
from hivemind_utils.responses.loading import Responses, embed, load, truncated_vectors

__all__ = [
    "Responses",
    "arm_quality",
    "design",
    "embed",
    "headlines",
    "ideas",
    "interventions",
    "load",
    "modes",
    "reference",
    "results",
    "table",
    "tradeoffs",
    "truncated_vectors",
]
