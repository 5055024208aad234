"""Models that go away: the day on which a provider stops serving a model, and whether that day has come.

Dates come from a registry's column ``retired``, which comes with its source, and else from litellm's list
(``deprecation_date``). A server of one's own serves what it likes: nothing on it is retired.
"""

import re
from datetime import UTC, date, datetime

from hivemind_utils.llm import providers

SOURCE = "litellm"  # where a date comes from that no registry gives


def known_date(model):
    """Day on which the provider stops serving a model, as far as litellm knows.

    A dated name without a date of its own takes that of its undated name: providers end both together.

    Parameters
    ----------
    model : str
        A litellm id.

    Returns
    -------
    str or None
        YYYY-MM-DD.

    Examples
    --------
    >>> known_date("openai/gpt-4o-2024-11-20"), known_date("hosted_vllm/mine")
    ('2027-01-14', None)
    """
    provider = providers.provider_name(model)
    if provider in (providers.SIMULATED, providers.GGUF):
        return None
    facts = providers.litellm().model_cost
    plain = model.partition("/")[2] or model
    for name in (model, plain, re.sub(r"-(\d{4}-\d{2}-\d{2}|\d{8})$", "", plain)):
        entry = facts.get(name, {})
        if entry.get("deprecation_date") and entry.get("litellm_provider") == provider:
            return checked(entry["deprecation_date"], name)
    return None


def checked(text, what):
    """Return a day written YYYY-MM-DD.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return date.fromisoformat(str(text).strip()[:10]).isoformat()
    except ValueError:
        raise ValueError(
            f"`retired` of {what} must be a day such as 2026-06-01, or empty, but {text!r} was given."
        ) from None


def today():
    """Today in UTC, YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()


def is_over(day, by=None):
    """Whether a model with this last day is gone.

    Parameters
    ----------
    day : str or None
        YYYY-MM-DD; None: nobody knows of an end.
    by : str, optional
        The day to judge by; default: today.

    Examples
    --------
    >>> is_over("2026-06-01", by="2026-06-01"), is_over("2026-06-02", by="2026-06-01"), is_over(None)
    (True, False, False)
    """
    return day is not None and day <= (by or today())
