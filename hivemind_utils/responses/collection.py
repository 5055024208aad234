"""Responses as the notebooks compute with them: what is known of them, and the work on one prompt after another."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from hivemind_utils.metrics import diversity, similarity, words
from hivemind_utils.responses import families
from hivemind_utils.tables import executor


class Known:
    """What is known of responses without reading them: from rows that name prompt, model, condition, decoding and arm.

    Subclasses have ``named`` (such rows), ``prompts``, ``models``, ``decoding`` and ``executor``.
    """

    @cached_property
    def people(self):
        """Names in `model` that stand for people."""
        return set(self.models.index[self.models["model_kind"] == "human"])

    @cached_property
    def arms(self):
        """Names of the arms, sorted."""
        return sorted(self.named["arm"].unique())

    @cached_property
    def prompt_order(self):
        """Ids of the prompts that have responses, sorted."""
        return sorted(self.named["prompt_id"].unique())

    @cached_property
    def model_of(self):
        """Model of every arm."""
        return self.named.drop_duplicates("arm").set_index("arm")["model"].to_dict()

    @cached_property
    def arm_of(self):
        """Arm of every model and condition, a Series."""
        return self.named.drop_duplicates(["model", "condition"]).set_index(["model", "condition"])["arm"]

    @cached_property
    def family_of(self):
        """Family of every arm."""
        return {arm: self.models["family"][self.model_of[arm]] for arm in self.arms}

    @cached_property
    def lineage_of(self):
        """Family of every arm; a model of unknown family is one of its own."""
        own = families.of_own(self.models["family"])
        return {arm: own[self.model_of[arm]] for arm in self.arms}

    @cached_property
    def n_wordless(self):
        """Number of responses without a word."""
        return sum(self.map(_n_wordless, vectors=False))

    @property
    def n_models(self):
        """Number of models, people not counted."""
        return len(set(self.model_of.values()) - self.people)

    def describe(self):
        """Say in a sentence what is here."""
        decoding = f"; decoding {self.decoding}" if self.decoding else ""
        return (
            f"{len(self):,} responses of {len(self.arms)} arms ({self.n_models} models) "
            f"to {len(self.prompt_order)} prompts{decoding}"
        )

    def open_ended(self, decoding):
        """Return the responses of models to open-ended original prompts under one decoding."""
        own, kinds = self.models_only().of_decoding(decoding), self.prompts["prompt_kind"]
        return own.of_prompts([prompt_id for prompt_id in own.prompt_order if kinds.get(prompt_id) == "original"])

    def map(self, function, *items, groups=None, progress=None, vectors=True, **options):
        """Yield what a function makes of the responses to each prompt, in the order of `prompt_order`.

        Only a few prompts are held at a time, wherever the study's executor has the work done.

        Parameters
        ----------
        function : callable
            Of a module; called as ``function(responses, *items, **options)`` with the `Responses` to one prompt.
        *items : iterable
            One further argument per prompt, or per group; taken as they are needed.
        groups : list of list of int, optional
            Places in `prompt_order`: the function gets the responses to the prompts of one group after another.
        progress : callable, optional
            Wraps the iterator; see `Study.progress`.
        vectors : bool
            Whether the function needs vectors; those on disk are not read if not.
        **options
            Arguments that are the same for all.
        """
        groups = [[k] for k in range(len(self.prompt_order))] if groups is None else groups
        given = zip(groups, *items, strict=True)
        work = ((function, [self.part(k) for k in group], values, vectors, options) for group, *values in given)
        done = (self.executor or executor.InProcess()).map(_applied, work)
        return progress(done, total=len(groups), unit="prompt") if progress else done

    def kept(self, name, make):
        """What `make` returns for these responses; made once."""
        if name not in self.__dict__:
            self.__dict__[name] = make(self)
        return self.__dict__[name]


def _applied(function, parts, values, vectors, options):
    """Apply a function to the responses that one or several parts hold."""
    return function(
        joined([part if isinstance(part, Responses) else part.load(vectors) for part in parts]), *values, **options
    )


def _n_wordless(responses):
    return int(words.wordless(responses.words).sum())


@dataclass(frozen=True)
class Responses(Known):
    """Usable responses with what is known of them, in memory.

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
    executor : object, optional
        Where work on prompts is done, from `tables.executor`; this process where there is none.
    """

    table: pd.DataFrame
    vectors: np.ndarray
    prompts: pd.DataFrame
    models: pd.DataFrame
    decoding: str | None = None
    executor: object = field(default=None, compare=False, repr=False)

    def __len__(self):
        """Return the number of responses."""
        return len(self.table)

    @property
    def named(self):
        """Rows that name prompt, model, condition, decoding and arm."""
        return self.table

    @cached_property
    def is_human(self):
        """Whether each row was written by people."""
        return self.table["model"].isin(self.people).to_numpy()

    @cached_property
    def words(self):
        """Normalised words of every row."""
        return words.word_lists(self.table["text"])

    @cached_property
    def lexical(self):
        """TF-IDF vectors of the rows: a measure of form, not of meaning."""
        return diversity.lexical_vectors(self.words)

    def by_row(self, values):
        """Spread one value per prompt of `prompt_order` over the rows of the table."""
        spread = np.empty(len(self), values.dtype)
        for rows, value in zip(self.rows_of, values, strict=True):
            spread[rows] = value
        return spread

    @cached_property
    def rows_of(self):
        """Rows of every prompt, in `prompt_order`."""
        found = self.table.groupby("prompt_id", sort=True).indices
        return [found[prompt_id] for prompt_id in self.prompt_order]

    def part(self, k):
        """Return the responses to one prompt of `prompt_order`; they travel to other processes as they are."""
        rows, at = self.rows_of[k], [self.prompt_order[k]]
        prompts = self.prompts.loc[at] if at[0] in self.prompts.index else self.prompts
        part = Responses(self.table.iloc[rows].reset_index(drop=True), self.vectors[rows], prompts, self.models,
                         self.decoding)  # fmt: skip
        if "words" in self.__dict__:
            part.__dict__["words"] = [self.words[i] for i in rows]
        return part

    def split(self, values):
        """Yield the rows of an array that belong to each prompt; what is no array is yielded for each as it is."""
        return (values[rows] if isinstance(values, np.ndarray) else values for rows in self.rows_of)

    def where(self, keep):
        """Return the rows that a boolean array keeps."""
        keep = np.asarray(keep)
        table = self.table[keep].reset_index(drop=True)
        return Responses(table, self.vectors[keep], self.prompts, self.models, self.decoding, self.executor)

    def of_named(self, keep):
        """Return what a boolean array keeps of `named`."""
        return self.where(keep)

    def models_only(self):
        """Return the rows that models wrote."""
        return self.where(~self.is_human)

    def of_models(self, names):
        """Return the rows of some models."""
        return self.where(self.table["model"].isin(names))

    def of_decoding(self, decoding):
        """Return the responses under one decoding."""
        return self.where(self.table["decoding"] == decoding)

    def of_prompts(self, prompt_ids):
        """Return the responses to some prompts."""
        return self.where(self.table["prompt_id"].isin(prompt_ids))

    def under(self, cache):
        """Return the responses with the vectors of another encoder, from its `embeddings.Cache`."""
        return replace(self, vectors=cache.of(self.table["text_id"]))

    def ordered(self, *columns):
        """Return the responses with the rows in another order."""
        rows = self.table.sort_values(list(columns)).index.to_numpy()
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True), vectors=self.vectors[rows])

    def columns(self, *names):
        """Return some columns of the table; those of responses on disk are read prompt by prompt, without texts."""
        return self.table[[*names]]

    def head(self, n=3):
        """Return the first rows of the table."""
        return self.table.head(n)

    def texts(self, response_ids, prompt_ids):
        """Text of some responses to some prompts, by response_id."""
        own = self.table[self.table["response_id"].isin(response_ids) & self.table["prompt_id"].isin(prompt_ids)]
        return own.set_index("response_id")["text"]

    def pair_cosines(self, first, second):
        """Cosines of pairs of rows, row i of `first` with row i of `second`."""
        return row_cosines(self.vectors.__getitem__, first, second)

    @property
    def sizes(self):
        """Responses to every prompt of `prompt_order`."""
        return np.array([len(rows) for rows in self.rows_of], int)


def joined(parts):
    """Responses of several prompts as one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return Responses(
        pd.concat([part.table for part in parts], ignore_index=True), np.concatenate([part.vectors for part in parts]),
        pd.concat([part.prompts for part in parts]), first.models, first.decoding,
    )  # fmt: skip


def row_cosines(take, first, second, block=8_192):
    """Cosines of pairs of rows that are fetched block by block.

    Parameters
    ----------
    take : callable
        Gives the rows (n, n_dims) of an array of n row numbers.
    first, second : ndarray of int, shape (n_pairs,)
        Rows of every pair.
    block : int
        Pairs fetched at a time.

    Returns
    -------
    ndarray of float32, shape (n_pairs,)

    Examples
    --------
    >>> row_cosines(np.eye(2).__getitem__, np.array([0, 0]), np.array([0, 1]))
    array([1., 0.], dtype=float32)
    """
    found = [np.empty(0, np.float32)]
    for start in range(0, len(first), block):
        rows = slice(start, start + block)
        found.append(
            np.einsum("ij,ij->i", similarity.unit_rows(take(first[rows])), similarity.unit_rows(take(second[rows])))
        )
    return np.concatenate(found)
