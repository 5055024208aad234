"""Notebooks 08 and 09: human ratings and scorers."""

from hivemind_utils.ratings import results, sheets
from hivemind_utils.ratings.loading import AnnotatedItems, Annotations, Source, load, read

__all__ = ["AnnotatedItems", "Annotations", "Source", "load", "read", "results", "sheets"]
