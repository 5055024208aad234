"""Scores of every source: checked first, counted where they give nothing, and nobody loses another's work."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from server import serving

from hivemind_utils.demo import provider
from hivemind_utils.ratings import headlines, loading, scorers, scores
from hivemind_utils.ratings import labels as rating_labels
from hivemind_utils.tables.study import NothingToMeasureError


@pytest.fixture
def annotations():
    """Six responses to two prompts, and two pairs of them."""
    texts = [f"text number {'x' * i**2}" for i in range(6)]
    prompts = [f"p{i // 3}" for i in range(6)]
    single = pd.DataFrame(
        {"user_query": prompts, "response": texts, "human_labels": [[1 + i % 5, 3] for i in range(6)]}
    )
    pair = pd.DataFrame({"user_query": ["p0", "p1"], "response_1": [texts[0], texts[3]],
                         "response_2": [texts[1], texts[4]], "human_labels": [[-1, 1], [2, 1]]})  # fmt: skip
    made = {}
    for item_type, frame, scale in (("absolute", single, [1, 2, 3, 4, 5]), ("pairs", pair, [-2, -1, 0, 1, 2])):
        labels, items, _ = rating_labels.tabulate(rating_labels.unroll(frame), item_type, scale)
        values, _, _ = rating_labels.matrix(labels, items)
        made[item_type] = labels, rating_labels.describe(items, values, scale, "interval"), scale
    return loading.Annotations(
        {t: labels for t, (labels, _, _) in made.items()}, pd.concat([m[1] for m in made.values()], ignore_index=True),
        loading.empty("08_excluded"), {t: m[2] for t, m in made.items()}, dict.fromkeys(made, "interval"),
    )  # fmt: skip


def file_of(tmp_path, annotations, **more):
    items = annotations.rows("absolute")
    frame = pd.DataFrame(
        {"item_id": items["item_id"], "scorer": "filed", "scorer_type": "reward", "score": range(len(items))}
    )
    frame.assign(**more).to_csv(tmp_path / "scores.csv", index=False)
    return scorers.Files(tmp_path / "scores.csv")


def answering(name, text):
    provider.serve(name, lambda messages, *, n, seed, parameters: [provider.Answer(text) for _ in range(n)])


class TestCollect:
    def test_text_length_is_always_there_and_a_file_beside_it(self, study, annotations, tmp_path):
        found = scorers.collect(study, annotations, [file_of(tmp_path, annotations)])
        assert found.counts["items"].to_dict() == {("reward", "filed", "import"): 6, ("text", "text length", "text"): 8}
        assert found.excluded.empty and "partial" not in study.stamp

    def test_what_gives_nothing_is_counted_and_the_others_go_on(self, study, annotations, tmp_path):
        answering("mute-judge", "no idea")
        sources = [
            file_of(tmp_path, annotations, item_id="nowhere"),
            scorers.Judges(["simulated/mute-judge"], ["overall"]),
            scorers.Endpoints({"gone": "http://127.0.0.1:9/v1"}),
        ]
        found = scorers.collect(study, annotations, sources)
        assert set(found.table["scorer"]) == {"text length"}
        nothing = found.excluded[found.excluded["item_id"] == "all"].set_index("scorer")["reason"]
        assert set(nothing.index) == {"filed", "simulated/mute-judge (overall)", "gone", "gone (whole conversation)"}
        assert "matches an item" in nothing["filed"] and "is a number" in nothing["gone"]
        assert "4 scorers cannot be compared" in study.stamp["partial"]

    def test_how_often_a_judge_gave_no_valid_grade_is_said_for_every_rubric(self, study, annotations):
        def respond(messages, *, n, seed, parameters):
            text = messages[0]["content"]
            good = "[RESULT] 4" if "[RESULT]" in text else '{"overall": {"score": 4}}'
            return [provider.Answer("hm" if "xxxx" in text else good)] * n

        provider.serve("half-judge", respond)
        judge = scorers.Judges(["simulated/half-judge", "openai/never"], ["overall", "prometheus:overall"])
        found = scorers.collect(study, annotations, [judge])
        rows = found.asked.set_index("scorer")
        assert rows.loc["simulated/half-judge (overall)", ["n_asked", "n_scored"]].tolist() == [6, 2]
        assert rows.loc["simulated/half-judge (prometheus:overall)", ["n_asked", "n_scored"]].tolist() == [6, 2]
        assert rows.loc["openai/never (overall)", "failed"] == 1
        said = headlines.judges_failed(found)
        assert said[0] == (
            "The judge simulated/half-judge (overall) gave no valid grade for 67 % of 6 texts, mostly because: no JSON "
            "object was found in it"
        )
        assert "gave no valid grade for 100 % of 6 texts, mostly because: not asked: `budget_usd` is 0" in said[2]
        excluded = found.excluded.groupby("scorer").size()
        assert {"simulated/half-judge (overall)", "openai/never (prometheus:overall)"} <= set(excluded.index)

    def test_a_scorer_that_breaks_is_counted_with_its_error(self, study, annotations, tmp_path, monkeypatch):
        monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: SimpleNamespace())

        def load(name, device):
            raise OSError("no such model")

        monkeypatch.setattr(scorers.local_models, "load_reward_model", load)
        sources = [scorers.LocalModels([], ["a/broken"]), file_of(tmp_path, annotations)]
        found = scorers.collect(study, annotations, sources)
        assert "filed" in set(found.table["scorer"])
        assert found.excluded[["scorer", "item_id", "reason"]].to_numpy().tolist() == [
            ["a/broken", "all", "failed: OSError: no such model"]
        ]

    def test_scores_that_are_no_numbers_lose_nobody_elses(self, study, annotations, tmp_path, monkeypatch):
        monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: SimpleNamespace())
        monkeypatch.setattr(scorers.local_models, "load_reward_model", lambda name, device: ())
        monkeypatch.setattr(scorers.local_models, "reward_scores", lambda prompts, texts: np.full(len(texts), np.nan))
        sources = [scorers.LocalModels([], ["a/long"]), file_of(tmp_path, annotations)]
        found = scorers.collect(study, annotations, sources)
        assert found.excluded.set_index("scorer").loc["a/long", "reason"] == "none of 6 scores is a number"
        assert len(found.table) == 14

    @pytest.mark.parametrize("n_items", [1, 2])
    def test_where_all_scores_are_equal_there_is_nothing_to_measure(self, study, annotations, tmp_path, n_items):
        items = annotations.rows("absolute").head(n_items).assign(response_1="one length")
        few = loading.Annotations(annotations.labels, items, annotations.excluded, annotations.scales, {})
        said = "Only one item" if n_items == 1 else "the same score"
        with pytest.raises(NothingToMeasureError, match=said):
            scorers.collect(study, few, [scorers.Files()])
        source = file_of(tmp_path, few, item_id="nowhere")
        with pytest.raises(ValueError, match=said if n_items == 1 else "matches an item") as caught:
            scorers.collect(study, few, [source])
        assert isinstance(caught.value, NothingToMeasureError) == (n_items == 1)

    def test_without_any_score_or_text_there_is_nothing_to_do(self, study, annotations):
        blank = annotations.items.assign(response_1=None, response_2=None)
        silent = loading.Annotations(annotations.labels, blank, annotations.excluded, annotations.scales, {})
        with pytest.raises(ValueError, match="Set scores_path"):
            scorers.collect(study, silent, [scorers.Files()])

    def test_a_judge_of_pairs_leaves_its_preference_for_what_comes_first(self, study, annotations):
        answering("first-judge", '{"preference": {"score": 1, "reason": "r"}}')
        found = scorers.collect(study, annotations, [scorers.Judges(["simulated/first-judge"], ["pairs"])])
        assert found.position == {"simulated/first-judge (pairs)": 1.0}
        reasons = found.excluded.set_index("scorer")["reason"]
        assert reasons["simulated/first-judge (pairs)"] == "the score is the same for all items"


class TestChecks:
    """What is wrong in a parameter is said before anybody is asked."""

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (scorers.Judges(["simulated/never-asked"], ["taste"]), "'taste'"),
            (scorers.Judges(["simulated/never-asked"], ["prometheus:pairs"]), "prometheus:pairs"),
            (scorers.Judges(["simulated/never-asked"], options={"temprature": 0}), "temprature"),
            (scorers.Judges(["simulated/never-asked"], votes=0), "judge_votes"),
            (scorers.Endpoints({"m": "http://127.0.0.1:9"}, "$prompt"), r"\$response"),
            (scorers.Endpoints({"m": "127.0.0.1:9"}), "begin with http"),
        ],
    )
    def test_a_wrong_parameter_is_refused(self, study, annotations, source, message):
        asked = []
        provider.serve("never-asked", lambda messages, **_: asked.append(messages))
        with pytest.raises(ValueError, match=message):
            scorers.collect(study, annotations, [scorers.Judges(["simulated/never-asked"], ["overall"]), source])
        assert not asked

    def test_files_are_read_before_a_judge_is_asked(self, study, annotations, tmp_path):
        asked = []
        provider.serve("never-asked", lambda messages, **_: asked.append(messages))
        judge = scorers.Judges(["simulated/never-asked"], ["overall"])
        with pytest.raises(FileNotFoundError):
            scorers.collect(study, annotations, [judge, scorers.Files(tmp_path / "missing.csv")])
        assert not asked

    def test_the_instructions_must_be_there(self, study, annotations, tmp_path):
        judge = scorers.Judges(["simulated/never-asked"], ["overall"], instructions=tmp_path)
        with pytest.raises(FileNotFoundError):
            scorers.collect(study, annotations, [judge])

    def test_models_need_their_extra(self, study, annotations, monkeypatch):
        monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match="make setup-local"):
            scorers.collect(study, annotations, [scorers.LocalModels(["a/model"])])

    def test_texts_must_be_there_to_be_read(self, study, annotations):
        blank = annotations.items.assign(response_1=None, response_2=None)
        silent = loading.Annotations(annotations.labels, blank, annotations.excluded, annotations.scales, {})
        with pytest.raises(ValueError, match="no item has a text"):
            scorers.collect(study, silent, [scorers.Judges(["simulated/x"])])


def echo(body, number):
    """A completions endpoint: every word is a token, of log-probability minus its length."""
    if "boom" in body["prompt"]:
        return 500, {"error": {"message": "out of memory"}}
    words = body["prompt"].split(" ")
    tokens = [words[0], *(f" {word}" for word in words[1:])]
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    logprobs = {
        "tokens": tokens,
        "text_offset": offsets,
        "token_logprobs": [None, *(-float(len(t)) for t in tokens[1:])],
    }
    return [{"text": body["prompt"], "logprobs": logprobs}]


def test_an_endpoint_makes_two_scorers_and_is_asked_once(study, annotations):
    with serving() as server:
        server.complete = echo
        source = scorers.Endpoints({"tiny": server.url}, "User: $prompt\nAssistant: $response</s>")
        for n_asked in (6, 6):
            found = scorers.collect(study, annotations, [source])
            assert len(server.received) == n_asked
        asked = {body["prompt"] for body in server.bodies("/completions")}
        assert "User: p0\nAssistant: text number </s>" in asked
    kinds = found.table.drop_duplicates("scorer").set_index("scorer")["scorer_type"]
    assert kinds.to_dict() == {"text length": "text", "tiny": "lm", "tiny (whole conversation)": "lm perplexity"}


def test_scored_leaves_out_types_without_scorers(annotations):
    table = scores.text_lengths(annotations.rows("pairs"))
    assert list(scores.scored(annotations, table)) == ["pairs"]
