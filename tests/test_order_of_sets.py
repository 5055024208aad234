"""What is written does not hang on the order in which Python happens to keep sets."""

import hashlib
import os
import subprocess
import sys

import pytest

PARTS = {
    "heat maps of 05": """
        from tests.figures import test_responses as made
        from hivemind_utils.figures import responses
        arms = [f"model {i}" for i in range(12)]
        shares = made.pd.DataFrame(
            [(f"{low:.1f}", low, arm, arm, "top_p", 50.0) for low in (0.8, 0.9) for arm in [*arms, "Average"]],
            columns=["bin", "low", "arm", "model", "decoding", "percent"],
        )
        models = made.pd.DataFrame({"model": arms, "family": arms, "model_kind": "model"})
        drawn = responses.intra_heatmap(shares, models)
        print([label.get_text() for label in drawn.get_xticklabels()])
    """,
    "tables of 04": """
        import pandas as pd
        from hivemind_utils.responses import table
        rows = [(f"p{p}", f"m{m}", f"{p} {m}" * 3, "a c") for p in range(5) for m in range(9) for _ in range(2)]
        made = table.tabulate(pd.DataFrame(rows, columns=["prompt", "model", "response", "idea"]))
        for frame in made.values():
            print(frame.to_csv())
    """,
    "colours of families": """
        import pandas as pd
        from hivemind_utils.figures import style
        families = [f"f{i}" for i in range(14)]
        kinds = ["human"] * 3 + ["model"] * 11
        print(style.family_colours(pd.DataFrame({"model": families, "family": families, "model_kind": kinds})))
    """,
    "names of modes in 07": """
        import numpy as np
        from hivemind_utils.metrics import words
        texts = [f"time is a {noun} of {thing}" for noun in ("river", "thief", "wheel") for thing in ("bee", "sea")]
        lists = words.word_lists(texts)
        print(words.keyphrases(lists, np.repeat([0, 1, 2], 2), 3, exclude={"time", "is"}))
    """,
    "spans of 06": """
        from hivemind_utils.metrics import overlap
        texts = [f"the {a} river of time flows to the sea and {b}" for a in ("old", "long") for b in ("on", "back")] * 3
        print(overlap.exact_duplicates(texts, [f"m{i}" for i in range(12)]).to_csv())
        print(overlap.verbatim_pairs(texts, [f"m{i}" for i in range(12)]).to_csv())
    """,
    "sides and scales of 08": """
        import pandas as pd
        from hivemind_utils.ratings import labels
        sides = [("a", "b"), ("b", "a")]
        rows = [(f"p{i}", *sides[j % 2], f"w{j}", j % 3 - 1) for i in range(6) for j in range(5)]
        frame = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "annotator", "label"])
        for part in labels.tabulate(labels.unroll(frame), "pairs", [-1, 0, 1]):
            print(part.to_csv())
    """,
}


def output(program, seed):
    import textwrap

    found = subprocess.run(
        [sys.executable, "-c", "import matplotlib; matplotlib.use('agg')\n" + textwrap.dedent(program)],
        env=os.environ | {"PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return found.stdout


@pytest.mark.parametrize("part", PARTS)
def test_two_orders_of_sets_give_the_same_bytes(part):
    first, second = (output(PARTS[part], seed) for seed in (1, 2))
    assert len(first) > 20
    assert hashlib.sha256(first.encode()).hexdigest() == hashlib.sha256(second.encode()).hexdigest()
