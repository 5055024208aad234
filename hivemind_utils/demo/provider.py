"""The provider of the demo: a model named ``simulated/<name>`` is answered by a function of this process.

Whatever is simulated (models, labellers, judges) is asked as a real provider is: with the same queue, budget, retries
and store. Only litellm's call is left out, which takes seconds to import and would send nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from hivemind_utils.llm import providers


@dataclass(frozen=True)
class Answer:
    """One response of a simulated model, as a provider would return it."""

    text: str
    finish_reason: str = "stop"


class Failure(Exception):
    """Raise it in a responder to make the call fail with an HTTP status, as a provider would."""

    def __init__(self, status_code, message):
        super().__init__(message)
        self.status_code = status_code


_RESPONDERS: dict[str, Callable] = {}


_OF_THE_CALL = ("timeout", "max_retries", "num_retries", "caching", "drop_params", "api_base", "api_key")


def serve(name, responder):
    """Let ``simulated/<name>`` be answered by a function.

    Parameters
    ----------
    name : str
        Name of the model without the prefix. A second call replaces the first.
    responder : callable
        ``responder(messages, *, n, seed, parameters)`` returns a list of `n` `Answer`; `messages` is a list of dicts of
        role and content, `seed` an int or None, `parameters` a dict of what else the request held (temperature, top_p,
        min_p, max_tokens, response_format ...). Its response must depend on its arguments only.
    """
    _RESPONDERS[name] = responder
    providers.answer_here(providers.SIMULATED, _answer)


def served():
    """Names of the simulated models, without the prefix, sorted."""
    return sorted(_RESPONDERS)


async def _answer(*, model, messages, n=1, seed=None, extra_body=None, **parameters):
    """Answer a call; takes the arguments of litellm's ``acompletion``."""
    model = model.removeprefix(providers.PREFIX)
    if model not in _RESPONDERS:
        raise Failure(404, f"There is no simulated model {model!r}; served here: {', '.join(served())}.")
    asked = {name: value for name, value in parameters.items() if name not in _OF_THE_CALL} | (extra_body or {})
    try:
        answers = _RESPONDERS[model](messages, n=n or 1, seed=seed, parameters=asked)
    except Failure:
        raise
    except Exception as error:  # a mistake in the responder: asking again would not mend it
        raise Failure(400, f"The responder of {model!r} failed: {error!r}") from error
    choices = [
        {"index": i, "finish_reason": a.finish_reason, "message": {"role": "assistant", "content": a.text}}
        for i, a in enumerate(answers)
    ]
    n_asked = sum(len(str(message["content"]).split()) for message in messages)
    n_said = sum(len(answer.text.split()) for answer in answers)
    usage = {"prompt_tokens": n_asked, "completion_tokens": n_said, "total_tokens": n_asked + n_said}
    return _Reply({"model": model, "choices": choices, "usage": usage})


class _Reply:
    """A chat completion, to be read as litellm's are."""

    def __init__(self, body):
        self.body, self.model = body, body["model"]
        self.choices = [
            SimpleNamespace(message=SimpleNamespace(**choice["message"]), finish_reason=choice["finish_reason"])
            for choice in body["choices"]
        ]

    def model_dump(self, **_):
        """Return it as JSON would hold it."""
        return self.body
