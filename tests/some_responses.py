"""Small `Responses` for tests, from frames written by hand."""

import dataclasses

import numpy as np
import pandas as pd

from hivemind_utils.responses import Responses

PEOPLE = {"writers"}


def models_of(names, family=None):
    """Table 04_models by model; the family of a model is its name unless given."""
    facts = {
        "family": [(family or {}).get(name, name) for name in names],
        "model_kind": ["human" if name in PEOPLE else "model" for name in names],
        "size_b": np.nan,
        "tuning": None,
        "release_date": None,
        "open_weights": None,
        "vendor": None,
        "parent": None,
    }
    return pd.DataFrame(facts, index=pd.Index(names, name="model"))


def prompts_of(kinds, parents=None, texts=None):
    """Table 04_prompts by prompt_id, from prompt: kind."""
    facts = {
        "text": [(texts or {}).get(p, f"Prompt {p}") for p in kinds],
        "prompt_kind": list(kinds.values()),
        "parent_id": [(parents or {}).get(p) for p in kinds],
        "category": None,
        "open_endedness": np.nan,
        "language": None,
        "many_answers": np.nan,
    }
    return pd.DataFrame(facts, index=pd.Index(list(kinds), name="prompt_id"))


def responses_of(table, vectors, family=None, texts=None, prompts=None, decoding="top_p"):
    """Responses from a frame; an arm is the model unless the frame says otherwise."""
    table = table if "arm" in table else table.assign(arm=table["model"])
    if prompts is None:
        prompts = prompts_of(dict.fromkeys(sorted(set(table["prompt_id"])), "original"), texts=texts)
    models = models_of(sorted(set(table["model"])), family)
    return Responses(table, np.asarray(vectors), prompts, models, decoding)


def with_vectors(responses, vectors):
    return dataclasses.replace(responses, vectors=np.asarray(vectors))


def with_model(responses, model):
    """The same responses, all given by one model."""
    return responses_of(responses.table.assign(model=model, arm=model), responses.vectors)


def shuffled(responses, seed=1):
    order = np.random.default_rng(seed).permutation(len(responses))
    table = responses.table.iloc[order].reset_index(drop=True)
    return dataclasses.replace(responses, table=table, vectors=responses.vectors[order])
