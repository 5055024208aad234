"""Scores from models on this machine (extra `local`): log-probability of a response, reward of a response.

A conversation is rendered by the model's own chat template and tokenised once, without adding special tokens, so that
no BOS is doubled; which tokens belong to the response is read off the characters of the rendered text.
"""

import numpy as np

_MARK = "\ue000response\ue001"  # stands for the response while the template is rendered


def load_language_model(name, *, device="cpu", dtype="auto"):
    """Load a causal language model and its tokenizer from the hub or a folder.

    Returns
    -------
    model, tokenizer
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype).to(device).eval()
    return model, AutoTokenizer.from_pretrained(name)


def load_reward_model(name, *, device="cpu", dtype="auto"):
    """Load a sequence classifier with one output and its tokenizer from the hub or a folder.

    Returns
    -------
    model, tokenizer
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=dtype).to(device).eval()
    if model.config.num_labels != 1:
        raise ValueError(f"A reward model has one output, but {name} has {model.config.num_labels}.")
    return model, AutoTokenizer.from_pretrained(name)


def encode(tokenizer, prompt, response):
    """Token ids of a conversation, and which of them belong to the response.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        With a chat template; without one the text is the prompt, a blank line, and the response, with the tokenizer's
        own special tokens.
    prompt, response : str

    Returns
    -------
    ids : ndarray of int, shape (n_tokens,)
    is_response : ndarray of bool, shape (n_tokens,)
        Tokens that hold at least one character of the response. The end of the turn is not among them.

    Raises
    ------
    ValueError
        If the response is empty, or the template does not show it as it is.
    """
    if not response.strip():
        raise ValueError("An empty response has no log-probability.")
    text, start, end = render(tokenizer, prompt, response)
    templated = bool(tokenizer.chat_template)
    found = tokenizer(text, add_special_tokens=not templated, return_offsets_mapping=True)
    ids, offsets = np.asarray(found["input_ids"]), np.asarray(found["offset_mapping"])
    return ids, (offsets[:, 0] < end) & (offsets[:, 1] > start)


def render(tokenizer, prompt, response):
    """Text of a conversation, and where in it the response starts and ends.

    Returns
    -------
    text : str
    start, end : int
        Characters; templates that trim the response get the trimmed one.
    """
    if not tokenizer.chat_template:
        return f"{prompt}\n\n{response}", len(prompt) + 2, len(prompt) + 2 + len(response)

    def templated(answer):
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return tokenizer.apply_chat_template(chat, tokenize=False)

    start = templated(_MARK).rfind(_MARK)
    text = templated(response)
    for shown in (response, response.strip()):
        if start >= 0 and text[start : start + len(shown)] == shown:
            return text, start, start + len(shown)
    raise ValueError("The chat template does not show the response as it is: its tokens cannot be told apart.")


def language_model_scores(model, tokenizer, prompts, responses, *, batch_tokens=8_192):
    """Log-probabilities of responses.

    Parameters
    ----------
    model, tokenizer
        From `load_language_model`.
    prompts, responses : sequence of str, length n
    batch_tokens : int
        Most tokens of a batch, padding included; conversations of similar length share one.

    Returns
    -------
    dict of str to ndarray of float, shape (n,)
        ``mean_logprob``: mean log-probability of the response's tokens given the prompt (nats). ``minus_perplexity``:
        of the whole templated conversation, as published. NaN where a conversation is longer than the model's context.
    """
    import torch

    encoded = [_encoded(tokenizer, p, r) for p, r in zip(prompts, responses, strict=True)]
    scores = {name: np.full(len(encoded), np.nan) for name in ("mean_logprob", "minus_perplexity")}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0  # masked out: any id will do
    for rows in _batches([len(ids) for ids, _ in encoded], batch_tokens, _context(model)):
        longest = max(len(encoded[i][0]) for i in rows)
        ids = torch.full((len(rows), longest), pad)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for r, i in enumerate(rows):
            ids[r, : len(encoded[i][0])] = torch.as_tensor(encoded[i][0])
            mask[r, : len(encoded[i][0])] = 1
        with torch.no_grad():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        logprobs = _next_token_logprobs(logits, ids.to(model.device)).cpu().numpy()
        for r, i in enumerate(rows):
            known = logprobs[r, : len(encoded[i][0]) - 1]  # the first token has nothing before it
            scores["mean_logprob"][i] = known[encoded[i][1][1:]].mean()
            scores["minus_perplexity"][i] = -np.exp(-known.mean())
    return scores


def _encoded(tokenizer, prompt, response):
    """As `encode`; an empty response has no tokens, and no score."""
    return encode(tokenizer, prompt, response) if response.strip() else (np.empty(0, int), np.empty(0, bool))


def reward_scores(model, tokenizer, prompts, responses, *, batch_tokens=8_192):
    """Raw scalar of a reward model for every response.

    Conversations of equal length share a batch and nothing is padded: where a classifier looks for the last token by
    its id, padding would move it.

    Returns
    -------
    ndarray of float, shape (n,)
        NaN where a conversation is longer than the model's context.
    """
    import torch

    encoded = [_encoded(tokenizer, p, r)[0] for p, r in zip(prompts, responses, strict=True)]
    scores = np.full(len(encoded), np.nan)
    if model.config.pad_token_id is None:  # or batches are refused
        model.config.pad_token_id = -1
    for rows in _batches([len(ids) for ids in encoded], batch_tokens, _context(model), equal=True):
        ids = torch.as_tensor(np.stack([encoded[i] for i in rows])).to(model.device)
        with torch.no_grad():
            scores[rows] = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, 0].float().cpu()
    return scores


def _next_token_logprobs(logits, ids):
    """Log-probability of every token but the first, row by row so that one row's probabilities stand in memory."""
    import torch

    rows = [
        torch.log_softmax(row[:-1].float(), dim=-1).gather(1, target[1:, None])[:, 0]
        for row, target in zip(logits, ids, strict=True)
    ]
    return torch.stack(rows)


def _batches(lengths, batch_tokens, context, *, equal=False):
    """Lists of rows, sorted by length; too long ones are left out."""
    order = [i for i in np.argsort(lengths, kind="stable") if 0 < lengths[i] <= context]
    batch = []
    for i in order:
        full = (len(batch) + 1) * lengths[i] > batch_tokens
        if batch and (full or (equal and lengths[i] != lengths[batch[0]])):
            yield batch
            batch = []
        batch.append(int(i))
    if batch:
        yield batch


def _context(model):
    return getattr(model.config, "max_position_embeddings", None) or np.inf
