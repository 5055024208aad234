"""Notebooks 04 to 07, 10 and 11: what models respond.

Modules and functions below are imported when they are first used, so that a notebook loads, and make watches, only what
it needs.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # read by `pipeline.notebooks` too
    from hivemind_utils.responses import (
        against_paper,
        arm_quality,
        design,
        differences,
        encoder_comparison,
        headlines,
        house_style,
        ideas,
        interventions,
        languages,
        modes,
        planner,
        profile,
        reference,
        results,
        soundness,
        table,
        tradeoffs,
        validity,
        wordings,
    )
    from hivemind_utils.responses.loading import (
        Responses,
        beyond_encoder,
        check_encoders,
        embed,
        load,
        truncated_vectors,
    )

__all__ = [
    "Responses",
    "against_paper",
    "arm_quality",
    "beyond_encoder",
    "check_encoders",
    "design",
    "differences",
    "embed",
    "encoder_comparison",
    "headlines",
    "house_style",
    "ideas",
    "interventions",
    "languages",
    "load",
    "modes",
    "planner",
    "profile",
    "reference",
    "results",
    "soundness",
    "table",
    "tradeoffs",
    "truncated_vectors",
    "validity",
    "wordings",
]
_OF_LOADING = ("Responses", "beyond_encoder", "check_encoders", "embed", "load", "truncated_vectors")


def __getattr__(name):
    """Import a name of `__all__` when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _OF_LOADING:
        return getattr(importlib.import_module(f"{__name__}.loading"), name)
    return importlib.import_module(f"{__name__}.{name}")
