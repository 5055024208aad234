"""Whether a reply comes from the model that was asked, by the name that the server gives.

The same are: a snapshot of the name that was asked, by its date, its number or ``-latest`` (``gpt-4o`` and
``gpt-4o-2024-08-06``), a name with a provider or a folder before it (``openai/gpt-4o``, ``accounts/x/models/llama-v3``,
``/models/llama-v3.gguf``), variants of a router (``:free``), and other spellings (``Claude 3.5``, ``claude-3-5``).
Another size, another date, another quantisation or another word (``-mini``, ``-turbo``, ``-preview``, ``-exp``) is
another model. What else is the same, a profile says in `aliases`.
"""

import functools
import re

from hivemind_utils.llm import providers

ANOTHER = "another_model"  # outcome of a response that another model gave


OWN_NAMES = {"azure", "sagemaker", "sagemaker_chat", providers.SIMULATED, providers.GGUF}  # a deployment's, or ours


_SNAPSHOT = re.compile(r"(-(latest|20\d{2}-?\d{2}-?\d{2}|\d{2}-20\d{2}|\d{2}-\d{2}|\d{6}|\d{4}|\d{3}))+")


@functools.cache
def is_asked(asked, served, aliases=()):
    """Whether a server answered for the model that was asked.

    Parameters
    ----------
    asked : str
        A litellm id.
    served : str or None
        The name in the reply; None where it gives none, which is taken for the model asked.
    aliases : tuple of str
        Other names of the model.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_asked("openai/gpt-4o", "gpt-4o-2024-08-06"), is_asked("openai/gpt-4o", "gpt-4o-mini-2024-07-18")
    (True, False)
    >>> is_asked("hosted_vllm/Qwen/Qwen3-4B", "qwen3-4b"), is_asked("hosted_vllm/mine", "other-model")
    (True, False)
    >>> is_asked("hosted_vllm/mine", "other-model", ("other-model",))
    True
    """
    if not served or served in (asked, *aliases) or providers.provider_name(asked) in OWN_NAMES:
        return True
    names = [_plain(name) for name in (asked, *aliases)]
    given = _plain(served)
    return any(_is_snapshot(name, given) or _is_snapshot(given, name) for name in names)


def _is_snapshot(name, dated):
    """Whether a name is another, or a snapshot of it."""
    stem = re.sub(r"-latest$|(?<=-\d)-0$", "", name)  # claude-sonnet-4-0 is the first claude-sonnet-4
    return dated.startswith(stem) and (dated == stem or _SNAPSHOT.fullmatch(dated[len(stem) :]) is not None)


def _plain(name):
    """A name without what stands before and after it, in one spelling."""
    name = re.split(r"[/\\]", name.strip().rstrip("/").lower())[-1]
    name = re.sub(r"\.gguf$|\.bin$|:(free|nitro|floor|beta|extended|online|latest)$", "", name)
    name = re.sub(r"^((us|eu|apac|global)\.)?(anthropic|meta|amazon|mistral|cohere|ai21|deepseek|openai)\.", "", name)
    name = re.sub(r"-v\d+:0$|(?<=-\d{8})-v\d+(:\d+)?$", "", re.sub(r"@", "-", name))  # Bedrock's own version
    return re.sub(r"[\s._:]+", "-", name)
