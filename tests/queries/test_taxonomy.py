"""The taxonomy's names, shares, co-occurrence, stability, and kinds it lacks."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from released import write_released
from scipy.stats import norm

from hivemind_utils.queries import labels as query_labels
from hivemind_utils.queries import taxonomy
from hivemind_utils.queries.labels import Labeller
from hivemind_utils.tables import files, schema
from hivemind_utils.tables.paper import Paper
from hivemind_utils.tables.study import Study

ROOT = Path(__file__).resolve().parents[2]
KINDS = taxonomy.load(ROOT / "data" / "reference" / "taxonomy.yaml")


def votes(*rows):
    made = [(q, v, {"categories": [{"category": c, "type": t} for c, t in given]}, "") for q, v, given in rows]
    return pd.DataFrame(made, columns=["query_id", "vote", "value", "raw"])


def plain(*names):
    return [(name, "predefined") for name in names]


class TestTaxonomy:
    def test_six_levels_seventeen_leaves_and_the_one_of_the_prompt(self):
        published = taxonomy.published_shares(Paper(), KINDS)
        levels = {KINDS.levels[name] for name in published}
        assert len(levels) == 6 and len(published) == 17 and len(KINDS.leaves) == 18
        assert sum(published.values()) == pytest.approx(Paper().number("labels_per_query"))
        assert (KINDS.leaves[["definition", "example"]].map(len) > 10).all(axis=None)

    @pytest.mark.parametrize(
        ("name", "leaf"),
        [("Ideation and Brainstorming", "Brainstorm & Ideation"), ("problem solving", "Problem Solving"),
         ("Information-Seeking about Skill Development", "Skill Development"),
         ("Alternative Communication Styles", "Communication Styles"),
         ("Analytical and Interpretive Questions", "Analytical & Interpretive Questions"),
         ("Value-Laden Questions with Alternative Perspectives", "Value-Laden Questions"),
         ("Opinions-Based Questions", "Opinion-Based Questions"), (" concept  explanations. ", "Concept Explanations"),
         ("Questions", None), ("Creative", None), ("Skill", None), ("Advice", None), ("", None),
         ("Philosophical Questions about Love", None), ("Recommendations for Travel", None)],
    )  # fmt: skip
    def test_a_name_is_a_leaf_only_as_a_whole(self, name, leaf):
        assert KINDS.find(name) == leaf

    def test_every_short_label_of_the_release_is_known(self):
        released = ["Ideation and Brainstorming", "Problem Solving", "Decision Support", "Concept Explanations",
                    "Skill Development", "Recommendations", "Opinion-Based Questions", "Value-Laden Questions",
                    "Controversial Questions", "Personal Advice", "Creative Content Generation"]  # fmt: skip
        assert all(KINDS.find(name) for name in released)

    def test_a_spelling_of_two_leaves_is_refused(self, tmp_path):
        leaves = [{"name": n, "definition": "d", "example": "e", "aliases": ["Same"]} for n in ("A", "B")]
        (tmp_path / "t.yaml").write_text(yaml.safe_dump({"levels": [{"level": "L", "leaves": leaves}]}))
        with pytest.raises(ValueError, match="'Same' stands for"):
            taxonomy.load(tmp_path / "t.yaml")

    def test_the_prompt_offers_every_leaf_with_its_definition(self):
        assert KINDS.prompt().count("\n") == 17 and all(name in KINDS.prompt() for name in KINDS.leaves["name"])

    @pytest.mark.parametrize(
        ("given", "clean"),
        [("New Category: Cultural Analysis", "Cultural Analysis"), ("New - Media", "Media"), ("(New) Humor", "Humor"),
         ("Humor (new)", "Humor"), ("New: Ethics", "Ethics"), ("News Writing", "News Writing"), (" New ", ""),
         ("Newborn Care", "Newborn Care"), ("new category Travel", "Travel"), ("Food & Drink", "Food & Drink")],
    )  # fmt: skip
    def test_names_of_new_kinds_are_cleaned(self, given, clean):
        assert taxonomy.clean_name(given) == clean


class TestCategorise:
    def test_a_share_of_votes_makes_a_label(self):
        given = votes(("q", 0, plain("Recommendations", "Personal Advice")), ("q", 1, plain("Recommendations")),
                      ("q", 2, plain("Recommendation", "Problem Solving", "Problem-Solving")))  # fmt: skip
        table, _, n_votes = taxonomy.categorise(given, KINDS, 0.5)
        schema.validate(table, "03_categories")
        assert table[["category", "vote_share"]].values.tolist() == [["Recommendations", 1.0]] and n_votes["q"] == 3
        assert len(taxonomy.categorise(given, KINDS, 0.3)[0]) == 3

    def test_what_the_labeller_calls_it_does_not_matter(self):
        table = taxonomy.categorise(votes(("q", 0, [("problem solving", "new"), ("Baking", "predefined")])), KINDS)[0]
        assert table.set_index("category")["category_type"].to_dict() == {
            "Problem Solving": "predefined",
            "Baking": "new",
        }
        assert table.set_index("category")["level"].to_dict() == {
            "Problem Solving": "Information-Seeking",
            "Baking": "new",
        }

    def test_invalid_votes_do_not_count_and_empty_ones_do(self):
        given = pd.concat([votes(("a", 0, []), ("b", 0, [(None, "new"), (" ", "new")])),
                           pd.DataFrame([("c", 0, None, ""), ("d", 0, {"categories": None}, "")],
                                        columns=["query_id", "vote", "value", "raw"])])  # fmt: skip
        table, named, n_votes = taxonomy.categorise(given, KINDS)
        assert table.empty and named.empty and sorted(n_votes.index) == ["a", "b"]


class TestShares:
    CATEGORIES = taxonomy.categorise(
        votes(*[(f"q{i}", 0, plain("Recommendations", *(["Personal Advice"] if i < 3 else []))) for i in range(10)]),
        KINDS,
    )[0]

    def test_counts_wilson_and_unseen_leaves(self):
        published = {"Personal Advice": 0.25}
        table = taxonomy.shares(self.CATEGORIES, KINDS, 20, published).set_index("category")
        assert table["published"].dropna().to_dict() == published
        schema.validate(table.reset_index().assign(alpha=None), "03_shares")
        row, z, p, n = table.loc["Personal Advice"], norm.ppf(0.975), 3 / 20, 20
        centre, half = (
            (p + z**2 / 2 / n) / (1 + z**2 / n),
            z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2),
        )
        assert row["share"] == p and (row["lower"], row["upper"]) == pytest.approx((centre - half, centre + half))
        assert table.loc["Problem Solving", "share"] == 0 and len(table) == 18
        with pytest.raises(ValueError, match="no labelled query"):
            taxonomy.shares(self.CATEGORIES, KINDS, 0)

    def test_categories_per_query_count_queries_without_any(self):
        n_votes = pd.Series(1, index=[f"q{i}" for i in range(12)])
        counts = taxonomy.per_query(self.CATEGORIES, n_votes)
        assert counts.tolist() == [2] * 3 + [1] * 7 + [0] * 2
        mean = taxonomy.mean_per_query(counts)
        assert mean["value"] == pytest.approx(13 / 12) and mean["lower"] < mean["value"] < mean["upper"]

    def test_cooccurrence_matches_the_literal_loop(self):
        rng, names = np.random.default_rng(0), KINDS.leaves["name"].tolist()[:6]
        given = [(f"q{i}", 0, plain(*rng.choice(names, rng.integers(0, 5), replace=False))) for i in range(60)]
        categories = taxonomy.categorise(votes(*given), KINDS)[0]
        table = taxonomy.cooccurrence(categories, 60).set_index(["a", "b"])
        having = {name: {q for q, _, kinds in given if name in dict(kinds)} for name in names}
        for a, b in combinations(sorted(names), 2):
            row = table.loc[(a, b)]
            assert row["n"] == len(having[a] & having[b])
            assert row["lift"] == pytest.approx(row["n"] / (len(having[a]) * len(having[b]) / 60))

    def test_stability_of_equal_and_of_random_votes(self):
        rng = np.random.default_rng(0)
        same = [(f"q{i}", v, plain("Recommendations") if i % 2 else []) for i in range(40) for v in range(3)]
        chance = [
            (f"q{i}", v, plain("Recommendations") if rng.random() < 0.5 else []) for i in range(400) for v in range(3)
        ]
        for given, expected, slack in ((same, 1, 1e-9), (chance, 0, 0.1)):
            _, named, n_votes = taxonomy.categorise(votes(*given), KINDS)
            assert taxonomy.stability(named, n_votes)["Recommendations"] == pytest.approx(expected, abs=slack)
        _, named, n_votes = taxonomy.categorise(votes(("q", 0, plain("Recommendations"))), KINDS)
        assert taxonomy.stability(named, n_votes).empty

    def test_trends_count_every_group(self):
        facts = pd.DataFrame(
            {
                "query_id": [f"q{i}" for i in range(30)],
                "model": ["a"] * 12 + ["b"] * 12 + [None] * 6,
                "timestamp": ["2031-01-05T00:00:00Z"] * 15 + ["2031-05-05T00:00:00Z"] * 14 + [None],
            }
        )
        table = taxonomy.trends(self.CATEGORIES, facts, "quarter", ["Personal Advice"]).set_index(["by", "group"])
        assert table["n_queries"].to_dict() == {
            ("quarter", "2031Q1"): 15, ("quarter", "2031Q2"): 14, ("model", "a"): 12, ("model", "b"): 12
        }  # fmt: skip
        assert table.loc[("model", "a"), "share"] == 3 / 12
        nothing = taxonomy.trends(
            self.CATEGORIES, facts.assign(model=None, timestamp=None), "year", ["Personal Advice"]
        )
        assert nothing.empty
        with pytest.raises(ValueError, match="time_unit"):
            taxonomy.trends(self.CATEGORIES, facts, "week", [])


class TestCollect:
    def test_sources_that_do_not_exist_or_lack_files_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "root", lambda: tmp_path)
        study, asked = Study("03", "p", 0), Labeller("simulated/x", "q.txt")
        for source, message in (("imported", "must be demo, llm or released"), ("released", "labels_path")):
            with pytest.raises(ValueError, match=message):
                taxonomy.collect(study, pd.DataFrame(), source, asked, KINDS)

    def test_labels_of_other_queries_are_no_labels(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "root", lambda: tmp_path)
        write_released(tmp_path / "r.parquet")
        study, asked = Study("03", "p", 0), Labeller("simulated/x", "q.txt")
        known = query_labels.read_released([tmp_path / "r.parquet"])[0]
        labels = taxonomy.collect(study, known.head(3), "released", asked, KINDS, paths="r.parquet")
        assert set(labels.votes["query_id"]) == set(known["query_id"].head(3)) and labels.labeller == "r.parquet"
        with pytest.raises(ValueError, match="share no query"):
            taxonomy.collect(study, pd.DataFrame({"query_id": ["x"]}), "released", asked, KINDS, paths="r.parquet")


class TestAnnotators:
    CATEGORIES = TestShares.CATEGORIES
    QUERIES = pd.DataFrame({"query_id": [f"q{i}" for i in range(10)], "revised": [f"Why {i}?" for i in range(10)]})

    def test_a_sheet_has_every_category_of_the_drawn_queries(self):
        n_votes = pd.Series(1, index=self.QUERIES["query_id"])
        sheet = taxonomy.label_sheet(self.CATEGORIES, self.QUERIES, n_votes, 4, np.random.default_rng(0))
        expected = self.CATEGORIES[self.CATEGORIES["query_id"].isin(sheet["query_id"])]
        assert sheet["query_id"].nunique() == 4 and len(sheet) == len(expected) and (sheet["agree"] == "").all()
        seed = taxonomy.seed_sheet(self.QUERIES, 3, np.random.default_rng(0))
        assert len(seed) == 3 and {"query_id", "query", "kinds"} <= set(seed)

    def test_agreement_is_the_share_of_all_annotations(self):
        rows = [("a", "X", "ann", True), ("a", "X", "ben", True), ("b", "X", "ann", False), ("b", "Y", "ann", True)]
        annotations = pd.DataFrame(rows, columns=["query_id", "category", "annotator", "agree"])
        found = taxonomy.annotator_agreement(annotations)
        assert found["share"] == 3 / 4 and found["n"] == 2 and 0 <= found["lower"] <= 0.75 <= found["upper"] <= 1
        assert taxonomy.annotator_agreement(annotations.head(0)) == {}

    def test_a_draft_is_written_from_filled_sheets(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "root", lambda: tmp_path)
        study = Study("03", "p", 0)
        assert "no draft" in taxonomy.write_draft(study, None)
        (tmp_path / "seed.csv").write_text("query_id,query,annotator,kinds\na,Why?,ann,Poems\n")
        assert "from 1 labelled queries" in taxonomy.write_draft(study, "seed.csv")
        drafted = taxonomy.load(tmp_path / "data" / "p" / "sheets" / "taxonomy_draft.yaml")
        assert drafted.leaves["name"].tolist() == ["Poems"]


class TestNovel:
    NAMES = ("Travel Planning", "Trip Planning", "travel plans", "Ethics")
    VECTORS = np.array([[1, 0.1, 0], [1, 0.3, 0], [1, -0.2, 0], [0, 0, 1]])

    def test_names_of_one_meaning_take_the_medoids_name(self):
        table = taxonomy.merge_novel(self.NAMES, [2, 1, 1, 5], self.VECTORS, 0.8)
        schema.validate(table, "03_novel")
        assert table.set_index("name")["merged"].to_dict() == {
            "Travel Planning": "Travel Planning", "Trip Planning": "Travel Planning",
            "travel plans": "Travel Planning", "Ethics": "Ethics",
        }  # fmt: skip

    def test_the_order_of_names_changes_nothing(self):
        one = taxonomy.merge_novel(self.NAMES, [2, 1, 1, 5], self.VECTORS, 0.8)
        other = taxonomy.merge_novel(self.NAMES[::-1], [5, 1, 1, 2], self.VECTORS[::-1], 0.8)
        pd.testing.assert_frame_equal(one, other)

    def test_a_threshold_of_one_joins_nothing_and_few_names_are_no_matter(self):
        assert taxonomy.merge_novel(self.NAMES, [1] * 4, self.VECTORS, 1.0)["merged"].nunique() == 4
        assert taxonomy.merge_novel(["A"], [1], [[1.0, 0.0]], 0.5)["merged"].tolist() == ["A"]
        assert taxonomy.merge_novel([], [], np.empty((0, 0)), 0.5).empty

    def test_names_are_merged_in_the_table_and_counted_once_per_query(self):
        rows = [("q1", "Travel Planning", "new", "new", 0.3), ("q1", "Trip Planning", "new", "new", 0.6),
                ("q2", "Trip Planning", "new", "new", 1.0),
                ("q2", "Problem Solving", "L", "predefined", 1.0)]  # fmt: skip
        categories = pd.DataFrame(rows, columns=["query_id", "category", "level", "category_type", "vote_share"])
        names = taxonomy.novel_names(categories)
        assert names.to_dict() == {"Travel Planning": 1, "Trip Planning": 2}
        novel = pd.DataFrame({"name": names.index, "n": names.to_numpy(), "merged": "Trip Planning", "cosine": 1.0})
        merged = taxonomy.with_merged_names(categories, novel)
        schema.validate(merged, "03_categories")
        assert merged.set_index(["query_id", "category"])["vote_share"].to_dict() == {
            ("q1", "Trip Planning"): 0.6, ("q2", "Trip Planning"): 1.0, ("q2", "Problem Solving"): 1.0,
        }  # fmt: skip
        assert taxonomy.novel_groups(merged, novel).to_dict("records") == [
            {"merged": "Trip Planning", "spellings": 2, "n": 2}
        ]

    def test_a_draft_from_hand_labelled_queries_can_be_loaded(self, tmp_path):
        seed = pd.DataFrame({"query": ["q1", "q2", "q3"], "kinds": ["Poems; Ideas", "poems", " "]})
        (tmp_path / "t.yaml").write_text(taxonomy.draft(seed))
        drafted = taxonomy.load(tmp_path / "t.yaml")
        assert drafted.leaves["name"].tolist() == ["Poems", "Ideas"] and drafted.leaves["example"].tolist() == [
            "q1",
            "q1",
        ]
