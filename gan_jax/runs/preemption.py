"""Graceful shutdown by SIGTERM or Ctrl-C, at the same step in every process."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils

T = TypeVar("T")

# One Ctrl-C may come twice: to the process itself, and again from the one that watches it.
_SAME_SECONDS = 1.0


class StopRequest:
    """A context in which SIGTERM and Ctrl-C ask for a stop instead of ending the process.

    One process handles both signals itself. Several must stop at the same step: JAX's distributed
    service forwards the request, and Ctrl-C is turned into the SIGTERM that the service waits for.
    The second Ctrl-C exits immediately, unless it comes within a second of the first. Further
    SIGTERMs, which schedulers send, are ignored, also after the context.
    """

    def __init__(self) -> None:
        self._asked: str | None = None
        self._interrupted: float | None = None
        self._calls = 0
        self._abandons = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        """Install the handlers; outside the main thread, where Python allows none, do nothing."""
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT]
            if jax.process_count() == 1:
                numbers.append(signal.SIGTERM)
            for number in numbers:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: Any) -> None:
        """Restore the handlers, except that of SIGTERM if it has been obeyed."""
        for number, handler in self._previous.items():
            # Python gives a handler of its own up before the process has ended.
            obeyed = number == signal.SIGTERM and self._asked == "SIGTERM"
            signal.signal(number, signal.SIG_IGN if obeyed else handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked != "SIGTERM":
            self._asked = signal.Signals(number).name
        if self._abandons:
            self._abandons = False
            self._interrupted = time.monotonic()
            raise KeyboardInterrupt
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if self._interrupted is None:
            self._interrupted = now
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)
        elif now - self._interrupted >= _SAME_SECONDS:
            signal.default_int_handler(number, frame)

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Return what ``work`` returns; ``None``: a signal came before its end, and ended it.

        For work that can be repeated later, such as an evaluation. Several processes, which stop
        together, do all of it.
        """
        if not self._previous or jax.process_count() > 1:
            return work()
        if self._asked is not None:
            return None
        self._abandons = True
        try:
            return work()
        except KeyboardInterrupt:
            if self._asked is None:
                raise
            return None
        finally:
            self._abandons = False

    def reason(self) -> str | None:
        """Return the signal's name if the run is to stop now, else ``None``.

        With several processes, every one must call this at the same steps.
        """
        if jax.process_count() == 1:
            return self._asked
        # JAX stops at the largest number of any process plus one, which must come: of the steps,
        # several may be taken at a time.
        self._calls += 1
        if multihost_utils.reached_preemption_sync_point(self._calls):
            if self._previous:
                # JAX's handler has done its work, and leaves the next signal to the system.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return self._asked or "SIGTERM"
        return None
