"""Labels by a language model: one question per item, a structured response, validated, repaired, stored.

The sampler asks and its store keeps every raw response, so labelling is resumable and nothing is asked twice. The JSON
schema is sent along (``response_format``) where the provider takes one: without it a small model rarely gets the form
right. What does not fit the schema goes back to the model with the error, a few times; what still does not fit is
counted. A schema may say which of its fields repeat a part of the question (``ECHO``, field to placeholder): a label of
another text is no label.
"""

import difflib
import json
import re
from dataclasses import dataclass
from string import Template

import pandas as pd

from hivemind_utils.llm import gguf_models, outcomes, providers, sampler, served, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.tables import files

ALIKE = 0.8  # ratio of matching characters from which on a repeated text counts as the text
MOST_OBJECTS = 300  # beginnings of an object that are tried in a response: the time stays in proportion to its length


ALIKE_CHARS = 400  # compared; long texts are often cut where they are repeated

REPAIR = "Your answer could not be used: $error\nAnswer again with one JSON object of the required form, nothing else."


@dataclass(frozen=True)
class Labels:
    """What labelling gave: every (item, vote) is in exactly one of the three tables.

    Attributes
    ----------
    table : pandas.DataFrame
        Valid labels: item_id, vote, value (dict, as the schema dumps it), raw, n_repairs, model, cost_usd (of all its
        calls; missing where the price is unknown), logprobs (JSON of the valid response, or None).
    failures : pandas.DataFrame
        Responses that stayed invalid: item_id, vote, reason, raw.
    missing : pandas.DataFrame
        Not asked, or not answered: item_id, vote, reason.
    """

    table: pd.DataFrame
    failures: pd.DataFrame
    missing: pd.DataFrame

    @property
    def why(self):
        """Commonest reason why a label is missing; None where none is."""
        reasons = pd.concat([self.failures["reason"], self.missing["reason"]])
        return None if reasons.empty else str(reasons.mode().iat[0])

    def summary(self):
        """One sentence that counts all three."""
        sentence = f"{len(self.table):,} labels, {len(self.failures):,} failures, {len(self.missing):,} not answered"
        reasons = self.missing["reason"].value_counts()
        return sentence + "".join(f"; {n:,} because {reason}" for reason, n in reasons.items())


def read_instructions(path):
    """Read the text of a question; ``$name`` stands for the item's column of that name, ``$$`` for a dollar."""
    return files.resolve(path).read_text(encoding="utf-8")


def label(
    items, instructions, schema, model, *, store_path, votes=1, parameters=None, max_repairs=2, budget_usd=0.0,
    limits=None, prices=None, seed=0, api_base=None, aliases=(), progress=True,
):  # fmt: skip
    """Ask a model for a structured label of every item.

    Parameters
    ----------
    items : pandas.DataFrame
        One row per item: ``item_id`` (unique) and a column for every placeholder of the instructions. Items whose
        questions read alike are asked once and share the answer.
    instructions : str
        The question, a `string.Template`: ``$query`` is replaced by the item's ``query``, dollars in it and all.
    schema : type of pydantic.BaseModel
        What the JSON object in the answer must satisfy. Its ``ECHO``, a dict of a field to a placeholder of the
        instructions, names fields that must repeat what stands there.
    model : str
        A litellm id, ``gguf:...`` (see `gguf_models`), or ``simulated/<name>``.
    store_path : path-like
        The sampler's store; answers in it are not asked again.
    votes : int
        Independent answers per item.
    parameters : dict, optional
        Of the request. Default: temperature 0 for a single vote and 1 for several, at most 1,024 tokens.
    max_repairs : int
        Further calls an answer that does not fit is given, each showing the model its error.
    budget_usd : float
        As in `sampling.run`: 0 asks simulated models only.
    limits, prices, seed, api_base, aliases, progress
        As in `sampling.run` and `sampling.Request`.

    Returns
    -------
    Labels
    """
    questions = _questions(items, instructions)
    if votes < 1:
        raise ValueError(f"`votes` must be at least 1, but {votes} was passed.")
    form = {"response_format": response_format(schema)} if takes_schema(model) else {}
    parameters = form | {"temperature": 0.0 if votes == 1 else 1.0, "max_tokens": 1024} | (parameters or {})
    asking = {"budget_usd": budget_usd, "limits": limits, "seed": seed, "prices": prices, "progress": progress}
    with gguf_models.running([model]):  # between repairs too
        return _label(questions, _echoes(items, schema), schema, model, votes, parameters, max_repairs, store_path,
                      {"api_base": api_base, "aliases": tuple(aliases)}, asking)  # fmt: skip


def response_format(schema):
    """Form of a response as OpenAI's interface, vLLM and llama.cpp take it: the JSON schema of a pydantic model."""
    return {"type": "json_schema", "json_schema": {"name": schema.__name__, "schema": schema.model_json_schema()}}


def takes_schema(model):
    """Whether a model's provider is known to take a JSON schema.

    Parameters
    ----------
    model : str

    Returns
    -------
    bool

    Examples
    --------
    >>> takes_schema("hosted_vllm/mine"), takes_schema("simulated/labeller")
    (True, False)
    """
    name = providers.provider_name(model)
    if name == providers.GGUF or name in providers.OWN_SERVERS:
        return True
    if name == providers.SIMULATED:
        return False
    return bool(providers.litellm().supports_response_schema(model.removeprefix(f"{name}/"), name))


def _label(questions, echoes, schema, model, votes, parameters, max_repairs, store_path, server, asking):
    open_ = [
        _Case(item_id, vote, ({"role": "user", "content": question},))
        for item_id, question in questions.items()
        for vote in range(votes)
    ]
    valid, failures, missing = [], [], []
    for n_repairs in range(max_repairs + 1):
        requests = {}
        for case in open_:
            case.request = request_llm.Request(model, case.messages, parameters, case.vote, **server)
            requests[case.request.key, case.vote] = case.request
        outcome = sampler.run(list(requests.values()), store_path, **asking)
        if "response_format" in parameters and "response_format" in outcome.failures.get(model, ""):
            parameters = {name: value for name, value in parameters.items() if name != "response_format"}
            return _label(questions, echoes, schema, model, votes, parameters, max_repairs, store_path, server, asking)
        answers = store.read(store_path, list(requests.values())).set_index(["key", "sample_idx"]).to_dict("index")
        why_missing = (outcome.failures | outcome.unsupported).get(model, "interrupted; run again")
        again = []
        for case in open_:
            answer = answers.get((case.request.key, case.vote))
            if answer is None:
                missing.append((case.item_id, case.vote, outcome.refused.get(case.request.key, why_missing)))
                continue
            if answer["outcome"] == served.ANOTHER:
                why = f"answered by another model, {answer['served_model']}"
                missing.append((case.item_id, case.vote, why))
                continue
            case.cost_usd += answer["cost_usd"]
            value, error = parse(answer["text"] or "", schema)
            error = error or _other_text(value, echoes.get(case.item_id, {}))
            if error is None:
                row = (value, answer["text"], n_repairs, model, case.cost_usd, answer["logprobs"])
                valid.append((case.item_id, case.vote, *row))
            elif n_repairs == max_repairs:
                failures.append((case.item_id, case.vote, error, answer["text"]))
            else:
                said = {"role": "assistant", "content": answer["text"] or ""}
                repair = {"role": "user", "content": Template(REPAIR).substitute(error=error)}
                case.messages = (*case.messages, said, repair)
                again.append(case)
        open_ = again
        if not open_:
            break
    columns = ["item_id", "vote", "value", "raw", "n_repairs", "model", "cost_usd", "logprobs"]
    return Labels(
        _frame(valid, columns),
        _frame(failures, ["item_id", "vote", "reason", "raw"]),
        _frame(missing, ["item_id", "vote", "reason"]),
    )


def parse(text, schema):
    """Find the JSON object in a response and validate it.

    Words and fences around it do not matter, nor what was thought before it. Of several objects those that satisfy the
    schema count, and they must be equal: nobody knows which of two different labels is meant.

    Parameters
    ----------
    text : str
        The model's response.
    schema : type of pydantic.BaseModel

    Returns
    -------
    value : dict or None
        The validated label, as the schema dumps it.
    error : str or None
        Why there is none, in words that help the model to do better.
    """
    from pydantic import ValidationError

    valid, error = [], "no JSON object was found in it."
    for found in _said_objects(text):
        try:
            valid.append(schema.model_validate(found).model_dump(mode="json"))
        except ValidationError as invalid:
            problems = [f"`{'.'.join(map(str, e['loc'])) or 'object'}`: {e['msg']}" for e in invalid.errors()[:3]]
            error = "; ".join(problems) + "."
    if not valid:
        return None, error
    if any(value != valid[0] for value in valid):
        return None, f"exactly one JSON object was expected, but it holds {len(valid)} that differ."
    return valid[0], None


def said(text):
    """What a response says after its reasoning; nothing where reasoning begins and does not end.

    The marks of reasoning are those of `outcomes.split_reasoning`.

    Examples
    --------
    >>> said("Perhaps 2 </think> 5"), said("5"), said("<think>Perhaps 2"), said("[THINK]Perhaps 2[/THINK] No.")
    ('5', '5', '', 'No.')
    """
    rest = outcomes.split_reasoning(text)[1]
    without_openings = outcomes.split_reasoning(f"{rest}</think>")[0]
    return rest if without_openings == rest.strip() else ""


@dataclass
class _Case:
    """One (item, vote) on its way to a valid response."""

    item_id: str
    vote: int
    messages: tuple
    request: object = None
    cost_usd: float = 0.0


def _echoes(items, schema):
    """By item: the fields that must repeat a text, and the text."""
    fields = getattr(schema, "ECHO", {})
    columns = {field: column for field, column in fields.items() if column in items.columns}
    return {
        row["item_id"]: {field: str(row[column]) for field, column in columns.items()}
        for row in items[["item_id", *columns.values()]].to_dict("records")
    }


def _other_text(value, echoes):
    """Why a label is about another text; None where it repeats its own."""
    for field, asked in echoes.items():
        if not repeats(str(value.get(field) or ""), asked):
            return f"`{field}`: it must repeat the message that was to be judged, but says something else."
    return None


def repeats(said, asked):
    """Whether a text repeats another: white space, case, quotes and a cut end aside, nearly letter by letter.

    Examples
    --------
    >>> repeats('"Why is the  sky blue?"', "why is the sky blue?"), repeats("Hello!", "Why is the sky blue?")
    (True, False)
    """
    said, asked = (" ".join(text.casefold().split()).strip("\"'“”‘’ ") for text in (said, asked))
    said = said.removesuffix("...").removesuffix("…").rstrip()
    if said == asked or (said and asked.startswith(said) and len(said) >= min(20, len(asked) // 2)):
        return True
    said, asked = said[:ALIKE_CHARS], asked[:ALIKE_CHARS]
    return difflib.SequenceMatcher(None, said, asked, autojunk=False).ratio() >= ALIKE


def _said_objects(text):
    """JSON objects in what a response says after its reasoning; a mark within an object is a quotation."""
    text = text.replace("\0", " ")
    objects, rest, at = [], "", 0
    for start, end, found in _objects(text):
        rest += f"{text[at:start]}\0{len(objects)}\0"
        objects.append(found)
        at = end
    return [objects[int(number)] for number in re.findall(r"\0(\d+)\0", said(rest + text[at:]))]


def _objects(text):
    """Start, end and value of JSON objects in a text, outermost first, from left; of very many beginnings, the last."""
    decoder, end = json.JSONDecoder(), 0
    starts = [begin.start() for begin in re.finditer(r"\{(?=\s{0,100}[\"}])", text)][-MOST_OBJECTS:]
    for start in starts:
        if start >= end:
            try:
                found, end = decoder.raw_decode(text, start)
                yield start, end, found
            except (ValueError, RecursionError):
                continue


def _questions(items, instructions):
    template = Template(instructions)
    if not template.is_valid():
        raise ValueError("The instructions hold a stray `$`: write `$$` for a dollar sign.")
    wanted = template.get_identifiers()
    lacking = [name for name in ("item_id", *wanted) if name not in items.columns]
    if lacking:
        raise ValueError(f"`items` must have the columns item_id, {', '.join(wanted)}, but lacks {lacking}.")
    if not wanted:
        raise ValueError("The instructions must name the item, such as `$query`, but hold no placeholder.")
    if items["item_id"].duplicated().any():
        twice = items.loc[items["item_id"].duplicated(), "item_id"].iat[0]
        raise ValueError(f"`items` must have one row per item, but item_id {twice!r} is repeated.")
    return {row["item_id"]: template.substitute(row) for row in items[["item_id", *wanted]].to_dict("records")}


def _frame(rows, columns):
    return pd.DataFrame(rows, columns=columns).sort_values(["item_id", "vote"], ignore_index=True)
