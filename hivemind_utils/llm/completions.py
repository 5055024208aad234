"""Log-probability of a response from an OpenAI-compatible completions endpoint that echoes the prompt with its tokens.

vLLM serves such an endpoint. llama.cpp's server takes the request, ignores `echo` and reports the completion's tokens
instead, so what is echoed is compared with what was sent (`gguf_scores` scores files for llama.cpp). The caller renders
the conversation, for the server applies no chat template here.
"""

import numpy as np

from hivemind_utils.llm import providers


def echo_scores(model, api_base, prefixes, responses, *, suffix="", api_key="none", concurrency=8, timeout=120):
    """Mean log-probability of responses after their prefixes, and minus perplexity of the whole text.

    Parameters
    ----------
    model : str
        Name of the model at the endpoint.
    api_base : str
        Address of the endpoint, such as ``http://127.0.0.1:8000/v1``.
    prefixes, responses : sequence of str, length n
        What stands before the response (the templated prompt), and the response.
    suffix : str
        What ends the turn in the template; it counts for the perplexity only.
    api_key : str
    concurrency : int
        Calls at a time.
    timeout : float
        Seconds a call may take.

    Returns
    -------
    dict of str to ndarray of float, shape (n,)
        ``mean_logprob`` and ``minus_perplexity`` (nats per token); NaN where a call failed.
    problems : dict of int to str
        Row to why its call failed.
    """
    from concurrent.futures import ThreadPoolExecutor

    from openai import AsyncOpenAI

    litellm = providers.litellm()

    scores = {name: np.full(len(responses), np.nan) for name in ("mean_logprob", "minus_perplexity")}
    problems = {}

    def ask(i):
        name = f"text-completion-openai/{model}"
        try:
            with providers.guarded(name, api_base, given_key=api_key):
                asked = litellm.atext_completion(
                    model=name, prompt=prefixes[i] + responses[i] + suffix, echo=True,
                    logprobs=1, max_tokens=0, temperature=0, api_base=api_base, api_key=api_key, timeout=timeout,
                    num_retries=0, caching=False, client=client,
                )  # fmt: skip
                reply = providers.wait_for(asked, timeout)  # one deadline, however slowly the reply comes
            sent = prefixes[i] + responses[i] + suffix
            _check_echo(reply.choices[0], sent)
            return i, response_logprobs(reply.choices[0].logprobs, len(prefixes[i]), len(responses[i]), sent)
        except Exception as error:  # one call's failure is that row's, whatever litellm calls it
            return i, providers.redact(f"{getattr(error, 'status_code', '')} {error}".strip())[:300]

    client = AsyncOpenAI(base_url=api_base, api_key=api_key, max_retries=0)  # ours, so that its connections are closed
    try:
        with ThreadPoolExecutor(concurrency) as pool:
            for i, found in pool.map(ask, range(len(responses))):
                if isinstance(found, str):
                    problems[i] = found
                else:
                    scores["mean_logprob"][i], scores["minus_perplexity"][i] = found
    finally:
        providers.wait_for(client.close())
    return scores, problems


def _check_echo(choice, sent):
    """Raise unless the reply repeats the text that was sent; a token put before it does no harm."""
    tokens = getattr(choice.logprobs, "tokens", None) or []
    if sent not in "".join(tokens) and not (choice.text or "").startswith(sent):
        raise ValueError(
            "the endpoint does not echo the text that was sent, so these are other tokens' log-probabilities: it "
            "ignores `echo`, as llama.cpp does; name a GGUF file as gguf:... instead"
        )


def response_logprobs(logprobs, start, length, text=None):
    """Mean log-probability of the tokens of characters start to start + length, and minus perplexity of all.

    Parameters
    ----------
    logprobs : object
        With ``tokens``, ``token_logprobs`` (None for the first token) and ``text_offset``.
    start, length : int
        Characters.
    text : str, optional
        What was sent: where offsets count a token that the server put before it (vLLM's BOS), they are moved back.

    Returns
    -------
    mean_logprob, minus_perplexity : float

    Raises
    ------
    ValueError
        If the endpoint echoed no log-probabilities of the response.
    """
    values = getattr(logprobs, "token_logprobs", None)
    if not values:
        raise ValueError("the endpoint echoes no log-probabilities: it must support `echo` with `logprobs`")
    begins = np.asarray(logprobs.text_offset)
    ends = begins + [len(token) for token in logprobs.tokens]
    lengths = ends - begins
    if text is not None and (begins == np.cumsum(lengths) - lengths).all():
        start += max("".join(logprobs.tokens).find(text), 0)
    known = np.array([value is not None for value in values])
    numbers = np.array([0.0 if value is None else value for value in values])
    inside = known & (begins < start + length) & (ends > start)
    if not inside.any():
        raise ValueError("no echoed token lies in the response")
    return float(numbers[inside].mean()), float(-np.exp(-numbers[known].mean()))
