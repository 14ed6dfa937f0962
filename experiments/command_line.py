"""Running a program so that a user error is reported in one line, without a traceback."""

import difflib
import gc
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from gan_jax import errors, installation, paths, settings


class _NumberOrTuple(flags.ArgumentParser):
    """Parses a whole number, or several between parentheses."""

    syntactic_help = "a whole number, or several as in (48,64)"

    def parse(self, argument: Any) -> int | tuple[int, ...]:
        """Return the value of a flag; a default is no text."""
        if isinstance(argument, str) and argument.startswith("("):
            return tuple(int(part) for part in argument.strip("()").split(",") if part.strip())
        return argument if isinstance(argument, tuple) else int(argument)

    def flag_type(self) -> str:
        """Return the name of the type, for help."""
        return "int or tuple"


class _OrNone(flags.ArgumentParser):
    """Parses ``None`` as `None`, and anything else as another parser does."""

    def __init__(self, parser: flags.ArgumentParser) -> None:
        self._parser = parser
        self.syntactic_help = parser.syntactic_help

    def parse(self, argument: str) -> Any:
        """Return the value of a flag."""
        return None if argument == "None" else self._parser.parse(argument)

    def flag_type(self) -> str:
        """Return the name of the type, for help."""
        return self._parser.flag_type()


for _kind, _parser in (
    (float, flags.FloatParser()),
    (int, flags.IntegerParser()),
    (str, flags.ArgumentParser()),
    (settings.NUMBER_OR_TUPLE, _NumberOrTuple()),
):
    config_flags.register_flag_parser_for_type(_kind, _OrNone(_parser))


def run(main: Callable[[], None]) -> None:
    """Run ``main`` under absl's flags; arguments that are no flags are an error.

    Side effects: as `run_with_arguments`.
    """

    def without_arguments(rest: list[str]) -> None:
        if rest:
            raise errors.ConfigError(f"unknown argument {rest[0]!r}; accepted: flags, see --help")
        main()

    run_with_arguments(without_arguments)


def run_with_arguments(main: Callable[[list[str]], None]) -> None:
    """Run ``main`` under absl's flags, with the arguments that are no flags.

    Side effects: ends the process: with 0; with 1 and one line on standard error after a bad flag
    or an error that `gan_jax.errors` describes; silently with 1 after a broken pipe; with 130 after
    Ctrl-C, where the program does not stop gracefully. Other packages' log records are shown from
    WARNING on, this project's from INFO on; ``--verbosity`` changes the former.
    """
    # Which --help shows.
    program = sys.modules["__main__"]
    if program.__doc__:
        program.__doc__ = installation.respelled(program.__doc__)
    # Modules and traced programs stay. Looking for garbage among them takes a tenth of a start.
    gc.set_threshold(300_000)
    try:
        app.run(lambda argv: main(argv[1:]), flags_parser=_parse)
    except (errors.GanJaxError, BrokenPipeError, KeyboardInterrupt) as error:
        sys.exit(report(error))


def require(**needed: str) -> list[Any]:
    """Return the values of flags; raise a `ConfigError`, with what to give, if one is missing."""
    for name, what in needed.items():
        if flags.FLAGS[name].value is None:
            raise errors.ConfigError(f"--{name} is missing; give {what}")
    return [flags.FLAGS[name].value for name in needed]


def refuse(names: Iterable[str], mode: str) -> None:
    """Raise a `ConfigError` if one of these flags, which have no effect in a mode, is given."""
    for name in names:
        if not flags.FLAGS[name].using_default_value:
            raise errors.ConfigError(f"--{name} has no effect with {mode}; accepted: none")


def numbers(name: str) -> tuple[float, ...]:
    """Return the numbers of a flag that are separated by commas; none if it is not given.

    Raises:
      ConfigError: one is no number, or is below 0 or not finite.
    """
    if (given := flags.FLAGS[name].value) is None:
        return ()
    try:
        values = tuple(float(value) for value in given.split(","))
    except ValueError:
        values = (-1.0,)
    if not all(0 <= value < float("inf") for value in values):
        raise errors.ConfigError(
            f"--{name}={given}; accepted: a number, 0 or more, or several with commas"
        )
    return values


def report(error: BaseException) -> int:
    """Report on standard error why the program ends; return its exit code.

    Side effect: discards further standard output after a broken pipe.
    """
    if isinstance(error, errors.GanJaxError):
        print(f"error: {error}", file=sys.stderr)
        return 1
    if isinstance(error, BrokenPipeError):
        # The reader of the output, such as `head`, has ended. Rich raises this error as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    traceback.print_exception(error)
    return 1


def _parse(argv: list[str]) -> list[str]:
    """Return the arguments that are no flags, after the program's name.

    Raises:
      ConfigError: a flag, or the configuration file that it names, cannot be used.
    """
    try:
        rest = flags.FLAGS(argv[:1] + _with_files([_underscored(arg) for arg in argv[1:]]))
        _make_paths_local()
        if "config" in flags.FLAGS and flags.FLAGS["config"].value is not None:
            # A file that could not be read raises its error only when its content is touched.
            _ = flags.FLAGS["config"].value.is_locked
            _check_unset(flags.FLAGS["config"])
    except SystemExit:
        sys.exit(0)  # Help was asked for and given, which absl takes for a failure.
    except flags.Error as error:
        raise errors.ConfigError(_first_reason(error)) from error
    except (AttributeError, KeyError) as error:
        if (field := _unknown_field(argv, error)) is None:
            raise  # A bug in the configuration file: its author needs the traceback.
        raise errors.ConfigError(f"{field} is no field{_hint(error)}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = re.sub(r".*\[Errno \d+\] ", "", _one_line(error))
        raise errors.ConfigError(f"--config cannot be read: {reason}{_nearest(argv)}") from error
    if flags.FLAGS["verbosity"].using_default_value:
        absl_logging.set_verbosity(absl_logging.WARNING)
    absl_logging.get_absl_handler().setFormatter(
        logging.Formatter("%(levelname)s %(name)s: %(message)s")
    )
    logging.getLogger("gan_jax").setLevel(logging.INFO)
    return rest


def _check_unset(flag: flags.Flag[Any]) -> None:
    """Check that only fields that may be unset were set to ``None``.

    Raises:
      ConfigError: another one was.
    """
    for path, value in config_flags.get_override_values(flag).items():
        *groups, name = path.split(".")
        group: Any = flag.value
        for each in groups:
            group = group[each]
        # A field that may be unset keeps the type of its values.
        if value is None and group.get_type(name) is type(None):
            raise errors.ConfigError(f"--config.{path}=None; accepted: a value")


def _with_files(arguments: list[str]) -> list[str]:
    """Return arguments in which the value of ``--config`` is a file.

    Raises:
      UnknownNameError: it is the name of no configuration.
    """
    located = []
    for before, arg in zip(["", *arguments], arguments, strict=False):
        if before == "--config":
            arg = installation.located(arg)
        elif arg.startswith("--config="):
            arg = f"--config={installation.located(arg.removeprefix('--config='))}"
        located.append(arg)
    return located


def _make_paths_local() -> None:
    """Expand ``~`` in the values of flags, and refuse paths that are not on this machine.

    Raises:
      ConfigError: a path is not.
    """
    for name, flag in flags.FLAGS.flag_values_dict().items():
        # That of a Ray cluster; the fields of the configuration are checked by themselves.
        if name == "address" or name.startswith("config"):
            continue
        values = flag if isinstance(flag, list) else [flag]
        if any(isinstance(value, str) and paths.is_special(value) for value in values):
            made = [str(paths.local(value, f"--{name}")) for value in values]
            flags.FLAGS[name].value = made if isinstance(flag, list) else made[0]


def _nearest(argv: list[str]) -> str:
    """Return a hint at the configurations whose names are near that of ``--config``."""
    given = [arg.partition("=")[2] for arg in argv if arg.startswith("--config=")]
    path = Path(given[-1].partition(":")[0] if given else "")
    there = {file.stem: str(file) for file in path.parent.glob("*.py") if file.stem != "__init__"}
    known = there or dict.fromkeys(installation.configurations())
    near = difflib.get_close_matches(path.stem, known, n=3)
    return f". Did you mean {', '.join(known[name] or name for name in near)}?" if near else ""


def _underscored(arg: str) -> str:
    """Return a flag with ``_`` for ``-`` in its name: ``--num-fake=8`` is ``--num_fake=8``."""
    name, equals, value = arg.partition("=")
    if not name.startswith("--") or name == "--":
        return arg
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _first_reason(error: Exception) -> str:
    """Return the message of the first error of a chain that is this project's, else of the last."""
    reason, cause = _one_line(error), error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, errors.GanJaxError):
            reason = _one_line(cause)
        cause = cause.__cause__ or cause.__context__
    return reason


def _unknown_field(argv: list[str], error: Exception) -> str | None:
    """Return the ``--config.`` flag that names what ``error`` misses; ``None`` if none does."""
    missing = re.search(r"\w+", str(error))
    for arg in argv[1:]:
        flag = arg.split("=", 1)[0]
        if missing and flag.startswith("--config.") and missing[0] in flag.split(".")[1:]:
            return flag
    return None


def _hint(error: Exception) -> str:
    """Return the suggestion of a nearby name that `ml_collections` makes, if it makes one."""
    found = re.search(r'Did you mean ("[^"]*")', str(error))
    return f". Did you mean {found[1]}?" if found else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
