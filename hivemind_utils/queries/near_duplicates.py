"""Find texts that say the same with other punctuation or a few other letters: MinHash, then the exact Jaccard index."""

import unicodedata
import zlib

import numpy as np

N_PERMUTATIONS = 128  # of the MinHash; LSH only proposes pairs, the exact Jaccard index decides


SHINGLE = 5  # characters


def normalise(text):
    """Fold case, width and accents' spelling, and reduce every run of other than letters and digits to one blank.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        A text without letters and digits is returned as it is, only folded: two of them are not the same for it.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if c.isalnum() or unicodedata.combining(c) else " " for c in folded)
    return " ".join(kept.split()) or folded.strip()


def shingles(text):
    """Hashes of all runs of five characters of a normalised text (of the whole text where it is shorter)."""
    return {
        zlib.crc32(text[i : i + SHINGLE].encode("utf-8", "replace")) for i in range(max(1, len(text) - SHINGLE + 1))
    }


def jaccard(a, b):
    """Jaccard index of two sets of shingles: shared / all, 0 to 1."""
    return len(a & b) / len(a | b)


def leaders(texts, threshold, seed=1):
    """Give every text the earlier text it repeats, or itself.

    Texts are taken in order; one that is near enough to an earlier text that was kept is led by it (the nearest, the
    earlier among equals), any other is kept. Hence no two kept texts are near each other, as far as LSH proposes the
    pair: at 128 permutations it misses few pairs well above the threshold and some just above it.

    Parameters
    ----------
    texts : sequence of str
        Normalised here; order them before, for example by time.
    threshold : float
        Jaccard index of character 5-grams from which two texts are the same, above 0 and at most 1; 1 asks for equal
        sets of 5-grams.
    seed : int
        Of the MinHash permutations.

    Returns
    -------
    ndarray of int, shape (n_texts,)
        Index of the leader; ``leaders(...) == arange(n)`` marks the kept texts.
    """
    from datasketch import MinHash, MinHashLSH

    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be above 0 and at most 1, but {threshold} was passed.")
    sets = [shingles(normalise(text)) for text in texts]
    lead = np.arange(len(sets))
    # A lower threshold for the proposals: the S-curve of LSH loses pairs just above its own.
    index = MinHashLSH(threshold=max(0.05, 0.85 * threshold), num_perm=N_PERMUTATIONS, weights=(0.2, 0.8))
    hashes = MinHash.generator([list(s) for s in sets], num_perm=N_PERMUTATIONS, seed=seed, hashfunc=int)
    for i, (mine, minhash) in enumerate(zip(sets, hashes, strict=True)):
        near = [(jaccard(mine, sets[j]), -j) for j in index.query(minhash)]
        best, earlier = max(near, default=(0.0, 0))
        if near and best >= threshold:
            lead[i] = -earlier
        else:
            index.insert(i, minhash)
    return lead
