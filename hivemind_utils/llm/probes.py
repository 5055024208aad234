"""What servers on this machine make of the decoding they are asked for: asked once, and kept in the store."""

import contextlib
from datetime import UTC, datetime

from hivemind_utils.llm import decoding, gguf_models, http_json, providers, store
from hivemind_utils.llm import request as request_llm

VERDICTS = (decoding.HONOURED, decoding.IGNORED, decoding.UNKNOWN)


def probe(jobs, pools, opened, *, everyone=False, paid=()):
    """Ask servers what they make of decodings that the store knows nothing about.

    Parameters
    ----------
    jobs : iterable of sequences
        For every model its jobs, each with a ``request``.
    pools : dict of str to gguf_models.Pool
        Running servers of models in GGUF files.
    opened : store.Store
    everyone : bool
        Ask the other servers on this machine too.
    paid : collection of str
        Models whose calls cost something: they are not asked.

    Returns
    -------
    dict of (str, str) to dict
        Model and decoding (JSON) to a report of `decoding.honoured`. A server that does not answer is left out.
    """
    known, found = store.probes(opened.path), {}
    for own in jobs:
        requests = {store.dump(request_llm.decoding_of(job.request)): job.request for job in own}
        for parameters, request in requests.items():
            pool, base = pools.get(request.model), request.api_base or ""
            if not pool and (request.model in paid or not (everyone and base and http_json.is_local(base))):
                continue
            key = _key(request, parameters)
            if key not in known:
                with contextlib.suppress(OSError, ValueError):  # the run itself will tell
                    known[key] = _ask(request, pool)
                    opened.add_probe(*key, known[key], datetime.now(UTC).isoformat(timespec="seconds"))
            if key in known:
                found[request.model, parameters] = known[key]
    return found


def known(requests, path):
    """What a store holds on the decodings of requests, without asking anybody.

    Parameters
    ----------
    requests : iterable of Request
    path : str or Path
        A store; it need not exist.

    Returns
    -------
    dict of (str, str) to dict or None
        Model and decoding (JSON) to a report of `decoding.honoured`; None where nobody was asked.
    """
    reports, found = store.probes(path), {}
    for request in requests:
        parameters = store.dump(request_llm.decoding_of(request))
        if (request.model, parameters) not in found:
            try:
                key = _key(request, parameters)
            except (OSError, ValueError):  # the file is gone, and the run will say so
                key = None
            found[request.model, parameters] = reports.get(key)
    return found


def _key(request, parameters):
    of_file = gguf_models.is_gguf(request.model)
    return gguf_models.identity(request.model) if of_file else request.model, request.api_base or "", parameters


def complaints(found):
    """What is known against servers, in a sentence; None where nothing is.

    Parameters
    ----------
    found : dict of (str, str) to dict
        From `probe` or `known`.

    Examples
    --------
    >>> complaints({("mine", "{}"): {"fields": {"min_p": "ignored"}, "added": {}}})
    'mine: the server ignores min_p'
    """
    said = {(model, decoding.complaint(report)) for (model, _), report in found.items() if report}
    return "; ".join(sorted(f"{model}: {complaint}" for model, complaint in said if complaint)) or None


def _ask(request, pool):
    chosen = request_llm.decoding_of(request)
    if pool:
        asked = gguf_models.arguments(chosen)
        return decoding.honoured(pool.servers.base_urls[0], pool.servers.name, asked.pop("extra_body") | asked)
    key = providers.key_arguments(request.model, request.api_base).get("api_key")
    return decoding.honoured(request.api_base, request.model.partition("/")[2], chosen, api_key=key)
