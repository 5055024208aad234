"""The filter against a literal one in plain Python, on every boundary, every format and every kind of bad row."""

import json
import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hivemind_utils.queries import conversations, near_duplicates, wildchat
from hivemind_utils.queries.wildchat import Logs, Rules
from hivemind_utils.tables import ids
from hivemind_utils.tables import schema as table_schema

FILTERS_ONLY = Rules(order=tuple(wildchat.FILTERS))
TURN = pa.struct(
    [("content", pa.string()), ("country", pa.string()), ("hashed_ip", pa.string()),
     ("header", pa.struct([("accept-language", pa.string()), ("user-agent", pa.string())])),
     ("language", pa.string()), ("redacted", pa.bool_()), ("role", pa.string()), ("state", pa.string()),
     ("timestamp", pa.timestamp("us", "UTC")), ("toxic", pa.bool_()), ("turn_identifier", pa.int64())]
)  # fmt: skip
SCHEMA = pa.schema(
    [("conversation_hash", pa.string()), ("model", pa.string()), ("timestamp", pa.timestamp("us", "UTC")),
     ("conversation", pa.list_(TURN)), ("turn", pa.int64()), ("language", pa.string()),
     ("openai_moderation", pa.list_(pa.struct([("categories", pa.struct([("hate/threatening", pa.bool_())])),
                                               ("flagged", pa.bool_())]))),
     ("toxic", pa.bool_()), ("redacted", pa.bool_()), ("hashed_ip", pa.string())]
)  # fmt: skip


def turn(content, role="user", language="English", toxic=False, **more):
    return {"content": content, "role": role, "language": language, "toxic": toxic, "redacted": False, **more}


def row(content="Tell me a story about rain.", name=None, *, turns=None, model="gpt-4-0314", language="English",
        toxic=False, flagged=(False, False), at="2023-05-01T10:00:00", user="u1"):  # fmt: skip
    conversation = [turn(content), turn("Once ...", "assistant")] if turns is None else turns
    return {
        "conversation_hash": name or ids.text_id(str(content) + str(turns)),
        "model": model, "timestamp": pd.Timestamp(at, tz="UTC").to_pydatetime(), "conversation": conversation,
        "turn": 1, "language": language, "openai_moderation": [{"categories": None, "flagged": f} for f in flagged],
        "toxic": toxic, "redacted": False, "hashed_ip": user,
    }  # fmt: skip


BOUNDARIES = [
    *(row("x" * n, f"chars-{n}") for n in (0, 1, 14, 15, 16, 199, 200, 201)),
    row("  \n\t\u2003" + "y" * 14 + " \x1f\u00a0", "stripped-14"),
    row("\u3000" + "y" * 15 + "\r\n", "stripped-15"),
    row(" " * 300 + "y" * 200 + " " * 300, "stripped-200"),
    row("\u200b" + "z" * 14, "zero-width space is no whitespace"),
    row("e\u0301" * 7, "combining-14"), row("e\u0301" * 7 + "a", "combining-15"),
    row("e\u0301" * 100, "combining-200"), row("e\u0301" * 100 + "a", "combining-201"),
    row("👍" * 14, "emoji-14"), row("👍" * 15, "emoji-15"),
    row("👨\u200d👩\u200d👧" * 3, "family emoji, 15 code points"),
    row("🏳️\u200d🌈" * 50, "flag-200"), row("🏳️\u200d🌈" * 50 + "!", "flag-201"),
    row(name="mixed: first turn French", turns=[turn("Raconte une histoire.", language="French")]),
    row(name="mixed: answer French", turns=[turn("Answer me in French please."), turn("Oui", "assistant", "French")]),
    row(name="conversation French, turn English", language="French"),
    row(name="two users", turns=[turn("Tell me a story please."), turn("ok", "assistant"), turn("And another one?")]),
    row(name="system first", turns=[turn("You are a pirate.", "system"), turn("Tell me a story please.")]),
    row(name="assistant first", turns=[turn("Hello!", "assistant"), turn("Tell me a story please.")]),
    row(name="system long, user short", turns=[turn("You are a pirate of the sea.", "system"), turn("Hi.")]),
    row(name="toxic answer", turns=[turn("Tell me a story please."), turn("...", "assistant", toxic=True)]),
    row(name="toxic conversation", toxic=True), row(name="toxic unknown", toxic=None),
    row(name="flagged answer", flagged=(False, True)), row(name="flags unknown", flagged=(None, None)),
    row(name="no moderation", flagged=()),
    *(row(name=f"model {m}", model=m) for m in ("gpt-4", "gpt-4-turbo-2024-04-09", "gpt-4o", "gpt-4-1106-preview",
                                                "gpt-3.5-turbo-0301", "GPT-4", "my-gpt-4", "", None)),
    row(None, "content null"), row(" \n ", "blank"), row(name="null conversation", turns=None) | {"conversation": None},
    row(name="empty conversation", turns=[]), row(name="no user", turns=[turn("Hello there, friend.", "assistant")]),
    row(name="language null", language=None), row(name="language Unknown", language="Unknown"),
    row("A word is br\ufffdken in this one.", "replacement character"), row("A zero \x00 in the text.", "zero byte"),
    row("h" * 100_001, "huge"), row(name="turn language unknown", turns=[turn("Tell me a story.", language=None)]),
    row(name="role null", turns=[turn("Tell me a story please.", None), turn("Tell me another story.")]),
]  # fmt: skip
NAMES = [r["conversation_hash"] for r in BOUNDARIES]
assert len(set(NAMES)) == len(NAMES)


def literally_kept(rows, toxic_turns=True):
    """The rules in plain Python, one row at a time."""
    kept = []
    for r in rows:
        turns = r["conversation"] or []
        users = [t for t in turns if t["role"] == "user"]
        if not users or users[0]["content"] is None:
            continue
        first, text = users[0], users[0]["content"].strip()
        if "\ufffd" in text or "\x00" in text or len(text) > 100_000:
            continue
        if r["language"] != "English" or (first.get("language") or "English") != "English":
            continue
        if r["toxic"] or any(t["toxic"] for t in turns) or any(m["flagged"] for m in r["openai_moderation"] or []):
            continue
        if len(users) == 1 and (r["model"] or "").startswith("gpt-4") and 15 <= len(text) <= 200:
            kept.append(r["conversation_hash"])
    return kept


def write_parquet(path, rows, schema=SCHEMA, rename=None):
    table = pa.Table.from_pylist(rows, schema=schema)
    if rename:
        table = table.rename_columns([rename.get(name, name) for name in table.column_names])
    pq.write_table(table, path, row_group_size=7)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(r, default=str) + "\n" for r in rows), encoding="utf-8")
    return path


def kept(path, rules=FILTERS_ONLY, **options):
    paths = path if isinstance(path, list) else [path]
    with Logs(paths, **options) as logs:
        return logs.filter(rules)[0]


class TestFilter:
    def test_parquet_keeps_what_the_literal_filter_keeps(self, tmp_path):
        queries = kept(write_parquet(tmp_path / "a.parquet", BOUNDARIES))
        assert sorted(queries["conversation_id"]) == sorted(literally_kept(BOUNDARIES)) and len(queries) > 20

    def test_jsonl_keeps_the_same(self, tmp_path):
        queries = kept(write_jsonl(tmp_path / "a.jsonl", BOUNDARIES))
        assert sorted(queries["conversation_id"]) == sorted(literally_kept(BOUNDARIES))

    def test_texts_and_lengths_are_pythons(self, tmp_path):
        queries = kept(write_parquet(tmp_path / "a.parquet", BOUNDARIES)).set_index("conversation_id")
        for r in BOUNDARIES:
            if r["conversation_hash"] in queries.index:
                users = [t for t in r["conversation"] if t["role"] == "user"]
                got = queries.loc[r["conversation_hash"]]
                assert got["text"] == users[0]["content"].strip() and got["n_chars"] == len(got["text"])
                assert got["query_id"] == wildchat.query_id(r["conversation_hash"], users[0]["content"])

    def test_the_older_generation_has_other_names_and_less(self, tmp_path):
        flat = pa.struct([("content", pa.string()), ("language", pa.string()), ("role", pa.string())])
        schema = pa.schema([("conversation_hash", pa.string()), ("model", pa.string()),
                            ("timestamp", pa.timestamp("us")), ("conversation", pa.list_(flat)),
                            ("turn", pa.int64()), ("language", pa.string()), ("toxic", pa.bool_())])  # fmt: skip
        old = write_parquet(tmp_path / "a.parquet", BOUNDARIES, schema, {"conversation_hash": "conversation_id"})
        plain = [
            r | {"openai_moderation": None, "conversation": [t | {"toxic": None} for t in r["conversation"] or []]}
            for r in BOUNDARIES
        ]
        with Logs([old]) as logs:
            queries, waterfall, _ = logs.filter(FILTERS_ONLY)
        assert sorted(queries["conversation_id"]) == sorted(literally_kept(plain))
        assert "not recorded" in waterfall.set_index("rule").loc["not_flagged", "note"]
        assert set(literally_kept(plain)) > set(literally_kept(BOUNDARIES))

    def test_both_generations_together_are_read_by_name(self, tmp_path):
        new = write_parquet(tmp_path / "new.parquet", BOUNDARIES[:30])
        old = write_parquet(tmp_path / "old.parquet", BOUNDARIES[30:], rename={"conversation_hash": "conversation_id"})
        assert sorted(kept([new, old])["conversation_id"]) == sorted(literally_kept(BOUNDARIES))

    def test_order_of_rows_and_threads_change_nothing(self, tmp_path):
        one = kept(write_parquet(tmp_path / "a.parquet", BOUNDARIES * 2), Rules(), n_threads=1)
        other = kept(write_parquet(tmp_path / "b.parquet", (BOUNDARIES * 2)[::-1]), Rules(), n_threads=2)
        pd.testing.assert_frame_equal(one, other)

    def test_repeated_rows_have_ids_of_their_own(self, tmp_path):
        queries = kept(write_parquet(tmp_path / "a.parquet", [row(name="same")] * 3))
        assert queries["query_id"].nunique() == 3 and len({name.split("-")[0] for name in queries["query_id"]}) == 1

    def test_tables_are_valid(self, tmp_path):
        with Logs([write_parquet(tmp_path / "a.parquet", BOUNDARIES)]) as logs:
            queries, waterfall, duplicates = logs.filter(Rules())
            grid = {"min_chars": [1, 15, 300], "model_prefixes": [["gpt-4"], ["gpt-4", "gpt-3.5"], [""]]}
            table_schema.validate(logs.sensitivity(Rules(), grid), "01_sensitivity")
            table_schema.validate(logs.bad_rows(), "01_bad_rows")
        table_schema.validate(queries, "01_queries")
        table_schema.validate(waterfall.assign(published=None), "01_waterfall")
        table_schema.validate(duplicates, "01_duplicates")

    def test_timestamps_are_utc(self, tmp_path):
        rows = [row(at="2023-05-01T23:59:59")]
        for path in (write_parquet(tmp_path / "a.parquet", rows), write_jsonl(tmp_path / "a.jsonl", rows)):
            assert kept(path)["timestamp"].tolist() == ["2023-05-01T23:59:59Z"]


class TestWaterfall:
    def test_each_step_takes_what_the_last_one_left(self, tmp_path):
        with Logs([write_parquet(tmp_path / "a.parquet", BOUNDARIES)]) as logs:
            queries, waterfall, duplicates = logs.filter(Rules())
        assert waterfall["rows_in"].iloc[0] == len(BOUNDARIES) and waterfall["rows_out"].iloc[-1] == len(queries)
        assert (waterfall["rows_in"].iloc[1:].to_numpy() == waterfall["rows_out"].iloc[:-1].to_numpy()).all()
        lost = waterfall.set_index("rule").eval("rows_in - rows_out")
        assert lost[list(wildchat.DUPLICATES)].sum() == len(duplicates)

    def test_bad_rows_are_counted_by_reason_and_sum_up(self, tmp_path):
        with Logs([write_parquet(tmp_path / "a.parquet", BOUNDARIES)]) as logs:
            bad = logs.bad_rows().set_index("reason")["n_rows"]
            waterfall = logs.filter(Rules())[1]
        assert bad.sum() == waterfall.eval("rows_in - rows_out").iloc[0]
        assert bad.to_dict() == {
            "empty user message": 3, "no conversation": 2, "unknown language": 2, "no user turn": 1,
            "broken Unicode": 2, "huge text (over 100,000 characters)": 1,
        }  # fmt: skip

    def test_the_order_is_the_parameters(self, tmp_path):
        path = write_parquet(tmp_path / "a.parquet", BOUNDARIES)
        with Logs([path]) as logs:
            waterfall = logs.filter(Rules(order=("length", "gpt4")))[1]
        assert waterfall["rule"].tolist() == ["readable", "length", "gpt4"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"order": ("englsh",)}, "englsh"), ({"order": ("near_duplicates", "length")}, "after all filters"),
         ({"order": ("length", "length")}, "once"), ({"min_chars": 20, "max_chars": 10}, "min <= max"),
         ({"max_per_user": 0}, "at least 1")],
    )  # fmt: skip
    def test_rules_that_make_no_sense_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            Rules(**options)


class TestSensitivity:
    def test_every_count_is_that_of_a_run_with_the_other_bound(self, tmp_path):
        path = write_parquet(tmp_path / "a.parquet", BOUNDARIES)
        grid = {"min_chars": [1, 14], "max_chars": [200, 201], "max_user_turns": [1, 2], "model_prefixes": [["gpt"]]}
        with Logs([path]) as logs:
            table = logs.sensitivity(FILTERS_ONLY, grid)
            for entry in table[table["bound"] != "rule left out"].itertuples():
                value = ("gpt",) if entry.value == "gpt" else entry.value
                value = int(value) if str(value).isdigit() else value
                value = ("gpt-4",) if value == "gpt-4" else value
                changed = Rules(order=FILTERS_ONLY.order, **{entry.bound: value})
                assert entry.n_queries == len(logs.filter(changed)[0])
            base = len(logs.filter(FILTERS_ONLY)[0])
        assert set(table.loc[table["is_used"], "n_queries"]) == {base}
        assert (table.loc[table["bound"] == "rule left out", "n_queries"] >= base).all()


class TestBadInput:
    def test_bytes_that_are_no_utf8_are_repaired_and_counted(self, tmp_path):
        raw = [b"A plain question about cats?", b"A br\xffken question about dogs?", None]
        content = pa.array(raw, pa.binary()).view(pa.string())
        turns = pa.StructArray.from_arrays([content, pa.array(["user"] * 3)], ["content", "role"])
        conversation = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), turns)
        table = pa.table({"conversation_id": ["a", "b", "c"], "conversation": conversation,
                          "language": ["English"] * 3})  # fmt: skip
        pq.write_table(table, tmp_path / "a.parquet")
        with Logs([tmp_path / "a.parquet"]) as logs:
            assert logs.filter(FILTERS_ONLY)[0]["conversation_id"].tolist() == ["a"]
            assert dict(logs.bad_rows()[["reason", "n_rows"]].values) == {"broken Unicode": 1, "empty user message": 1}

    def test_broken_lines_of_jsonl_are_rows_without_content(self, tmp_path):
        lines = [
            json.dumps(row(name="fine"), default=str),
            '{"conversation_hash": "a", broken',
            "[1, 2]",
            json.dumps(row("A lone \ud800 surrogate here.", "lone"), default=str),
            '{"conversation": 5}',
        ]
        (tmp_path / "a.jsonl").write_bytes(b"\n".join([*map(str.encode, lines), b'{"model": "\xff"}']))
        with Logs([tmp_path / "a.jsonl"]) as logs:
            assert logs.filter(FILTERS_ONLY)[0]["conversation_id"].tolist() == ["fine"]
            assert logs.bad_rows()["n_rows"].sum() == 5 and logs.n_rows == 6

    @pytest.mark.parametrize("name", ["a.txt", "a"])
    def test_unknown_formats_are_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match=r"Expected \.parquet"):
            Logs([tmp_path / name])

    def test_conversations_of_another_shape_are_refused(self, tmp_path):
        pq.write_table(pa.table({"conversation_id": ["a"], "conversation": [["hello"]]}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="role and content"):
            Logs([tmp_path / "a.parquet"])

    def test_an_address_of_the_hub_is_read_by_httpfs(self):
        kind, view = conversations.scan(["hf://datasets/allenai/WildChat-1M/data/*.parquet"])
        assert kind == "parquet"
        assert view == (
            "SELECT * FROM read_parquet(['hf://datasets/allenai/WildChat-1M/data/*.parquet'], union_by_name=true)"
        )
        assert "''" in conversations.scan(["it's.parquet"])[1]


class TestPromptList:
    ROWS = (
        {"id": "a", "prompt": "Name a tree that is old."},
        {"id": "b", "prompt": "Short"},
        {"id": "c", "prompt": ""},
    )

    def test_csv_and_jsonl_pass_the_rules_they_can(self, tmp_path):
        pd.DataFrame(self.ROWS).to_csv(tmp_path / "a.csv", index=False)
        write_jsonl(tmp_path / "a.jsonl", self.ROWS)
        for path in (tmp_path / "a.csv", tmp_path / "a.jsonl"):
            with Logs([path], columns={"conversation_id": "id"}) as logs:
                queries, waterfall, _ = logs.filter(Rules())
                assert logs.bad_rows()["reason"].tolist() == ["empty user message"]
            assert queries["text"].tolist() == ["Name a tree that is old."] and queries["conversation_id"].tolist() == [
                "a"
            ]
            assert waterfall["note"].str.contains("not recorded").sum() >= 4

    def test_recorded_columns_are_used(self, tmp_path):
        rows = [
            {"text": "Name a tree that is old.", "language": lang, "toxic": tox, "model": model}
            for lang, tox, model in [
                ("English", "false", "gpt-4"),
                ("French", "false", "gpt-4"),
                ("English", "True", "gpt-4"),
                ("English", "", "gpt-3.5"),
                ("", "", "gpt-4"),
            ]
        ]
        pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
        assert len(kept(tmp_path / "a.csv")) == 1

    def test_a_broken_line_is_counted(self, tmp_path):
        (tmp_path / "a.jsonl").write_bytes(
            b'{"prompt": "Name a tree that is old."}\n{broken\n"text"\n{"prompt": "\\ud800 is a lone surrogate"}'
        )
        with Logs([tmp_path / "a.jsonl"]) as logs:
            assert len(logs.filter(Rules())[0]) == 1
            assert dict(logs.bad_rows()[["reason", "n_rows"]].values) == {"unreadable row": 2, "broken Unicode": 1}

    def test_a_list_without_a_text_column_says_which_there_are(self, tmp_path):
        pd.DataFrame({"utterance": ["Hello"]}).to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(ValueError, match="utterance"):
            Logs([tmp_path / "a.csv"])
        with pytest.raises(ValueError, match=r"no column .txt. for `text`"):
            Logs([tmp_path / "a.csv"], columns={"text": "txt"})


class TestDuplicates:
    def test_the_earliest_of_equal_messages_stays(self, tmp_path):
        rows = [row("Tell me a STORY, please!", "late", at="2023-05-02"), row("tell me a story please", "early"),
                row("What about another one?", "other")]  # fmt: skip
        with Logs([write_parquet(tmp_path / "a.parquet", rows)]) as logs:
            queries, _, duplicates = logs.filter(Rules(order=(*wildchat.FILTERS, "exact_duplicates")))
        assert sorted(queries["conversation_id"]) == ["early", "other"]
        assert duplicates["kept_id"].tolist() == [wildchat.query_id("early", "tell me a story please")]

    def test_at_most_so_many_of_one_user(self, tmp_path):
        texts = [
            "What is a good name?",
            "Where do birds sleep?",
            "Describe your own town.",
            "Which tea is the best one?",
        ]
        rows = [row(t, t, at=f"2023-05-0{i + 1}", user="u" if i < 3 else None) for i, t in enumerate(texts)]
        queries = kept(write_parquet(tmp_path / "a.parquet", rows), Rules(max_per_user=2))
        assert queries["text"].tolist() == [texts[0], texts[1], texts[3]]

    def test_normalise_knows_spelling_from_meaning(self):
        same = near_duplicates.normalise
        assert same("Ｗrite  a POEM!") == same("write a poem") == "write a poem"
        assert same(unicodedata.normalize("NFD", "Café")) == same("café")
        assert same("???") != same("!!!") and same("a1") != same("a2")

    def test_leaders_match_the_literal_double_loop(self):
        base = "please write a long story about a {} who lives near the old harbour of a small town number {}"
        texts = [base.format(w, n) for w in ("cat", "captain", "baker") for n in range(12)]
        texts += ["completely different words stand here", "completely different words stand there", "hm", "hm!"]
        sets = [near_duplicates.shingles(near_duplicates.normalise(t)) for t in texts]
        for threshold in (0.7, 0.95, 1.0):
            expected = []
            for i, mine in enumerate(sets):
                near = [(near_duplicates.jaccard(mine, sets[j]), -j) for j in range(i) if expected[j] == j]
                best = max(near, default=(0, 0))
                expected.append(-best[1] if best[0] >= threshold else i)
            assert near_duplicates.leaders(texts, threshold).tolist() == expected

    def test_leaders_of_nothing_and_bad_thresholds(self):
        assert near_duplicates.leaders([], 0.8).tolist() == []
        with pytest.raises(ValueError, match="above 0"):
            near_duplicates.leaders(["a"], 0)
