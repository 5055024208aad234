"""Notebooks 01 to 03: what people ask."""

from hivemind_utils.queries import headlines, results, sheets
from hivemind_utils.queries.labels import Labeller

__all__ = ["Labeller", "headlines", "results", "sheets"]
