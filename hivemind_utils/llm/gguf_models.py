"""Models in GGUF files, asked like any other model: their names, and the servers that run while they are asked.

A model is named ``gguf:`` and a path or a package, with settings and a name of its own where wanted::

    gguf:smollm2
    gguf:/models/qwen3-4b-q4_k_m.gguf?slots=8&context=4096
    gguf:smollm2#twin

`sampler.run` starts the servers of such models when they have something to answer, and stops them when it ends. Who
asks several times in a row keeps them in between with `running`.
"""

import contextlib
import functools
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from hivemind_utils.llm import decoding, gguf, gguf_server

ServerError = gguf_server.ServerError
SETTINGS = ("slots", "context", "servers", "chat_template")
# Parameters of a request that llama.cpp is asked with; all others would be dropped by it, or mean something else.
TAKEN = ("temperature", "top_p", "min_p", "top_k", "max_tokens", "stop", "response_format", "logprobs", "top_logprobs",
         "presence_penalty", "frequency_penalty")  # fmt: skip
_FACTS = ("file", "sha256", "quantisation", "chat_template_sha256", "xllamacpp_version")


@dataclass(frozen=True)
class Name:
    """What a model's name says.

    Attributes
    ----------
    source : str
        ``gguf:`` and the path or package.
    settings : dict
        Some of `SETTINGS`: requests at a time and server, tokens of prompt and response together, processes, and the
        path of a file with a chat template that replaces the model's own.
    own : str or None
        What stands after ``#``: the same weights under another name have responses of their own.
    """

    source: str
    settings: dict
    own: str | None


def is_gguf(model):
    """Whether a model's name means a GGUF file."""
    return model.startswith(gguf.PREFIX)


@functools.lru_cache(maxsize=256)
def parse(model):
    """Read a model's name.

    Parameters
    ----------
    model : str
        ``gguf:path-or-package``, then ``?name=value&...`` with some of `SETTINGS`, then ``#`` and a name.

    Returns
    -------
    Name

    Raises
    ------
    ValueError
        If a setting is not known, or no whole number >= 1.

    Examples
    --------
    >>> found = parse("gguf:smollm2?slots=8#twin")
    >>> found.source, found.settings, found.own
    ('gguf:smollm2', {'slots': 8}, 'twin')
    """
    rest, _, own = model.partition("#")
    source, _, query = rest.partition("?")
    settings = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in SETTINGS:
            raise ValueError(f"A model in a GGUF file may have the settings {list(SETTINGS)}, but got {name!r}.")
        if name == "chat_template":
            settings[name] = value
        elif value.isdigit() and int(value) > 0:
            settings[name] = int(value)
        else:
            raise ValueError(f"`{name}` of {model!r} must be a whole number >= 1, but {value!r} was given.")
    return Name(source, settings, own or None)


def display_name(model):
    """Name of the model for figures and tables: the file's without its suffix, and the name of its own.

    Examples
    --------
    >>> display_name("gguf:/models/qwen3-4b-q4_k_m.gguf#twin")
    'qwen3-4b-q4_k_m (twin)'
    """
    named = parse(model)
    stem = named.source.removeprefix(gguf.PREFIX).strip()
    if "/" in stem or "\\" in stem or stem.lower().endswith(".gguf"):
        stem = Path(stem).name
    else:
        with contextlib.suppress(FileNotFoundError, ValueError):  # not installed: its name must do
            stem = gguf.resolve(named.source).name
    stem = stem[:-5] if stem.lower().endswith(".gguf") else stem
    return f"{stem} ({named.own})" if named.own else stem


def identity(model):
    """What makes the model's responses its own: hash of its weights, of a template given, and the name after ``#``.

    A file that is moved, and servers with other slots or another port, keep their responses.

    Raises
    ------
    FileNotFoundError
        If the file, the package or the template is missing.
    """
    named = parse(model)
    parts = [gguf.facts(gguf.resolve(named.source))["sha256"], gguf.template_hash(_template(named)), named.own]
    return gguf.PREFIX + "|".join("" if part is None else part for part in parts)


def facts(model):
    """What identifies the model, for provenance and captions; see `gguf.facts`.

    Returns
    -------
    dict
        Those of the file, with ``model`` (as given) and, with a template of one's own, that template's hash.
    """
    named = parse(model)
    found = {"model": model} | gguf.facts(gguf.resolve(named.source))
    template = _template(named)
    return found if template is None else found | {"chat_template_sha256": gguf.template_hash(template)}


def caption(models):
    """Name the models in GGUF files among some, with size and quantisation: no figure of theirs is about other models.

    Parameters
    ----------
    models : iterable of str
        Names as litellm, or this module, knows them.

    Returns
    -------
    str
        Empty where there is none.
    """
    named = {}
    for model in models:
        if is_gguf(model):
            try:
                found = facts(model)
            except (OSError, ValueError):  # the run itself will say what is wrong with the file
                named[model] = display_name(model)
                continue
            size = f"{found['n_parameters'] / 1e6:,.0f} million parameters"
            named[found["sha256"]] = f"{found['file'].removesuffix('.gguf')} ({size}, {found['quantisation']})"
    return (
        f"{', '.join(named.values())}; findings are about {'this file' if len(named) == 1 else 'these files'}"
        if named
        else ""
    )


def arguments(parameters):
    """Arguments of litellm for a call of a llama.cpp server: the decoding in full, nothing left to its defaults.

    Parameters
    ----------
    parameters : dict
        Of the request: some of `TAKEN`.

    Returns
    -------
    dict
        Fields of OpenAI's interface, and ``extra_body`` with the others.

    Raises
    ------
    ValueError
        If a parameter is not in `TAKEN`.

    Examples
    --------
    >>> asked = arguments({"temperature": 1.0, "top_p": 0.9, "top_k": 50})
    >>> asked["extra_body"]["samplers"], asked["extra_body"]["min_p"]
    (['temperature', 'top_k', 'top_p', 'min_p'], 0.0)
    """
    if unknown := set(parameters) - set(TAKEN):
        raise ValueError(f"llama.cpp is asked with {list(TAKEN)}, but {sorted(unknown)} was passed.")
    chosen = {name: parameters.get(name) for name in ("temperature", "top_p", "min_p", "max_tokens")}
    body = decoding.llama_cpp(chosen | {"temperature": 1.0 if chosen["temperature"] is None else chosen["temperature"]})
    body |= {name: value for name, value in parameters.items() if value is not None}
    if parameters.get("top_k"):
        body["samplers"] = [body["samplers"][0], "top_k", *body["samplers"][1:]]
    if parameters.get("presence_penalty") or parameters.get("frequency_penalty"):
        body["samplers"] = ["penalties", *body["samplers"]]
    usual = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop", "response_format",
             "logprobs", "top_logprobs")  # fmt: skip
    return {name: body.pop(name) for name in usual if name in body} | {"extra_body": body}


@dataclass
class Pool:
    """Running servers of one file, and how many calls each works on."""

    servers: gguf_server.Servers
    busy: dict = field(default_factory=dict)
    users: int = 0

    @property
    def concurrency(self):
        """Calls that the servers work on at a time."""
        return self.servers.slots * len(self.servers.base_urls)

    @property
    def facts(self):
        """Those that go with every response."""
        return {name: self.servers.facts[name] for name in _FACTS}

    @contextlib.contextmanager
    def address(self):
        """Address of the server with the fewest calls, for one call."""
        url = min(self.servers.base_urls, key=lambda u: self.busy.get(u, 0))
        self.busy[url] = self.busy.get(url, 0) + 1
        try:
            yield url
        finally:
            self.busy[url] -= 1


@dataclass(frozen=True)
class Served:
    """Servers that run: pools by model, and why other models have none."""

    pools: dict
    failures: dict


_pools, _lock = {}, threading.RLock()


@contextlib.contextmanager
def running(models):
    """Servers of the models in GGUF files among some, for as long as the block runs.

    Servers that an enclosing block runs are used again. Models with the same file and settings share theirs. The cores
    are shared out among the files.

    Parameters
    ----------
    models : iterable of str
        Names; those that mean no GGUF file are passed over.

    Yields
    ------
    Served
        A model whose servers do not start is in ``failures``, with the reason; the others are not held up.

    Examples
    --------
    >>> with running(["openai/gpt-4o"]) as served:
    ...     print(served.pools, served.failures)
    {} {}
    """
    models = [model for model in dict.fromkeys(models) if is_gguf(model)]
    pools, failures, keys = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for model in models:
            try:
                keys[model] = _key(model)
            except (FileNotFoundError, ValueError) as error:
                failures[model] = f"not asked: {error}"
        n_servers = max(1, gguf_server.usable_cores() // max(1, len(set(keys.values()))))
        for model, key in keys.items():
            try:
                pools[model] = stack.enter_context(_pool(key, n_servers))
            except (gguf_server.ServerError, ModuleNotFoundError, FileNotFoundError, ValueError) as error:
                failures[model] = f"not asked: {error}"
        yield Served(pools, failures)


@contextlib.contextmanager
def _pool(key, n_servers):
    """The pool of a file and its settings, started unless it runs; the last user stops it."""
    source, settings = key
    with _lock:
        if key not in _pools:
            options = dict(settings)
            options["n_servers"] = options.pop("servers", n_servers)
            stack = contextlib.ExitStack()
            _pools[key] = (Pool(stack.enter_context(gguf_server.serving(source, **options))), stack)
        pool, stack = _pools[key]
        pool.users += 1
    try:
        yield pool
    finally:
        with _lock:
            pool.users -= 1
            if not pool.users:
                del _pools[key]
                stack.close()


def _key(model):
    """File and settings, which decide whether two models share their servers."""
    named = parse(model)
    settings = dict(named.settings)
    template = _template(named)
    if template is not None:
        settings["chat_template"] = template
    return f"{gguf.PREFIX}{gguf.resolve(named.source)}", tuple(sorted(settings.items()))


def _template(named):
    path = named.settings.get("chat_template")
    return None if path is None else Path(os.path.expanduser(path)).read_text(encoding="utf-8")
