"""Pages made of the templates in ``templates/``: everything in one file, every value escaped."""

import datetime
from pathlib import Path
from typing import Any

import gan_jax
from gan_jax import errors, installation
from gan_jax.report import atomic
from gan_jax.report.progress import format_number

_PACKAGES = ("jinja2", "matplotlib")


def check(out: str | Path, overwrite: bool) -> Path:
    """Check that a page can be written, before its content is computed; return its path.

    Raises:
      ConfigError: the packages of the extra ``report`` are missing, or ``out`` has another suffix
        than .html.
      WorkdirError: the file exists and may not be replaced.
    """
    installation.require_packages(str(out), _PACKAGES, "report")
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise errors.ConfigError(f"--out={out}; accepted: a .html")
    atomic.check_free(path, overwrite)
    return path


def render(name: str, **content: Any) -> str:
    """Return the page of a template.

    Args:
      name: of the file in ``templates/``.
      **content: the template's variables.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gan_jax.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    environment.filters["value"] = format_value
    environment.globals["commands"] = {
        name: installation.command(name) for name in installation.COMMANDS
    }
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    version = gan_jax.__version__
    return environment.get_template(name).render(made=made, version=version, **content)


def format_value(value: Any) -> str:
    """Return the value of a configuration field as a flag takes it; a list stands for a tuple."""
    if isinstance(value, str) and value:
        return value
    return repr(tuple(value) if isinstance(value, list) else value)
