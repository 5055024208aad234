"""Notebooks 08 and 09: human ratings and scorers."""

from hivemind_utils.ratings import results, sheets
from hivemind_utils.ratings.loading import AnnotatedItems, Annotations, Source, load, read
from hivemind_utils.ratings.scorers import Endpoints, Files, Judges, LocalModels, collect
from hivemind_utils.ratings.scores import Scored, scored
from hivemind_utils.ratings.typicality import preference_table
from hivemind_utils.ratings.verdicts import judge, least_kept, shown

__all__ = [
    "AnnotatedItems", "Annotations", "Endpoints", "Files", "Judges", "LocalModels", "Scored", "Source", "collect",
    "judge", "least_kept", "load", "preference_table", "read", "results", "scored", "sheets", "shown",
]  # fmt: skip
