"""The litellm provider of the demo: a model named ``simulated/<name>`` is answered by a function of this process.

Whatever is simulated (models, labellers, judges) is asked through the same calls as a real provider, so that the demo
runs through exactly the code of a real study. No network is involved.
"""

from collections.abc import Callable
from dataclasses import dataclass

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


def serve(name, responder):
    """Let ``simulated/<name>`` be answered by a function, and make litellm know the provider.

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
    providers.when_imported(_install)


def served():
    """Names of the simulated models, without the prefix, sorted."""
    return sorted(_RESPONDERS)


def _answer(model, messages, optional_params, model_response):
    from litellm.llms.custom_llm import CustomLLMError
    from litellm.types.utils import Choices, Message, Usage

    if model not in _RESPONDERS:
        raise CustomLLMError(
            status_code=404, message=f"There is no simulated model {model!r}; served here: {', '.join(served())}."
        )
    parameters = dict(optional_params)
    parameters |= parameters.pop("extra_body", None) or {}
    n, seed = parameters.pop("n", None) or 1, parameters.pop("seed", None)
    try:
        answers = _RESPONDERS[model](messages, n=n, seed=seed, parameters=parameters)
    except Failure as failure:
        raise CustomLLMError(status_code=failure.status_code, message=str(failure)) from failure
    except Exception as error:  # a mistake in the responder: asking again would not mend it
        message = f"The responder of {model!r} failed: {error!r}"
        raise CustomLLMError(status_code=400, message=message) from error
    model_response.choices = [
        Choices(index=i, finish_reason=a.finish_reason, message=Message(content=a.text, role="assistant"))
        for i, a in enumerate(answers)
    ]
    model_response.model = model
    asked = sum(len(str(message["content"]).split()) for message in messages)
    said = sum(len(answer.text.split()) for answer in answers)
    model_response.usage = Usage(prompt_tokens=asked, completion_tokens=said, total_tokens=asked + said)
    return model_response


def _install(litellm):
    """Enter the provider into litellm's map, once."""
    from litellm.llms.custom_llm import CustomLLM

    name = providers.PREFIX.rstrip("/")
    if any(entry["provider"] == name for entry in litellm.custom_provider_map):
        return

    class Simulated(CustomLLM):
        def completion(self, model, messages, *args, model_response, optional_params, **kwargs):
            return _answer(model, messages, optional_params, model_response)

        async def acompletion(self, model, messages, *args, model_response, optional_params, **kwargs):
            return _answer(model, messages, optional_params, model_response)

    litellm.custom_provider_map.append({"provider": name, "custom_handler": Simulated()})
    litellm.utils.custom_llm_setup()
