"""The demo's chat logs, labellers and annotators: what they do is planted in ``data/demo/logs.yaml``, and so known.

Conversations are written as Parquet in both generations of WildChat's schema; labellers are models of the provider
`simulated/`, and annotators fill the very sheets that people would. Nothing here is imported by anything but notebooks.
"""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import yaml

from hivemind_utils.demo import provider
from hivemind_utils.demo.population import SLOT
from hivemind_utils.queries import sheets, wildchat
from hivemind_utils.tables import files as table_files
from hivemind_utils.tables import ids, parquet
from hivemind_utils.tables.ids import generator
from hivemind_utils.tables.wording import listed

LABELLER, TAXONOMY_LABELLER = "owl-eyed-labeller", "pigeonhole-labeller"  # names of simulated models


_QUERY = re.compile(r"<query>\n(.*?)\n</query>", re.DOTALL)


def load(path):
    """Read the planted logs; options separated by ``|`` become lists."""
    with open(table_files.resolve(path), encoding="utf-8") as file:
        logs = yaml.safe_load(file)
    logs["slots"] = {name: [option.strip() for option in text.split("|")] for name, text in logs["slots"].items()}
    logs["groups"] = [
        {"type": kind, "categories": [], "new": None, "why": None, **group}
        for kind, groups in logs["queries"].items()
        for group in groups
    ]
    for group in logs["groups"]:
        group["ambiguous"] = bool(group.get("ambiguous"))
        for slot in SLOT.findall(" ".join(group["patterns"])):
            if slot.lower() not in logs["slots"]:
                raise ValueError(f"A pattern of {group['categories'] or group['type']} names {{{slot}}}, no such slot.")
    return logs


def conversations(study, paths, n_conversations=None, **options):
    """Open the conversations of notebook 01: those of files, or the demo's, drawn and written first.

    Parameters
    ----------
    study : Study
        Is told where the conversations come from.
    paths : str or list of str
        Files and addresses of conversations, or the demo's description of its logs (``.yaml``).
    n_conversations : int, optional
        Conversations drawn for the demo; as planted where None.
    **options
        Passed to `wildchat.Logs`.

    Returns
    -------
    wildchat.Logs
    """
    found = table_files.addresses(paths)
    if str(found[0]).endswith((".yaml", ".yml")):
        found, truth = write(load(found[0]), study.folder / "logs", study.seed, n_conversations)
        parquet.write_truth(truth, study.profile, "queries")
        study.comes_from("simulated", listed(file.name for file in found))
    else:
        study.comes_from("imported", listed(str(file).rsplit("/", 1)[-1] for file in found))
    return wildchat.Logs(found, **options)


def take_part(study, labels_from, path, n_conversations=None):
    """Let the demo's labellers and annotators take part where labels come from the demo.

    Parameters
    ----------
    study : Study
    labels_from : str
        Nothing happens unless this is "demo".
    path : path-like
        The demo's description of its logs, relative to the project.
    n_conversations : int, optional
        As in `conversations`.

    Returns
    -------
    callable or None
        Fills a sheet as the demo's annotators do; None where they take no part.
    """
    if labels_from != "demo":
        return None
    planted = load(table_files.root() / path)
    known = known_messages(planted, study.seed, n_conversations)
    serve_labellers(planted, known)
    return lambda sheet: fill_sheet(sheet, planted, known)


def group_weights(logs, fraction=0.5):
    """Probability of every group of messages at a point between the first (0) and the last day (1)."""
    rises = np.array([bool(group.get("rising")) for group in logs["groups"]])
    weights = np.array([group["weight"] for group in logs["groups"]]) * np.exp(logs["drift"] * (fraction - 0.5) * rises)
    kinds = np.array([group["type"] for group in logs["groups"]])
    for kind, share in logs["types"].items():
        weights[kinds == kind] *= share / weights[kinds == kind].sum()
    return weights


def planted_shares(logs):
    """Share of open messages of every category, over all days."""
    over_time = np.mean([group_weights(logs, fraction) for fraction in np.linspace(0, 1, 101)], axis=0)
    shares = {}
    for group, weight in zip(logs["groups"], over_time, strict=True):
        for category in group["categories"]:
            shares[category] = shares.get(category, 0) + weight / logs["types"]["open"]
    return shares


def draw(logs, seed, n=None):
    """Draw conversations and what is true of their first messages.

    Parameters
    ----------
    logs : dict
        From `load`.
    seed : int
    n : int, optional
        Conversations; as planted where None. Each depends on its number alone, and on the messages it repeats.

    Returns
    -------
    conversations : list of dict
        Rows of WildChat's schema.
    truth : pandas.DataFrame
        conversation_id, text (as asked), clean (as meant), type, why, ambiguous, categories (list), new, defect.
    """
    n = n or logs["n_conversations"]
    rows, truth, earlier = [], [], []
    for i in range(n):
        rng = generator(seed, "conversation", i)
        message = _message(logs, (i + 0.5) / n, rng)
        defect = _pick(logs["shares"], rng)
        if defect in ("exact_duplicate", "near_duplicate") and len(earlier) > 20:
            message = _repeat(earlier[rng.integers(len(earlier))], defect, rng)
        elif defect is None:
            earlier.append(message)
        row, message = _conversation(logs, i, n, message, defect, seed, rng)
        rows.append(row)
        truth.append({"conversation_id": row["conversation_hash"], "defect": defect} | message)
    return rows, pd.DataFrame(truth, dtype=object)


def write(logs, folder, seed, n=None):
    """Write the conversations as Parquet, the first third in the older schema; returns the files and the truth."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, truth = draw(logs, seed, n)
    cut = len(rows) // 3
    old = [
        {("conversation_id" if k == "conversation_hash" else k): v for k, v in row.items() if k not in _LATER}
        for row in rows[:cut]
    ]
    files = []
    for name, part, schema in (("logs-old", old, _schema(old=True)), ("logs-new", rows[cut:], _schema(old=False))):
        files.append(folder / f"{name}.parquet")
        with table_files.atomic(files[-1]) as temporary:
            pq.write_table(pa.Table.from_pylist(part, schema=schema), temporary, compression="zstd")
    return files, truth


def known_messages(logs, seed, n=None):
    """What is true of the messages of these logs, by their text as asked and as meant; see `draw`."""
    truth = draw(logs, seed, n)[1].to_dict("records")
    return {text: row for row in truth for text in (row["clean"], row["text"])}


def serve_labellers(logs, known):
    """Let ``simulated/owl-eyed-labeller`` and ``simulated/pigeonhole-labeller`` answer for the `known_messages`."""
    spellings = [*planted_shares(logs)]

    def open_endedness(messages, *, n, seed, parameters):
        return [
            _judge(logs["labeller"], known, messages, generator(LABELLER, seed, i, len(messages), _asked(messages)))
            for i in range(n)
        ]

    def kinds(messages, *, n, seed, parameters):
        rngs = [generator(TAXONOMY_LABELLER, seed, i, len(messages), _asked(messages)) for i in range(n)]
        return [_sort(logs, known, spellings, messages, rng) for rng in rngs]

    provider.serve(LABELLER, open_endedness)
    provider.serve(TAXONOMY_LABELLER, kinds)


def fill_sheet(sheet, logs, known):
    """Let the demo's annotators fill a sheet of 02 (`open_ended`, `alternatives`) or of 03 (`agree`).

    Parameters
    ----------
    sheet : pandas.DataFrame
        As `sheets.sheet` makes it, with `query`, and `category` in a sheet of 03.
    logs : dict
        From `load`.
    known : dict
        From `known_messages`.

    Returns
    -------
    pandas.DataFrame
        One row per row of the sheet and annotator.
    """
    filled, planted = [], logs["annotators"]
    for person in range(planted["n"]):
        for row in sheet.to_dict("records"):
            true = known[row["query"].strip()]
            rng = generator("annotator", person, row["query"], row.get("category"))
            answers = {"annotator": f"annotator-{person + 1}"}
            if "agree" in row:
                right = row["category"] in [*true["categories"], true["new"]]
                wrong = planted["category_rejected"] if right else 1 - planted["category_accepted"]
                answers["agree"] = "no" if rng.random() < wrong else "yes"
            else:
                kind = "ambiguous" if true["ambiguous"] else "open" if true["type"] == "open" else "closed"
                error = planted["closed_called_open" if kind == "closed" else f"{kind}_called_closed"]
                answers["open_ended"] = "yes" if (rng.random() < error) == (kind == "closed") else "no"
                answers["alternatives"] = str(rng.choice(sheets.ALTERNATIVES, p=planted["alternatives"][kind]))
            filled.append(row | answers)
    return pd.DataFrame(filled)


def _message(logs, fraction, rng):
    group = logs["groups"][rng.choice(len(logs["groups"]), p=group_weights(logs, fraction))]
    clean = _fill(group["patterns"][rng.integers(len(group["patterns"]))], logs["slots"], rng)
    return {
        "text": clean if group["type"] == "dropped" else _misspell(clean, logs["spelling"], rng),
        "clean": clean,
        **{key: group[key] for key in ("type", "why", "ambiguous", "categories", "new")},
    }


def _fill(pattern, slots, rng):
    def option(match):
        name = match.group(1)
        text = str(rng.choice(slots[name.lower()]))
        return text[0].upper() + text[1:] if name[0].isupper() else text

    return SLOT.sub(option, pattern)


def _misspell(text, rates, rng):
    """Type a message as people do: small letters, no final mark, two letters swapped."""
    if rng.random() < rates["lower_case"]:
        text = text[0].lower() + text[1:]
    if rng.random() < rates["no_final_mark"]:
        text = text.rstrip(".?!")
    places = [i for i, (a, b) in enumerate(pairwise(text)) if a.isalpha() and b.isalpha() and a != b and i]
    if places and rng.random() < rates["typo"]:
        i = int(rng.choice(places))
        text = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text


def _repeat(message, kind, rng):
    """Ask the same again: with other marks, or with a word before it."""
    if kind == "exact_duplicate":
        return message | {"text": message["text"].rstrip(".?!") + str(rng.choice(["", "!!", " ?", "..."]))}
    return message | {"text": f"{rng.choice(['ok', 'so', 'hey'])} {message['text']}"}


def _pick(shares, rng):
    """Pick one defect, or none, each with its share."""
    names = [*shares, None]
    return names[rng.choice(len(names), p=[*shares.values(), 1 - sum(shares.values())])]


_LATER = {"openai_moderation", "hashed_ip", "state", "country", "header"}


def _conversation(logs, i, n, message, defect, seed, rng):
    """Build row number i of the logs, with its defect; returns the row and its message as it then is."""
    language, text = "English", message["text"]
    if defect == "other_language":
        language = str(rng.choice([*logs["other"]]))
        text = _fill(str(rng.choice(logs["other"][language])), logs["slots"], rng)
    elif defect == "mixed_language":
        text = _fill(str(rng.choice(logs["other"]["French"])), logs["slots"], rng)
    elif defect == "toxic":
        text = _fill(logs["toxic_text"], logs["slots"], rng)
    elif defect == "too_short":
        text = str(rng.choice(logs["short"]))
    elif defect == "too_long":
        text = f"{text} {' '.join([logs['padding']] * 3)}"
    elif defect == "broken_unicode":
        text = text[:6] + "\ufffd" + text[7:]
    elif defect == "empty_message":
        text = " \n"
    user = f"user-{int(rng.zipf(1.6)) % logs['n_users']:04d}"
    first = _turn(text, "user", "French" if defect == "mixed_language" else language, user, i)
    turns = [first, _turn("A simulated answer.", "assistant", language, None, i)]
    if defect == "system_turn":
        turns.insert(0, _turn("Answer in one sentence.", "system", language, None, i))
    if defect == "several_turns":
        turns += [_turn("And in other words?", "user", language, user, i), turns[1]]
    if defect == "no_user_turn":
        turns = turns[1:]
    when = pd.Timestamp(logs["start"], tz="UTC") + pd.Timedelta(days=logs["days"] * (i + 0.5) / n).round("s")
    row = {
        "conversation_hash": ids.text_id(f"simulated {seed} {i}"),
        "model": str(rng.choice([*logs["models"]], p=[*logs["models"].values()])),
        "timestamp": when.to_pydatetime(),
        "conversation": None if defect == "null_conversation" else turns,
        "turn": 2 if defect == "several_turns" else 1,
        "language": None if defect == "unknown_language" else language,
        "openai_moderation": [{"categories": {"violence": False}, "flagged": defect == "flagged"} for _ in turns],
        "toxic": defect == "toxic",
        "redacted": False,
        "state": "Vellin",
        "country": "Nowhere",
        "hashed_ip": user,
        "header": {"accept-language": "en", "user-agent": "simulated"},
    }
    return row, message | {"text": text.strip()}


def _turn(content, role, language, user, number):
    return {
        "content": content, "country": "Nowhere", "hashed_ip": user, "language": language, "redacted": False,
        "role": role, "state": "Vellin", "toxic": content.startswith("[a rude"), "turn_identifier": number,
    }  # fmt: skip


def _schema(old):
    import pyarrow as pa

    text, flag = pa.string(), pa.bool_()
    turn = [("content", text), ("language", text), ("redacted", flag), ("role", text), ("toxic", flag)]
    if not old:
        header = pa.struct([("accept-language", text), ("user-agent", text)])
        turn += [("country", text), ("hashed_ip", text), ("header", header), ("state", text)]
        turn += [("timestamp", pa.timestamp("us", "UTC")), ("turn_identifier", pa.int64())]
    columns = [
        ("conversation_id" if old else "conversation_hash", text), ("model", text),
        ("timestamp", pa.timestamp("us", "UTC")), ("conversation", pa.list_(pa.struct(turn))), ("turn", pa.int64()),
        ("language", text), ("toxic", flag), ("redacted", flag),
    ]  # fmt: skip
    if not old:
        moderation = pa.struct([("categories", pa.struct([("violence", flag)])), ("flagged", flag)])
        columns += [("openai_moderation", pa.list_(moderation)), ("state", text), ("country", text)]
        columns += [("hashed_ip", text), ("header", header)]
    return pa.schema(columns)


def _asked(messages):
    """Return the query a labeller is asked about; it stands between marks in the instructions."""
    found = [_QUERY.findall(message["content"]) for message in messages if message["role"] == "user"]
    return found[0][-1].strip()


def _judge(planted, known, messages, rng):
    """One vote on open-endedness."""
    query = _asked(messages)
    true = known.get(query, {"type": "dropped", "why": "no meaningful information", "clean": query, "ambiguous": False})
    repairing = len([message for message in messages if message["role"] == "user"]) > 1
    if generator("never", query).random() < planted["never_valid"] or (
        not repairing and rng.random() < planted["broken_json"]
    ):
        return provider.Answer('{"original_query": "I could not decide", ')
    kind, chance = true["type"], rng.random()
    error = planted["ambiguous_called_closed" if true["ambiguous"] else "open_called_closed"]
    if kind == "dropped":
        kind = "closed" if chance < planted["dropped_called_closed"] else "dropped"
    elif kind == "open":
        kind = "closed" if chance < error else "open"
    else:
        kind = "open" if chance < planted["closed_called_open"] else "closed"
    greeting = kind == "dropped" and "greeting" in (true["why"] or "")
    reason = "A planted judgement of the demo."
    label = {
        "original_query": query,
        "revised_query": None if true["clean"] == query else true["clean"],
        "meaningful_information": {"reasoning": reason, "classification": kind != "dropped"},
        "greeting_model_inquiry": None
        if kind == "dropped" and not greeting
        else {"reasoning": reason, "classification": greeting},
        "response_type": None
        if kind == "dropped"
        else {"reasoning": reason, "classification": "Multiple" if kind == "open" else "Single"},
    }
    text = json.dumps(label, ensure_ascii=False)
    return provider.Answer(f"```json\n{text}\n```" if rng.random() < 0.5 else text)


def _sort(logs, known, names, messages, rng):
    """One vote on kinds."""
    query, planted = _asked(messages), logs["taxonomy_labeller"]
    true = known.get(query, {"categories": [], "new": None})
    repairing = len([message for message in messages if message["role"] == "user"]) > 1
    if not repairing and rng.random() < planted["broken_json"]:
        return provider.Answer(f"These seem to be {names[0]} and others.")
    found = []
    for name in names:
        chance = rng.random()
        if chance < (1 - planted["category_missed"] if name in true["categories"] else planted["category_added"]):
            found.append({"category": name, "type": "predefined", "justification": "planted"})
    if true["new"] and rng.random() < planted["new_added"]:
        spelling = str(rng.choice(logs["novel"][true["new"]]))
        found.append({"category": spelling, "type": "new", "justification": "planted"})
    return provider.Answer(json.dumps({"query": query, "categories": found}, ensure_ascii=False))
