"""Where the programs and the configurations are, and the names that programs are started by.

In the repository `experiments`, `configs` and `scripts` stand beside `gan_jax`; setup.py puts them
into `gan_jax/programs` of an installed wheel. Either folder is `FOLDER`, which is on `sys.path`
wherever a program runs, so that ``from configs import base`` works in both.
"""

import difflib
import importlib.util
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gan_jax import errors

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "programs"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent

# The module and the purpose of each command of `gan_jax.console`.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("experiments.main", "train a configuration, or continue a run"),
    "sample": ("experiments.sample", "make samples, grids, animations or projections of a run"),
    "translate": ("experiments.translate", "translate or restore images or sounds with a run"),
    "evaluate": ("experiments.evaluate", "measure a run, or two sets of images"),
    "anomalies": ("experiments.anomalies", "give images anomaly scores by a run"),
    "export": ("experiments.export", "write a run's networks as StableHLO, ONNX or safetensors"),
    "report": ("experiments.report", "write the report of a run: one HTML file"),
    "compare": ("experiments.compare", "compare runs, in text or as an HTML file"),
    "demo": ("experiments.demo", "show a run on a page in the browser"),
    "sweep": ("experiments.sweep", "train many runs: a grid, seeds or a search"),
    "cache": ("experiments.cache", "show or clear what is cached between runs"),
    "prepare": ("scripts.prepare_data", "download a TFDS data set, once"),
    "convert-inception": ("scripts.convert_inception", "convert the weights for FID, once"),
}


# How this process's commands begin; `None`: by their modules, as in the repository.
_prefix: str | None = "gan-jax" if FOLDER == _INSTALLED else None
# The words that have started this process in place of a path; none: it was started by a path.
_words: list[str] = []


def start(prefix: str, name: str) -> None:
    """Note that ``prefix name`` has started this process, and make the programs importable.

    Side effect: changes `sys.path`. `FOLDER` is the first there, since a user's working directory
    may have a folder ``configs`` or ``experiments``.
    """
    global _prefix, _words
    _prefix, _words = prefix, [*prefix.split(), name]
    sys.path.insert(0, str(FOLDER))


def command(name: str) -> str:
    """Return how a program is started here: ``gan-jax train`` or ``python -m experiments.main``."""
    module, _ = COMMANDS[name]
    return f"python -m {module}" if _prefix is None else f"{_prefix} {name}"


def command_line() -> list[str]:
    """Return the words that have started this process, which repeat it in the same directory."""
    return [*_words, *sys.argv[1:]] if _words else list(sys.argv)


def respelled(text: str) -> str:
    """Return ``text``, written for the repository, with the commands that work here."""
    if _prefix is None:
        return text
    for name, (module, _) in COMMANDS.items():
        text = re.sub(rf"python -m {re.escape(module)}\b", command(name), text)
    return re.sub(r"\bconfigs/(\w+)\.py", r"\1", text)


def configurations() -> dict[str, Path]:
    """Return the files of the configurations of this project by name."""
    files = sorted((FOLDER / "configs").glob("*.py"))
    return {file.stem: file for file in files if file.stem not in ("__init__", "base")}


def located(config: str) -> str:
    """Return ``FILE`` or ``FILE:ARG`` of a configuration, which may be ``NAME`` or ``NAME:ARG``.

    Raises:
      UnknownNameError: there is none of this name; the message lists the nearest ones.
    """
    name, colon, arg = config.partition(":")
    if not re.fullmatch(r"[\w-]+", name):
        # Shells do not expand "~" after "=".
        return f"{Path(name).expanduser()}{colon}{arg}" if name.startswith("~") else config
    known = configurations()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or known
        raise errors.UnknownNameError(
            f"--config={name} is no configuration; accepted: the path of a Python file, or a name: "
            f"{', '.join(near)}"
        )
    return f"{known[name]}{colon}{arg}"


def require_packages(what: str, packages: Sequence[str], extra: str, more: str = "") -> None:
    """Check that packages are installed, which are not imported.

    Args:
      what: what needs them, for the message.
      packages: their names, as they are imported.
      extra: the extra of this project that has them.
      more: a command that is needed beside that.

    Raises:
      ConfigError: some are missing; the message says how to install them.
    """
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        further = f" && {more}" if more else ""
        raise errors.ConfigError(
            f"{what} needs {' and '.join(missing)}, which {'are' if missing[1:] else 'is'} not "
            f"installed: pip install -e '.[{extra}]'{further}"
        )


def get_config(config: str) -> "ConfigDict":
    """Return a configuration: ``NAME``, ``NAME:ARG``, ``FILE`` or ``FILE:ARG``, as of ``--config``.

    Side effects: executes the file, which may register networks or losses, and makes this
    project's package `configs` importable.

    Raises:
      UnknownNameError: there is none of this name; the message lists the nearest ones.
      ConfigError: the file does not exist, or its function `get_config` refuses what it is given.
    """
    file, _, arg = located(config).partition(":")
    if not Path(file).is_file():
        raise errors.ConfigError(
            f"config = {config!r}; accepted: an existing Python file, or a name"
        )
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    found: ConfigDict = runpy.run_path(file)["get_config"](*([arg] if arg else []))
    return found
