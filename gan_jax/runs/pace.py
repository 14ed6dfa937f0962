"""How far the host runs ahead of the devices, which bounds how soon a run can stop."""

import collections
import time
from collections.abc import Callable
from typing import Any

import jax

# Work that the devices may be given in advance, and the most calls of it.
_SECONDS = 0.25
_MOST_CALLS = 16
# Calls over which the time of one is estimated.
_RECENT = 4


class Pace:
    """Waits for the devices, so that they are never given more than a moment's work in advance.

    JAX dispatches a call and returns. A run that has dispatched many calls can stop only when all
    of them are done. Calls of more than a quarter of a second are waited for one by one.

    Args:
      now: returns seconds.
      wait: waits for the results of a call.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[Any], Any] = jax.block_until_ready,
    ) -> None:
        self._now, self._wait = now, wait
        self._calls: collections.deque[Any] = collections.deque()
        self._done = now()
        self._seconds: collections.deque[float] = collections.deque(maxlen=_RECENT)

    def add(self, results: Any) -> int:
        """Note that a call has been dispatched; return how many calls may be unfinished."""
        self._calls.append(results)
        while len(self._calls) > self._allowed():
            self._wait(self._calls.popleft())
            before, self._done = self._done, self._now()
            self._seconds.append(self._done - before)
        return len(self._calls)

    def _allowed(self) -> int:
        """Return how many calls may be unfinished: none until their time is known."""
        if len(self._seconds) < _RECENT:
            return 0
        return int(min(_MOST_CALLS, _SECONDS / max(*self._seconds, 1e-9)))
