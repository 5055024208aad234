"""The demo's logs: every defect occurs, texts stay apart, labellers err as planted, the study finds the plant."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from hivemind_utils.demo import logs as logs_demo
from hivemind_utils.demo import provider
from hivemind_utils.llm import labeling
from hivemind_utils.queries import open_endedness, sheets, taxonomy
from hivemind_utils.queries.wildchat import Logs, Rules
from hivemind_utils.tables import files, parquet, yes_no
from hivemind_utils.tables.study import Study

ROOT = Path(__file__).resolve().parents[2]
LOGS = logs_demo.load(ROOT / "data" / "demo" / "logs.yaml")
KINDS = taxonomy.load(ROOT / "data" / "reference" / "taxonomy.yaml")
QUESTION = "<query>\n{}\n</query>"


@pytest.fixture(scope="module")
def drawn():
    return logs_demo.draw(LOGS, 0)


def ask(model, text, seeds, messages=()):
    messages = [{"role": "user", "content": QUESTION.format(text)}, *messages]
    answer = provider._RESPONDERS[model]
    return [answer(messages, n=1, seed=seed, parameters={})[0].text for seed in seeds]


REPAIR = ({"role": "assistant", "content": "{"}, {"role": "user", "content": "Your answer could not be used."})


def votes_of(model, schema, queries):
    """Three votes per query, as `labeling.label` gets them: an answer that does not fit is asked for once more."""
    rows = []
    for name, text in queries:
        for vote in range(3):
            answer = ask(model, text, [vote])[0]
            if labeling.parse(answer, schema)[1]:
                answer = ask(model, text, [vote], REPAIR)[0]
            rows.append((name, vote, labeling.parse(answer, schema)[0], answer))
    return pd.DataFrame(rows, columns=["query_id", "vote", "value", "raw"])


def holds(n_hits, n, planted, level=0.999):
    """Whether a wide interval of a count holds the planted rate."""
    interval = binomtest(int(n_hits), int(n)).proportion_ci(level, method="wilson")
    return interval.low <= planted <= interval.high


class TestDraw:
    def test_same_seed_same_logs_other_seed_others(self, drawn):
        again, other = logs_demo.draw(LOGS, 0)[1], logs_demo.draw(LOGS, 1)[1]
        pd.testing.assert_frame_equal(drawn[1], again)
        assert drawn[1]["text"].tolist() != other["text"].tolist()

    def test_every_defect_occurs_about_as_often_as_planted(self, drawn):
        counts = drawn[1]["defect"].value_counts()
        assert all(holds(counts[name], len(drawn[1]), share) for name, share in LOGS["shares"].items())

    def test_categories_of_the_plant_are_leaves_of_the_taxonomy(self):
        assert set(logs_demo.planted_shares(LOGS)) == set(KINDS.leaves["name"])

    def test_groups_are_drawn_as_weighed(self, drawn):
        plain = drawn[1][drawn[1]["defect"].isna()]
        assert all(holds((plain["type"] == kind).sum(), len(plain), share) for kind, share in LOGS["types"].items())

    def test_names_say_that_nothing_is_real(self):
        assert all("simulated" in model for model in LOGS["models"])

    def test_an_unknown_slot_is_refused(self, tmp_path):
        text = (
            (ROOT / "data" / "demo" / "logs.yaml")
            .read_text(encoding="utf-8")
            .replace("{noise} {mumble}", "{x} {mumble}")
        )
        (tmp_path / "logs.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="no such slot"):
            logs_demo.load(tmp_path / "logs.yaml")

    def test_both_generations_of_the_schema_pass_the_filter_and_defects_do_not(self, tmp_path):
        files, truth = logs_demo.write(LOGS, tmp_path, 0, 900)
        with Logs(files) as logs:
            kept = logs.filter(Rules())[0].merge(truth, on="conversation_id", validate="one_to_one")
            reasons = set(logs.bad_rows()["reason"])
        assert reasons == {
            "no conversation",
            "no user turn",
            "empty user message",
            "unknown language",
            "broken Unicode",
        }
        fine = {None, "system_turn", "flagged", "exact_duplicate", "near_duplicate"}
        assert set(kept["defect"]) <= fine and len(kept) > 150
        older = set(truth["conversation_id"][:300])  # the older schema knows no moderation
        assert set(kept.loc[kept["defect"] == "flagged", "conversation_id"]) <= older
        assert (kept["text_x"] == kept["text_y"]).all()


@pytest.fixture(scope="module")
def served():
    logs_demo.serve_labellers(LOGS, logs_demo.known_messages(LOGS, 0))


@pytest.mark.usefixtures("served")
class TestLabeller:
    def test_votes_err_as_planted(self, drawn):
        plain = drawn[1][drawn[1]["defect"].isna()].drop_duplicates("text")
        seen = {}
        for row in plain.itertuples():
            for text in ask(logs_demo.LABELLER, row.text, range(2)):
                value, error = labeling.parse(text, open_endedness.Label)
                kind = "ambiguous" if row.ambiguous else row.type
                seen.setdefault(kind, []).append(None if error else open_endedness.outcome(value)[0])
        planted = LOGS["labeller"]
        wrong = {"open": "closed", "ambiguous": "closed", "closed": "open", "dropped": "closed"}
        rates = {"open": "open_called_closed", "ambiguous": "ambiguous_called_closed", "closed": "closed_called_open",
                 "dropped": "dropped_called_closed"}  # fmt: skip
        for kind, results in seen.items():
            valid = [result for result in results if result]
            assert holds(valid.count(wrong[kind]), len(valid), planted[rates[kind]]), kind
        everything = [result for results in seen.values() for result in results]
        broken = planted["broken_json"] + planted["never_valid"] * (1 - planted["broken_json"])
        assert holds(everything.count(None), len(everything), broken)

    def test_a_shown_error_is_mended(self, drawn):
        text = drawn[1]["text"].iloc[0]
        seeds = [
            s for s in range(400) if labeling.parse(ask(logs_demo.LABELLER, text, [s])[0], open_endedness.Label)[1]
        ]
        assert seeds
        for answer in ask(logs_demo.LABELLER, text, seeds, REPAIR):
            assert labeling.parse(answer, open_endedness.Label)[1] is None

    def test_an_answer_depends_on_its_arguments_only(self, drawn):
        texts = drawn[1]["text"].iloc[:20].tolist()
        forwards = [ask(logs_demo.TAXONOMY_LABELLER, t, [7]) for t in texts]
        assert forwards == [ask(logs_demo.TAXONOMY_LABELLER, t, [7]) for t in texts[::-1]][::-1]

    def test_an_unknown_query_is_no_error(self):
        value, _ = labeling.parse(ask(logs_demo.LABELLER, "a text of nobody", [3])[0], open_endedness.Label)
        assert open_endedness.outcome(value)[0] in ("dropped", "closed")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, served):
    folder = tmp_path_factory.mktemp("logs")
    files, truth = logs_demo.write(LOGS, folder, 0)
    with Logs(files) as logs:
        queries = logs.filter(Rules())[0]
    votes = votes_of(logs_demo.LABELLER, open_endedness.Label, queries[["query_id", "text"]].to_numpy())
    return open_endedness.tally(queries, votes, "simulated").merge(truth, on="conversation_id")


class TestRecovery:
    """The whole way of the demo, without the notebooks: planted shares and errors lie in the intervals."""

    def test_planted_category_shares_lie_in_their_intervals(self, labelled):
        open_ = labelled[labelled["response_type"] == "open"]
        votes = votes_of(logs_demo.TAXONOMY_LABELLER, taxonomy.Categories, open_[["query_id", "revised"]].to_numpy())
        categories, _, n_votes = taxonomy.categorise(votes, KINDS)
        shares = taxonomy.shares(categories, KINDS, len(n_votes)).set_index("category")
        # Ambiguous kinds are called closed more often, so fewer of them reach notebook 03: the plant, as it arrives.
        arrives = {False: _majority(LOGS["labeller"]["open_called_closed"]),
                   True: _majority(LOGS["labeller"]["ambiguous_called_closed"])}  # fmt: skip
        groups = [g for g in LOGS["groups"] if g["type"] == "open"]
        weights = logs_demo.group_weights(LOGS)[: len(groups)] * [arrives[g["ambiguous"]] for g in groups]
        weights /= weights.sum()
        planted = {name: sum(w for w, g in zip(weights, groups, strict=True) if name in g["categories"])
                   for name in KINDS.leaves["name"]}  # fmt: skip
        inside = [holds(shares.loc[name, "n"], len(n_votes), share, 0.95) for name, share in planted.items()]
        assert sum(inside) >= 15, {n: (shares.loc[n, "share"], p) for n, p in planted.items()}  # of 18 at 95 %
        assert all(holds(shares.loc[name, "n"], len(n_votes), share) for name, share in planted.items())

    def test_planted_label_errors_lie_in_the_intervals_of_the_validation(self, labelled):
        rng = np.random.default_rng(0)
        items = labelled.loc[labelled["response_type"] != "dropped", ["query_id", "original", "response_type"]]
        sheet = sheets.sheet(items.rename(columns={"original": "query"}), 300, rng, strata="response_type")
        filled = logs_demo.fill_sheet(sheet, LOGS, logs_demo.known_messages(LOGS, 0))
        filled["open_ended"] = filled["open_ended"].map(yes_no.yes_or_no)
        labels, ids = sheets.matrix(filled, "query_id", "open_ended")
        truth = sheets.majority(labels)
        facts = labelled.set_index("query_id").loc[ids]
        people_right = (truth == 1) == facts["type"].eq("open").to_numpy()
        assert people_right.mean() > 0.97  # five people are nearly always right together
        predicted = facts["response_type"].eq("open").to_numpy()
        weights = filled.groupby("query_id")["weight"].first()[ids].to_numpy()
        made = sheets.scores(truth == 1, predicted, weights)
        made = made.set_index("measure")
        judged = labelled[(labelled["response_type"] != "dropped") & (labelled["type"] != "dropped")]
        called, unclear = judged["response_type"] == "open", judged["ambiguous"].astype(bool)
        errors = {"open": "open_called_closed", "closed": "closed_called_open"}
        for kind, measure in (("open", "recall"), ("closed", "specificity")):
            clear = judged[judged["type"].eq(kind) & ~unclear]
            hits = (called[clear.index] == (kind == "open")).sum()
            assert holds(hits, len(clear), _majority(LOGS["labeller"][errors[kind]]), 0.95)
            right = (called[judged["type"] == kind] == (kind == "open")).mean()
            assert made.loc[measure, "lower"] <= right <= made.loc[measure, "upper"]
        hits = called[unclear].sum()
        assert holds(hits, unclear.sum(), _majority(LOGS["labeller"]["ambiguous_called_closed"]), 0.95)

    def test_rewrites_undo_the_spelling(self, labelled):
        known = labelled[labelled["response_type"].eq(labelled["type"]) & labelled["type"].ne("dropped")]
        assert (known["revised"] == known["clean"]).mean() > 0.98

    def test_the_people_who_check_kinds_err_as_planted(self):
        truth = logs_demo.draw(LOGS, 0)[1]
        open_ = truth[truth["type"].eq("open") & truth["defect"].isna()].drop_duplicates("text").head(150)
        rows = [
            (r.conversation_id, r.text, name) for r in open_.itertuples() for name in (r.categories[0], "Not Right")
        ]
        sheet = pd.DataFrame(rows, columns=["query_id", "query", "category"]).assign(agree="")
        filled = logs_demo.fill_sheet(sheet, LOGS, logs_demo.known_messages(LOGS, 0))
        right = filled["category"].ne("Not Right")
        yes = filled["agree"].eq("yes")
        planted = LOGS["annotators"]
        assert holds((~yes & right).sum(), right.sum(), planted["category_rejected"])
        assert holds((yes & ~right).sum(), (~right).sum(), planted["category_accepted"])


def _majority(error):
    """Probability that at least two of three votes are right."""
    return (1 - error) ** 3 + 3 * (1 - error) ** 2 * error


def test_truth_is_written_for_tests(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    parquet.write_truth(logs_demo.draw(LOGS, 0, 30)[1], "p", "queries")
    assert len(pd.read_parquet(tmp_path / "data" / "p" / "truth" / "queries.parquet")) == 30


class TestInNotebooks:
    @pytest.fixture
    def study(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "root", lambda: tmp_path)
        return Study("01", "p", 0)

    def test_a_description_of_logs_is_drawn_written_and_said_to_be_simulated(self, study, tmp_path):
        path = ROOT / "data" / "demo" / "logs.yaml"
        with logs_demo.conversations(study, str(path), 60) as conversations:
            assert conversations.n_rows == 60 and "60 rows in 2 files" in conversations.describe()
        assert study.stamp == {"source": "simulated", "origin": "logs-old.parquet and logs-new.parquet"}
        assert (tmp_path / "data" / "p" / "truth" / "queries.parquet").is_file()

    def test_files_are_opened_as_they_are_and_said_to_be_imported(self, study, tmp_path):
        (tmp_path / "mine.csv").write_text("asked\nName a tree that is old.\n")
        with logs_demo.conversations(study, ["mine.csv"], columns={"text": "asked"}) as conversations:
            assert conversations.n_rows == 1
        assert study.stamp == {"source": "imported", "origin": "mine.csv"}
        assert not (tmp_path / "data").exists()

    def test_the_demo_takes_part_only_where_labels_come_from_the_demo(self, study, monkeypatch):
        served = []
        monkeypatch.setattr(provider, "serve", lambda name, responder: served.append(name))
        path = ROOT / "data" / "demo" / "logs.yaml"
        assert logs_demo.take_part(study, "released", path) is None and not served
        fill = logs_demo.take_part(study, "demo", path, 30)
        assert served == [logs_demo.LABELLER, logs_demo.TAXONOMY_LABELLER]
        text = logs_demo.draw(LOGS, 0, 30)[1]["text"].iloc[0]
        filled = fill(pd.DataFrame({"query_id": ["a"], "query": [text], "open_ended": [""], "alternatives": [""]}))
        assert len(filled) == LOGS["annotators"]["n"] and filled["open_ended"].isin(["yes", "no"]).all()
