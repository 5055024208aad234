"""Runs of a real model: killed and continued, reproduced, measured again by independent lines."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from processes import ends, runs

from hivemind_utils.llm import request as request_llm
from hivemind_utils.llm import sampler, store

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ("Name a bird.", "What is silence? Answer in one sentence.")
DECODING = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 12}
pytestmark = pytest.mark.local_model


def model(slots, own=""):
    return f"gguf:smollm2?slots={slots}&context=256&servers=1{own}"


def requests(name, n):
    return [r for prompt in PROMPTS for r in request_llm.requests(name, prompt, DECODING, n)]


@pytest.mark.long
def test_killed_five_times_no_answer_is_lost_and_none_asked_twice_beyond_those_in_flight(tmp_path):
    slots, n, n_kills = 4, 30, 5
    asked, pids, db = tmp_path / "asked.txt", tmp_path / "pids.txt", tmp_path / "s.sqlite"
    code = f"""
        import contextlib
        from hivemind_utils.llm import gguf_models, providers, request, sampler
        litellm, serving = providers.litellm(), gguf_models.gguf_server.serving
        ask = litellm.acompletion

        async def noted(**arguments):
            with open({str(asked)!r}, "a") as file:
                file.write(f"{{arguments['seed']}}\\n")
            return await ask(**arguments)

        @contextlib.contextmanager
        def told(*arguments, **options):
            with serving(*arguments, **options) as servers:
                with open({str(pids)!r}, "a") as file:
                    file.write(f"{{servers.processes[0].pid}}\\n")
                yield servers

        litellm.acompletion, gguf_models.gguf_server.serving = noted, told
        requests = [r for prompt in {PROMPTS!r} for r in request.requests({model(slots)!r}, prompt, {DECODING!r}, {n})]
        outcome = sampler.run(requests, {str(db)!r}, progress=False)
        print(outcome.partial)
    """

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    wanted, stored, kept = requests(model(slots), n), 0, []
    for _ in range(n_kills):
        child, deadline = start(), time.monotonic() + 120
        while len(store.read(db, wanted)) < stored + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=30)
        found = store.read(db, wanted).set_index(["key", "sample_idx"])["text"]
        assert stored + 3 <= len(found) < len(wanted)  # in mid-run
        kept.append(found)
        stored = len(found)
        assert all(ends(int(pid)) for pid in pids.read_text().split())
    child = start()
    told, _ = child.communicate(timeout=300)
    assert (child.returncode, told.strip()) == (0, "None")
    last = store.read(db, wanted).set_index(["key", "sample_idx"])["text"]
    assert len(last) == len(wanted) == 2 * n and last.index.is_unique
    for found in kept:  # what was stored stayed as it was
        assert last.loc[found.index].equals(found)
    seeds = asked.read_text().split()
    assert len(set(seeds)) == len(wanted)
    assert len(seeds) - len(set(seeds)) <= n_kills * slots  # asked again: at most what was in flight
    assert not any(runs(int(pid)) for pid in pids.read_text().split())


def test_the_same_seed_gives_the_same_answers_whatever_the_slots_on_one_machine(tmp_path):
    """What is reproducible: the same file, build of llama.cpp and processor; how many answers are drawn at a time, and
    in which order, plays no part. Other processors and builds round differently, and nothing is claimed of them."""
    found = []
    for i, slots in enumerate((1, 1, 4)):
        asked = requests(model(slots), 6)
        assert sampler.run(asked, tmp_path / f"{i}.sqlite", seed=7, progress=False).partial is None
        found.append(store.read(tmp_path / f"{i}.sqlite", asked).set_index(["key", "sample_idx"])["text"])
    assert found[0].equals(found[1]) and found[0].equals(found[2])
    asked = requests(model(4), 6)
    sampler.run(asked, tmp_path / "other.sqlite", seed=8, progress=False)
    other = store.read(tmp_path / "other.sqlite", asked).set_index(["key", "sample_idx"])["text"]
    assert (other == found[0]).mean() < 0.5


def test_twins_answer_differently_and_are_alike_as_one_model_is_with_itself(tmp_path):
    import pandas as pd

    from hivemind_utils.metrics import similarity
    from hivemind_utils.responses import encoders

    asked = requests(model(8), 16) + requests(model(8, "#twin"), 16)
    sampler.run(asked, tmp_path / "s.sqlite", progress=False)
    answers = store.read(tmp_path / "s.sqlite", asked)
    assert answers["text"].nunique() > 16
    vectors = encoders.load_encoder("minilm").encode(answers["text"].tolist())
    prompt = answers["key"].map({r.key: r.messages[0]["content"] for r in asked})
    within, across = [], []
    for _, rows in answers.groupby(prompt).groups.items():
        own = answers.loc[rows, "model"].str.endswith("#twin").to_numpy()
        unit = similarity.unit_rows(vectors[rows])
        cosines = unit @ unit.T
        pairs = np.triu_indices(len(rows), 1)
        same = own[pairs[0]] == own[pairs[1]]
        within.append(cosines[pairs][same].mean())
        across.append(cosines[pairs][~same].mean())
    assert pd.Series(within).mean() == pytest.approx(pd.Series(across).mean(), abs=0.05)


def test_the_mean_cosine_of_an_arm_is_what_a_few_independent_lines_say():
    """Of the answers that the project ships: the package's mean over pairs against plain Python on the same vectors."""
    import pyarrow.parquet as pq

    from hivemind_utils.metrics import similarity
    from hivemind_utils.responses import encoders

    file = ROOT / "data" / "reference" / "time_metaphors_smollm2.parquet"
    texts = pq.read_table(file).column("response").to_pylist()[:60]
    vectors = encoders.load_encoder("minilm").encode(texts)
    counts = similarity.pair_histograms([(vectors, np.zeros(len(texts), int))])[0, 0]
    unit = similarity.unit_rows(vectors)
    found = (unit @ unit.T)[np.triu_indices(len(texts), 1)]
    total, n = 0.0, 0
    for i in range(len(texts)):
        for j in range(i):
            a, b = vectors[i].astype(float).tolist(), vectors[j].astype(float).tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            total += dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
            n += 1
    assert found.mean() == pytest.approx(total / n, abs=1e-4)
    middles = np.linspace(-1, 1, similarity.N_BINS + 1)[:-1] + 1 / similarity.N_BINS
    assert counts.sum() == n and counts @ middles / n == pytest.approx(total / n, abs=1e-3)
