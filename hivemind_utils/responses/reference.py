"""Real responses that come with the project: sampled once from a small model, with their provenance in the file."""

import json
from dataclasses import dataclass

from hivemind_utils.responses import embeddings, modes
from hivemind_utils.responses.loading import Responses, from_file
from hivemind_utils.tables import files


@dataclass(frozen=True)
class Reference:
    """Modes of the responses of a real model to one prompt.

    Attributes
    ----------
    responses : Responses
    shown : modes.OnePrompt
    origin : str
        The model, its file and how it was asked, in words.
    """

    responses: Responses
    shown: modes.OnePrompt
    origin: str


def origin(path):
    """Say in words what a file of responses was sampled from; see `analyse`."""
    import pyarrow.parquet as pq

    if path is None:
        return "no file of real responses"
    known = json.loads(pq.read_schema(files.resolve(path)).metadata[b"hivemind"])
    model, asked = known["model"], known["decoding_asked"]
    return (
        f"{model['file']} ({model['n_parameters'] / 1e6:.0f} million parameters, {model['quantisation']}), "
        f"temperature {asked['temperature']:g}, top-p {asked['top_p']:g}"
    )


def analyse(study, path, encoder, *, may_pay=False, settings=None, reruns=None):
    """Map the responses of a real model that a file holds, and find their modes.

    Parameters
    ----------
    study : Study
    path : path-like or None
        A Parquet file of responses to one prompt with its provenance; None: nothing is analysed.
    encoder : str
    may_pay : bool
        Whether an encoder that costs money may be asked; if not, it says so, and nothing is analysed.
    settings, reruns : dict, optional
        See `modes.analyse`.

    Returns
    -------
    Reference or None
    """
    if path is None:
        return None
    try:
        found = from_file(study, path, encoder, may_pay=may_pay)
    except embeddings.UnpaidError as error:
        print(f"The real responses are left out: {error}")
        return None
    analysed = modes.analyse(found, study.rng, settings=settings, reruns=reruns, progress=study.progress)
    return Reference(found, modes.one_prompt(analysed, found, found.prompt_order[0]), origin(path))


def share_with(real, word):
    """Share of the responses of a `Reference` that contain a word, whatever its case."""
    return real.responses.table["text"].str.contains(word, case=False, regex=False).mean()


def caption(real, encoder):
    """Caption of the map of a `Reference`: the prompt, the model and its file."""
    return "" if real is None else f"{modes.map_caption(real.shown, encoder)} Model: {real.origin}."


def plotted(real):
    """Points of the map of a `Reference`, without the texts; None without any."""
    return None if real is None else real.shown.points.drop(columns=["text", "is_human"])
