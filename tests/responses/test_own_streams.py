"""What a prompt's responses give does not depend on which other prompts are in the run."""

import numpy as np
import pandas as pd
import pytest
from some_responses import prompts_of, responses_of

from hivemind_utils.responses import homogeneity, modes, repetition


@pytest.fixture(scope="module")
def everything():
    """Three prompts, three models, twelve responses each, in loose groups."""
    rng = np.random.default_rng(0)
    rows = [(p, m, "default", "top_p", k) for p in ("p1", "p2", "p3") for m in ("a-1", "b-1", "c-1") for k in range(12)]
    table = pd.DataFrame(rows, columns=["prompt_id", "model", "condition", "decoding", "sample_idx"])
    table["response_id"] = ["-".join(map(str, row)) for row in rows]
    table["text"] = [f"word {k % 5} of {m} and thing {k} for {p}" for p, m, _, _, k in rows]
    centres = rng.normal(size=(4, 8))
    vectors = centres[rng.integers(4, size=len(rows))] + 0.3 * rng.normal(size=(len(rows), 8))
    return responses_of(
        table, vectors.astype(np.float32), prompts=prompts_of(dict.fromkeys(("p1", "p2", "p3"), "original"), {})
    )


@pytest.fixture(scope="module")
def alone(everything):
    return everything.where(everything.table["prompt_id"] == "p3")


def of_p3(frame):
    return frame[frame["prompt_id"] == "p3"].reset_index(drop=True)


def test_modes_and_their_verdicts(everything, alone):
    settings, reruns = {"n_neighbors": 5, "n_epochs": 30}, {"n_seeds": 1, "n_subsamples": 1, "n_gaussians": 2}
    found = [
        modes.analyse(some, np.random.default_rng(7), settings=settings, reruns=reruns) for some in (everything, alone)
    ]
    for name in ("points", "modes", "prompts"):
        one, other = (of_p3(getattr(analysis, name)) for analysis in found)
        pd.testing.assert_frame_equal(one, other)


def test_measures_of_cells(everything, alone):
    tables = []
    for some in (everything, alone):
        cells = repetition.cell_means(some, some.vectors)
        tables.append(repetition.cell_measures(some, cells, 0.8, 4, 3, np.random.default_rng(7)))
    drawn = ["vendi_1_equal_n", "effective_distinct_equal_n"]
    pd.testing.assert_frame_equal(of_p3(tables[0])[drawn], tables[1][drawn])


def test_pools_of_a_prompt(everything, alone):
    one = homogeneity.pools(alone, [1, 2, 3], 4, np.random.default_rng(7))
    again = homogeneity.pools(everything.of_prompts(["p3"]), [1, 2, 3], 4, np.random.default_rng(7))
    pd.testing.assert_frame_equal(one, again)
    whole = homogeneity.pools(everything, [1, 2, 3], 4, np.random.default_rng(7)).set_index(["pool", "k"])["vendi_1"]
    singly = [
        homogeneity.pools(everything.of_prompts([p]), [1, 2, 3], 4, np.random.default_rng(7)).set_index(["pool", "k"])
        for p in ("p1", "p2", "p3")
    ]
    mean = sum(part["vendi_1"] for part in singly) / 3
    np.testing.assert_allclose(whole.loc[mean.index], mean)


def test_shares_of_the_commonest_idea(everything, alone):
    ideas = {"given": pd.Series([f"i{k % 3}" for k in range(len(everything))], index=everything.table["response_id"])}
    one, other = (
        of_p3(modes.dominant_shares(some, ideas, 5, 20, np.random.default_rng(7))) for some in (everything, alone)
    )
    pd.testing.assert_frame_equal(one, other)
