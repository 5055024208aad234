"""The planted study: people and scorers behave as the plan says, and everything depends on the seed alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from hivemind_utils.demo import annotators
from hivemind_utils.metrics import agreement, calibration

WORLD = Path(__file__).resolve().parents[2] / "data" / "demo" / "people.yaml"


@pytest.fixture(scope="module")
def world():
    return annotators.load_world(WORLD)


@pytest.fixture(scope="module")
def drawn(world):
    return annotators.draw_study(world, 0)


class TestPeople:
    def test_labels_stay_on_the_scale_and_follow_quality(self):
        rng = np.random.default_rng(0)
        quality, groups = annotators.draw_quality(30, 15, rng)
        labels = annotators.ratings(annotators.draw_perceived(quality, 25, rng, groups=groups))
        assert set(np.unique(labels)) == {1, 2, 3, 4, 5}
        assert np.corrcoef(labels.mean(1), quality)[0, 1] > 0.85

    def test_severity_is_found_where_it_was_planted(self):
        rng = np.random.default_rng(1)
        people = {"noise": 0.3, "taste_sd": 0.0, "severity_sd": 1.0}
        seen = annotators.draw_perceived(rng.normal(size=200), 10, rng, **people)
        effects, _ = agreement.severity(seen, np.tile(np.arange(10), (200, 1)))
        assert effects.std() > 0.6

    def test_divided_items_split_into_camps(self):
        rng = np.random.default_rng(2)
        calm, camps = (
            annotators.ratings(annotators.draw_perceived(np.zeros(400), 25, rng, divided=share))
            for share in (0.0, 0.99)
        )
        split = [
            (agreement.valley(agreement.label_counts(labels, range(1, 6)))[1] < 0.05).mean() for labels in (calm, camps)
        ]
        assert split[0] < 0.05 and split[1] > 0.3

    def test_strength_is_the_correlation_and_blindness_ends_it(self):
        rng = np.random.default_rng(3)
        signal = rng.normal(size=20_000)
        score = annotators.score(signal, 0.6, rng)
        assert np.corrcoef(score, signal)[0, 1] == pytest.approx(0.6, abs=0.02)
        blind = annotators.blind_on(score, signal > 0, rng)
        assert abs(np.corrcoef(blind[signal > 0], signal[signal > 0])[0, 1]) < 0.03
        assert (blind[signal <= 0] == score[signal <= 0]).all() and sorted(blind) == sorted(score)


class TestStudy:
    def test_has_the_papers_size(self, drawn):
        assert len(drawn["absolute"]) == 750 and len(drawn["pairs"]) == 500
        assert drawn["absolute"]["user_query"].nunique() == 50
        assert {len(row) for row in drawn["absolute"]["human_labels"]} == {25}
        assert drawn["pool"].groupby("prompt").size().eq(40).all()
        assert not drawn["pool"]["response"].duplicated().any()

    def test_depends_on_the_seed_alone(self, world, drawn):
        again, other = annotators.draw_study(world, 0), annotators.draw_study(world, 1)
        for name in drawn:
            assert again[name].equals(drawn[name]) and not other[name].equals(drawn[name])

    def test_names_are_invented_and_marked(self, world):
        names = [s["scorer"] for s in world["scorers"]] + [j["model"] for j in world["judges"]]
        assert not [n for n in names for real in ("gpt", "llama", "qwen", "claude", "gemini", "mistral") if real in n]
        assert all(judge["model"].startswith("simulated/") for judge in world["judges"])

    def test_scorers_are_as_strong_as_planned(self, world, drawn):
        wide = drawn["scores"].pivot(index="scorer", columns="response", values="score")
        truth = drawn["truth"].set_index("response")["quality"].reindex(wide.columns).to_numpy()
        found = calibration.linear_correlations(wide.to_numpy(), truth, np.ones(750))[0]
        found = dict(zip(wide.index, found, strict=True))
        for scorer in world["scorers"]:
            if not {"blind", "slope", "values", "typical"} & set(scorer):
                assert found[scorer["scorer"]] == pytest.approx(scorer["strength"], abs=0.08)

    def test_an_incomplete_world_is_refused(self, tmp_path):
        (tmp_path / "w.yaml").write_text("n_prompts: 3\n")
        with pytest.raises(ValueError, match="`n_responses`"):
            annotators.load_world(tmp_path / "w.yaml")
        text = WORLD.read_text().replace("strength: 0.78", "strength: 1.78")
        (tmp_path / "w.yaml").write_text(text)
        with pytest.raises(ValueError, match="correlation"):
            annotators.load_world(tmp_path / "w.yaml")


def test_judges_answer_by_the_response_they_see(world, drawn):
    (judge,) = world["judges"]
    quality = dict(zip(drawn["truth"]["response"], drawn["truth"]["quality"], strict=True))
    respond = annotators._responder(judge, quality, 0)
    found = []
    for response in drawn["truth"]["response"].head(150):
        text = f'<response>\n{response}\n</response> {{"overall": {{"score": 1}}}}'
        (answer,) = respond([{"role": "user", "content": text}], n=1, seed=5, parameters={})
        found.append(json.loads(answer.text)["overall"]["score"])
    assert set(found) <= {1, 2, 3, 4, 5}
    assert np.corrcoef(found, drawn["truth"]["quality"].head(150))[0, 1] > 0.5
