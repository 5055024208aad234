"""What long work says of itself."""

from types import SimpleNamespace

import pytest

from hivemind_utils.llm import progress


def runner(stored=0, added=0, wanted=100, cost=0.5):
    counts = {"m": {"stored": stored, "added": added, "wanted": wanted, "unsupported": 0, "cost_usd": cost}}
    return SimpleNamespace(jobs={"m": [1]}, counts=counts, failures={}, cost=cost)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.value)
    return now


def test_a_line_a_minute_says_how_far_it_is_and_how_long_it_takes(clock, tmp_path, monkeypatch):
    log = tmp_path / "04.progress.txt"
    monkeypatch.setenv(progress.LOG, str(log))
    display = progress.Display()
    display.show(runner(stored=10))
    for second in range(1, 131):
        clock.value = 1000.0 + second
        display.show(runner(stored=10, added=second // 2))
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines == [
        "15 of 100 responses, 0.50 per second, $0.5000, about 3 min left",
        "45 of 100 responses, 0.50 per second, $0.5000, about 2 min left",
        "75 of 100 responses, 0.50 per second, $0.5000, about 50 s left",
    ]
    display.show(runner(stored=10, added=90), last=True)
    assert log.read_text(encoding="utf-8").splitlines()[-1].endswith("after 2 min")


@pytest.mark.parametrize(
    "new, said", [(0, "after 10 s"), (1, "not known yet"), (4, "not known yet"), (5, "3 min left")]
)
def test_a_few_responses_say_nothing_of_the_time_left(clock, new, said):
    display = progress.Display()
    display.show(runner())
    clock.value += 10
    assert display.line(runner(added=new)).endswith(said)


def test_a_log_that_cannot_be_written_stops_nothing(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(progress.LOG, str(tmp_path / "no" / "folder.txt"))
    display = progress.Display()
    display.show(runner(added=100), last=True)
    assert "100/100" in capsys.readouterr().err
