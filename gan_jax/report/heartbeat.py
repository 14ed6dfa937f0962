"""A line on what a program is doing whenever it has shown nothing for some seconds."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

#: Seconds without a line after which one is shown, and seconds between two checks.
SILENCE = 9.0
_CHECK = 0.5
# Short work is not announced.
_FIRST = 2.0


class Heartbeat:
    """Shows a line after every `SILENCE` seconds without one; a context manager.

    Args:
      show: shows the line, from a thread of this object; it may fail, and is then not called again.
      first: seconds before the first line.
    """

    def __init__(self, show: Callable[[], None], first: float = SILENCE) -> None:
        self._show = show
        self._due = time.monotonic() + first
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def rest(self) -> None:
        """Begin to wait anew, since a line has been shown."""
        self._due = time.monotonic() + SILENCE

    def _watch(self) -> None:
        # A closed output ends the program where it prints itself.
        with contextlib.suppress(OSError, ValueError):
            while not self._ended.wait(_CHECK):
                if time.monotonic() >= self._due:
                    self._show()
                    self.rest()


@contextlib.contextmanager
def working(what: str, *, enabled: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show what is done in a context, and since when, if it takes more than two seconds.

    Args:
      what: is done, for people.
      enabled: whether to show anything.

    Yields:
      A function of (items done, items in all), which are shown too.
    """
    started, counts = time.monotonic(), ""

    def count(done: int, total: int) -> None:
        nonlocal counts
        counts = f" {done:,} of {total:,}"

    def show() -> None:
        print(f"{what} ...{counts}, {time.monotonic() - started:.0f} s", flush=True)

    if not enabled:
        yield count
        return
    with Heartbeat(show, _FIRST):
        yield count
