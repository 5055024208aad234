"""TF-IDF of more texts than fit into memory: counted block by block, weighted block by block.

A term's weight depends on how many texts of all have it. So every block of texts (a prompt) is counted first, then the
counts are added up on disk, and then every block is weighted by what was found. Terms travel as 64-bit hashes.
"""

import contextlib
import tempfile

import numpy as np
import pandas as pd
from scipy import sparse

from hivemind_utils.metrics.words import encode_words

_RANGE = 4_000_000  # hashes of all blocks that are added up at a time


def term_counts(lists):
    """Count words and pairs of following words in every text.

    Parameters
    ----------
    lists : list of list of str
        Normalised words of every text.

    Returns
    -------
    terms : ndarray of uint64, shape (n_terms,)
        Hashes of the terms, sorted.
    counts : scipy.sparse.csr_array of float, shape (n_texts, n_terms)

    Examples
    --------
    >>> terms, counts = term_counts([["a", "river"], ["a", "a"]])
    >>> len(terms), counts.sum(1)
    (4, array([3., 3.]))
    """
    codes, owners = encode_words(lists)
    words = dict.fromkeys(word for listed in lists for word in listed)
    if not words:
        return np.empty(0, np.uint64), sparse.csr_array((len(lists), 0))
    hashes = pd.util.hash_array(np.array([*words], object), categorize=False)[codes]
    inside = codes >= 0
    pair = inside[:-1] & inside[1:]
    two = _mixed(hashes[:-1][pair], hashes[1:][pair])
    terms, column = np.unique(np.concatenate([hashes[inside], two]), return_inverse=True)
    row = np.concatenate([owners[inside], owners[:-1][pair]])
    counts = sparse.coo_array((np.ones(len(row)), (row, column)), shape=(len(lists), len(terms))).tocsr()
    return terms, counts


def texts_with(counts):
    """Return how many texts have each term, from `term_counts`; an ndarray of int, shape (n_terms,).

    Examples
    --------
    >>> texts_with(term_counts([["a", "tree"], ["a", "stone"]])[1]).tolist()
    [1, 1, 1, 2, 1]
    """
    return np.bincount(counts.indices, minlength=counts.shape[1])


def weighted(counts, n_with_term, n_texts):
    """TF-IDF rows of length 1 from counts; a text without a word is a zero row.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of float, shape (n_rows, n_terms)
        From `term_counts`, of some of the texts.
    n_with_term : ndarray of int, shape (n_terms,)
        How many of all texts have each term.
    n_texts : int
        Number of all texts.

    Returns
    -------
    scipy.sparse.csr_array of float, shape (n_rows, n_terms)

    Notes
    -----
    The weight of a term is its count times log((1 + n_texts) / (1 + n_with_term)) + 1, as in scikit-learn's
    TfidfVectorizer, with which the rows agree to 1e-12.

    Examples
    --------
    >>> counts = term_counts([["a", "tree"], ["a", "stone"]])[1]
    >>> rows = weighted(counts, texts_with(counts), 2)
    >>> round(float((rows @ rows.T)[0, 1]), 3)
    0.202
    """
    idf = np.log((1 + n_texts) / (1 + np.asarray(n_with_term, float))) + 1
    rows = counts.copy()
    rows.data *= idf[rows.indices]
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(lengths, np.diff(rows.indptr))
    return rows


@contextlib.contextmanager
def _room():
    """Say what could not be written where there is no room for temporary files."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"The counts of words of all texts cannot be written to {tempfile.gettempdir()} ({error.strerror}): they "
            "take 16 bytes for each term of each prompt. Free some space, or name another folder by TMPDIR.",
        ) from error


class TextsWithTerm:
    """In how many texts every term occurs, added up over blocks on disk.

    Examples
    --------
    >>> with TextsWithTerm() as found:
    ...     for lists in ([["a", "river"]], [["a", "sea"], ["sea"]]):
    ...         terms, counts = term_counts(lists)
    ...         found.add(terms, texts_with(counts))
    ...     found.finish()
    ...     sorted(found.of(1).tolist())
    [1, 2, 2]
    """

    def __init__(self):
        self.n_terms, self._starts, self._files = 0, [0], []

    def __enter__(self):
        self._files = [tempfile.TemporaryFile() for _ in range(2)]
        return self

    def __exit__(self, *_):
        for file in self._files:
            file.close()

    def add(self, terms, n_texts):
        """Add a block.

        Parameters
        ----------
        terms : ndarray of uint64, shape (n_terms,)
            Sorted.
        n_texts : ndarray of int, shape (n_terms,)
            Texts of the block that have each.
        """
        for file, values in zip(self._files, (terms.astype(np.uint64), np.asarray(n_texts, np.int64)), strict=True):
            with _room():
                file.write(values.tobytes())
        self._starts.append(self._starts[-1] + len(terms))

    def finish(self):
        """Add up the blocks; afterwards `of` responses and ``n_terms`` is the number of different terms."""
        with _room():
            for file in self._files:
                file.flush()
        self.n_terms = 0
        at, ends = np.array(self._starts[:-1]), np.array(self._starts[1:])
        n_ranges = max(1, -(-int(self._starts[-1]) // _RANGE))
        for k in range(n_ranges):
            bound = None if k == n_ranges - 1 else np.uint64((k + 1) * 2**64 // n_ranges)
            stops = ends
            if bound is not None:
                stops = np.array([self._first(bound, *pair) for pair in zip(at, ends, strict=True)])
            blocks = [self._read(0, *pair) for pair in zip(at, stops, strict=True)]
            counts = [self._read(1, *pair) for pair in zip(at, stops, strict=True)]
            terms, place = np.unique(np.concatenate([np.empty(0, np.uint64), *blocks]), return_inverse=True)
            totals = np.bincount(place, np.concatenate([np.empty(0, np.int64), *counts]), len(terms)).astype(np.int64)
            self.n_terms += len(terms)
            edges = np.cumsum([0, *map(len, blocks)])
            for start, first, last in zip(at, edges[:-1], edges[1:], strict=True):
                with _room():
                    self._files[1].seek(int(start) * 8)
                    self._files[1].write(totals[place[first:last]].tobytes())
            with _room():
                self._files[1].flush()
            at = stops

    def of(self, block):
        """How many of all texts have each term of a block, in the order in which they were added."""
        return self._read(1, self._starts[block], self._starts[block + 1])

    def _read(self, which, start, stop):
        self._files[which].seek(int(start) * 8)
        kind = np.uint64 if which == 0 else np.int64
        return np.frombuffer(self._files[which].read(int(stop - start) * 8), kind)

    def _first(self, bound, start, stop):
        """Place of the first term of a block that is at least `bound`."""
        return start + int(np.searchsorted(self._read(0, start, stop), bound))


def _mixed(first, second):
    """Hash of a pair of hashes, in order."""
    mixed = (first ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9) + second
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(32))
