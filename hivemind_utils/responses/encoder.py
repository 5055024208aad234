"""What an encoder is, and the texts it takes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hivemind_utils.tables import ids


@dataclass
class Encoder:
    """A named function from texts to vectors, and how `embed` should feed it."""

    name: str
    encode: Callable  # list of str -> ndarray of float32, shape (n_texts, n_dims)
    library: str  # the distribution whose version is written beside the vectors
    n_dims: int | None = None  # known after the first call where a provider decides it
    chunk_size: int = 512  # texts encoded between two writes to disk; one request where requests are paid
    n_workers: int = 1  # chunks in flight
    max_tokens: int | None = None  # what lies beyond is not encoded; None: unknown
    n_tokens: Callable | None = None  # list of str -> tokens of every text, special ones too, uncut
    cut: dict = field(default_factory=dict)  # text that was too long -> characters of it that were encoded

    def __call__(self, texts):
        """Encode texts; the same as ``.encode(texts)``."""
        return self.encode(texts)


def _checked(texts):
    """Return texts as a list of str, or raise."""
    if isinstance(texts, str):
        raise TypeError("`texts` must be a sequence of str, but a single str was passed: put it in a list.")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"`texts` must hold str only, but item {i} is {text!r} ({type(text).__name__}). "
                "Drop responses without text first."
            )
    return texts


def encodable(texts):
    """Check texts and replace lone surrogates, which no tokenizer or provider takes."""
    return [ids.repaired(text) for text in _checked(texts)]
