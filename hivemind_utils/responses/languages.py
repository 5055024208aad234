"""Prompts in several languages: whether responses are more alike when asked in another one, and come in it.

Prompts of one meaning are an original and its translations (``prompt_kind`` is translation, with ``parent_id``). See
`metrics.languages` for what may be said; the language of a reply is an outcome, never a reason to drop it.
"""

import re
import unicodedata

import numpy as np
import pandas as pd

from hivemind_utils.metrics import intervals, languages, similarity
from hivemind_utils.responses import embeddings, loading
from hivemind_utils.tables import files, reading

_SCRIPTS = {  # of letters that name a language, or a few; Latin needs words
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh", "ARABIC": "ar", "HEBREW": "he", "GREEK": "el",
    "THAI": "th", "DEVANAGARI": "hi", "CYRILLIC": "ru",
}  # fmt: skip
_WORDS = {  # frequent words that hardly occur in the other languages
    "en": "the and of is to that with for it you are was this",
    "de": "der die das und ist nicht ein eine mit von den zu sich auf wie",
    "fr": "le les des est et une dans qui pour pas vous du au ce",
    "es": "el los las es y una por para con del lo como más",
    "it": "il gli che è di della per un sono non come nel alla",
    "pt": "o os as é uma não para com do da um em mais",
    "nl": "het een van en is niet dat met zijn voor op de",
}
_WORDS = {name: frozenset(words.split()) for name, words in _WORDS.items()}
COLUMNS = [
    "language", "reference", "n_prompts", "n_lost", "within", "floor", "above", "difference", "lower", "upper",
    "translated_difference", "translated_lower", "translated_upper", "in_language", "in_language_lower",
    "in_language_upper", "n_unknown", "decision", "reason",
]  # fmt: skip


def guess_language(text):
    """Language of a text, by script or frequent words; None where that does not tell.

    Examples
    --------
    >>> guess_language("Time is a river that carries us to the sea."), guess_language("Die Zeit ist ein Fluss.")
    ('en', 'de')
    >>> guess_language("時間は川です。"), guess_language("42")
    ('ja', None)
    """
    scripts = [unicodedata.name(letter, "").split()[0] for letter in text[:2_000] if letter.isalpha()]
    if not scripts:
        return None
    found = {script: scripts.count(script) for script in set(scripts)}
    if {"HIRAGANA", "KATAKANA"} & set(found):
        return "ja"
    script = max(sorted(found), key=found.get)
    if script != "LATIN":
        return next((name for start, name in _SCRIPTS.items() if script.startswith(start)), None)
    words = re.findall(r"\w+", text[:2_000].lower())
    hits = sorted(((sum(w in known for w in words), name) for name, known in _WORDS.items()), reverse=True)
    return hits[0][1] if hits[0][0] > hits[1][0] else None


def of_run(study, encoder, multilingual_encoder=None, translations_path=None, *, reference="en", decoding=None):
    """Compare the languages of a run's prompts; see `compare`.

    Parameters
    ----------
    study : Study
    encoder : str
        For the translated responses, and where there is no multilingual one.
    multilingual_encoder : str, optional
        One that notebook 04 embedded with too (`encoders`).
    translations_path : path-like, optional
        See `read_translations`.
    reference : str
    decoding : str, optional

    Returns
    -------
    pandas.DataFrame
        Table ``11_languages``; without rows, and without reading a response, where prompts name fewer than two
        languages.
    """
    if study.read("04_prompts")["language"].nunique() < 2:
        return pd.DataFrame(columns=COLUMNS).astype({"n_prompts": int, "n_lost": int, "n_unknown": int})
    kept = {"prompt_kinds": ["original", "translation"], "one_decoding": True, "decoding": decoding}
    loaded = loading.load(study, multilingual_encoder or encoder, **kept).models_only()
    translated = read_translations(study, loaded, translations_path, encoder)
    return compare(loaded, translated, reference=reference, multilingual=multilingual_encoder is not None)


def compare(loaded, translated=None, *, reference="en", multilingual=True):
    """Repetition by language against a reference, and whether the replies come in the language asked.

    Parameters
    ----------
    loaded : Responses
        To original and translated prompts, with the vectors of a multilingual encoder.
    translated : ndarray of float, shape (n_responses, n_dims), optional
        Vectors of the responses in the reference language: translated into it, those of the reference itself there and
        back. NaN rows: not translated.
    reference : str
        Its language, as the prompts name it.
    multilingual : bool
        Whether the encoder of `loaded` is multilingual; if not, what it finds is no measurement.

    Returns
    -------
    pandas.DataFrame
        Table ``11_languages``: one row per language but the reference; none where prompts name no second language.
    """
    table = loaded.table
    facts = loaded.prompts.reindex(columns=["language", "parent_id", "prompt_kind"])
    spoken = table["prompt_id"].map(facts["language"])
    parent = (
        table["prompt_id"].map(facts["parent_id"]).where(table["prompt_id"].map(facts["prompt_kind"]) == "translation")
    )
    meaning = parent.where(parent.notna(), table["prompt_id"])
    rows = []
    for language in sorted(set(spoken.dropna()) - {reference}):
        at = spoken.isin([language, reference]).to_numpy()
        sums = _sums(loaded.vectors, table, meaning, spoken == language, at)
        lost = int(meaning[spoken == language].nunique()) - sums[2]
        first = _measured(*sums)
        second = None
        if translated is not None:
            known = at & ~np.isnan(translated).any(1)
            second = _measured(*_sums(translated, table, meaning, spoken == language, known))
        found = None if first is None or not multilingual else languages.difference(first, 1, 0)
        other = None if second is None else languages.difference(second, 1, 0)
        decision, reason = languages.verdict(found, other)
        shown = languages.difference(first, 1, 0) if first is not None else None
        values = [np.nan] * 3 if first is None else [float(getattr(first, name)[0, 1]) for name in first._fields]
        faithful = _fidelity(table[spoken == language], meaning[spoken == language], language)
        numbers = (*values, *_three(shown), *_three(other), *faithful)
        rows.append((language, reference, sums[2], lost, *numbers, decision, reason))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n_prompts": int, "n_lost": int, "n_unknown": int})


def read_translations(study, loaded, path, encoder):
    """Vectors of translated responses, a row per response; None without a file.

    Parameters
    ----------
    study : Study
    loaded : Responses
    path : path-like or None
        CSV, JSONL or Parquet with response_id and text: every response in the reference language.
    encoder : str
        A local one.

    Returns
    -------
    ndarray of float32, shape (n_responses, n_dims), or None
    """
    if path is None:
        return None
    frame = reading.read_any(files.resolve(path))
    if missing := [name for name in ("response_id", "text") if name not in frame]:
        raise ValueError(f"{path} needs the columns response_id and text, but lacks {missing}.")
    text = frame.dropna(subset=["text"]).drop_duplicates("response_id").set_index("response_id")["text"].astype(str)
    own = loaded.table["response_id"].map(text)
    if own.notna().sum() == 0:
        raise ValueError(f"{path} names no response of this run: `response_id` must be that of 04_responses.")
    vectors = embeddings.vectors(own.dropna().tolist(), encoder, study.folder / "embeddings" / "translated")
    found = np.full((len(own), vectors.shape[1]), np.nan, np.float32)
    found[own.notna().to_numpy()] = vectors
    return found


def _sums(vectors, table, meaning, is_language, at):
    """Sums of unit vectors and counts by prompt, arm and (reference, language), and how many prompts are complete."""
    n_dims, arms = vectors.shape[1], sorted(set(table["arm"]))
    names = sorted(set(meaning[at & is_language.to_numpy()]) & set(meaning[at & ~is_language.to_numpy()]))
    place = pd.Index(names).get_indexer(meaning)
    chosen = at & (place >= 0)
    shape = len(names), len(arms), 2
    arm = pd.Index(arms).get_indexer(table["arm"])
    codes = (place * shape[1] + arm) * 2 + is_language.to_numpy(int)
    sums, counts = similarity.cell_sums(vectors[chosen], codes[chosen], int(np.prod(shape)))
    sums, counts = sums.reshape(*shape, n_dims), counts.reshape(shape)
    complete = (counts > 1).any(1).all(1) if len(names) else np.zeros(0, bool)
    return sums[complete], counts[complete], int(complete.sum())


def _measured(sums, counts, n_prompts):
    return languages.alikeness(sums, counts) if n_prompts > 1 else None


def _three(found):
    return (np.nan,) * 3 if found is None else tuple(float(getattr(found, x)) for x in ("estimate", "lower", "upper"))


def _fidelity(table, meaning, language):
    """Share of replies in the language asked, prompts weighing equally, its interval, and how many nobody can tell."""
    guessed = table["text"].map(guess_language)
    known = guessed.notna()
    right = (guessed[known] == language.split("-")[0].lower()).groupby(meaning[known]).mean()
    if right.empty:
        return np.nan, np.nan, np.nan, int((~known).sum())
    share = intervals.mean_interval(right.to_numpy(float)).within(0, 1)
    return float(share.estimate), float(share.lower), float(share.upper), int((~known).sum())
