"""A bar for work that is counted: on a terminal only."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import rich.console
import rich.progress

# Called with how much is done.
Tell = Callable[[int], None]


@contextlib.contextmanager
def bar(text: str, total: int, stream: TextIO | None = None) -> Iterator[Tell]:
    """Show a bar that moves, and goes when the work is done; nothing where there is no terminal.

    Args:
      text: what is done, before the bar.
      total: how much there is to do.
      stream: where to show it; ``None`` for standard output.

    Yields:
      A function to call with how much is done.
    """
    console = rich.console.Console(file=stream or sys.stdout)
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=30),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task(text, total=total)

        def tell(done: int) -> None:
            shown.update(task, completed=done)

        yield tell
