"""Progress of long work, in a notebook, on a terminal and in a log."""

import contextlib
import os
import time

LOG = "HIVEMIND_PROGRESS"  # environment: a file that gets one line per minute, for who runs a notebook without a head
FIRST_S, EVERY_S = 10, 60


ENOUGH = 5  # responses from which on a rate says how long the rest takes


class Display:
    """Bars as text: redrawn in place in a notebook and on a terminal's last line, every minute in a log.

    Where the environment names a file in `LOG`, a line is added to it every minute too, the first after ten seconds.
    """

    def __init__(self):
        self.started = self.shown = time.monotonic()
        self.due = self.started + FIRST_S
        self.handle = self.before = None

    def show(self, runner, last=False):
        """Show how far the run is, where it can be seen."""
        import sys

        now = time.monotonic()
        if not runner.jobs:
            return
        if self.before is None:
            self.before = _done(runner)
        if (path := os.environ.get(LOG)) and (last or now >= self.due):
            self.due = now + EVERY_S
            with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
                file.write(self.line(runner) + "\n")
        if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) and shell.has_trait("kernel"):
            from IPython.display import display

            content = {"text/plain": self.bars(runner)}
            if self.handle is None:
                self.handle = display(content, raw=True, display_id=True)
            else:
                self.handle.update(content, raw=True)
        elif sys.stderr.isatty():
            print(f"\r{self.total(runner)}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or now - self.shown >= (EVERY_S if self.shown > self.started else FIRST_S):
            self.shown = now
            print(self.bars(runner) if last else self.line(runner), file=sys.stderr, flush=True)

    def total(self, runner):
        """One line for the whole run."""
        done = _done(runner)
        wanted = sum(c["wanted"] for c in runner.counts.values())
        seconds = time.monotonic() - self.started
        return f"{'total':<40} {_bar(done, wanted)} {done:>7,}/{wanted:,}  ${runner.cost:,.4f}  {seconds:,.0f} s"

    def line(self, runner):
        """Responses, rate, cost and time left, in one line."""
        done, wanted = _done(runner), sum(c["wanted"] - c["unsupported"] for c in runner.counts.values())
        seconds = max(time.monotonic() - self.started, 1e-9)
        new = done - (self.before or 0)
        rate, ended = new / seconds, f"after {_duration(seconds)}"
        if done < wanted and new:
            ended = f"about {_duration((wanted - done) / rate)} left" if new >= ENOUGH else "time left not known yet"
        return f"{done:,} of {wanted:,} responses, {rate:,.2f} per second, ${runner.cost:,.4f}, {ended}"

    def bars(self, runner):
        """One line per model and one for the whole run."""
        lines = []
        for model, c in runner.counts.items():
            done = c["stored"] + c["added"]
            why = f"  {runner.failures[model][:60]}" if model in runner.failures else ""
            lines.append(
                f"{model[-40:]:<40} {_bar(done, c['wanted'])} {done:>7,}/{c['wanted']:,}  ${c['cost_usd']:,.4f}{why}"
            )
        return "\n".join([*lines, self.total(runner)])


def _done(runner):
    return sum(c["stored"] + c["added"] for c in runner.counts.values())


def _duration(seconds):
    """A length of time in words: 42 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5_400 else f"{seconds / 3_600:,.1f} h"


def _bar(done, wanted, width=20):
    full = width * done // max(wanted, 1)
    return "█" * full + "░" * (width - full)
