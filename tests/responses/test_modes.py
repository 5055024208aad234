"""Modes of the demo's answers against the plant, tables of 07, figures, and the page, opened in a browser."""

import json
import re
from pathlib import Path
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hivemind_utils.demo import population as population_demo
from hivemind_utils.figures import modes as modes_figures
from hivemind_utils.figures import pages, style
from hivemind_utils.metrics import clustering, mode_evidence
from hivemind_utils.metrics import words as words_metrics
from hivemind_utils.responses import encoders
from hivemind_utils.responses import modes as response_modes
from hivemind_utils.tables import schema

POPULATION = Path(__file__).resolve().parents[2] / "data" / "demo" / "population.yaml"


@pytest.fixture(scope="module")
def population():
    return population_demo.load_population(POPULATION)


@pytest.fixture(scope="module")
def draws(population):
    """Ten draws of the time prompt, 35 of its 50 answers a model, with their embeddings."""
    drawn = []
    for seed in range(10):
        frame, truth = population_demo.draw_responses(
            population, seed=seed, prompts=["time-metaphor"], n_samples=35, decodings=["top_p", "none"]
        )
        drawn.append(frame.assign(idea=truth["idea"])[truth["idea"].notna()].reset_index(drop=True))
    texts = pd.unique(pd.concat(drawn)["response"])
    vectors = encoders.load_encoder("minilm").encode(texts.tolist())
    row = dict(zip(texts, range(len(texts)), strict=True))
    return [(frame, vectors[[row[text] for text in frame["response"]]]) for frame in drawn]


@pytest.mark.slow
def test_planted_ideas_are_recovered_by_meaning_and_not_by_words_over_ten_seeds(draws):
    meaning, words = [], []
    for seed, (frame, vectors) in enumerate(draws):
        truth = pd.factorize(frame["idea"])[0]
        rng = np.random.default_rng(seed)
        lexical = clustering.lexical_coordinates(words_metrics.word_lists(frame["response"]), rng)
        meaning.append(clustering.adjusted_rand(clustering.find_modes(vectors, rng), truth))
        words.append(clustering.adjusted_rand(response_modes.lexical_modes(lexical, rng, {}), truth))
    print(f"\nadjusted Rand with planted ideas, MiniLM: {np.round(meaning, 2)}; TF-IDF: {np.round(words, 2)}")
    assert min(meaning) >= 0.8 and max(words) < min(meaning)


def test_a_gaussian_like_the_time_prompt_holds_no_modes_over_seeds(draws):
    held = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = mode_evidence.gaussian_like(draws[0][1][:300], rng)
        labels = clustering.find_modes(rows, rng)
        held.append(int(mode_evidence.evidence(rows, labels, rng, n_gaussians=5).supported.sum()))
    assert held == [0, 0, 0]


@pytest.fixture(scope="module")
def analysed(draws):
    frame, vectors = draws[0]
    answers = frame.rename(columns={"response": "text"}).assign(response_id=[f"r{i:04d}" for i in range(len(frame))])
    families = {model: model.split("-")[0] for model in answers["model"]}
    part = response_modes.analyse(
        answers, vectors, families, "Write a metaphor involving time.", np.random.default_rng(0)
    )
    return answers, families, part


class TestAnalyse:
    def test_tables_are_valid_and_complete(self, analysed):
        answers, _, part = analysed
        schema.validate(part["map"], "07_map")
        schema.validate(part["modes"], "07_modes")
        schema.validate(pd.DataFrame([part["prompt"]]), "07_prompts")
        assert part["map"]["response_id"].tolist() == answers["response_id"].tolist()
        sizes = part["map"].loc[part["map"]["mode"] >= 0, "mode"].value_counts().sort_index()
        assert sizes.tolist() == part["modes"]["size"].tolist()

    def test_most_planted_ideas_of_models_hold_and_are_named(self, analysed):
        answers, _, part = analysed
        frequent = answers["idea"].value_counts()
        n_ideas = (frequent >= clustering.smallest_mode(len(answers))).sum()
        assert n_ideas - 1 <= part["prompt"]["n_supported"] <= n_ideas
        largest = part["modes"].iloc[0]
        idea = answers.set_index("response_id")["idea"]
        assert idea[largest["exemplar"]] == frequent.index[0] == "river"
        assert {"river", "water", "sea", "current"} & set(re.split(r"[ ·]+", largest["keyphrases"]))

    def test_the_owner_is_the_family_with_most_answers(self, analysed):
        answers, families, part = analysed
        at = part["map"].merge(answers[["response_id", "model"]])
        for row in part["modes"].itertuples():
            family = at.loc[at["mode"] == row.mode, "model"].map(families).value_counts(normalize=True)
            assert row.owner_share == pytest.approx(family.max()) and family[row.owner] == family.max()

    @pytest.mark.parametrize("n", [1, 4, 12])
    def test_few_or_equal_answers_of_one_model_run_through(self, n):
        answers = pd.DataFrame(
            {"response_id": [f"r{i}" for i in range(n)], "prompt_id": "p", "model": "solo", "text": "<b>same</b> text"}
        )
        part = response_modes.analyse(
            answers, np.ones((n, 8), np.float32), {"solo": "solo"}, "Say.", np.random.default_rng(0)
        )
        assert part["prompt"]["n_modes"] == (n >= 5) and part["prompt"]["n_distinct"] == 1
        assert response_modes.verdict(part["prompt"]) == f"All {n} answers are one text."
        schema.validate(part["modes"], "07_modes")
        schema.validate(pd.DataFrame([part["prompt"]]), "07_prompts")

    def test_wordless_answers_run_through(self):
        answers = pd.DataFrame(
            {"response_id": [f"r{i}" for i in range(14)], "prompt_id": "p", "model": "solo",
             "text": ["!" * (i + 1) for i in range(14)]}
        )  # fmt: skip
        rows = np.random.default_rng(0).standard_normal((14, 8)).astype(np.float32)
        part = response_modes.analyse(answers, rows, {"solo": "solo"}, "Say.", np.random.default_rng(0))
        assert (part["map"]["lexical_mode"] == -1).all()


class TestAnswered:
    prompts = pd.DataFrame({"kind": ["original", "original", "closed"]}, index=["p1", "p2", "p3"])

    def answers(self, **counts):
        rows = [(f"{p}-{i}", p) for p, n in counts.items() for i in range(n)]
        return pd.DataFrame(rows, columns=["response_id", "prompt_id"])

    def test_leaves_out_and_counts_what_has_too_few(self):
        kept, few = response_modes.answered(self.answers(p1=6, p2=4, p3=9), self.prompts, 5)
        assert set(kept["prompt_id"]) == {"p1"} and few.to_dict() == {"p2": 4}

    def test_says_so_where_nothing_is_left(self):
        with pytest.raises(ValueError, match=r"at least 5 usable answers .* has 4"):
            response_modes.answered(self.answers(p2=4, p3=9), self.prompts, 5)


class TestVerdict:
    row = MappingProxyType(
        {
            "n_answers": 100,
            "n_distinct": 90,
            "n_modes": 4,
            "n_supported": 2,
            "null_modes_min": 2,
            "null_modes_max": 5,
            "n_repeated_texts": 0,
            "repeated_share": 0.0,
        }
    )

    def test_says_how_many_the_evidence_supports(self):
        said = "The evidence supports 2 modes: the pipeline finds 4 in the answers and 2 to 5 in structureless data."
        assert response_modes.verdict(self.row) == said
        assert response_modes.verdict(dict(self.row) | {"n_supported": 0}).startswith(
            "The evidence supports no separate modes"
        )
        assert response_modes.verdict(dict(self.row) | {"n_modes": 0, "n_supported": 0}).startswith("No modes")
        assert "3 single texts make up 40%" in response_modes.verdict(
            dict(self.row) | {"n_repeated_texts": 3, "repeated_share": 0.4}
        )


class TestDominance:
    def test_everything_and_nothing_in_common(self):
        answers = pd.DataFrame(
            {"arm": ["a"] * 10 + ["b"] * 10, "prompt_id": "p", "response_id": [f"r{i:02d}" for i in range(20)]}
        )
        labels = pd.Series([0.0] * 10 + [np.nan] * 10)
        weights = np.ones((5, 1))
        table = response_modes.dominance(answers, labels, {"b"}, 5, 20, weights, ["p"], np.random.default_rng(0))
        assert table["dominant_share"].tolist() == [1, 1 / 5] and table["kind"].tolist() == ["model", "people"]

    def test_fewer_than_wanted_stay_out(self):
        answers = pd.DataFrame({"arm": "a", "prompt_id": "p", "response_id": ["x", "y"]})
        table = response_modes.dominance(
            answers, pd.Series([0, 0]), set(), 5, 2, np.ones((2, 1)), ["p"], np.random.default_rng(0)
        )
        assert table.empty

    def test_matches_the_mean_over_all_subsets(self):
        from itertools import combinations

        codes = [0, 0, 0, 1, 1, 2]
        answers = pd.DataFrame({"arm": "a", "prompt_id": "p", "response_id": [f"r{i}" for i in range(6)]})
        table = response_modes.dominance(
            answers, pd.Series(codes), set(), 4, 4000, np.ones((2, 1)), ["p"], np.random.default_rng(0)
        )
        wanted = np.mean([max(np.bincount(pick)) / 4 for pick in combinations(codes, 4)])
        assert table["dominant_share"].item() == pytest.approx(wanted, abs=0.01)


def overlapping(texts):
    renderer = texts[0].figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


class TestFigures:
    def test_names_on_the_map_do_not_overlap(self, analysed):
        answers, families, part = analysed
        at = part["map"].merge(answers[["response_id", "model"]]).assign(family=lambda t: t["model"].map(families))
        colours = dict(zip(sorted(set(families.values())), style.distinct(9), strict=False))
        fig = modes_figures.prompt_map(at, part["modes"], colours, (0.1, 0.05))
        fig.canvas.draw()
        names = [text for text in fig.axes[1].texts if text.get_bbox_patch()]
        assert len(names) == min(10, len(part["modes"])) and not overlapping(names)
        plt.close(fig)

    def test_labels_at_one_place_are_pushed_apart(self):
        fig, ax = plt.subplots()
        texts = [ax.text(0.5, 0.5, f"a mode named {i}", ha="center", va="center") for i in range(12)]
        modes_figures.spread_labels(ax, texts)
        fig.canvas.draw()
        assert not overlapping(texts)
        modes_figures.spread_labels(ax, [])
        plt.close(fig)

    def test_the_overview_draws_prompts_with_and_without_modes(self, analysed):
        _, _, part = analysed
        bare = part["map"].head(6).assign(prompt_id="bare", mode=-1)
        at = pd.concat([part["map"], bare])
        prompts = pd.DataFrame([part["prompt"], part["prompt"] | {"prompt_id": "bare", "n_modes": 0}]).assign(
            text="$ a < b"
        )
        fig = modes_figures.overview(at, part["modes"], prompts)
        assert len(fig.axes) == 2
        plt.close(fig)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        options = ["--no-sandbox", "--disable-gpu", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
        try:
            chromium = p.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        except playwright.Error as error:
            pytest.skip(f"no chromium: {error}")
        yield chromium
        chromium.close()


EVIL = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script> & river"


def page(n, folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((n, 2)), columns=["x", "y"]).assign(
        model=[f"model-{i % 25}" for i in range(n)], family=[f"family-{i % 5}" for i in range(n)],
        mode=[i % 4 - 1 for i in range(n)], idea=None,
        text=[f"answer {i} about a {'river' if i % 2 else 'thief'}" for i in range(n)],
    )  # fmt: skip
    table.loc[0, ["text", "x", "y"]] = [EVIL, 6.0, 6.0]  # alone, so that the mouse finds it
    colours = dict(zip(sorted(set(table["family"])), style.distinct(5), strict=True))
    html = pages.page(
        table, title="A <b>map</b>", source="source", colours=colours, mode_names={0: "a", 1: "<i>b</i>", 2: "c"}
    )
    (folder / "map.html").write_text(html, encoding="utf-8")
    return folder / "map.html"


class TestPage:
    def test_an_answer_cannot_end_the_script(self, tmp_path):
        html = page(50, tmp_path).read_text(encoding="utf-8")
        data = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL).group(1)
        assert json.loads(data)["text"][0] == EVIL and "<img" not in html and "<b>map</b>" not in html

    def test_opens_offline_shows_filters_and_searches(self, browser, tmp_path):
        context = browser.new_context(viewport={"width": 1100, "height": 800}, offline=True)
        tab, asked, errors = context.new_page(), [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.goto(page(1250, tmp_path).as_uri())
        tab.wait_for_selector("#map .legend .traces")
        count = tab.locator("#count")
        assert count.inner_text() == "1,250 answers"
        tab.fill("#search", "RIVER")
        tab.wait_for_function("document.getElementById('count').textContent === '626 of 1,250 answers'")
        tab.select_option("#model", label="model-3")
        assert count.inner_text() == "25 of 1,250 answers"
        tab.fill("#search", "")
        tab.wait_for_function("document.getElementById('count').textContent === '50 of 1,250 answers'")
        tab.select_option("#model", label="all models")
        tab.select_option("#by", "family")
        assert tab.locator("#map .legend .traces").count() == 5
        place = tab.evaluate("""() => {
          const map = document.getElementById("map"), {xaxis, yaxis} = map._fullLayout;
          const box = map.getBoundingClientRect();
          return [box.x + xaxis._offset + xaxis.l2p(data.x[0]), box.y + yaxis._offset + yaxis.l2p(data.y[0])];
        }""")
        tab.mouse.move(place[0] - 30, place[1] - 30)
        tab.mouse.move(*place, steps=5)
        hover = tab.wait_for_selector("#map .hovertext").text_content()
        assert "onerror" in hover and tab.title() == "A <b>map</b>"
        assert not errors and [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
        context.close()

    def test_twenty_thousand_points_stay_fluid(self, browser, tmp_path):
        tab = browser.new_page()
        tab.goto(page(20_000, tmp_path).as_uri())
        tab.wait_for_selector("#map .legend .traces")
        spent = tab.evaluate("""() => {
          const start = performance.now();
          document.getElementById("by").value = "model"; draw();
          return performance.now() - start;
        }""")
        print(f"\nredrawing 20,000 points by model: {spent:.0f} ms")
        assert spent < 5_000  # some hundred milliseconds on a quiet machine, drawn without a graphics card
        tab.close()
