"""Notebooks 04 to 07, 10 and 11: what models respond."""

from hivemind_utils.responses import ideas, modes
from hivemind_utils.responses.loading import Responses, load, truncated_vectors

__all__ = ["Responses", "ideas", "load", "modes", "truncated_vectors"]
