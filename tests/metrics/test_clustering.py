from types import MappingProxyType

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from hivemind_utils.metrics import clustering, mode_evidence, similarity
from hivemind_utils.metrics import words as words_metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def blobs(rng, sizes, n_dims=24, spread=0.25):
    """Rows about orthogonal directions, and the direction of each."""
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return (np.eye(n_dims)[truth] + spread * rng.standard_normal((len(truth), n_dims)) / np.sqrt(n_dims)).astype(
        np.float32
    ), truth


class TestDistinctRows:
    def test_finds_equal_rows_whatever_their_order(self, rng):
        rows = rng.standard_normal((4, 3)).astype(np.float32)[[0, 1, 0, 2, 1, 0, 3]]
        first, inverse, counts = clustering.distinct_rows(rows)
        assert (rows[first][inverse] == rows).all() and sorted(counts) == [1, 1, 2, 3]
        order = rng.permutation(7)
        again = clustering.distinct_rows(rows[order])
        assert (rows[order][again[0]] == rows[first]).all() and (again[1] == inverse[order]).all()

    def test_wants_a_matrix(self):
        with pytest.raises(ValueError, match="n_responses, n_dims"):
            clustering.distinct_rows(np.zeros(3))


class TestPrincipalComponents:
    def test_a_line_has_one_component(self, rng):
        line = np.outer(rng.standard_normal(30), [3.0, 4.0, 0.0]) + 1
        place, explained = clustering.principal_components(line)
        assert explained == pytest.approx([1, 0], abs=1e-9)
        assert np.abs(place[:, 0]) == pytest.approx(np.linalg.norm(line - line.mean(0), axis=1))

    def test_matches_a_singular_value_decomposition(self, rng):
        rows = rng.standard_normal((40, 6))
        centred = rows - rows.mean(0)
        values = np.linalg.svd(centred, compute_uv=False) ** 2
        place, explained = clustering.principal_components(rows, 3)
        assert explained == pytest.approx(values[:3] / values.sum())
        assert (place**2).sum(0) == pytest.approx(values[:3])

    @pytest.mark.parametrize("n", [1, 2, 50])
    def test_equal_rows_have_no_variance(self, n):
        place, explained = clustering.principal_components(np.ones((n, 5)))
        assert place.shape == (n, 2) and not place.any() and not explained.any()


class TestNeighbours:
    def test_matches_the_sorted_distances(self, rng):
        rows = rng.standard_normal((60, 5)).astype(np.float32)
        unit = similarity.unit_rows(rows)
        indices, distances = clustering.nearest_neighbours(rows, 7, rng)
        wanted = np.sort(1 - unit @ unit.T, axis=1)[:, :7]
        assert (indices[:, 0] == np.arange(60)).all()
        assert distances[:, 1:] == pytest.approx(wanted[:, 1:], abs=1e-5)

    @pytest.mark.long  # compilation
    def test_approximate_neighbours_are_nearly_the_same(self, rng, monkeypatch):
        rows, _ = blobs(rng, [200, 200, 200])
        exact, _ = clustering.nearest_neighbours(rows, 10, rng)
        monkeypatch.setattr(clustering, "_EXACT", 100)
        found, _ = clustering.nearest_neighbours(rows, 10, rng)
        same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
        assert same > 0.9


class TestFindModes:
    def test_finds_what_lies_apart_and_numbers_it_by_size(self, rng):
        rows, truth = blobs(rng, [40, 120, 70])
        labels = clustering.find_modes(rows, np.random.default_rng(1))
        assert clustering.adjusted_rand(labels, truth) > 0.98
        assert np.bincount(labels[labels >= 0]).tolist() == sorted(np.bincount(labels[labels >= 0]), reverse=True)

    def test_the_same_generator_gives_the_same_modes_and_the_order_of_rows_does_not_matter(self, rng):
        rows = rng.standard_normal((150, 12)).astype(np.float32)
        labels = clustering.find_modes(rows, np.random.default_rng(3))
        order = rng.permutation(150)
        again = clustering.find_modes(rows[order], np.random.default_rng(3))
        assert (again == labels[order]).all()
        assert (clustering.find_modes(rows, np.random.default_rng(3)) == labels).all()

    def test_repeated_answers_change_no_density(self, rng):
        rows, _ = blobs(rng, [60, 60])
        once = clustering.find_modes(rows, np.random.default_rng(2))
        many = np.concatenate([rows, np.repeat(rows[:1], 10, 0)])
        again = clustering.find_modes(many, np.random.default_rng(2))
        assert adjusted_rand_score(again[:120], once) == 1 and (again[120:] == again[0]).all()

    def test_twenty_thousand_copies_of_one_text_are_one_mode(self):
        labels = clustering.find_modes(np.ones((20_000, 384), np.float32), np.random.default_rng(0))
        assert (labels == 0).all()

    def test_a_text_given_often_outside_of_every_region_is_a_mode(self, rng):
        lonely = np.zeros((30, 24), np.float32)
        lonely[:, 23] = 1
        labels = clustering.find_modes(np.concatenate([rng.standard_normal((8, 24)), lonely]), rng)
        assert (labels[:8] == -1).all() and (labels[8:] == 0).all()

    @pytest.mark.parametrize("n", [1, 2, 4, 7])
    def test_few_answers_are_noise(self, n, rng):
        labels = clustering.find_modes(rng.standard_normal((n, 6)), rng)
        assert labels.tolist() == [-1] * n

    def test_all_distinct_and_unrelated_answers_run_through(self, rng):
        labels = clustering.find_modes(np.eye(40, dtype=np.float32), rng)
        assert labels.shape == (40,)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0])
    def test_refuses_rows_that_point_nowhere(self, bad, rng):
        rows = rng.standard_normal((30, 4))
        rows[3] = bad
        with pytest.raises(ValueError, match="finite"):
            clustering.find_modes(rows, rng)
        with pytest.raises(ValueError, match="finite"):
            clustering.principal_components(rows)


class TestMedoids:
    def test_matches_the_slow_loop(self, rng):
        rows, labels = rng.standard_normal((60, 5)), rng.integers(-1, 3, 60)
        unit = similarity.unit_rows(rows)
        for mode, chosen in enumerate(clustering.medoids(rows, labels)):
            members = np.flatnonzero(labels == mode)
            means = [np.mean([unit[i] @ unit[j] for j in members]) for i in members]
            assert chosen == members[int(np.argmax(means))]

    def test_no_mode_has_no_medoid(self):
        assert clustering.medoids(np.eye(3), np.full(3, -1)).tolist() == []


class TestKeyphrases:
    def test_names_what_sets_a_mode_apart(self):
        words = [["time", "is", "a", "deep", "river"]] * 5 + [["time", "is", "a", "thief"]] * 5
        named = words_metrics.keyphrases(words, np.repeat([0, 1], 5), exclude=["time"])
        assert "river" in " ".join(named[0]) and named[1] == ["thief"]

    def test_answers_without_words_have_no_name(self):
        assert words_metrics.keyphrases([[], [], ["the"]], np.array([0, 0, 1])) == [[], []]
        assert words_metrics.keyphrases([["a"]], np.array([-1])) == []

    def test_matches_the_formula(self):
        words, labels = [["oak"], ["oak"], ["elm"], ["elm", "oak"]], np.array([0, 0, 1, 1])
        # Phrases: oak in 3 answers, elm in 2, "elm oak" in 1; two of class 0, four of class 1, so A = 3.
        weights = {"oak": 1 / 4 * np.log1p(3 / 3), "elm": 2 / 4 * np.log1p(3 / 2), "elm oak": 1 / 4 * np.log1p(3 / 1)}
        best = max(weights, key=weights.get)
        assert words_metrics.keyphrases(words, labels, 1) == [["oak"], [best]]


class TestAdjustedRand:
    def test_noise_is_single_or_dropped(self):
        a, b = np.array([0, 0, 1, 1, -1, -1]), np.array([0, 0, 1, 1, 2, 2])
        assert clustering.adjusted_rand(a, b) == adjusted_rand_score([0, 0, 1, 1, 2, 3], b)
        assert clustering.adjusted_rand(a, b, noise="dropped") == 1
        assert clustering.adjusted_rand(a, a) == 1

    def test_nothing_left_is_unknown(self):
        assert np.isnan(clustering.adjusted_rand(np.array([-1, -1]), np.array([0, 0]), noise="dropped"))

    @pytest.mark.parametrize(
        ("a", "b", "noise", "match"),
        [
            ([0, 1], [0], "dropped", "same responses"),
            ([0, 1], [0, 1], "kept", "singletons"),
            ([0, -2], [0, 1], "dropped", "-1 for noise"),
            ([0.5, 1], [0, 1], "dropped", "integers"),
        ],
    )
    def test_raises(self, a, b, noise, match):
        with pytest.raises(ValueError, match=match):
            clustering.adjusted_rand(np.array(a), np.array(b), noise=noise)


class TestSilhouettes:
    def test_matches_scikit_learn(self, rng):
        rows, labels = rng.standard_normal((80, 6)), rng.integers(0, 4, 80)
        wanted = silhouette_samples(rows, labels, metric="cosine")
        assert clustering.silhouettes(rows, labels) == pytest.approx(wanted, abs=1e-5)

    def test_noise_is_nothing_and_no_neighbour(self, rng):
        rows, labels = rng.standard_normal((60, 6)), rng.integers(-1, 3, 60)
        kept = labels >= 0
        value = clustering.silhouettes(rows, labels)
        assert not value[~kept].any()
        assert value[kept] == pytest.approx(silhouette_samples(rows[kept], labels[kept], metric="cosine"), abs=1e-5)

    def test_one_mode_is_compared_with_the_noise(self, rng):
        rows, truth = blobs(rng, [20, 20])
        assert clustering.silhouettes(rows, np.where(truth == 0, 0, -1))[:20].min() > 0.5
        assert not clustering.silhouettes(rows, np.zeros(40, int)).any()
        assert not clustering.silhouettes(rows, np.full(40, -1)).any()


class TestRecovery:
    def test_matches_the_slow_loop(self, rng):
        labels = rng.integers(-1, 3, 50)
        reruns = [(np.sort(rng.choice(50, 40, replace=False)), rng.integers(-1, 4, 40)) for _ in range(3)]
        wanted = []
        for mode in range(3):
            scores = []
            for rows, other in reruns:
                own = {i for i, r in enumerate(rows) if labels[r] == mode}
                others = [{i for i in range(40) if other[i] == k} for k in range(4)]
                scores.append(max(len(own & o) / len(own | o) for o in others if o or own))
            wanted.append(np.mean(scores))
        assert clustering.recovery(labels, reruns) == pytest.approx(wanted)

    def test_the_same_again_is_one_and_noise_alone_zero(self):
        labels, rows = np.array([0, 0, 1, 1, -1]), np.arange(5)
        assert clustering.recovery(labels, [(rows, labels)]).tolist() == [1, 1]
        assert clustering.recovery(labels, [(rows, np.full(5, -1))]).tolist() == [0, 0]
        assert np.isnan(clustering.recovery(labels, [])).all()


class TestGaussian:
    @pytest.mark.parametrize(("n", "n_dims"), [(3000, 6), (5000, 6)])
    def test_mean_and_covariance_are_those_of_the_rows(self, n, n_dims, rng):
        rows = rng.standard_normal((n, n_dims)) @ rng.standard_normal((n_dims, n_dims)) + 2
        drawn = mode_evidence.gaussian_like(rows, rng)
        scale = np.sqrt(np.diag(np.cov(rows.T)))
        assert drawn.mean(0) == pytest.approx(rows.mean(0), abs=0.1 * scale.max())
        assert np.abs(np.cov(drawn.T) - np.cov(rows.T)).max() < 0.12 * scale.max() ** 2

    def test_few_rows_give_what_their_covariance_spans(self, rng):
        rows = rng.standard_normal((4, 50))
        drawn = mode_evidence.gaussian_like(rows, rng)
        assert drawn.shape == (4, 50) and np.linalg.matrix_rank(drawn - rows.mean(0), tol=1e-3) <= 3

    def test_one_row_has_no_covariance(self, rng):
        with pytest.raises(ValueError, match="two rows"):
            mode_evidence.gaussian_like(np.ones((1, 3)), rng)


class TestSharedWords:
    def test_a_mode_of_equal_words_is_no_accident_and_a_random_one_is(self, rng):
        lexical = np.repeat(np.eye(2, 8), 30, axis=0) + 0.05 * rng.standard_normal((60, 8))
        assert mode_evidence.shared_words(lexical, np.repeat([0, 1], 30), rng)[0] == pytest.approx(1 / 200)
        assert mode_evidence.shared_words(rng.standard_normal((60, 8)), np.repeat([0, 1], 30), rng).min() > 0.05

    def test_equal_answers_say_nothing(self, rng):
        assert mode_evidence.shared_words(np.ones((20, 3)), np.repeat([0, 1], 10), rng).tolist() == [1, 1]


class TestSkewedLike:
    def test_mean_covariance_and_skewness_are_those_of_the_rows(self, rng):
        rows = (rng.exponential(size=(4000, 3)) - 1) @ np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0.5]])
        drawn = mode_evidence.skewed_like(rows, np.random.default_rng(1))
        assert drawn.mean(0) == pytest.approx(rows.mean(0), abs=0.15)
        assert np.cov(drawn.T) == pytest.approx(np.cov(rows.T), abs=0.45)
        for axis in (np.array([2.0, 1, 0]), np.array([0, 0, 1.0])):
            skew = [(((x @ axis) - (x @ axis).mean()) ** 3).mean() / (x @ axis).std() ** 3 for x in (rows, drawn)]
            assert skew[1] == pytest.approx(skew[0], abs=0.4)

    def test_symmetric_rows_give_a_symmetric_cloud(self, rng):
        drawn = mode_evidence.skewed_like(rng.standard_normal((4000, 2)), rng)
        assert np.abs(((drawn - drawn.mean(0)) ** 3).mean(0)).max() < 0.3

    def test_a_single_row_is_refused(self, rng):
        with pytest.raises(ValueError, match="at least two rows"):
            mode_evidence.skewed_like(np.ones((1, 3)), rng)


class TestLinkedGroups:
    @pytest.mark.parametrize("share", [0.6, 0.75, 0.8])
    def test_groups_are_those_of_a_literal_merging(self, rng, share):
        """Merge the two groups of least mean distance until that exceeds the cut."""
        rows = similarity.unit_rows(np.repeat(np.eye(4, 8), 6, axis=0) + 0.3 * rng.standard_normal((24, 8)))
        distance = 1 - rows @ rows.T
        cut = share * distance[np.triu_indices(24, 1)].mean()
        groups = [[i] for i in range(24)]
        while len(groups) > 1:
            best = min(
                (distance[np.ix_(a, b)].mean(), i, j)
                for i, a in enumerate(groups) for j, b in enumerate(groups) if i < j
            )  # fmt: skip
            if best[0] > cut:
                break
            groups[best[1]] += groups.pop(best[2])
        kept = {frozenset(group) for group in groups if len(group) >= 5}
        found = clustering.linked_groups(rows, 5, (share,))
        assert {frozenset(np.flatnonzero(found == k)) for k in range(found.max() + 1)} == kept and kept

    def test_the_silhouette_says_where_to_cut(self, rng):
        tight = similarity.unit_rows(np.repeat(np.eye(4, 16), 8, axis=0) + 0.05 * rng.standard_normal((32, 16)))
        loose = similarity.unit_rows(np.repeat(np.eye(4, 16), 8, axis=0) + 0.25 * rng.standard_normal((32, 16)))
        for rows in (tight, loose):
            single = [clustering.linked_groups(rows, 4, (cut,)) for cut in clustering.LINKED_CUTS]
            apart = [clustering.silhouettes(rows, labels).mean() for labels in single]
            assert clustering.linked_groups(rows, 4).tolist() == single[int(np.argmax(np.round(apart, 9)))].tolist()
        assert clustering.adjusted_rand(clustering.linked_groups(tight, 4), np.repeat([0, 1, 2, 3], 8)) == 1

    def test_scale_of_the_encoder_does_not_matter(self, rng):
        """A component that all rows share, as encoders have, moves every cosine and no group."""
        rows = similarity.unit_rows(np.repeat(np.eye(3, 16), 8, axis=0) + 0.1 * rng.standard_normal((24, 16)))
        shared = similarity.unit_rows(np.hstack([rows, np.full((24, 1), 2.0)]))
        assert clustering.linked_groups(rows, 5).tolist() == clustering.linked_groups(shared, 5).tolist()


class TestSupported:
    good = MappingProxyType({"apart": [True], "seeds": [0.9], "subsamples": [0.8], "word_p": [0.01]})

    def held(self, **changes):
        return mode_evidence.supported(**{k: np.array(v) for k, v in (dict(self.good) | changes).items()}).tolist()

    def test_every_condition_counts(self):
        assert self.held() == [True]
        for change in (
            {"apart": [False]}, {"seeds": [0.7]}, {"subsamples": [0.7]}, {"word_p": [0.2]}, {"seeds": [np.nan]}
        ):  # fmt: skip
            assert self.held(**change) == [False], change

    def test_where_no_words_are_known_they_have_no_say(self):
        assert self.held(word_p=[np.nan]) == [True]

    def test_the_bound_is_exceeded_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        draws = rng.standard_normal((4000, 8))
        above = np.mean([draw[7] > mode_evidence.prediction_bound(draw[:7]) for draw in draws])
        assert above == pytest.approx(0.025, abs=0.01)


class TestEvidence:
    def test_what_lies_apart_holds(self, rng):
        rows, _ = blobs(rng, [60, 80, 50], spread=0.8)
        labels = clustering.find_modes(rows, rng)
        found = mode_evidence.evidence(rows, labels, rng)
        assert found.supported.tolist() == [True] * 3
        assert found.overall_separation > found.null_bound and found.agreement["seeds"].min() > 0.95
        assert len(found.null_modes) == 14 and "lexical" not in found.agreement

    def test_results_do_not_depend_on_the_order_of_rows(self, rng):
        rows, _ = blobs(rng, [40, 40], spread=1.5)
        order = rng.permutation(80)
        labels = clustering.find_modes(rows, np.random.default_rng(1))
        a = mode_evidence.evidence(rows, labels, np.random.default_rng(5))
        b = mode_evidence.evidence(rows[order], labels[order], np.random.default_rng(5))
        assert a.null_separation == pytest.approx(b.null_separation)
        assert a.found_again_subsamples.tolist() == b.found_again_subsamples.tolist()

    def test_one_text_only_is_one_mode_that_holds(self, rng):
        found = mode_evidence.evidence(np.ones((50, 4)), np.zeros(50, int), rng)
        assert found.supported.tolist() == [True] and found.null_modes.tolist() == [0] * 14

    def test_a_tight_mode_in_a_loose_remainder_holds(self):
        """Ten responses that all begin alike beside twenty-two that share little."""

        def cone(n, cosine, rng):
            centre, rows = rng.standard_normal(384), rng.standard_normal((n, 384))
            centre /= np.linalg.norm(centre)
            rows = similarity.unit_rows(rows - np.outer(rows @ centre, centre))
            return np.sqrt(cosine) * centre + np.sqrt(1 - cosine) * rows

        for seed in range(12):
            rng = np.random.default_rng(seed)
            rows = np.vstack([cone(10, 0.96, rng), cone(22, 0.35, rng)])
            labels = clustering.find_modes(rows, rng)
            found = mode_evidence.evidence(rows, labels, rng)
            assert found.supported[0] and set(np.flatnonzero(labels == 0)) == set(range(10))
            assert found.fewest == 1 <= found.most <= 2  # a rerun may find a second one in the remainder

    @pytest.mark.parametrize("n", [32, 58, pytest.param(200, marks=pytest.mark.long)])
    def test_skewed_clouds_with_one_peak_hold_no_two_modes(self, n):
        """Exponential factors, which neither null was fitted to."""
        held = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            axes = rng.standard_normal((20, 96)) * np.arange(1, 21)[:, None] ** -0.7
            rows = similarity.unit_rows((rng.exponential(size=(n, 20)) - 1) @ axes * 0.05 + 0.9 * np.eye(96)[0])
            labels = clustering.find_modes(rows, rng)
            held.append(int(mode_evidence.evidence(rows, labels, rng).supported.sum()))
        print(f"\n{n} rows: any mode in {np.mean(np.array(held) > 0):.0%}, two in {np.mean(np.array(held) > 1):.0%}")
        assert np.mean(np.array(held) > 1) <= 0.05

    def test_wants_two_gaussians(self, rng):
        with pytest.raises(ValueError, match="2 Gaussians"):
            mode_evidence.evidence(np.eye(20), np.zeros(20, int), rng, n_gaussians=1)

    def test_structureless_data_hold_no_modes_though_the_pipeline_finds_some(self):
        found, held = [], []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            axes = rng.standard_normal((64, 64)) * np.geomspace(1, 0.05, 64)[:, None]  # as steep as an encoder's
            rows = (rng.standard_normal((250, 64)) @ axes + 8 * np.eye(64)[0]).astype(np.float32)
            labels = clustering.find_modes(rows, rng)
            found.append(labels.max() + 1)
            held.append(int(mode_evidence.evidence(rows, labels, rng).supported.sum()))
        print(f"\nmodes found in a Gaussian: {[int(n) for n in found]}; supported: {held}")
        assert min(found) >= 1 and held == [0] * 5


class TestLexicalCoordinates:
    def test_equal_words_have_equal_rows_and_no_words_no_direction(self, rng):
        words = [["red", "fox"], ["blue", "sky"], ["red", "fox"], [], ["red", "sky"]]
        place = clustering.lexical_coordinates(words, rng)
        assert (place[0] == place[2]).all() and not place[3].any() and (place[0] != place[1]).any()

    @pytest.mark.parametrize("words", [[[], []], [["one"]], [["one"], ["one"]]])
    def test_little_to_go_by(self, words, rng):
        assert len(clustering.lexical_coordinates(words, rng)) == len(words)


class TestBalancedKmeans:
    def test_every_cluster_has_its_size(self, rng):
        rows, truth = blobs(rng, [30, 30, 30])
        labels = clustering.balanced_kmeans(rows, 3, rng)
        assert np.bincount(labels).tolist() == [30, 30, 30] and adjusted_rand_score(labels, truth) == 1
        assert sorted(np.bincount(clustering.balanced_kmeans(rows[:50], 4, rng))) == [12, 12, 13, 13]

    def test_a_dominant_group_is_cut_and_capacities_are_kept(self, rng):
        rows, _ = blobs(rng, [80, 10])
        assert np.bincount(clustering.balanced_kmeans(rows, 2, rng)).tolist() == [45, 45]
        assert np.bincount(clustering.balanced_kmeans(rows, 2, rng, [20, 70])).tolist() == [20, 70]

    def test_equal_answers_are_shared_out(self, rng):
        assert np.bincount(clustering.balanced_kmeans(np.ones((10, 3)), 5, rng)).tolist() == [2] * 5

    @pytest.mark.parametrize(
        ("k", "capacities", "match"), [(0, None, "1 to 6"), (7, None, "1 to 6"), (2, [2, 2], "hold 6")]
    )
    def test_raises(self, k, capacities, match, rng):
        with pytest.raises(ValueError, match=match):
            clustering.balanced_kmeans(rng.standard_normal((6, 3)), k, rng, capacities)


def test_contractions_name_no_mode():
    texts = ["Here's the river.", "You're a river, don't stop.", "It's a thief.", "Isn't it a thief?"]
    named = words_metrics.keyphrases(words_metrics.word_lists(texts), np.array([0, 0, 1, 1]), 5)
    found = " ".join(phrase for phrases in named for phrase in phrases).split()
    assert {"river", "thief"} <= set(found) and not {"heres", "youre", "dont", "its", "isnt"} & set(found)
