"""Numbers in sentences: one way to write percentages, estimates with their intervals, and lists."""

import math

FEW_PROMPTS = 13  # with fewer, intervals of skewed differences cover .92 or less: benchmarks/interval_coverage.csv
SCORER_KINDS = {
    "lm": "language models", "lm perplexity": "language models (perplexity)",
    "reward": "reward models", "judge": "judges", "metric": "metrics", "text": "text length",
}  # fmt: skip


def scorer_kind(kind):
    """Name of a kind of scorer in sentences and legends; a kind that an import made up stays as it is.

    Examples
    --------
    >>> scorer_kind("reward"), scorer_kind("classifier")
    ('reward models', 'classifier')
    """
    return SCORER_KINDS.get(kind, kind)


def percent(share, digits=0):
    """Write a share of 1 as a percentage.

    Examples
    --------
    >>> percent(0.962)
    '96 %'
    """
    return "unknown" if _missing(share) else f"{100 * share:.{digits}f} %"


def number(value, digits=2):
    """Write a number, or "unknown".

    Examples
    --------
    >>> number(0.4567), number(float("nan"))
    ('0.46', 'unknown')
    """
    return "unknown" if _missing(value) else f"{value:.{digits}f}"


def estimate(value, lower, upper, digits=2, *, as_percent=False):
    """Write an estimate with its 95 % interval.

    Examples
    --------
    >>> estimate(0.62, 0.6, 0.645)
    '0.62 (95 % interval 0.60 to 0.65)'
    >>> estimate(0.62, 0.6, 0.645, as_percent=True, digits=0)
    '62 % (95 % interval 60 % to 64 %)'
    >>> estimate(0.62, None, None)
    '0.62 (no interval)'
    """
    write = percent if as_percent else number
    if _missing(value):
        return "unknown"
    if _missing(lower) or _missing(upper):
        return f"{write(value, digits)} (no interval)"
    return f"{write(value, digits)} (95 % interval {write(lower, digits)} to {write(upper, digits)})"


def few_prompts(n_prompts, *, some=False):
    """Say that intervals rest on few prompts: a sentence for captions, takeaways and claims.

    Parameters
    ----------
    n_prompts : int
    some : bool
        Whether other intervals beside these rest on enough.

    Returns
    -------
    str
        Empty from `FEW_PROMPTS` on, and below two, where there are no intervals.

    Examples
    --------
    >>> few_prompts(5)
    'Only 5 prompts: 95 % intervals may be too narrow if one prompt is very unlike the others.'
    >>> few_prompts(50)
    ''
    """
    if not 2 <= n_prompts < FEW_PROMPTS:
        return ""
    who = (
        f"Some intervals rest on only {n_prompts} prompts: they"
        if some
        else f"Only {n_prompts} prompts: 95 % intervals"
    )
    return f"{who} may be too narrow if one prompt is very unlike the others."


def listed(names, most=3):
    """Write a list, shortened after `most`.

    Examples
    --------
    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(map(str, names))
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def lost(who, what, n_lost, n_asked, why=None, things="responses"):
    """Say how often somebody who was asked gave nothing that can be used; empty where nobody was asked.

    Examples
    --------
    >>> lost("m", "valid grade", 12, 100, "no JSON object was found in it.")
    'm gave no valid grade for 12 % of 100 responses, mostly because: no JSON object was found in it'
    >>> lost("m", "valid grade", 0, 1_200)
    'm gave a valid grade for each of 1,200 responses'
    """
    if not n_asked:
        return ""
    if not n_lost:
        return f"{who} gave a {what} for each of {n_asked:,} {things}"
    share = percent(n_lost / n_asked, 0 if n_lost * 200 >= n_asked else 1)
    because = f", mostly because: {str(why).rstrip('.')}" if why else ""
    return f"{who} gave no {what} for {share} of {n_asked:,} {things}{because}"


def counted(n, singular, plural=None):
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "model"), counted(1200, "response")
    ('1 model', '1,200 responses')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def short(text, length=40):
    """Write a text on one line, cut where it is longer; words may be cut, for not every script has spaces.

    Examples
    --------
    >>> short("a longer text", 8)
    'a longe…'
    """
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def short_name(name, length=40):
    """Write a name on one line, cut in the middle where it is longer: versions stand at the end of names.

    Examples
    --------
    >>> short_name("vendor/model-8b-2024-11-20", 16)
    'vendor/…24-11-20'
    """
    name = " ".join(name.split())
    begins = (length - 1) // 2
    return name if len(name) <= length else name[:begins].rstrip() + "…" + name[len(name) - (length - 1 - begins) :]


def _missing(value):
    return value is None or math.isnan(value)
