"""Notebooks 01 to 03: what people ask."""
