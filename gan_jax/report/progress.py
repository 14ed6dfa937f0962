"""Progress of training: a bar on terminals, one plain line per log step elsewhere."""

import collections
import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

import rich.console
import rich.progress

from gan_jax.report.heartbeat import Heartbeat


class Clock:
    """Counts seconds of training across restarts, excluding evaluation."""

    def __init__(self, seconds: float = 0.0, now: Callable[[], float] = time.monotonic):
        """Start counting from the ``seconds`` of an earlier process; ``now`` is monotonic."""
        self._now = now
        self._counted = seconds
        self._since = now()
        self._pauses = 0

    @property
    def seconds(self) -> float:
        """The seconds of training so far."""
        return self._counted + (0.0 if self._pauses else self._now() - self._since)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Stop counting for the duration of the context; contexts may be nested."""
        if not self._pauses:
            self._counted = self.seconds
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._since = self._now()


class Progress:
    """Context manager that shows the progress of training.

    On a terminal it shows a bar (``rich``). Elsewhere (a log file, a pipe) every ``update`` prints
    one line without control characters, and so does the first ``reach``. At the latest after ten
    seconds without a line, one more says which step was reached, and what is done meanwhile.
    """

    def __init__(
        self,
        total_steps: int,
        images_per_step: int,
        *,
        start_step: int = 0,
        start_kimg: float | None = None,
        clock: Clock | None = None,
        stream: TextIO | None = None,
        enabled: bool = True,
    ):
        """Prepare; nothing is shown before ``update`` or, on a terminal, entering the context.

        Args:
          total_steps: the step at which training ends.
          images_per_step: real images per step, on all devices.
          start_step: the step from which a resumed run continues.
          start_kimg: thousands of images seen by then; None: ``images_per_step`` in each step.
          clock: measures the time for the speed; None: a new one.
          stream: where to print; None: standard output.
          enabled: whether to show anything; False for all processes but the first.
        """
        self.clock = clock or Clock()
        self._total_steps = total_steps
        self._images_per_step = images_per_step
        self._start_step = start_step
        self._start_kimg = start_step * images_per_step / 1000 if start_kimg is None else start_kimg
        self._stream = stream or sys.stdout
        self._enabled = enabled
        # The speed is averaged over the last few updates.
        self._marks = collections.deque([(start_step, self.clock.seconds)], maxlen=9)
        self._reached = start_step
        self._losses: Mapping[str, float] = {}
        self._doing = ""
        self._heartbeat = Heartbeat(self._show_reached)
        self._bar: rich.progress.Progress | None = None
        console = rich.console.Console(file=self._stream)
        if enabled and console.is_terminal:
            self._bar = rich.progress.Progress(
                rich.progress.BarColumn(bar_width=20),
                rich.progress.TextColumn("{task.description}", markup=False),
                console=console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(
                "preparing ...", total=total_steps, completed=start_step
            )

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        if self._enabled:
            self._heartbeat.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._heartbeat.__exit__()
        if self._bar is not None:
            self._bar.stop()

    @property
    def images_per_second(self) -> float:
        """Real images per second of training, over the last few updates; 0 before the second."""
        (step, seconds), (last_step, last_seconds) = self._marks[0], self._marks[-1]
        if last_seconds <= seconds:
            return 0.0
        return (last_step - step) * self._images_per_step / (last_seconds - seconds)

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        """Show the last finished step, with these values after the speed."""
        self._losses = losses
        self._mark(step)
        self._show()

    def reach(self, step: int) -> None:
        """Note the last finished step, which is shown if it is the first or nothing else is."""
        self._reached = step
        if len(self._marks) == 1:
            self._mark(step)
            self._show()

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say, where a line is due, that this is done in the context; the clock pauses."""
        self._doing, self._since = what, time.monotonic()
        with self.clock.pause():
            try:
                yield
            finally:
                self._doing = ""

    def _mark(self, step: int) -> None:
        self._reached = step
        self._marks.append((step, self.clock.seconds))

    def _show_reached(self) -> None:
        """Show the line of the last finished step, with the speed up to it."""
        if self._reached > self._marks[-1][0]:
            self._mark(self._reached)
        self._show()

    def _show(self) -> None:
        """Show the line of the last finished step."""
        if not self._enabled:
            return
        step, doing = self._reached, self._doing
        kimg = self._start_kimg + (step - self._start_step) * self._images_per_step / 1000
        speed = self.images_per_second
        line = format_line(
            step, self._total_steps, self._images_per_step, speed, self._losses, kimg
        )
        if doing:
            line += f"  {doing}, {time.monotonic() - self._since:.0f} s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=line)
        else:
            print(line, file=self._stream, flush=True)
        self._heartbeat.rest()

    def log(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)
        self._heartbeat.rest()


def format_line(
    step: int,
    total_steps: int,
    images_per_step: int,
    images_per_second: float,
    losses: Mapping[str, float],
    kimg: float,
) -> str:
    """Return the line of a log step: step, kimg, img/s (0 if it is not known yet), ETA, losses."""
    width = len(str(total_steps))
    if images_per_second > 0:
        seconds = round((total_steps - step) * images_per_step / images_per_second)
        left = str(datetime.timedelta(seconds=seconds))
        speed = f"{format_number(images_per_second)} img/s"
    else:
        left, speed = "?", "? img/s"
    parts = [
        f"step {step:{width}d}/{total_steps}",
        f"kimg {kimg:.1f}",
        speed,
        f"ETA {left}",
        *(f"{name} {format_number(value)}" for name, value in losses.items()),
    ]
    return "  ".join(parts)


def format_number(value: float) -> str:
    """Return a number with four significant digits, without an exponent where possible."""
    value = float(value)
    if 1000 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.4g}"
