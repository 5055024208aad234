"""Progress of long work, in a notebook, on a terminal and in a log."""

import time


class Display:
    """Bars as text: redrawn in place in a notebook and on a terminal's last line, every half minute in a log."""

    def __init__(self):
        self.started = self.shown = time.monotonic()
        self.handle = None

    def show(self, runner, last=False):
        """Show how far the run is, where it can be seen."""
        import sys

        now = time.monotonic()
        if not runner.jobs:
            return
        if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) and shell.has_trait("kernel"):
            from IPython.display import display

            content = {"text/plain": self.bars(runner)}
            if self.handle is None:
                self.handle = display(content, raw=True, display_id=True)
            else:
                self.handle.update(content, raw=True)
        elif sys.stderr.isatty():
            print(f"\r{self.total(runner)}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or now - self.shown >= 30:
            self.shown = now
            print(self.bars(runner) if last else self.total(runner), file=sys.stderr, flush=True)

    def total(self, runner):
        """One line for the whole run."""
        done = sum(c["stored"] + c["added"] for c in runner.counts.values())
        wanted = sum(c["wanted"] for c in runner.counts.values())
        seconds = time.monotonic() - self.started
        return f"{'total':<40} {_bar(done, wanted)} {done:>7,}/{wanted:,}  ${runner.cost:,.4f}  {seconds:,.0f} s"

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


def _bar(done, wanted, width=20):
    full = width * done // max(wanted, 1)
    return "█" * full + "░" * (width - full)
