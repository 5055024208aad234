"""Read responses that somebody collected, from CSV, JSONL or Parquet, into the tables of notebook 04.

Nothing is dropped silently: a row either becomes a response or stands in ``04_excluded`` with its reason. Empty,
truncated and repeated responses are outcomes: they are kept and counted in ``04_coverage``.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from hivemind_utils.llm import outcomes, served
from hivemind_utils.metrics import intervals
from hivemind_utils.responses import families, soundness
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables import files, ids, reading, schema, spellings, wording, yes_no

CELL = ["prompt_id", "model", "condition", "decoding"]
IDEA_SCOPES = {False: ["prompt_id"], True: ["prompt_id", "model", "condition"]}  # by whether labels start anew


_FIELDS = {
    "prompt_id": "id of the prompt",
    "prompt": "text of the prompt",
    "model": "name of the model or group of people",
    "response": "the response, or a list of answers",
    "condition": "prompting condition",
    "decoding": "decoding setting",
    "sample_idx": "number of the response within its cell",
    "family": "family of the model",
    "idea": "given label of the response's idea",
    "finish_reason": "why the model stopped",
    "prompt_kind": "original, paraphrase, translation or closed",
    "parent_id": "original of a paraphrase or translation",
    "category": "category of the prompt",
    "open_endedness": "share of labels that call the prompt open-ended",
    "language": "language of the prompt",
    "many_answers": "share of annotators who expect more than 20 good responses",
    "position": "place of the response in its list or chain",
    "probability": "probability the model states for the answer",
    "reply": "number of the list or chain the response is part of",
    "quality": "score of the answer",
}
_WHOLE = ["position", "reply"]
_NUMBERS = ["sample_idx", *response_prompts.PROMPT_NUMBERS, *_WHOLE, "probability", "quality"]
_PER_RESPONSE = ["sample_idx", "idea", "finish_reason", "position", "probability", "reply", "quality"]
_STOPPED = {
    "length": "length maxtokens maxoutputtokens maxnewtokens maxlength modellength lengthlimit tokenlimit "
    "contextlength contextlengthexceeded modelcontextwindowexceeded contextwindowexceeded errorlimit",
    "content_filter": "contentfilter contentfiltered safety imagesafety recitation blocklist prohibitedcontent spii "
    "errortoxic guardrailintervened modelarmor",
    "refusal": "refusal",
}  # our name of why a model stopped: names of other providers, in small letters without marks
_STOP_REASONS = {name: ours for ours, names in _STOPPED.items() for name in names.split()}


_PROMPT_FIELDS = response_prompts.PROMPT_COLUMNS[2:]
_PROMPT_TEXTS = ("text", "prompt", "query", "question", "instruction")
_MODEL_FACTS = ["family", "vendor", "parent", "model_kind", "size_b", "tuning", "release_date", "open_weights"]


def read(paths, *, columns=None, constants=None, encoding=None):
    """Read responses from files into one frame with the project's column names.

    Parameters
    ----------
    paths : str, Path or list of them
        Files of one response per row, or with a list of responses in every row; see `reading.read_file` for formats.
    columns : dict of str to (str or list of str), optional
        The project's name of a column to the file's, or a path into it, for example ``{"condition": "mode", "response":
        "choices.*.message.content"}``. A list of names for "response" is a wide file: one column per model.
    constants : dict of str to str, optional
        Columns with one value per file, for example ``{"model": "<file>"}``, the file's name.
    encoding : str, optional
        Of text files, where it is not UTF-8, UTF-16 or Windows-1252.

    Returns
    -------
    pandas.DataFrame
        At least prompt_id or prompt, model and response; lists of responses unrolled.

    Raises
    ------
    ValueError
        If a mapping names an unknown field or column, a needed column is missing, a value is not a text, some rows hold
        lists and others do not, or most values of a column of numbers are none.

    Notes
    -----
    A value that is no number is missing, and a warning says how many there are; so it is said where some responses are
    JSON, which a model may have written.
    """
    columns, constants = (reading.current_names(given or {}, "prompt_kind") for given in (columns, constants))
    wide = columns.pop("response") if isinstance(columns.get("response"), list) else None
    frames = []
    for path in files.as_list(paths):
        name = Path(path).name
        frame = reading.read_file(path, encoding=encoding)
        frame = frame if wide is None else reading.unpivot(frame, wide)
        frame = reading.select_fields(frame, columns, _FIELDS, name, constants)
        frame = reading.with_current_name(frame, "prompt_kind", name, {**columns, **constants})
        if "response" not in frame.columns and "responses" in frame.columns:
            frame = frame.rename(columns={"responses": "response"})
        elif "responses" in frame.columns:  # some rows have the one, some the other
            frame["response"] = frame["response"].where(frame["response"].notna(), frame["responses"])
        missing = [f for f in ("response", "model") if f not in frame.columns]
        missing += [] if {"prompt", "prompt_id"} & set(frame.columns) else ["prompt"]
        if missing:
            raise ValueError(
                f"{name} lacks {' and '.join(f'a `{m}` column' for m in missing)}; it has {list(frame)}. "
                f"Say which column it is, for example `columns: {{{missing[0]}: name_in_the_file}}`."
            )
        frame = _with_parts(_unroll(_with_parts(frame), name))
        frames.append(_with_numbers(_with_texts(frame, name), name))
    return pd.concat(frames, ignore_index=True)


def _with_parts(frame):
    """Frame in which a response in parts is its text; what was thought in it goes to ``reasoning``."""
    parts = frame["response"].map(reading.text_of_parts)
    if not (is_parts := parts.notna()).any():
        return frame
    before = frame["reasoning"] if "reasoning" in frame else pd.Series(None, index=frame.index, dtype=object)
    response, reasoning = frame["response"].astype(object), before.astype(object)
    response[is_parts] = [said for said, _ in parts[is_parts]]
    reasoning[is_parts] = [
        thought or told for (_, thought), told in zip(parts[is_parts], before[is_parts], strict=True)
    ]
    return frame.assign(response=response, reasoning=reasoning)


def _with_texts(frame, name):
    """Frame of a file whose text columns hold texts; a response that is a written-out object is marked."""
    texts = pd.Series(reading.as_texts(frame["response"], "response", name), index=frame.index, dtype=object)
    is_object = texts.map(reading.is_written_object).astype(bool)
    if is_object.any() and is_object[texts.notna()].mean() > 0.5:  # the column, not a slip: say which field to take
        reading.with_texts(frame, ["response"], name)
    is_json = texts.map(lambda text: spellings.json_value(text) is not None).astype(bool) & ~is_object
    if is_json.any():
        print(
            f"WARNING: {name}: {is_json.sum()} of {texts.notna().sum()} responses are objects or lists in JSON (the "
            f"first is in row {is_json.idxmax() + 1}); each is kept as one text."
        )
    frame = frame.assign(response=texts)
    frame = reading.with_texts(frame, [f for f in _FIELDS if f not in ("response", *_NUMBERS)], name)
    frame = response_prompts.with_written_ids(frame)
    return frame.assign(is_object=is_object) if is_object.any() else frame


def _with_numbers(frame, name):
    """Frame of a file whose columns of numbers hold numbers; what is none is missing and counted in a warning."""
    frame = frame.copy()
    for field in [field for field in _NUMBERS if field in frame and field != "sample_idx"]:
        given = frame[field]
        numbers, is_given = _numbers(given, field), ~given.map(_is_no_number)
        lost = is_given & numbers.isna()
        if lost.any():
            row, what = lost.idxmax(), "a whole number from 0" if field in _WHOLE else "a number"
            shown = f"(row {row + 1}: {given[row]!r})"
            if 2 * lost.sum() > is_given.sum():
                raise ValueError(
                    f"{name}: `{field}` must be {what}, but {lost.sum()} of {is_given.sum()} values are not {shown}. "
                    "Write numbers, leave what is unknown empty, or give the column another name."
                )
            print(
                f"WARNING: {name}: {lost.sum()} of {is_given.sum()} values of `{field}` are not {what} {shown}; they "
                "count as missing."
            )
        frame[field] = numbers
    return frame


def _numbers(values, field):
    """Numbers of a column, with a decimal point or comma; NaN where there is none, or none that the column can hold."""
    numbers = pd.Series([reading.number(value) for value in values], index=values.index, dtype=float)
    fits = (numbers >= 0) & (numbers % 1 == 0) if field in _WHOLE else np.isfinite(numbers)
    return numbers.where(fits)


def _is_no_number(value):
    """Whether nothing stands where a number may."""
    return _is_blank(value) or (isinstance(value, str) and value.strip().casefold() in yes_no.NOTHING)


def read_facts(path, columns=None, kind="prompt_kind"):
    """Read facts about prompts, or models (`kind`: "model_kind"); None without any.

    Parameters
    ----------
    path : path-like, list of them, or None
    columns : dict of str to str, optional
        The project's name of a column to the files', where they have it.
    kind : {"prompt_kind", "model_kind"}

    Returns
    -------
    pandas.DataFrame or None
        The text of a prompt, which files may call text, prompt, query, question or instruction, is ``text``.

    Raises
    ------
    ValueError
        If `columns` names a field or a column that there is not, or a file has several texts of a prompt.
    """
    if path is None:
        return None
    of_prompts = kind == "prompt_kind"
    known = ["prompt_id", *_PROMPT_TEXTS, *_PROMPT_FIELDS, "keep", "model", *_MODEL_FACTS]
    found = [(reading.read_any(one), Path(one).name) for one in files.as_list(path)]
    frames = []
    for (frame, name), here in zip(found, response_prompts.named_columns(found, columns, kind, known), strict=True):
        frame = response_prompts.under_our_names(frame, here, kind, name)
        frame = _with_prompt_text(frame, name) if of_prompts else frame
        frame = reading.with_texts(frame, ["model", "prompt_id", "text", *_PROMPT_FIELDS, *_MODEL_FACTS], name)
        frames.append(response_prompts.with_written_ids(frame))
    return pd.concat(frames, ignore_index=True)


def _with_prompt_text(frame, file):
    """Frame of facts about prompts whose column of texts is ``text``, whichever of the usual names it has."""
    if "text" in frame:
        return frame
    usual = [name for name in frame if str(name).strip().lower() in _PROMPT_TEXTS]
    own = [name for name in usual if name == "prompt"] or usual
    if len(own) > 1:
        raise ValueError(
            f"{file} has several columns that may be the text of a prompt: {own}. Say which one is, for example "
            f"`prompt_columns: {{text: {own[0]}}}`."
        )
    return frame.rename(columns={name: "text" for name in own})


def select(answers, *, prompts=None, models=None, n_samples=None):
    """Keep some prompts (by id, or text where there is no id), some models, and at most `n_samples` responses per cell.

    Raises
    ------
    ValueError
        If a prompt or model that is asked for does not occur.
    """
    key = "prompt_id" if "prompt_id" in answers.columns else "prompt"
    for column, wanted in ((key, prompts), ("model", models)):
        if wanted is not None:
            names = answers[column].map(str)  # an id may be a number in one format and text in another
            absent = [name for name in wanted if str(name) not in set(names)]
            if absent:
                held = sorted(set(names[answers[column].notna()]))
                raise ValueError(f"The responses hold no {column} {absent}; they hold {held[:20]}.")
            answers = answers[names.isin([str(name) for name in wanted])]
    if n_samples is not None:
        cell = [name for name in (key, "model", "condition", "decoding") if name in answers.columns]
        if "sample_idx" in answers.columns:
            number = pd.to_numeric(answers["sample_idx"], errors="coerce")  # in a CSV "10" stands before "2"
            answers = answers.loc[number.sort_values(kind="stable").index]
        answers = answers[answers.groupby(cell, dropna=False).cumcount() < n_samples].sort_index()
    return answers.reset_index(drop=True)


def tabulate(answers, *, human=(), idea_scope=None, models=None, prompts=None):
    """Turn responses in long form into the tables of notebook 04.

    Parameters
    ----------
    answers : pandas.DataFrame
        As `read` or the demo population returns them.
    human : sequence of str
        Names in `model` that stand for people.
    idea_scope : sequence of str, optional
        Columns within which given ideas compare. None: prompt_id; prompt_id, model and condition where the labels
        start anew in every cell, as NoveltyBench's classes do.
    models, prompts : pandas.DataFrame, optional
        Registries with more columns of ``04_models`` (by `model`) and ``04_prompts`` (by `prompt_id` or `text`).

    Returns
    -------
    dict of str to pandas.DataFrame
        ``04_prompts``, ``04_models``, ``04_responses``, ``04_ideas``, ``04_coverage``, ``04_excluded``.

    Raises
    ------
    ValueError
        If nothing usable is left, one prompt_id has two texts, or `human` names somebody who never answered.
    """
    if answers.empty:
        raise ValueError("There are no responses: the input has no rows.")
    made = tabulate_rows(answers, human=human, idea_scope=idea_scope, models=models, prompts=prompts)
    refuse_nothing(made, len(answers))
    return made


def refuse_nothing(made, n_rows):
    """Refuse tables without a response, and such that lost a row; `n_rows` came in."""
    n_kept, excluded = len(made["04_responses"]), made["04_excluded"]
    if not n_kept:
        raise ValueError(f"None of {n_rows} rows is a response: {excluded['reason'].value_counts().to_dict()}.")
    if n_kept + len(excluded) != n_rows:
        raise RuntimeError(f"{n_rows} rows came in, but {n_kept} were kept and {len(excluded)} excluded.")


def tabulate_rows(answers, *, human=(), idea_scope=None, models=None, prompts=None):
    """As `tabulate`, of rows among which there may be no response: some prompts of a larger run."""
    frame, excluded = _clean(answers)
    if frame.empty:
        nothing = ("04_prompts", "04_models", "04_responses", "04_ideas", "04_coverage")
        return {name: schema.empty(name) for name in nothing} | {"04_excluded": excluded}
    absent = sorted(set(human) - set(frame["model"]))
    if absent:
        raise ValueError(f"`human` names {absent}, but the responses come from {sorted(frame['model'].unique())}.")
    frame["response_id"] = [ids.hash_values(row) for row in frame[[*CELL, "sample_idx"]].itertuples(index=False)]
    frame["text_id"] = frame["text"].map(ids.text_id)
    filtered = frame["finish_reason"].eq("content_filter").fillna(False).astype(bool)
    empty = frame["text"].str.strip().eq("")
    given = frame["outcome"] if "outcome" in frame else pd.Series(None, index=frame.index, dtype=object)
    given = given.mask(given.isin(["answer", "refusal"]), None)  # of the text: named by the rule of today
    unparsed = given.eq("unparsed").fillna(False).astype(bool)
    another, too_large = (given.eq(name).fillna(False).astype(bool) for name in (served.ANOTHER, outcomes.TOO_LARGE))
    reasons = {"answered by another model": another, "too large": too_large}
    reasons |= {"unparsed": unparsed, "empty": empty, "content filter": filtered}
    frame["why_not"] = np.select(list(reasons.values()), list(reasons), default=None)
    frame["usable"] = frame["why_not"].isna()
    named = [outcomes.classify(text, why) for text, why in zip(frame["text"], frame["finish_reason"], strict=True)]
    frame["outcome"] = given.where(given.notna(), named)
    frame = frame.sort_values([*CELL, "sample_idx"], ignore_index=True)
    prompt_table = _prompts(frame, prompts)
    response_columns = [c.name for c in schema.TABLES["04_responses"].columns]
    return {
        "04_prompts": prompt_table,
        "04_models": _models(frame, set(human), models),
        "04_responses": frame[response_columns],
        "04_ideas": _ideas(frame, idea_scope),
        "04_coverage": coverage(frame[response_columns], prompt_table),
        "04_excluded": excluded,
    }


def coverage(responses, prompts):
    """Count the responses of every cell, missing cells included.

    A cell is expected where its model, condition and decoding answered any prompt of the same kind.

    Parameters
    ----------
    responses, prompts : pandas.DataFrame
        Tables ``04_responses`` and ``04_prompts``.

    Returns
    -------
    pandas.DataFrame
        Table ``04_coverage``.
    """
    frame = responses.merge(prompts[["prompt_id", "prompt_kind"]], on="prompt_id", validate="many_to_one")
    frame["repeated"] = frame.duplicated([*CELL, "text_id"]) & frame["text"].str.strip().ne("")
    frame["unparsed"] = frame["outcome"].eq("unparsed")
    frame["empty"] = frame["text"].str.strip().eq("") & ~frame["unparsed"]
    frame["refused"], frame["filtered"] = (frame["outcome"].eq(name) for name in ("refusal", "content_filter"))
    frame["reasoned"] = frame["reasoning"].notna()
    flags = soundness.flags(frame)
    frame["truncated"], frame["looping"], frame["marked"] = (flags[name] for name in ("cut", "looping", "marked"))
    counted = frame.groupby(CELL).agg(
        n_responses=("response_id", "size"),
        n_usable=("usable", "sum"),
        n_empty=("empty", "sum"),
        n_truncated=("truncated", "sum"),
        n_refused=("refused", "sum"),
        n_filtered=("filtered", "sum"),
        n_unparsed=("unparsed", "sum"),
        n_looping=("looping", "sum"),
        n_marked=("marked", "sum"),
        n_repeated=("repeated", "sum"),
        n_reasoned=("reasoned", "sum"),
    )
    return _with_missing(counted.reset_index(), prompts)


def _with_missing(counted, prompts):
    """Counts by cell, and rows of zeros for the cells that are expected and have no response."""
    kinds = prompts[["prompt_id", "prompt_kind"]]
    arms = counted[CELL].merge(kinds, on="prompt_id")[["prompt_kind", *CELL[1:]]].drop_duplicates()
    expected = kinds.merge(arms, on="prompt_kind").drop(columns="prompt_kind")
    return expected.merge(counted, on=CELL, how="left").fillna(0).astype(
        {name: int for name in counted.columns if name not in CELL}
    ).sort_values(CELL, ignore_index=True)  # fmt: skip


def joined(parts):
    """Tables of `tabulate` of several blocks of prompts as those of all of them; ``04_responses`` is left out.

    Parameters
    ----------
    parts : list of dict of str to pandas.DataFrame
        From `tabulate_rows`; in ``04_excluded`` the numbers of rows count on from block to block.

    Returns
    -------
    dict of str to pandas.DataFrame
    """
    made = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
    made["04_prompts"] = made["04_prompts"].sort_values("prompt_id", ignore_index=True)
    made["04_models"] = made["04_models"].drop_duplicates("model").sort_values("model", ignore_index=True)
    made["04_models"].attrs["guessed"] = sorted(
        {name for part in parts for name in part["04_models"].attrs.get("guessed", ())}
    )
    counted = made["04_coverage"][made["04_coverage"]["n_responses"] > 0]
    return made | {"04_coverage": _with_missing(counted, made["04_prompts"])}


def arm_names(frame):
    """Name of every row's arm: the model, with condition and decoding as far as the frame has several.

    Parameters
    ----------
    frame : pandas.DataFrame
        With the columns model and condition, and decoding if it plays a part.

    Returns
    -------
    pandas.Series of str
    """
    several = frame.groupby("model")["condition"].nunique()
    return frame["model"].where(frame["model"].map(several) == 1, frame["model"] + " · " + frame["condition"])


def arms(coverage_table):
    """Sum ``04_coverage`` by arm: prompts, prompts without a usable response, counts, and the range of usable ones."""
    return coverage_table.groupby(CELL[1:]).agg(
        prompts=("prompt_id", "size"),
        missing=("n_usable", lambda n: (n == 0).sum()),
        **{name: (name, "sum") for name in coverage_table.columns if name.startswith("n_")},
        smallest=("n_usable", "min"),
        largest=("n_usable", "max"),
    )


def outcome_shares(coverage_table):
    """Usable responses per prompt, and shares of the responses by what went wrong, for every arm.

    Parameters
    ----------
    coverage_table : pandas.DataFrame
        Table ``04_coverage``.

    Returns
    -------
    pandas.DataFrame
        Columns model, condition, decoding; usable_min, usable_mean, usable_max; empty, truncated, refused, filtered,
        unparsed, looping, marked (see `soundness`), repeated (a text that came before in its cell).
    """
    what = ["empty", "truncated", "refused", "filtered", "unparsed", "looping", "marked", "repeated"]
    groups = coverage_table.groupby(CELL[1:])
    sums = groups[["n_responses", *(f"n_{name}" for name in what)]].sum()
    shares = sums[[f"n_{name}" for name in what]].div(sums["n_responses"].clip(lower=1), axis=0)
    usable = groups["n_usable"].agg(["min", "mean", "max"]).add_prefix("usable_")
    shares.columns = what
    return usable.join(shares).reset_index()


def usable_share(coverage_table):
    """Share of responses that are usable, pooled over prompts, an `Interval` over prompts, from ``04_coverage``."""
    sums = coverage_table.groupby("prompt_id")[["n_usable", "n_responses"]].sum()
    found = intervals.ratio_interval(sums["n_usable"], sums["n_responses"].where(sums["n_responses"] > 0))
    return dataclasses.replace(found, lower=np.maximum(found.lower, 0), upper=np.minimum(found.upper, 1))


def reasoning_apart(coverage_table):
    """Say in a sentence how many responses came with reasoning, which is kept apart; empty where none did."""
    n, n_all = int(coverage_table["n_reasoned"].sum()), int(coverage_table["n_responses"].sum())
    return f"{n:,} of {n_all:,} responses came with reasoning in marks: it is kept apart and not compared" if n else ""


def excluded_by_reason(tables):
    """Count the rows of ``04_excluded`` by reason."""
    return tables["04_excluded"]["reason"].value_counts().rename("rows").to_frame()


def write(study, tables):
    """Write the tables of notebook 04, by name; the responses so that those to one prompt can be read on their own."""
    for name, table in tables.items():
        study.write(name, table, by="prompt_id" if name == "04_responses" else None)


def missing_cells(coverage_table):
    """Say in one sentence which cells have no usable response, or None where all do."""
    missing = coverage_table[coverage_table["n_usable"] == 0]
    if missing.empty:
        return None
    worst = missing.groupby("model").size().sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{model} lacks {n}" for model, n in worst.head(3).items())
    more = f" and {len(worst) - 3} more models" if len(worst) > 3 else ""
    return f"{len(missing)} of {len(coverage_table)} cells have no usable response ({named}{more})"


def _unroll(frame, name="the file"):
    """One row per response: lists of responses become rows, numbered in order, with the lists that go with them.

    An empty cell among lists is a row without a response.
    """
    lists = pd.Series([_listed(value) for value in frame["response"]], index=frame.index, dtype=object)
    single = lists.isna() & ~frame["response"].map(_is_blank).astype(bool)
    if lists.isna().all() or single.any():
        _refuse_some_lists(frame["response"], lists, single, name)
        return frame
    if (cut := lists.map(lambda value: any(item is ... for item in value or [])).astype(bool)).any():
        raise ValueError(
            f"{name}, row {cut.idxmax() + 1}: the list of responses was cut when it was saved: it holds `...`. Save it "
            "as a list (`array.tolist()`), or one response per row."
        )
    lists = lists.map(lambda value: value if isinstance(value, list) else [None])  # no response: excluded and counted
    beside = {}
    for column in [c for c in _PER_RESPONSE if c in frame.columns]:
        given = frame[column]
        values = pd.Series(
            [_beside(value, len(texts)) for value, texts in zip(given, lists, strict=True)], given.index, dtype=object
        )
        filled = ~given.map(_is_blank).astype(bool)
        if not filled.any():
            continue
        if values[filled].isna().all():
            if column == "reply":  # a list is one reply
                continue
            raise ValueError(
                f"{name}: `{column}` has one value per row, but `response` holds lists of responses. Give lists of one "
                "length, or write one response per row."
            )
        lengths = values.map(lambda value: len(value) if isinstance(value, list) else 1)
        differ = values.isna() | (lengths != lists.map(len))
        if differ.any():
            row = differ.idxmax()
            raise ValueError(
                f"{name}, row {row + 1}: `response` holds {len(lists[row])} responses, but `{column}` {lengths[row]} "
                "values. Lists that go together must be of one length."
            )
        beside[column] = values
    frame = frame.assign(response=lists, **beside)
    empty = lists.map(len) == 0
    frame = frame.explode(["response", *beside], ignore_index=True)
    return frame if not empty.any() else frame.assign(response=frame["response"].where(frame["response"].notna(), None))


def _listed(value):
    """List of responses behind a value, None where there is none; numbers in round brackets may be a point."""
    found = reading.as_list(value)
    is_point = isinstance(value, str) and value.lstrip().startswith("(") and not spellings.is_list_of_texts(found)
    return None if is_point else found


def _beside(value, n):
    """Values that go with a list of `n` responses, None where they are no list; an empty cell has none of them."""
    found = reading.as_list(value)
    if found is None and _is_blank(value):
        return [None] * n
    return [value] if found is None and n == 1 else found


def _refuse_some_lists(values, lists, single, name):
    """Refuse a column in which some rows hold lists and others one response, and a column of objects in JSON.

    One list in JSON among other responses may be what a model said, and so may few among many.
    """
    is_list = lists.map(spellings.is_list_of_texts).astype(bool)
    is_value = is_list & ~values.map(lambda value: isinstance(value, str)).astype(bool)
    n, n_all = is_list.sum(), (lists.notna() | single).sum()
    if is_value.any() or (n and (2 * n >= n_all or (n > 1 and 10 * n >= n_all))):
        first = is_value.idxmax() if is_value.any() else is_list.idxmax()
        raise ValueError(
            f"{name}: row {first + 1} holds a list of responses, row {single.idxmax() + 1} does not. Write a list in "
            "every row, also of one response, or one response per row."
        )
    whole = " If the object itself is the response, write it as a list of one text in every row."
    reading.refuse_json(values, "response", name, lists=False, otherwise=whole)


def _clean(answers):
    """Standard columns of the rows that are responses; the others with their reason."""
    frame = answers.reset_index(drop=True).copy()
    for name in _FIELDS:
        if name not in frame.columns:
            frame[name] = None
    frame = response_prompts.with_written_ids(frame)
    null_text = frame["response"].isna()
    frame["text"] = [
        "" if null else ids.repaired(text) for text, null in zip(frame["response"], null_text, strict=True)
    ]
    parted = [outcomes.split_reasoning(text) for text in frame["text"]]
    before = frame["reasoning"] if "reasoning" in frame else pd.Series(None, index=frame.index, dtype=object)
    frame["reasoning"] = [own if _is_blank(told) else told for told, (own, _) in zip(before, parted, strict=True)]
    frame["text"] = [said for _, said in parted]
    for name in [name for name in _FIELDS if name not in ("response", *_NUMBERS)]:
        frame[name] = [None if _is_blank(value) else _name(value) for value in frame[name]]
    no_prompt = frame["prompt_id"].isna() & frame["prompt"].isna()
    frame["prompt_id"] = [
        ids.prompt_id(text) if _is_blank(given) and not _is_blank(text) else given
        for given, text in zip(frame["prompt_id"], frame["prompt"], strict=True)
    ]
    frame["condition"] = frame["condition"].where(frame["condition"].notna(), "default")
    frame["decoding"] = frame["decoding"].where(frame["decoding"].notna(), "as given")
    index = pd.to_numeric(frame["sample_idx"], errors="coerce")
    no_index = frame["sample_idx"].map(_is_blank)
    bad_index = ~no_index & ~(index.between(0, 2**53) & (index % 1 == 0))
    reasons = pd.Series(None, index=frame.index, dtype=object)
    no = pd.Series(False, index=frame.index)
    surplus, is_object = (frame[name].eq(True) if name in frame else no for name in ("surplus", "is_object"))
    for name in (*_WHOLE, "probability", "quality"):
        frame[name] = _numbers(frame[name], name).astype("Int64" if name in _WHOLE else float)
    frame["finish_reason"] = [_why_stopped(reason) for reason in frame["finish_reason"]]
    for why, where in (
        ("beyond the responses asked for in one call", surplus),
        ("no model", frame["model"].isna()),
        ("no prompt", no_prompt),
        ("no response (null)", null_text),
        ("an object or a list, no text", is_object),
        ("sample_idx is not a whole number", bad_index),
    ):
        reasons = reasons.mask(reasons.isna() & where, why)
    kept = frame[reasons.isna()].copy()
    _one_text_per_prompt(kept)
    kept["sample_idx"] = _number(kept, index[kept.index], no_index[kept.index])
    again = kept.duplicated([*CELL, "sample_idx"])
    same_text = kept.duplicated([*CELL, "sample_idx", "text"])
    reasons.loc[kept.index[again & same_text]] = "repeats an earlier row"
    reasons.loc[kept.index[again & ~same_text]] = "same prompt, model and sample_idx as an earlier row, other text"
    out = answers.reset_index(drop=True)[reasons.notna()]
    excluded = pd.DataFrame(
        {
            "input_row": np.flatnonzero(reasons.notna()),
            "reason": reasons.dropna().astype(str).to_numpy(dtype=object),
            "excerpt": [
                ids.repaired(json.dumps(row, default=str, ensure_ascii=False))[:200] for row in out.to_dict("records")
            ],
        }
    )
    return kept[~again].reset_index(drop=True), excluded


def _why_stopped(reason):
    """Our name of a reason to stop, where other providers spell it otherwise; any other reason as it is.

    Examples
    --------
    >>> [_why_stopped(r) for r in ("MAX_TOKENS", "FinishReason.SAFETY", "content-filter", "end_turn", None)]
    ['length', 'content_filter', 'content_filter', 'end_turn', None]
    """
    name = "".join(filter(str.isalnum, str(reason).rsplit(".", 1)[-1].casefold()))
    return _STOP_REASONS.get(name, reason)


def _number(kept, index, no_index):
    """Given numbers, and for rows without one the next free numbers of their cell, in file order."""
    number = index.where(~no_index)
    taken = number.groupby([kept[name] for name in CELL]).transform("max").fillna(-1)
    order = kept[no_index].groupby(CELL).cumcount()
    return number.where(~no_index, taken + 1 + order.reindex(kept.index, fill_value=0)).astype(int)


def _one_text_per_prompt(frame):
    texts = frame.dropna(subset=["prompt"]).groupby("prompt_id")["prompt"].nunique()
    if (texts > 1).any():
        worst = texts.idxmax()
        examples = frame.loc[frame["prompt_id"] == worst, "prompt"].drop_duplicates().head(2).tolist()
        raise ValueError(
            f"A prompt_id must stand for one prompt, but {worst!r} has {texts.max()} texts: {examples}. "
            "Give each text an id of its own, or leave prompt_id out: it is then derived from the text."
        )


def _prompts(frame, registry):
    first = frame.sort_values("prompt", na_position="last", kind="stable").groupby("prompt_id", as_index=False).first()
    table = first[["prompt_id", "prompt", *_PROMPT_FIELDS]].rename(columns={"prompt": "text"})
    if registry is not None:
        key = "prompt_id" if "prompt_id" in registry and _share(table, registry, "prompt_id") else "text"
        key = key if key in registry else "prompt_id"
        table = _enrich(table, registry, key, [*(["text"] if key == "prompt_id" else []), *_PROMPT_FIELDS])
    nameless = table["text"].map(_is_blank)
    if nameless.any():
        n, which = wording.counted(int(nameless.sum()), "prompt"), wording.listed(table.loc[nameless, "prompt_id"])
        print(
            f"WARNING: {n} of {len(table):,} without a text, only an id: {which}. Texts come from a column `prompt`, "
            "or by `prompt_id` from a file named with `prompts_path`."
        )
    table["text"] = table["text"].where(~nameless, table["prompt_id"])
    table["prompt_kind"] = table["prompt_kind"].where(table["prompt_kind"].notna(), response_prompts.kinds(table))
    for name in response_prompts.PROMPT_NUMBERS:
        table[name] = _facts(table, "prompt_id", name)
    return table.sort_values("prompt_id", ignore_index=True)


def _share(table, registry, key):
    """Whether a table and a file of facts share a value of a column; numbers and texts of one form are equal."""
    return bool({_key(value, key) for value in registry[key]} & set(table[key]))


def _models(frame, human, registry):
    table = frame.groupby("model", as_index=False)["family"].first()
    table = table.assign(**{name: None for name in _MODEL_FACTS if name != "family"})
    if registry is not None:
        table = _enrich(table, registry, "model", _MODEL_FACTS)
    is_human = table["model"].isin(human) | table["model_kind"].eq("human").fillna(False).astype(bool)
    table["model_kind"] = np.where(is_human, "human", "model")
    found = {model: families.lineage(model) for model in table["model"]}
    guessed = table["family"].map(_is_blank) & ~is_human
    for name in ("family", "vendor"):
        by_name = table["model"].map({model: getattr(own, name) for model, own in found.items()})
        table[name] = table[name].where(~(guessed if name == "family" else guessed & table[name].isna()), by_name)
    table["family"] = table["family"].where(~table["family"].map(_is_blank), "people")
    guessed &= table["model"].map({model: own.guessed for model, own in found.items()})
    table["size_b"] = _facts(table.assign(size_b=table["size_b"].map(_in_billions)), "model", "size_b")
    table["release_date"] = [None if _is_blank(day) else str(day)[:10] for day in table["release_date"]]
    table.attrs["guessed"] = sorted(table.loc[guessed, "model"])
    return table[["model", *_MODEL_FACTS]].sort_values("model", ignore_index=True)


def _facts(table, key, field):
    """Numbers of a column of facts; refuse what stands there and is none."""
    numbers = _numbers(table[field], field)
    lost = numbers.isna() & ~table[field].map(_is_no_number).astype(bool)
    if lost.any():
        first = table[lost].iloc[0]
        raise ValueError(
            f"`{field}` of {first[key]!r} must be a number, but {first[field]!r} was found. Write a number, or leave "
            "it empty where it is unknown."
        )
    return numbers


def _in_billions(size):
    """Number of parameters in billions where a unit stands behind it, such as 7B or 350M; anything else as it is.

    Examples
    --------
    >>> _in_billions("7B"), _in_billions("350 M"), _in_billions("1,5"), _in_billions("8x7B")
    (7.0, 0.35, '1,5', '8x7B')
    """
    text = size.strip().upper() if isinstance(size, str) else ""
    number = reading.number(text[:-1]) if text[-1:] in ("B", "M") else np.nan
    return size if np.isnan(number) else number / (1 if text[-1] == "B" else 1000)


def _ideas(frame, scope):
    known = frame[frame["idea"].notna()]
    scope = list(scope) if scope else IDEA_SCOPES[_starts_anew(known)]
    unknown = [name for name in scope if name not in frame.columns]
    if unknown:
        raise ValueError(f"`idea_scope` may name {[*CELL]}, but {unknown} was passed.")
    scopes = [" | ".join(map(str, row)) for row in known[scope].itertuples(index=False)]
    return pd.DataFrame(
        {"response_id": known["response_id"], "idea": known["idea"], "origin": "given", "scope": scopes}
    ).reset_index(drop=True)


def _starts_anew(known):
    """Whether labels are numbers that count up from one start in every cell, in the order of its responses.

    Labels of a whole prompt do so by accident only where cells are few: four are asked for, two of them of one prompt,
    and a label that a second cell of the prompt could not have given first.
    """
    numbers = pd.to_numeric(known["idea"], errors="coerce")
    if known.empty or numbers.isna().any() or (numbers % 1 != 0).any():
        return False
    cell = IDEA_SCOPES[True]
    ordered = known[[*cell, "sample_idx"]].assign(label=numbers).sort_values("sample_idx", kind="stable")
    groups = ordered.groupby(cell)["label"]
    before = groups.cummax().groupby([ordered[name] for name in cell]).shift()
    start = ordered["label"].min()
    anew = (ordered["label"] <= before.fillna(start - 1) + 1).all()
    several = ordered.groupby("prompt_id")["model"].count().gt(groups.first().groupby("prompt_id").size()).any()
    repeated = groups.first().groupby("prompt_id").size().max() > 1
    return bool(anew and groups.ngroups >= 4 and repeated and several and ordered["label"].max() > start)


def idea_scope_note(ideas, responses):
    """Say that given idea labels start anew in every cell, or None where they compare within a prompt.

    Parameters
    ----------
    ideas, responses : pandas.DataFrame
        Tables ``04_ideas`` and ``04_responses``.

    Returns
    -------
    str or None
    """
    if ideas.empty:
        return None
    prompt = ideas["response_id"].map(responses.set_index("response_id")["prompt_id"])
    if (ideas["scope"] == prompt).all():
        return None
    return (
        f"Given idea labels compare within {ideas['scope'].nunique():,} cells, not within a prompt: they start anew in "
        "every cell, or `idea_scope` says so"
    )


def _enrich(table, registry, key, fields):
    """Fill empty fields of `table` from `registry` by `key`."""
    if key not in registry.columns:
        raise ValueError(f"The registry needs a column `{key}`, but it has {list(registry.columns)}.")
    registry = registry.assign(**{key: [_key(value, key) for value in registry[key]]})
    registry = registry.dropna(subset=[key])
    if len(registry) and not table[key].isin(registry[key]).any():
        raise ValueError(
            f"The facts share no `{key}` with the responses: {registry[key].head(3).tolist()} against "
            f"{table[key].head(3).tolist()}. Name the right column, or leave the file out."
        )
    if registry[key].duplicated().any():
        raise ValueError(f"The registry lists {registry.loc[registry[key].duplicated(), key].iloc[0]!r} twice.")
    lookup = registry.set_index(key)
    for name in fields:
        if name in lookup.columns:
            found = table[key].map(lookup[name]).astype(object)
            found = found.where(~found.map(_is_blank), None)
            table[name] = table[name].astype(object).where(table[name].notna(), found)
    return table


def _key(value, key):
    """Value by which facts join, as text: an id of a prompt, or a name; None for nothing."""
    if key == "prompt_id":
        return ids.written(value)
    return None if _is_blank(value) else _name(value)


def _name(value):
    """A name or id as text; a whole number that a missing neighbour made a float is written without its fraction."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return ids.repaired(value).strip()


def _is_blank(value):
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return True
    return isinstance(value, str) and value.strip() == ""
