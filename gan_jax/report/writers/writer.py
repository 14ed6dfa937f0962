"""What a writer of metrics and images is, and several of them as one."""

import contextlib
from collections.abc import Iterable, Mapping

import numpy as np
from typing_extensions import override


class Writer:
    """Interface through which training reports; this base class, on its own, records nothing.

    The constructor and all methods raise a `WorkdirError` where a file cannot be written.
    """

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Record metrics of a step; ``kimg``: thousands of real images shown so far."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers of a step whose record is kept elsewhere."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Record an image of a step, uint8 [height, width, channels] with 1 or 3 channels."""

    def close(self) -> None:
        """Write what is buffered, and release the files, even where that fails."""


class Writers(Writer):
    """Passes everything to several writers in order."""

    def __init__(self, writers: Iterable[Writer]):
        self._writers = tuple(writers)

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        for writer in self._writers:
            writer.scalars(step, values, kimg=kimg)

    @override
    def curves(self, step: int, values: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.curves(step, values)

    @override
    def image(self, step: int, name: str, image: np.ndarray) -> None:
        for writer in self._writers:
            writer.image(step, name, image)

    @override
    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)
