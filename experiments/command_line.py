"""Running a program so that a mistake of the user's is told in one line, without a traceback."""

import sys
from collections.abc import Callable

from absl import app

from gan_jax import errors


def run(main: Callable[[list[str]], None]) -> None:
    """Run ``main`` under absl's flags.

    Side effect: ends the process: with 0, with 1 after an error that `gan_jax.errors` describes
    (its message goes to standard
    error), or as absl does on a bad flag.
    """
    try:
        app.run(main)
    except errors.GanJaxError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
