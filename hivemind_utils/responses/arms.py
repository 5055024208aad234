"""Arms: ways of asking a prompt, read from YAML, written as messages, and their replies taken apart.

An arm becomes a *condition* of the responses. A reply may hold several responses (a list) or none that can be found
(*unparsed*): what was asked for and cannot be found stays as an outcome, and is not asked for again.
"""

import itertools
import json
import re
from dataclasses import dataclass
from string import Template

import pandas as pd
import yaml

from hivemind_utils.llm import checks
from hivemind_utils.tables import files, ids

SHIPPED = "data/reference/arms.yaml"
DEFAULT = "default"  # the condition of a prompt asked directly
UNPARSED = "unparsed"
PARSERS = ("text", "tag", "list")
VARY = ("prompt", "response")
_KEYS = (
    "title", "system", "user", "comparator", "vary", "slots", "parse", "k", "again", "decoding", "rung", "ladder",
    "pool", "chain",
)  # fmt: skip
_OWN_SLOTS = ("prompt", "k", "paraphrase")
_ANSWER = re.compile(r"<answer\b([^>]*)>(.*?)</answer\s*>", re.DOTALL | re.IGNORECASE)
_PROBABILITY = re.compile(r"""\bp(?:robability)?\s*=\s*["']?\s*([^"'\s>]*)""", re.IGNORECASE)
_NUMBERING = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•])\s+")


@dataclass(frozen=True)
class Arm:
    """One way of asking.

    Attributes
    ----------
    name : str
        The condition its responses carry.
    title : str
        For figures.
    system, user : str or None
        Templates of the messages.
    comparator : str or None
        Name of the arm it is compared with.
    vary : {"prompt", "response"} or None
        What the slots differ between.
    slots : dict of str to tuple of str
    parse : {"text", "tag", "list"}
    k : int
        Responses per call; 1 unless the arm is a list or a chain.
    again : str or None
        Message that asks a chain for its next response.
    decoding : dict
        Parameters put in place of those of the study's decoding.
    rung : bool
        Whether the arm only samples differently.
    pool : bool
        Whether responses of several models make the arm.
    chain : bool
        Whether every response saw the earlier ones of its call.
    """

    name: str
    title: str
    system: str | None = None
    user: str = "$prompt"
    comparator: str | None = None
    vary: str | None = None
    slots: dict | None = None
    parse: str = "text"
    k: int = 1
    again: str | None = None
    decoding: dict | None = None
    rung: bool = False
    pool: bool = False
    chain: bool = False

    def messages(self, prompt, values):
        """Messages of a call, with every ``$slot`` filled.

        Parameters
        ----------
        prompt : str
        values : dict of str to str
            From `slot_values`.

        Returns
        -------
        list of dict
        """
        known = {"prompt": prompt, "k": self.k} | values
        texts = {"system": self.system, "user": self.user}
        return [
            {"role": role, "content": Template(text).substitute(known)}
            for role, text in texts.items()
            if text is not None
        ]


def read(wanted, *, asked=True):
    """Read the arms of a study: the shipped ones by name, and its own.

    Parameters
    ----------
    wanted : list of str, or dict of str to (dict or None)
        Names of arms; in a dict, keys of the arm that replace the shipped ones. Names that are not shipped are arms of
        the study's own.
    asked : bool
        Whether models will be asked. Responses that are there already need no messages, and an arm of such may be
        described by its comparator alone.

    Returns
    -------
    dict of str to Arm
        Ladders expanded into their rungs.

    Raises
    ------
    ValueError
        If a name, key or value cannot be used.

    Examples
    --------
    >>> found = read({"default": None, "terse": {"system": "Answer in one sentence.", "comparator": "default"}})
    >>> found["terse"].messages("Name a tree.", {})[0]
    {'role': 'system', 'content': 'Answer in one sentence.'}
    """
    wanted = dict.fromkeys(wanted) if isinstance(wanted, list | tuple) else dict(wanted or {})
    shipped = yaml.safe_load(files.resolve(SHIPPED).read_text(encoding="utf-8"))
    found = {}
    for name, own in wanted.items():
        own = dict(own or {})
        if name not in shipped["arms"] and not own and asked:
            close = checks.nearest(name, list(shipped["arms"]))
            hint = f" Did you mean {close!r}?" if close else f" Known: {', '.join(shipped['arms'])}."
            raise ValueError(f"`arms` names {name!r}, which is not shipped and has no messages.{hint}")
        definition = shipped["arms"].get(name, {}) | own
        for arm in _expanded(name, definition, shipped["texts"], asked):
            if arm.name in found:
                raise ValueError(f"`arms` names {arm.name!r} twice. Leave one out.")
            found[arm.name] = arm
    for arm in found.values():
        names = [*found, *shipped["arms"]]
        if arm.comparator is not None and arm.comparator not in names:
            close = checks.nearest(arm.comparator, names)
            hint = f" Did you mean {close!r}?" if close else ""
            raise ValueError(f"The comparator of {arm.name!r} is {arm.comparator!r}, which is no arm.{hint}")
        if arm.comparator == arm.name:
            raise ValueError(f"{arm.name!r} is its own comparator. Name another arm, or leave it out.")
    return found


def _expanded(name, definition, texts, asked):
    """One arm, or the rungs of a ladder."""
    where = f"arms: {name}"
    checks.names(where, definition, _KEYS, of="keys")
    ladder = definition.pop("ladder", None)
    if ladder is None:
        return [_arm(name, definition, texts, where)]
    ladder = {key: values if isinstance(values, list) else [values] for key, values in dict(ladder).items()}
    if not ladder or not all(ladder.values()):
        raise ValueError(f"`{where}`: `ladder` needs a list of values for every parameter, but {ladder} was given.")
    rungs = []
    for values in itertools.product(*ladder.values()):
        decoding = dict(zip(ladder, values, strict=True))
        label = " ".join(f"{key} {value:g}" for key, value in decoding.items())
        title = Template(definition.get("title", label)).safe_substitute({k: f"{v:g}" for k, v in decoding.items()})
        rung = definition | {"title": title, "decoding": definition.get("decoding", {}) | decoding, "rung": True}
        rungs.append(_arm(label, rung, texts, where))
    return rungs


def _arm(name, definition, texts, where):
    values = {key: value for key, value in definition.items() if value is not None}
    for key in ("title", "system", "user", "comparator", "again"):
        if key in values and not (isinstance(values[key], str) and values[key].strip()):
            raise ValueError(f"`{where}`: `{key}` must be a text, but {values[key]!r} was given.")
    for key, allowed in (("parse", PARSERS), ("vary", VARY)):
        if values.get(key, allowed[0]) not in allowed:
            raise ValueError(f"`{where}`: `{key}` must be one of {list(allowed)}, but {values[key]!r} was given.")
    for key in ("rung", "pool", "chain"):
        if not isinstance(values.get(key, False), bool):
            raise ValueError(f"`{where}`: `{key}` must be true or false, but {values[key]!r} was given.")
    slots = {}
    for slot, given in dict(values.get("slots", {})).items():
        given = texts.get(given, given) if isinstance(given, str) else given
        if not (isinstance(given, list) and given and all(isinstance(text, str) and text.strip() for text in given)):
            raise ValueError(
                f"`{where}`: `slots: {slot}` must be a list of texts or one of {list(texts)}, but {given!r} was given."
            )
        slots[slot] = tuple(given)
    used = {slot for key in ("system", "user", "again") for slot in _slots_of(values.get(key, ""), where, key)}
    if unknown := sorted(used - set(slots) - set(_OWN_SLOTS)):
        raise ValueError(f"`{where}` uses ${unknown[0]}, but its slots are {[*_OWN_SLOTS, *slots]}. List its texts.")
    k = values.get("k", 1)
    checks.number(f"{where}: k", k, 1, whole=True)
    several = values.get("parse") == "list" or "again" in values or values.get("chain")
    if k > 1 and not several:
        raise ValueError(
            f"`{where}`: k = {k}, but only a list (`parse: list`) or a chain (`again`) has several responses."
        )
    if "again" in values and values.get("parse", "text") == "list":
        raise ValueError(f"`{where}`: a chain gives one response a turn: leave out `parse: list` or `again`.")
    if "decoding" in values and not isinstance(values["decoding"], dict):
        raise ValueError(f"`{where}`: `decoding` must be parameters, but {values['decoding']!r} was given.")
    varies = bool(set(slots) & used) or "paraphrase" in used
    made = {key: values[key] for key in _KEYS if key in values and key not in ("slots", "ladder")}
    made |= {"slots": slots, "chain": bool("again" in values or values.get("chain", False))}
    made |= {"title": values.get("title", name), "vary": values.get("vary", "response") if varies else None}
    return Arm(name=name, **made)


def _slots_of(text, where, key):
    template = Template(text)
    if not template.is_valid():
        raise ValueError(f"`{where}`: `{key}` has a $ that begins no slot; write $$ for a dollar.")
    return template.get_identifiers()


def slot_values(arm, prompt_id, number, paraphrases=()):
    """Texts that stand for the slots of a response.

    Parameters
    ----------
    arm : Arm
    prompt_id : str
    number : int
        Of the call within its prompt, from 0.
    paraphrases : sequence of str
        Other wordings of the prompt.

    Returns
    -------
    dict of str to str
        Which text comes when is a fixed shuffle of every prompt, so that more calls extend fewer.
    """
    lists = dict(arm.slots or {})
    if "paraphrase" in Template(arm.user).get_identifiers():
        lists["paraphrase"] = tuple(paraphrases)
    values = {}
    for slot, texts in lists.items():
        order = ids.generator("slot", arm.name, slot, prompt_id).permutation(len(texts))
        values[slot] = texts[order[number % len(texts) if arm.vary == "response" else 0]]
    return values


def table(arms):
    """Table ``04_arms`` of arms by name."""
    rows = [
        {
            "condition": arm.name,
            "title": arm.title.replace(" k", f" {arm.k}") if arm.parse == "list" else arm.title,
            "comparator": arm.comparator,
            "k": arm.k,
            "is_chain": arm.chain,
            "is_rung": arm.rung,
            "is_pool": arm.pool,
            "vary": arm.vary,
            "slots": json.dumps(arm.slots, ensure_ascii=False) if arm.slots else None,
            "messages": json.dumps({"system": arm.system, "user": arm.user, "again": arm.again}, ensure_ascii=False),
            "decoding": json.dumps(arm.decoding) if arm.decoding else None,
        }
        for arm in arms.values()
    ]
    columns = [
        "condition",
        "title",
        "comparator",
        "k",
        "is_chain",
        "is_rung",
        "is_pool",
        "vary",
        "slots",
        "messages",
        "decoding",
    ]
    kinds = {"k": int} | dict.fromkeys(("is_chain", "is_rung", "is_pool"), bool)
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def interventions(arm_table):
    """Conditions of ``04_arms`` that are no plain asking: notebook 10 compares them, notebooks 05 to 07 leave them."""
    return set(arm_table["condition"]) - {DEFAULT}


def parse(arm, reply):
    """Responses in a reply.

    Parameters
    ----------
    arm : Arm
    reply : str

    Returns
    -------
    list of (str, float)
        Texts without tags and numbering, and the stated probability (NaN where there is none, or no number). A list
        may hold fewer than ``arm.k`` or more.

    Examples
    --------
    >>> arm = read(["vs_k"])["vs_k"]
    >>> parse(arm, '<answer p="0.4">1. An oak.</answer> <answer p="30 %">An elm.</answer>')
    [('An oak.', 0.4), ('An elm.', 0.3)]
    """
    if arm.parse == "text":
        return [(reply, float("nan"))]
    found = [(_NUMBERING.sub("", text).strip(), _probability(tag)) for tag, text in _ANSWER.findall(reply)]
    found = [(text, p) for text, p in found if text]
    return found[-1:] if arm.parse == "tag" else found


def _probability(tag):
    match = _PROBABILITY.search(tag)
    if match is None:
        return float("nan")
    percent = match.group(1).endswith("%") or re.match(r"\s*%", tag[match.end() :])
    try:
        value = float(match.group(1).rstrip("%"))
    except ValueError:
        return float("nan")
    return value / 100 if percent else value


def unroll(replies, arms):
    """Responses of stored replies: one row per response that was asked for, and one for every one beyond.

    Parameters
    ----------
    replies : pandas.DataFrame
        With condition, reply (number of the reply, or chain, within its cell), turn, response (the text of the reply),
        finish_reason, outcome.
    arms : dict of str to Arm

    Returns
    -------
    pandas.DataFrame
        The same columns with the response, and sample_idx, position, probability. Of a list of ``k`` that holds fewer,
        the rest is there as ``unparsed``. What a list holds beyond k comes after all others of its cell; it is marked
        ``surplus``.
    """
    plain = Arm(DEFAULT, DEFAULT)
    rows = []
    for reply in replies.to_dict("records"):
        arm = arms.get(reply["condition"], plain)
        base = {**reply, "position": None, "probability": float("nan"), "surplus": False, "sample_idx": reply["reply"]}
        if arm.chain:
            base |= {"sample_idx": reply["reply"] * arm.k + reply["turn"], "position": reply["turn"]}
        elif arm.parse != "list":
            base |= {"reply": None}  # a response by itself
        if arm.parse == "text":
            rows.append(base)
            continue
        found = parse(arm, reply["response"] or "")
        base |= {name: reply[name] / arm.k for name in ("cost_usd",) if name in reply}
        base |= {name: reply[name] * arm.k for name in ("n",) if name in reply}
        for i in range(max(arm.k, len(found))):
            row = base | {"sample_idx": reply["reply"] * arm.k + i, "surplus": i >= arm.k}
            row |= {"position": i} if arm.parse == "list" else {}
            row |= {"sample_idx": None} if i >= arm.k else {}
            if i < len(found):
                row |= {"response": found[i][0], "probability": found[i][1], "outcome": None, "finish_reason": "stop"}
            else:
                row |= {"response": "", "outcome": UNPARSED}
            rows.append(row)
    columns = [*replies.columns, "position", "probability", "surplus", "sample_idx"]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    return frame.astype({"position": "Int64", "reply": "Int64", "surplus": bool})
