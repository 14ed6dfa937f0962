"""A progress bar on terminals."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import rich.console
import rich.progress

# Called with the amount of work done.
Advance = Callable[[int], None]


@contextlib.contextmanager
def bar(text: str, total: int, stream: TextIO | None = None) -> Iterator[Advance]:
    """Show a labelled progress bar in the context, on a terminal only.

    It is shown on ``stream``, by default standard output. The context's value is a function to call
    with the amount of work done, of ``total``.
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

        def advance(done: int) -> None:
            shown.update(task, completed=done)

        yield advance
