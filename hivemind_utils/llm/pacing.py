"""When a provider may be called, and how long a run is waited for."""

import asyncio
import contextlib
import signal
import threading
import time

from hivemind_utils.llm import progress as progress_llm


class Gate:
    """When a provider may be called: its rates, and the pauses it asks for."""

    def __init__(self, limits):
        self.concurrency = limits["concurrency"]
        self.request_s = 60 / limits["requests_per_minute"] if limits["requests_per_minute"] else 0
        self.token_s = 60 / limits["tokens_per_minute"] if limits["tokens_per_minute"] else 0
        self.timeout_s = limits.get("timeout_s")
        self.most_bytes = limits.get("max_reply_mb") and int(limits["max_reply_mb"] * 2**20)
        self.next_request = self.next_token = self.paused_until = 0.0

    async def turn(self, tokens):
        """Wait for a turn and book `tokens`, an estimate."""
        while (wait := max(self.next_request, self.next_token, self.paused_until) - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self.next_request = time.monotonic() + self.request_s
        self.correct(tokens)

    def correct(self, tokens):
        """Book more tokens, or fewer than were estimated."""
        self.next_token = max(self.next_token, time.monotonic()) + tokens * self.token_s

    def pause(self, seconds):
        """Call nobody for some seconds."""
        self.paused_until = max(self.paused_until, time.monotonic() + seconds)


class Ended(KeyboardInterrupt):
    """A signal asked the process to end; it is handled as Ctrl-C is."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def ending_in_order():
    """Inside it SIGTERM and SIGHUP end a run as Ctrl-C does, with what is in flight stored; then they act as before.

    A signal that the process ignores (as under nohup) stays ignored. Where signals cannot be handled, in another thread
    than the first, nothing changes.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}

    def end(number, frame):
        signal.signal(number, before[number])  # a second one acts at once
        raise Ended(number)

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            handler = signal.getsignal(number)
            if handler is not None and handler != signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, end)
    try:
        yield
    except Ended as ended:
        _restore(before)
        signal.raise_signal(ended.number)  # the process ends, unless somebody handles it
        raise
    finally:
        _restore(before)


def _restore(before):
    for number, handler in before.items():
        signal.signal(number, handler)


def wait(future, runner, progress):
    """Wait in the calling thread, where signals arrive, and show how far the run is."""
    display = progress_llm.Display() if progress else None
    while True:
        try:
            future.result(timeout=0.25)
            break
        except TimeoutError:
            if future.done():
                future.result()  # raises what the run raised; it may have ended just now
                break
        if display:
            display.show(runner)
    if display:
        display.show(runner, last=True)
