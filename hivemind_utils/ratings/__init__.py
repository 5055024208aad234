"""Notebooks 08 and 09: human ratings and scorers."""
