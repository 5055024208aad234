"""The planted population; nothing below knows it."""
