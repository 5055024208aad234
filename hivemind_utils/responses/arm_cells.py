"""What arms ask: requests of every prompt and arm, in an order that mixes arms, and the turns of chains."""

import dataclasses
import functools
from collections import Counter

import numpy as np
import pandas as pd

from hivemind_utils.llm import batches, gguf_models, outcomes, sampler, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import arms as response_arms
from hivemind_utils.tables import ids

NOTHING_SAID = "(no answer)"  # an earlier turn of a chain that brought no text


def first_number(condition):
    """Number of an arm's first reply in the store.

    Two arms may send the same messages (two neutral instructions, the beginning of a chain): their replies are draws of
    their own, told apart by their numbers.

    Examples
    --------
    >>> first_number("default"), first_number("list_k") != first_number("vs_k")
    (0, True)
    """
    return 0 if condition == response_arms.DEFAULT else 10_000 * (1 + int(ids.text_id(condition)[:6], 16))


def requests(arm, prompt, model, parameters, n_samples, *, paraphrases=(), per_call=1, api_base=None, aliases=()):
    """Requests of one prompt under one arm; of a chain, its first turns.

    Parameters
    ----------
    arm : arms.Arm
    prompt : tuple
        With the attributes prompt_id and prompt.
    model : str
        A litellm id.
    parameters : dict
        Decoding of the study; the arm's comes over it.
    n_samples : int
        Responses, a multiple of the arm's `k`.
    paraphrases : sequence of str
        Other wordings of the prompt.
    per_call : int
        Replies asked for in one call, where their messages are alike.
    api_base : str, optional
    aliases : tuple of str
        Other names of the model.

    Returns
    -------
    list of request.Request
    """
    if n_samples % arm.k:
        raise ValueError(
            f"{arm.name} gives {arm.k} responses per call, but {n_samples} are wanted of each prompt. "
            f"Make `n_samples` a multiple of {arm.k}, or give the arm another `k`."
        )
    parameters = parameters | (arm.decoding or {})
    first, n_calls = first_number(arm.name), n_samples // arm.k
    alone = arm.chain or arm.vary == "response"  # a call for every reply
    found = []
    for i in range(0, n_calls, 1 if alone else per_call):
        messages = arm.messages(prompt.prompt, response_arms.slot_values(arm, prompt.prompt_id, i, paraphrases))
        n = 1 if alone else min(per_call, n_calls - i)
        asked = request_llm.Request(model, messages, parameters, first + i, n, api_base, aliases)
        found.append(asked)
    return found


def mixed(frame):
    """Order cells so that the arms of a prompt take turns: what changes with time changes alike for all.

    Parameters
    ----------
    frame : pandas.DataFrame
        With prompt_id, model, condition, decoding; the requests of an arm in order.

    Returns
    -------
    pandas.DataFrame
        Models and prompts in the order they come; within, calls by how far their arm is.
    """
    arm = frame.groupby(["model", "prompt_id", "condition", "decoding"], sort=False)
    done = (arm.cumcount() + 0.5) / arm["model"].transform("size")
    model, prompt = (pd.factorize(frame[name])[0] for name in ("model", "prompt_id"))
    return frame.iloc[np.lexsort((done, prompt, model))].reset_index(drop=True)


def is_chain(frame, arms):
    """Which rows of a frame of cells are turns of a chain."""
    chains = {name for name, arm in arms.items() if arm.chain}
    return frame["condition"].isin(chains).to_numpy(bool)


def sizes(frame, arms, *, chains=False):
    """Responses of every reply of a frame of cells, a list; with `chains`, of the chain that a turn begins."""
    known = {name: arm.k for name, arm in arms.items() if arm.parse == "list" or (chains and arm.chain)}
    return frame["condition"].map(lambda name: known.get(name, 1)).tolist()


def turns(frame, arms, store_path, *, guess=None):
    """Every turn of every chain that can be asked, given what is stored of the turns before.

    Parameters
    ----------
    frame : pandas.DataFrame
        Cells; of chains, the first turns. Other cells are left out.
    arms : dict of str to arms.Arm
    store_path : path-like
    guess : str, optional
        Stands for a response that is not stored yet, so that what follows can be counted.

    Returns
    -------
    pandas.DataFrame
        The chains' cells with a column ``turn``.
    """
    frame = frame[is_chain(frame, arms)].assign(turn=0)
    found = [frame]
    longest = max((arms[name].k for name in frame["condition"].unique()), default=0)
    for turn in range(1, longest):
        frame = frame[frame["condition"].map(lambda name, t=turn: t < arms[name].k)]
        stored = store.read(store_path, frame["request"])
        said = dict(zip(zip(stored["key"], stored["sample_idx"], strict=True), stored["text"], strict=True))
        rows = []
        for row in frame.to_dict("records"):
            request = row["request"]
            text = said.get((request.key, request.sample_idx), guess)
            if text is not None:
                text = outcomes.split_reasoning(text)[1]
                answer = {"role": "assistant", "content": text if text.strip() else NOTHING_SAID}
                again = {"role": "user", "content": arms[row["condition"]].again}
                messages = [*request.messages, answer, again]
                rows.append(row | {"request": dataclasses.replace(request, messages=messages), "turn": turn})
        if not rows:
            break
        frame = pd.DataFrame(rows)
        found.append(frame)
    return pd.concat(found, ignore_index=True)


def run(frame, arms, *, batch=False, **asking):
    """Ask what is not stored yet: first turns and everything else together, then turn by turn.

    Parameters
    ----------
    frame : pandas.DataFrame
        Cells.
    arms : dict of str to arms.Arm
    batch : bool or list of str
        Ask in batches, as `batches.run`: a turn of a chain then waits for the batch of the turn before.
    **asking
        Of `sampler.run`, with ``store_path``.

    Returns
    -------
    sampler.Outcome
        Turns that could not be asked, because one before is missing, are missing too.
    """
    in_batches = batch or batches.waiting(asking["store_path"])
    ask = functools.partial(batches.run, batch=batch) if in_batches else functools.partial(sampler.run, probe=True)
    chains = frame[is_chain(frame, arms)]
    if chains.empty:
        return ask(frame["request"], **asking)
    with gguf_models.running(sorted({request.model for request in frame["request"]})):
        found = [ask(frame["request"], **asking)]
        longest = max(arms[name].k for name in chains["condition"].unique())
        for turn in range(1, longest):
            known = turns(frame, arms, asking["store_path"])
            later = known.loc[known["turn"] == turn, "request"]
            if later.empty:
                break
            found.append(ask(later, **asking))
    return _joined(found, _never_asked(turns(frame, arms, asking["store_path"]), chains, arms))


def _never_asked(known, chains, arms):
    """Turns by model that no earlier turn led to."""
    lengths = chains["condition"].map(lambda name: arms[name].k)
    wanted = lengths.groupby([request.model for request in chains["request"]]).sum()
    there = pd.Series([request.model for request in known["request"]]).value_counts()
    return wanted.sub(there, fill_value=0).astype(int)


def _joined(outcomes, never_asked):
    """One outcome of several runs."""
    counts = sum(outcome.counts.astype(float) for outcome in outcomes[:1])
    for outcome in outcomes[1:]:
        counts = counts.add(outcome.counts.astype(float), fill_value=0)
    for name in ("wanted", "missing"):
        counts[name] = counts[name].add(never_asked.reindex(counts.index, fill_value=0))
    numbers = [name for name in counts if name != "cost_usd"]
    merged = {
        name: {key: value for outcome in outcomes for key, value in getattr(outcome, name).items()}
        for name in ("failures", "unsupported", "honoured", "refused")
    }
    remarks = {model: Counter() for outcome in outcomes for model in outcome.remarks}
    for outcome in outcomes:
        for model, counted in outcome.remarks.items():
            remarks[model].update(counted)
    merged["remarks"] = {model: dict(counted) for model, counted in remarks.items()}
    return sampler.Outcome(counts.astype(dict.fromkeys(numbers, int)), sum(o.cost_usd for o in outcomes), **merged)
