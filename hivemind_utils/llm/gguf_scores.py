"""Log-probability of responses from a model in a GGUF file, through llama.cpp's server.

The server has no call that scores a given text. It does report, for every token it draws, the log-probability that the
model gave it before any sampling setting. So each token of the conversation is asked for with a bias that leaves no
other choice; what comes back is its log-probability given the tokens before it. A slot keeps those, so that a call
costs one step of the model, and many conversations share a step.
"""

import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hivemind_utils.llm import gguf_models, http_json

NAMES = ("mean_logprob", "minus_perplexity")
_MARK = "\ue000response\ue001"  # stands for the response while the template is rendered
_ALL = 10**6  # candidates: more than any vocabulary has
_FORCED = 1e4  # added to a token's logit: no other is drawn


def scores(model, prompts, responses):
    """Mean log-probability of responses given their prompts, and minus perplexity of the whole conversation.

    Parameters
    ----------
    model : str
        ``gguf:...``, see `gguf_models`. Its servers are started, unless they run.
    prompts, responses : sequence of str, length n

    Returns
    -------
    scores : dict of str to ndarray of float, shape (n,)
        ``mean_logprob``: mean over the response's tokens (nats). ``minus_perplexity``: of the whole conversation as the
        model's chat template renders it, as published. NaN where there is a problem.
    problems : dict of int to str
        Row to why it has no scores.

    Notes
    -----
    llama.cpp rounds activations to 8 bits where weights are quantised: against 32-bit arithmetic on the same weights a
    token's log-probability moves by about a tenth of a nat in a small model, and a mean over tokens by less.
    """
    found = {name: np.full(len(responses), np.nan) for name in NAMES}
    with gguf_models.running([model]) as served:
        if model in served.failures:
            return found, dict.fromkeys(range(len(responses)), served.failures[model])
        servers, slots = served.pools[model].servers, queue.SimpleQueue()
        for i in range(servers.slots):
            for url in servers.base_urls:
                slots.put((http_json.root(url), i))
        known = {}  # log-probabilities by all tokens up to theirs: conversations begin alike

        def score(row):
            slot = slots.get()
            try:
                return _score(slot, prompts[row], responses[row], servers.context, known)
            except (OSError, ValueError) as error:
                return str(error)
            finally:
                slots.put(slot)

        problems = {}
        with ThreadPoolExecutor(slots.qsize()) as pool:
            for row, result in enumerate(pool.map(score, range(len(responses)))):
                if isinstance(result, str):
                    problems[row] = result
                else:
                    found["mean_logprob"][row], found["minus_perplexity"][row] = result
    return found, problems


def conversation(root, prompt, response):
    """Token ids of a conversation in the model's template, and which of them belong to the response.

    Parameters
    ----------
    root : str
        Address of the server, without ``/v1``.
    prompt, response : str

    Returns
    -------
    ids : list of int, length n_tokens
    is_response : ndarray of bool, shape (n_tokens,)
        Tokens with at least one byte of the response; the end of the turn is not among them.

    Raises
    ------
    ValueError
        If the response is empty, or the template does not show it as it is.
    """
    if not response.strip():
        raise ValueError("an empty response has no log-probability")
    start = _rendered(root, prompt, _MARK).rfind(_MARK)
    text = _rendered(root, prompt, response)
    shown = next((s for s in (response, response.strip()) if start >= 0 and text[start : start + len(s)] == s), None)
    if shown is None:
        raise ValueError("the chat template does not show the response as it is")
    asked = {"content": text, "add_special": False, "parse_special": True, "with_pieces": True}
    tokens = http_json.post(f"{root}/tokenize", asked)["tokens"]
    pieces = [t["piece"].encode() if isinstance(t["piece"], str) else bytes(t["piece"]) for t in tokens]
    if b"".join(pieces) != text.encode():
        raise ValueError("the tokens do not spell the text: which of them are the response's cannot be told")
    ends = np.cumsum([len(piece) for piece in pieces])
    first = len(text[:start].encode())
    inside = (ends - [len(p) for p in pieces] < first + len(shown.encode())) & (ends > first)
    return [token["id"] for token in tokens], inside


def token_logprobs(root, ids, *, slot=-1, known=None):
    """Log-probability of every token but the first, given those before it.

    Parameters
    ----------
    root : str
    ids : list of int, length n_tokens
    slot : int
        Of the server, which keeps what it has seen; -1: any.
    known : dict, optional
        What is known already, by all ids up to the token's; what is computed is added.

    Returns
    -------
    ndarray of float, shape (n_tokens - 1,)
        Nats.
    """
    known = {} if known is None else known
    values = []
    for i in range(1, len(ids)):
        key = tuple(ids[: i + 1])
        if key not in known:
            known[key] = _logprob(root, ids[:i], ids[i], slot)
        values.append(known[key])
    return np.array(values)


def _logprob(root, before, token, slot):
    """Log-probability of a token after others."""
    asked = {
        "prompt": before, "n_predict": 1, "n_probs": 1, "logit_bias": [[token, _FORCED]], "temperature": 1.0,
        "samplers": ["temperature"], "cache_prompt": True, "id_slot": slot,
    }  # fmt: skip
    drawn = (http_json.post(f"{root}/completion", asked).get("completion_probabilities") or [{}])[0]
    if drawn.get("id") == token:
        return drawn["logprob"]
    # The server tells nothing of a token that ends within a character: another is drawn, and all others are told.
    other = http_json.post(f"{root}/tokenize", {"content": ".", "add_special": False})["tokens"][-1]
    asked |= {"n_probs": _ALL, "logit_bias": [[other, _FORCED]]}
    drawn = (http_json.post(f"{root}/completion", asked).get("completion_probabilities") or [{}])[0]
    for candidate in drawn.get("top_logprobs") or ():
        if candidate["id"] == token:
            return candidate["logprob"]
    raise ValueError(f"the server gave no log-probability of token {token}")


def _score(slot, prompt, response, context, known):
    root, number = slot
    ids, inside = conversation(root, prompt, response)
    if len(ids) > context:
        raise ValueError(f"{len(ids):,} tokens are more than the context of {context:,}: name it as ?context=...")
    values = token_logprobs(root, ids, slot=number, known=known)
    return values[inside[1:]].mean(), -np.exp(-values.mean())


def _rendered(root, prompt, response):
    chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return http_json.post(f"{root}/apply-template", {"messages": chat, "add_generation_prompt": False})["prompt"]
