"""Executors: the same results in the same order, wherever the work is done; killed workers, and what cannot be done."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from hivemind_utils.tables import executor


def product(generator, n):
    rows = generator.normal(size=(n, 40))
    return rows @ rows.T


def work():
    """Ten pieces, each with a generator of its own."""
    return list(zip(np.random.default_rng(0).spawn(10), range(20, 30), strict=True))


def results(scheduler):
    made = executor.make(scheduler)
    try:
        return [found.tobytes() for found in made.map(product, work())]
    finally:
        made.close()


def die_once(folder, k):
    """Kill the process that works on piece 3, the first time."""
    mark = Path(folder) / "died"
    if k == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return k * k


def die(k):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(k):
    raise ValueError(f"piece {k} is no good")


@pytest.mark.parametrize("n", [1, 2])
def test_processes_give_what_this_process_gives_to_the_last_bit(n):
    assert results({"processes": n}) == results(None)


def test_a_killed_process_costs_no_result(tmp_path):
    made = executor.make({"processes": 2})
    found = list(made.map(die_once, [(tmp_path, k) for k in range(8)]))
    made.close()
    assert found == [k * k for k in range(8)] and (tmp_path / "died").exists()


def test_a_process_that_is_killed_again_and_again_says_what_to_do():
    made = executor.make({"processes": 1})
    with pytest.raises(executor.LostError, match="Ask for fewer `processes` under `scheduler`"):
        list(made.map(die, [(0,)]))


@pytest.mark.parametrize("scheduler", [None, {"processes": 1}])
def test_an_error_of_the_work_is_raised_as_it_is(scheduler):
    with pytest.raises(ValueError, match="piece 0 is no good"):
        list(executor.make(scheduler).map(fail, [(0,), (1,)]))


def test_work_is_taken_as_it_is_needed():
    taken = []
    pieces = ((taken.append(k) or k,) for k in range(100))
    found = executor.InProcess().map(abs, pieces)
    assert next(found) == 0 and taken == [0]


@pytest.mark.parametrize("scheduler", [0, 2.5, True, "cluster", "", [], {}])
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_no_scheduler_is_refused(scheduler, wrapped):
    with pytest.raises(ValueError, match="`scheduler` must be `processes: N`"):
        executor.checked({"processes": scheduler} if wrapped else scheduler)


@pytest.mark.parametrize("scheduler", [{"address": "tcp://127.0.0.1:8786"}, {"processes": 2}, {"address": "local"}])
def test_workers_may_read_copies_at_an_address(scheduler):
    made = executor.make({**scheduler, "files": "s3://bucket/mine"})
    assert made.files == "s3://bucket/mine" and executor.make(scheduler).files is None
    for files in ("bucket", 3, None, "simplecache::s3://bucket", "file:///tmp::s3://bucket"):
        with pytest.raises(ValueError, match="with `files: s3://bucket/folder` beside it"):
            executor.checked({**scheduler, "files": files})
    with pytest.raises(ValueError, match="`scheduler` must be"):
        executor.checked({"files": "s3://bucket/mine"})


@pytest.mark.parametrize(
    "address",
    ["TCP://127.0.0.1:1", "//127.0.0.1:1", "://127.0.0.1:1", "inproc://127.0.0.1/1/1", "tcp://127.0.0.1", "tcp://:8786",
     "tcp://127.0.0.1:", "tcp://127.0.0.1@example.org:1", "tcp://me:word@127.0.0.1:1", "tcp://example.org:1@127.0.0.1",
     "tcp://127.0.0.1:1/x", "tcp://127.0.0.1#example.org:1", "tcp://127.0.0.1?example.org:1", "tcp://example.org\\@[::1]:1",
     "tcp://127.0.0.1:1 ", "tcp://127.0.0.1:1\n", "tcp://[::1%eth0]:1", "tcp://１27.0.0.1:1", "http://127.0.0.1:8786",
     "tcp://127.0.0.1%2eexample.org:1", "tcp://tcp://127.0.0.1:1", "gateway://x:1", "Local", "file:///tmp"],
)  # fmt: skip
def test_an_address_has_one_spelling(address):
    for scheduler in (address, {"address": address}):
        with pytest.raises(ValueError, match="`scheduler` must be `processes: N`"):
            executor.checked(scheduler)


@pytest.mark.parametrize(
    "files",
    ["FILE:///x", "file://host/share", "file:////host/share", "file://///host/share", "file://", "file:///\\host\\share",
     "local:///x", "S3://bucket/x", "s3://", "s3:///x", "memory::s3://bucket", "memory://x::s3://bucket/y",
     "//host/share", "https://evil\\@127.0.0.1/x", "sftp://a@evil@127.0.0.1/x", "http://127.0.0.1/\tx", "http://[x/",
     "http://h/?key=x", "http://h/#x", " s3://bucket/x", "s3://bucket/x\n", "\\\\host\\share"],
)  # fmt: skip
def test_a_folder_has_one_spelling(files):
    with pytest.raises(ValueError, match="`scheduler` must be `processes: N`"):
        executor.checked({"processes": 2, "files": files})


def test_the_environment_says_where(monkeypatch):
    monkeypatch.delenv(executor.VARIABLE, raising=False)
    assert isinstance(executor.from_environment(), executor.InProcess)
    monkeypatch.setenv(executor.VARIABLE, '{"processes": 3}')
    assert executor.from_environment().n_workers == 3


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    made = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    yield made
    made.close()


@pytest.mark.long
def test_a_dask_cluster_gives_the_same_with_one_and_three_workers_and_after_a_kill(cluster, tmp_path):
    expected = results(None)
    assert results(cluster.scheduler_address) == expected
    cluster.scale(3)
    assert results(cluster.scheduler_address) == expected
    made = executor.make(cluster.scheduler_address)
    assert list(made.map(die_once, [(tmp_path, k) for k in range(8)])) == [k * k for k in range(8)]
    made.close()


@pytest.mark.long
def test_a_scheduler_that_goes_away_says_so(cluster):
    made = executor.make(cluster.scheduler_address)
    found = made.map(product, work())
    next(found)
    cluster.close()
    with pytest.raises(executor.LostError, match="went away in the middle of the work"):
        list(made.map(product, work()))


def test_no_scheduler_at_an_address_says_so(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executor, "_TIMEOUT", 1)
    with pytest.raises(executor.LostError, match="No Dask scheduler answers at tcp"):
        list(executor.make("tcp://127.0.0.1:9").map(product, work()))
