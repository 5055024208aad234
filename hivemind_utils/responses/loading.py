"""Responses as notebooks 05 to 07 need them: usable, with their arms named, embeddings and facts beside."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, words
from hivemind_utils.responses import arms, embeddings, encoders
from hivemind_utils.responses.table import CELL, arm_names, read, tabulate
from hivemind_utils.tables import files, ids, wording


@dataclass(frozen=True)
class Responses:
    """Usable responses with what is known of them.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per response, ordered by cell and number; the columns of ``04_responses`` and ``arm``, the model, or
        model and condition where the model has several.
    vectors : ndarray of float, shape (n_responses, n_dims)
        Embedding of every row of `table`.
    prompts, models : pandas.DataFrame
        ``04_prompts`` by prompt_id and ``04_models`` by model.
    decoding : str or None
        The one decoding compared; None where there are several.
    """

    table: pd.DataFrame
    vectors: np.ndarray
    prompts: pd.DataFrame
    models: pd.DataFrame
    decoding: str | None = None

    def __len__(self):
        """Return the number of responses."""
        return len(self.table)

    @cached_property
    def people(self):
        """Names in `model` that stand for people."""
        return set(self.models.index[self.models["kind"] == "human"])

    @cached_property
    def is_human(self):
        """Whether each row was written by people."""
        return self.table["model"].isin(self.people).to_numpy()

    @cached_property
    def arms(self):
        """Names of the arms, sorted."""
        return sorted(self.table["arm"].unique())

    @cached_property
    def prompt_order(self):
        """Ids of the prompts that have responses, sorted."""
        return sorted(self.table["prompt_id"].unique())

    @cached_property
    def model_of(self):
        """Model of every arm."""
        return self.table.drop_duplicates("arm").set_index("arm")["model"].to_dict()

    @cached_property
    def family_of(self):
        """Family of every arm."""
        return {arm: self.models["family"][self.model_of[arm]] for arm in self.arms}

    @cached_property
    def words(self):
        """Normalised words of every row."""
        return words.word_lists(self.table["text"])

    @property
    def n_wordless(self):
        """Number of responses without a word."""
        return int(words.wordless(self.words).sum())

    @cached_property
    def lexical(self):
        """TF-IDF vectors of the rows: a measure of form, not of meaning."""
        return diversity.lexical_vectors(self.words)

    @property
    def n_models(self):
        """Number of models, people not counted."""
        return len(set(self.table["model"]) - self.people)

    def where(self, keep):
        """Return the rows that a boolean array keeps."""
        keep = np.asarray(keep)
        table = self.table[keep].reset_index(drop=True)
        return Responses(table, self.vectors[keep], self.prompts, self.models, self.decoding)

    def models_only(self):
        """Return the rows that models wrote."""
        return self.where(~self.is_human)

    def describe(self):
        """Say in a sentence what is here."""
        decoding = f"; decoding {self.decoding}" if self.decoding else ""
        return (
            f"{len(self):,} responses of {len(self.arms)} arms ({self.n_models} models) "
            f"to {len(self.prompt_order)} prompts{decoding}"
        )


def load(study, encoder, *, prompt_kinds=None, one_decoding=False, decoding=None, conditions=None):
    """Load the usable responses of a profile.

    Parameters
    ----------
    study : Study
    encoder : str
        The encoder with which notebook 04 embedded them.
    prompt_kinds : collection of str, optional
        Kinds of prompts: "original", "paraphrase", "closed". None: all.
    one_decoding : bool
        Keep one decoding (and people, who have none): `decoding`, else top_p, else the commonest. What is left out
        makes the run partial.
    decoding : str, optional
    conditions : list of str, optional
        Keep these conditions of models. None: all but other ways of asking (``04_arms``), which notebook 10 compares.

    Returns
    -------
    Responses

    Raises
    ------
    ValueError
        If nothing is left, or a decoding or condition does not occur.
    """
    prompts = study.read("04_prompts").set_index("prompt_id")
    models = study.read("04_models").set_index("model")
    table = study.read("04_responses")
    people = set(models.index[models["kind"] == "human"])
    if one_decoding:
        decoding = choose_decoding(table, people, decoding)
    table = table[table["usable"]]
    if prompt_kinds is not None:
        table = table[table["prompt_id"].map(prompts["kind"]).isin(prompt_kinds)]
    human = table["model"].isin(people)
    if one_decoding:
        here = (table["decoding"] == decoding) | human
        left_out = sorted(set(table["model"]) - set(table.loc[here, "model"]))
        table = table[here]
        if left_out:
            study.partial(f"no responses under {decoding} from {wording.listed(left_out)} (not compared)")
    if conditions is None:
        table = table[~table["condition"].isin(arms.interventions(study.read("04_arms")))]
    else:
        unknown = sorted(set(conditions) - set(table["condition"]))
        if unknown:
            known = sorted(set(table["condition"]))
            raise ValueError(f"`conditions` names {unknown}, but the conditions are {known}.")
        table = table[table["condition"].isin(conditions) | table["model"].isin(people)]
    if table.empty:
        wanted = f" to a prompt of kind {' or '.join(prompt_kinds)}" if prompt_kinds else ""
        raise ValueError(f"There is no usable response{wanted}: see `kind` in 04_prompts and `usable` in 04_responses.")
    table = table.sort_values([*CELL, "sample_idx"], ignore_index=True)
    table["arm"] = arm_names(table)
    vectors = embeddings.read(table["text_id"], encoder, study.folder / "embeddings")
    return Responses(table, vectors, prompts, models, decoding)


def from_files(study, paths, encoder, **reading):
    """Read responses from files, embed them, and return them as `load` does, without touching the profile's tables.

    Parameters
    ----------
    study : Study
    paths : path-like
    encoder : str
        A local one: nothing is paid for.
    **reading
        Options of `table.read`, such as `columns`.

    Returns
    -------
    Responses
    """
    made = tabulate(read(files.resolve(paths), **reading))
    table = made["04_responses"]
    table = table[table["usable"]].sort_values([*CELL, "sample_idx"], ignore_index=True)
    table["arm"] = arm_names(table)
    folder = study.folder / "embeddings"
    embeddings.embed(table["text"].unique(), encoder, folder)
    vectors = embeddings.read(table["text_id"], encoder, folder)
    prompts, models = made["04_prompts"].set_index("prompt_id"), made["04_models"].set_index("model")
    return Responses(table, vectors, prompts, models)


def truncated_vectors(study, responses, encoder, n_chars):
    """Embeddings of the responses cut to their first `n_chars` characters: shape (n_responses, n_dims)."""
    text_ids = responses.table["text"].str.slice(0, n_chars).map(ids.text_id)
    return embeddings.read(text_ids, encoder, study.folder / "embeddings")


def choose_decoding(table, people, wanted=None):
    """Pick the decoding to compare models under: the one asked for, else top_p, else the commonest.

    Raises
    ------
    ValueError
        If the one asked for does not occur.
    """
    counts = table.loc[~table["model"].isin(people), "decoding"].value_counts()
    if wanted is not None:
        if wanted not in counts.index:
            raise ValueError(f"`decoding` must be one of {sorted(counts.index)}, but {wanted!r} was passed.")
        return wanted
    if counts.empty:
        return "none"
    return "top_p" if "top_p" in counts.index else sorted(counts[counts == counts.max()].index)[0]


def embed(study, table, encoder, *, truncate_chars, may_pay):
    """Embed the usable responses, whole and cut to their first characters, as far as they are not embedded yet.

    Parameters
    ----------
    study : Study
    table : pandas.DataFrame
        Table ``04_responses``.
    encoder : str
    truncate_chars : int
    may_pay : bool
        Whether a paid encoder may be asked.

    Returns
    -------
    str
        What was done, in a sentence.
    """
    usable = table.loc[table["usable"], "text"]
    texts = pd.concat([usable, usable.str.slice(0, truncate_chars)]).unique()
    n_new = embeddings.embed(texts, encoder, study.folder / "embeddings", may_pay=may_pay)
    return f"{len(texts):,} distinct texts, {n_new:,} of them new to the cache"


def beyond_encoder(table, encoder):
    """Say how many usable responses are longer than the encoder reads: facts for `Study.comes_from`.

    Parameters
    ----------
    table : pandas.DataFrame
        Table ``04_responses``.
    encoder : Encoder or str

    Returns
    -------
    dict of str to str
        ``encoder_note``, a sentence; empty where no response is, or the encoder does not say what it reads.
    """
    texts = table.loc[table["usable"], "text"]
    encoder = encoders.load_encoder(encoder) if isinstance(encoder, str) else encoder
    if encoder.max_tokens is None or encoder.n_tokens is None or texts.empty:
        return {}
    is_long = texts.str.len() > encoder.max_tokens // 2  # a token has a character or more; those of markup few
    n_tokens = np.array(encoder.n_tokens(texts[is_long].tolist()), int)
    n = int((n_tokens > encoder.max_tokens).sum())
    if not n:
        return {}
    share = wording.percent(n / len(texts))
    sentence = f"{n:,} of {len(texts):,} responses ({share}) are longer than the {encoder.max_tokens} tokens that "
    return {"encoder_note": f"{sentence}{encoder.name} reads: only their beginnings are compared."}
