"""Words of a text: normalisation, n-grams and keyphrases."""

import re
import unicodedata
from collections import defaultdict
from itertools import chain, pairwise

import numpy as np

from hivemind_utils.metrics._labels import NOISE, labels_of

_MARKUP = re.compile(
    r"</?[a-z][a-z0-9-]{0,30}(?:\s[^<>]{0,300}=[^<>]{0,300})?\s{0,9}/?>"  # an HTML tag ("x<y and y>z" is none)
    r'|\]\([^()\s]*(?:\s+"[^"\n]*")?\)'  # the target of a markdown link; its words stay
    r"|^[ \t]*\d{1,3}[.)][ \t]+(?=\S)",  # the number of a list item
    re.MULTILINE,
)


_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # scripts without spaces: one character, one word


_WORD = re.compile(rf"[{_ALONE}]|[^\s'{_ALONE}]+(?:'+[^\s'{_ALONE}]+)*")


class _Separators(dict):
    """Character to character: letters, marks and digits stay, invisible ones become apostrophes, the rest spaces."""

    def __missing__(self, code):
        char, category = chr(code), unicodedata.category(chr(code))
        invisible = category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
        kept = char if category[0] in "LMN" or char == "\n" else " "
        self[code] = "'" if invisible or char in "'\u2019\u02bc" else kept
        return self[code]


_SEPARATORS = _Separators()


def _continues(char):
    """Whether normalisation may join `char` to the one before it."""
    return char > "\u02ff" and (
        unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff" or char in "\uff9e\uff9f"
    )


def _caseless(text):
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def fold(text):
    """Caseless NFKC text with markup and punctuation blanked, and where each of its characters begins and ends.

    Examples
    --------
    >>> fold("A RIVER")[0]
    'a river'
    """
    if not isinstance(text, str):
        raise TypeError(
            f"`text` must be a string, but {type(text).__name__} came. Leave out missing responses, or count them."
        )
    folded, begins, ends = text.casefold(), None, None
    if len(folded) != len(text) or not all(unicodedata.is_normalized("NFKC", t) for t in (text, folded)):
        cuts = [k for k, char in enumerate(text) if k == 0 or not _continues(char)] + [len(text)]
        pieces = [_caseless(text[a:b]) for a, b in pairwise(cuts)]
        folded = "".join(pieces)
        begins = [a for a, piece in zip(cuts, pieces, strict=False) for _ in piece]
        ends = [b for b, piece in zip(cuts[1:], pieces, strict=True) for _ in piece]
    return _MARKUP.sub(lambda m: " " * len(m[0]), folded).translate(_SEPARATORS), begins, ends


def words(text):
    """Return the normalised words of a text.

    NFKC, casefolded; HTML tags, markdown marks, link targets, list numbers, punctuation and symbols removed.
    Punctuation separates words, except that an apostrophe or an invisible character joins them ("don't" is "dont").
    Chinese characters and kana are words of their own.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
        Empty if nothing but punctuation, symbols and white space is left.

    Examples
    --------
    >>> words("Don't **stop**: time is a river.")
    ['dont', 'stop', 'time', 'is', 'a', 'river']
    """
    folded = fold(text)[0]
    found = _WORD.findall(folded)
    return [word.replace("'", "") for word in found] if "'" in folded else found


def word_spans(text):
    """Return the normalised words of a text with their place in the original.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of (str, int, int)
        Word, start and end: the word was written as ``text[start:end]``. The words are those of `words`.

    Examples
    --------
    >>> word_spans("A river!")
    [('a', 0, 1), ('river', 2, 7)]
    """
    folded, begins, ends = fold(text)
    found = [(m[0].replace("'", ""), m.start(), m.end()) for m in _WORD.finditer(folded)]
    return found if begins is None else [(word, begins[start], ends[end - 1]) for word, start, end in found]


def normalise(text):
    r"""Return the text as its normalised words joined by single spaces; two texts are "the same" if these are equal.

    Examples
    --------
    >>> normalise("# Time\n> is a *River*.")
    'time is a river'
    """
    return " ".join(words(text))


def word_lists(texts):
    """Normalise each text once.

    Parameters
    ----------
    texts : sequence of str, or of list of str
        Texts; word lists pass through, so functions that call this take either.

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> word_lists(["A river!", ["already", "words"]])
    [['a', 'river'], ['already', 'words']]
    """
    if isinstance(texts, str):
        raise TypeError("`texts` must be a list of texts, but one string was passed. Put it in a list.")
    return [text if isinstance(text, list) else words(text) for text in texts]


def encode_words(lists):
    """Write word lists as one array of integer codes, for `ngram_codes`.

    Parameters
    ----------
    lists : list of list of str

    Returns
    -------
    codes : ndarray of int, shape (n_words + n_texts,)
        A code per word, 0, 1, 2 … without a gap, equal for equal words; −1 after each text.
    owners : ndarray of int, same shape
        The index of the text that each position belongs to.

    Examples
    --------
    >>> codes, owners = encode_words([["a", "b"], ["b"]])
    >>> codes, owners
    (array([ 0,  1, -1,  1, -1]), array([0, 0, 0, 1, 1]))
    """
    vocabulary = defaultdict(lambda: len(vocabulary))
    vocabulary[None] = 0  # the end of a text
    flat = chain.from_iterable([*ws, None] for ws in lists)
    codes = np.array([vocabulary[word] for word in flat], dtype=np.int64) - 1
    return codes, np.repeat(np.arange(len(lists)), [len(ws) + 1 for ws in lists])


def ngram_codes(codes, n):
    """Yield the codes of the 1-, 2-, … n-grams that start at each position.

    Parameters
    ----------
    codes : ndarray of int, shape (n_positions,)
        From `encode_words`; −1 ends a text.
    n : int
        Largest order, >= 1.

    Yields
    ------
    ndarray of int, shape (n_positions,)
        Equal n-grams have equal codes, 0, 1, 2 … without a gap; −1 where the text has fewer words left.

    Examples
    --------
    >>> codes, _ = encode_words([["a", "b"], ["a", "b"]])
    >>> [grams.tolist() for grams in ngram_codes(codes, 2)]
    [[0, 1, -1, 0, 1, -1], [0, -1, -1, 0, -1, -1]]
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1 word, but {n} was passed.")
    grams, width = codes, codes.max(initial=0) + 1
    yield grams
    for order in range(1, n):
        following = np.concatenate([codes[order:], np.full(min(order, len(codes)), -1)])
        whole = (grams >= 0) & (following >= 0)
        longer = np.full(len(codes), -1)
        longer[whole] = np.unique(grams[whole] * width + following[whole], return_inverse=True)[1]
        grams = longer
        yield grams


def wordless(texts):
    """Say which texts normalise to nothing; `exact_duplicates` and `verbatim_pairs` leave these out.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    ndarray of bool, shape (n_texts,)

    Examples
    --------
    >>> wordless(["...", "a word"])
    array([ True, False])
    """
    return np.array([not ws for ws in word_lists(texts)], dtype=bool)


# As `words` writes them, without their apostrophe. "were", "well", "ill", "shed" and "wed" are words of their own.
CONTRACTIONS = frozenset(
    "aint arent cant couldnt couldve didnt doesnt dont hadnt hasnt havent hed heres hes hows id im isnt itd itll "
    "its ive lets mightnt mustnt neednt shant shes shouldnt shouldve thatd thatll thats theres theyd theyll theyre "
    "theyve wasnt werent weve whats wheres whos wont wouldnt wouldve yall youd youll youre youve".split()
)


def keyphrases(words, labels, n_phrases=3, exclude=()):
    r"""Words and word pairs that set every mode apart: class-based TF-IDF.

    Parameters
    ----------
    words : list of list of str
        Normalised words of every response.
    labels : ndarray of int, shape (n_responses,)
        Mode of every response; noise is a class to differ from.
    n_phrases : int
        At most so many a mode; a phrase shares no word with a better one.
    exclude : collection of str
        Words that name nothing, such as the prompt's own.

    Returns
    -------
    list of list of str
        Per mode, best first; empty where its responses hold no telling word.

    Notes
    -----
    The weight of phrase t in class c is :math:`tf_{tc} \log(1 + A / f_t)` with :math:`tf` the share of the class's
    phrases, :math:`f_t` the responses with t, :math:`A` the mean number of phrases per class (Grootendorst 2022). A
    phrase counts once per response. English function words and contractions make no phrase, nor begin or end one.

    Examples
    --------
    >>> lists = [["time", "river"], ["long", "river"], ["old", "thief"], ["sly", "thief"]]
    >>> keyphrases(lists, np.array([0, 0, 1, 1]), n_phrases=1)
    [['river'], ['thief']]
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    labels = labels_of(labels, len(words))
    n_modes = labels.max(initial=NOISE) + 1

    dull = ENGLISH_STOP_WORDS | CONTRACTIONS | set(exclude)

    def phrases(listed):
        single = {word for word in listed if word not in dull}
        return single | {f"{a} {b}" for a, b in pairwise(listed) if not {a, b} & dull}

    found = [phrases(listed) for listed in words]
    if n_modes == 0 or not any(found):
        return [[] for _ in range(n_modes)]
    vectoriser = CountVectorizer(analyzer=sorted)
    counts = vectoriser.fit_transform(found).tocsr()
    terms = vectoriser.get_feature_names_out()
    per_class = np.array([np.asarray(counts[labels == mode].sum(0)).ravel() for mode in (*range(n_modes), NOISE)])
    totals = per_class.sum(1)
    weight = per_class / np.maximum(totals, 1)[:, None]
    weight = weight * np.log1p(totals[totals > 0].mean() / per_class.sum(0))
    chosen = []
    for mode in range(n_modes):
        best, used = [], set()
        for term in np.argsort(-weight[mode], kind="stable")[: 20 * n_phrases]:
            if weight[mode, term] <= 0 or len(best) == n_phrases:
                break
            if not used & set(terms[term].split()):
                best.append(str(terms[term]))
                used |= set(terms[term].split())
        chosen.append(best)
    return chosen
