"""The sampler against bare ``litellm.acompletion``, same server, same run; and a store of 100,000 responses."""

import argparse
import asyncio
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # this tree, and the tests' server
from server import serving

from hivemind_utils.llm import providers, sampler, store
from hivemind_utils.llm import request as request_llm
from hivemind_utils.responses import design, paraphrases, table
from hivemind_utils.responses import prompts as response_prompts
from hivemind_utils.tables.study import Study

N, CONCURRENCY, LATENCY = 2_000, 64, 0.05
PARAMETERS = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}


def bare(server, n):
    """Requests per second of litellm alone."""
    litellm = providers.litellm()

    async def main():
        todo = iter(range(n))

        async def work():
            for i in todo:
                await litellm.acompletion(
                    model="hosted_vllm/bare", messages=[{"role": "user", "content": "hi"}], seed=i,
                    api_base=server.url, max_retries=0, **PARAMETERS,
                )  # fmt: skip

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    started = time.perf_counter()
    asyncio.run_coroutine_threadsafe(main(), providers.event_loop()).result()
    return n / (time.perf_counter() - started)


def ours(server, n, folder, prompt):
    """Requests per second of the sampler, every response stored."""
    requests = request_llm.requests("hosted_vllm/ours", prompt, PARAMETERS, n, api_base=server.url)
    started = time.perf_counter()
    outcome = sampler.run(
        requests, Path(folder) / "s.sqlite", budget_usd=1, prices={"hosted_vllm/ours": (0, 0)}, progress=False,
        limits={"default": {"concurrency": CONCURRENCY}},
    )  # fmt: skip
    assert outcome.partial is None
    return n / (time.perf_counter() - started)


def throughput(folder):
    """Alternate the two, so that both see the same machine."""
    with serving() as server:
        server.latency = LATENCY
        bare(server, 200), ours(server, 200, folder, "warm")
        pairs = [(bare(server, N), ours(server, N, folder, f"round {i}")) for i in range(3)]
    print(
        f"{'litellm alone':>16} {'sampler':>16} {'ratio':>7}   requests/s, "
        f"{CONCURRENCY} at once, {LATENCY * 1000:.0f} ms latency"
    )
    for alone, stored in pairs:
        print(f"{alone:>16.0f} {stored:>16.0f} {stored / alone:>7.2f}")


def fill(path, frame):
    """Write responses to a store as fast as it takes them."""
    names = "seed served_model system_fingerprint reasoning_tokens".split()
    fixed = dict.fromkeys(names) | {
        "effective": store.dump(PARAMETERS), "attempts": 1, "latency_s": 1.0, "prompt_tokens": 10,
        "completion_tokens": 100, "cost_usd": 1e-4, "answered_at": "2026-01-01T00:00:00+00:00", "litellm_version": "1",
    }  # fmt: skip
    with store.Store(path) as opened:
        for request in frame["request"]:
            opened.remember(request.key, request.model, None, request.messages, request.parameters)
            samples = [
                {"sample_idx": i, "text": f"response {i} " * 40, "finish_reason": "stop", "outcome": "answer",
                 "logprobs": None}
                for i in range(request.sample_idx, request.sample_idx + request.n)
            ]  # fmt: skip
            opened.add(fixed | {"key": request.key, "n": request.n}, samples)


def large(folder, n):
    """Write n responses to a store, plan and tabulate them; n is a multiple of 1,000."""
    import pandas as pd

    prompts = pd.DataFrame(
        {"prompt_id": [f"p{i}" for i in range(n // 1000)], "prompt": [f"Prompt number {i}?" for i in range(n // 1000)]}
    )
    prompts = prompts.assign(prompt_kind="original").reindex(columns=response_prompts.PROMPT_COLUMNS)
    models = pd.DataFrame(
        {"model": [f"m{i}" for i in range(20)], "litellm_id": [f"hosted_vllm/m{i}" for i in range(20)]}
    )
    path = Path(folder) / "large.sqlite"
    started = time.perf_counter()
    fill(path, design.cells(prompts, models, {"top_p": PARAMETERS}, 50, per_call=50))
    filled = time.perf_counter() - started
    providers.litellm()  # its import, seconds, is paid once
    os.chdir(project(folder))
    started, cpu = time.perf_counter(), time.process_time()
    frame = design.cells(prompts, models, {"top_p": PARAMETERS}, 50, per_call=50)
    plan = design.Plan(
        source="sampled", origin="a benchmark", cells=frame, given=pd.DataFrame(), models=models,
        prompts=prompts.rename(columns={"prompt": "text"}), human=[], paraphrases=paraphrases.none(), problems=[],
        asking={"store_path": path, "prices": {f"hosted_vllm/m{i}": (0, 0) for i in range(20)}},
    )  # fmt: skip
    costs = design.costs(plan)
    planned = time.perf_counter()
    study = Study("04", "benchmark")
    study.comes_from("simulated", "a benchmark")
    made = design.tables(plan, design.gather(plan, SimpleNamespace(partial=None)))
    tabulated = time.perf_counter()
    table.write(study, made)
    done, cpu = time.perf_counter(), time.process_time() - cpu
    assert costs["missing"].sum() == 0 and len(made["04_responses"]) == n
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{n:,} responses: write {filled:.1f} s, lay out and plan {planned - started:.1f} s, "
        f"read and tabulate {tabulated - planned:.1f} s, write tables {done - tabulated:.1f} s, "
        f"together {done - started:.1f} s ({cpu:.1f} s of CPU), peak {gigabytes:.2f} GB",
        flush=True,
    )


def project(folder):
    """An empty project, for the tables."""
    made = Path(folder) / "project"
    (made / "data").mkdir(parents=True)
    (made / "pyproject.toml").touch()
    (made / "data" / "reference").symlink_to(ROOT / "data" / "reference")
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--responses", type=int, nargs="+", default=[100_000], help="of a store; multiples of 1,000")
    parser.add_argument("--store-only", action="store_true", help="leave out the comparison with litellm")
    asked = parser.parse_args()
    for number in asked.responses:
        with tempfile.TemporaryDirectory() as where:  # in a process of its own, whose peak memory is its own
            process = multiprocessing.get_context("spawn").Process(target=large, args=(where, number))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)
    if not asked.store_only:
        with tempfile.TemporaryDirectory() as where:
            throughput(where)
