"""Notebooks 04 to 07: what models answer."""
