"""Responses as notebooks 05 to 07 need them: usable, with their arms named, embeddings and facts beside."""

import numpy as np

from hivemind_utils.responses import arms, embeddings, encoder_comparison, encoders, stored
from hivemind_utils.responses.collection import Responses
from hivemind_utils.responses.table import CELL, arm_names, read, tabulate
from hivemind_utils.tables import blocks, files, wording
from hivemind_utils.tables.study import NothingToMeasureError

IN_MEMORY_BYTES = 256_000_000  # vectors of a run that is held in memory; larger ones are read prompt by prompt


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
        Keep one decoding (and people, who have none): `decoding`, else top_p, else the most common. What is left out
        makes the run partial.
    decoding : str, optional
    conditions : list of str, optional
        Keep these conditions of models. None: all but other ways of asking (``04_arms``), which notebook 10 compares.

    Returns
    -------
    Responses, or stored.Stored
        The latter, which reads prompt by prompt, where the vectors would take more than `IN_MEMORY_BYTES`.

    Raises
    ------
    NothingToMeasureError
        If nothing is left.
    ValueError
        If a decoding or condition does not occur.
    """
    prompts = study.read("04_prompts").set_index("prompt_id")
    models = study.read("04_models").set_index("model")
    path = study.look("04_responses")
    people = set(models.index[models["model_kind"] == "human"])
    index = stored.index(path)
    if one_decoding:
        counts = index[~index["model"].isin(people)].groupby("decoding")["n"].sum()
        decoding = _chosen(counts, decoding)
    kept = index[index["usable"]]
    if prompt_kinds is not None:
        kept = kept[kept["prompt_id"].map(prompts["prompt_kind"]).isin(prompt_kinds)]
    human = kept["model"].isin(people)
    if one_decoding:
        here = (kept["decoding"] == decoding) | human
        left_out = sorted(set(kept["model"]) - set(kept.loc[here, "model"]))
        kept = kept[here]
        if left_out:
            study.partial(f"no responses under {decoding} from {wording.listed(left_out)} (not compared)")
    if conditions is None:
        kept = kept[~kept["condition"].isin(arms.interventions(study.read("04_arms")))]
    else:
        unknown = sorted(set(conditions) - set(kept["condition"]))
        if unknown:
            known = sorted(set(kept["condition"]))
            raise ValueError(f"`conditions` names {unknown}, but the conditions are {known}.")
        kept = kept[kept["condition"].isin(conditions) | kept["model"].isin(people)]
    if kept.empty:
        wanted = f" to a prompt of kind {' or '.join(prompt_kinds)}" if prompt_kinds else ""
        raise NothingToMeasureError(
            f"There is no usable response{wanted}: see `prompt_kind` in 04_prompts and `usable` in 04_responses."
        )
    originals = kept.loc[kept["prompt_id"].map(prompts["prompt_kind"]) == "original", "prompt_id"]
    study.stamp["prompts_note"] = wording.few_prompts(originals.nunique())
    kept = kept.sort_values(CELL, ignore_index=True)
    kept["arm"] = arm_names(kept)
    cache = embeddings.cache(encoder, study.folder / "embeddings")
    study.stamp["cut_note"] = _cut_note(cache, encoder)
    found = stored.Stored(stored.Layout.of(path), kept, cache, prompts, models, decoding, study.executor)
    small = len(found) * cache.n_dims * 4 <= IN_MEMORY_BYTES
    return found.in_memory() if small or not found.layout.by_prompt else found


def _cut_note(cache, encoder):
    """Say how many texts the encoder refused as too long, which were cut: a sentence for captions; empty if none."""
    if not (n := cache.n_cut):
        return ""
    return f"{wording.counted(n, 'text')} too long for {encoder}: only the beginning is compared."


def from_file(study, path, encoder, *, may_pay=False, **reading):
    """Read responses from a file, embed them, and return them as `load` does, without touching the profile's tables.

    Vectors in a folder ``embeddings`` beside the file are read from there, if it has those of all responses.

    Parameters
    ----------
    study : Study
    path : path-like
    encoder : str
    may_pay : bool
        As in `embeddings.embed`.
    **reading
        Options of `table.read`, such as `columns`.

    Returns
    -------
    Responses
    """
    path = files.resolve(path)
    made = tabulate(read(path, **reading))
    table = made["04_responses"]
    table = table[table["usable"]].sort_values([*CELL, "sample_idx"], ignore_index=True)
    table["arm"] = arm_names(table)
    beside = embeddings.cache(encoder, path.parent / "embeddings")
    if beside.holds(table["text_id"]):
        vectors = beside.of(table["text_id"])
    else:
        own = study.folder / "embeddings" / "files"  # not 04's cache: what was computed on it would have to run again
        vectors = embeddings.vectors(table["text"].tolist(), encoder, own, may_pay=may_pay)
    prompts, models = made["04_prompts"].set_index("prompt_id"), made["04_models"].set_index("model")
    return Responses(table, vectors, prompts, models, executor=study.executor)


def truncated_vectors(study, responses, encoder, n_chars):
    """Embeddings of the responses cut to their first characters.

    Parameters
    ----------
    study : Study
    responses : Responses
    encoder : str
    n_chars : int

    Returns
    -------
    ndarray of float, shape (n_responses, n_dims), or stored.Truncated
        The latter for responses on disk: called with the responses to one prompt, it reads theirs.
    """
    cache = embeddings.cache(encoder, study.folder / "embeddings")
    if isinstance(responses, Responses):
        return stored.Truncated(cache, n_chars)(responses)
    return stored.Truncated(cache.copied_to(responses.files), n_chars)


def choose_decoding(table, people, wanted=None):
    """Pick the decoding to compare models under: the one asked for, else top_p, else the most common.

    Raises
    ------
    ValueError
        If the one asked for does not occur.
    """
    return _chosen(table.loc[~table["model"].isin(people), "decoding"].value_counts(), wanted)


def _chosen(counts, wanted=None):
    if wanted is not None:
        if wanted not in counts.index:
            raise ValueError(f"`decoding` must be one of {sorted(counts.index)}, but {wanted!r} was passed.")
        return wanted
    if counts.empty:
        return "none"
    return "top_p" if "top_p" in counts.index else sorted(counts[counts == counts.max()].index)[0]


def check_encoders(encoder, further, options):
    """Refuse encoders or options that cannot be, before models are asked; see `encoders.check`."""
    encoders.check(encoder, options)
    for name in further:
        encoders.check(name)


def embed(study, table, encoder, further=(), *, truncate_chars, may_pay, options=None):
    """Embed the usable responses, whole and cut to their first characters, as far as they are not embedded yet.

    Parameters
    ----------
    study : Study
    table : pandas.DataFrame or blocks.Blocks
        Table ``04_responses``.
    encoder : str
    further : sequence of str
        Encoders that are compared with it; they embed whole responses only.
    truncate_chars : int
    may_pay : bool
        Whether a paid encoder may be asked.
    options : mapping of str to int, optional
        Of the first encoder; see `encoders.check`.

    Returns
    -------
    str
        What was done, in a sentence.
    """
    folder, said = study.folder / "embeddings", []
    main = encoders.load_encoder(encoder, **(options or {}))
    for k, chosen in enumerate([main, *encoder_comparison.names(encoder, further)[1:]]):
        texts = _texts(table, None if k else truncate_chars)
        n, n_new = embeddings.embed_and_count(texts, chosen, folder, may_pay=may_pay)
        said.append(f"{f'{chosen}: ' if k else ''}{n:,} distinct texts, {n_new:,} of them new to the cache")
    return "; ".join(said)


def _texts(table, n_chars=None):
    """Yield the texts of usable responses, whole and cut to their first characters, those of a prompt together."""
    for block in blocks.of(table):
        usable = block.loc[block["usable"], "text"]
        yield from usable.unique()
        if n_chars is not None:
            yield from usable.str.slice(0, n_chars).unique()


def beyond_encoder(table, encoder):
    """Say how many usable responses are longer than the encoder reads: facts for `Study.comes_from`.

    Parameters
    ----------
    table : pandas.DataFrame or blocks.Blocks
        Table ``04_responses``.
    encoder : Encoder or str

    Returns
    -------
    dict of str to str
        ``encoder_note``, a sentence; empty where no response is, or the encoder does not say what it reads.
    """
    encoder = encoders.load_encoder(encoder) if isinstance(encoder, str) else encoder
    if encoder.max_tokens is None or encoder.n_tokens is None:
        return {}
    n = n_usable = 0
    for block in blocks.of(table):
        texts = block.loc[block["usable"], "text"]
        is_long = texts.str.len() > encoder.max_tokens // 2  # a token has a character or more; those of markup few
        n_tokens = np.array(encoder.n_tokens(texts[is_long].tolist()), int)
        n, n_usable = n + int((n_tokens > encoder.max_tokens).sum()), n_usable + len(texts)
    if not n:
        return {}
    share = wording.percent(n / n_usable)
    sentence = f"{n:,} of {n_usable:,} responses ({share}) are longer than the {encoder.max_tokens} tokens that "
    return {"encoder_note": f"{sentence}{encoder.name} reads: only their beginnings are compared."}
