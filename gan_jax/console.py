"""``gan-jax COMMAND``: the programs of `experiments` under one name, wherever it is started."""

import os
import runpy
import sys
from pathlib import Path

from gan_jax import __version__, errors, installation


def main() -> None:
    """Run the command that the process's first argument names, with the arguments after it.

    Side effects: as those of ``python -m`` with the module of the command; ends the process with 1
    and a list of the commands on standard error if there is no such command.
    """
    as_module = Path(sys.argv[0]).name == "__main__.py"
    prefix = "python -m gan_jax" if as_module else "gan-jax"
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(_usage(prefix))
    elif name == "--version":
        print(__version__)
    elif name not in installation.COMMANDS:
        known = installation.COMMANDS
        wrong = f"{name!r} is no command.{errors.suggestion(name, known)}" if name else "no command"
        print(f"error: {wrong}\n\n{_usage(prefix)}", file=sys.stderr)
        sys.exit(1)
    else:
        installation.start(prefix, name)
        # A configuration file may import modules beside it, as with `python -m`.
        sys.path.append(os.getcwd())
        sys.argv = [sys.argv[0], *arguments]
        module, _ = installation.COMMANDS[name]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _usage(prefix: str) -> str:
    """Return the commands with a line each."""
    width = max(map(len, installation.COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in installation.COMMANDS.items()]
    begin, end = f"usage: {prefix} COMMAND [--FLAG=VALUE ...]", f"flags: {prefix} COMMAND --help"
    return "\n".join([begin, "", *lines, "", end])
