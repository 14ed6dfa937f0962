"""The configuration files, and their fields by dotted name."""

import importlib
from pathlib import Path
from types import ModuleType

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import base
from experiments import command_line  # noqa: F401  The parser of optional fields.

FOLDER = Path(__file__).parents[2] / "configs"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "base"))


def module(name: str) -> ModuleType:
    """Return a variant's module."""
    return importlib.import_module(f"configs.{name}")


def load(name: str, arg: str = "") -> ConfigDict:
    """Return a variant's configuration."""
    return module(name).get_config(arg)


def parse(path: str | Path, *overrides: str) -> ConfigDict:
    """Return a configuration file with overrides from the command line."""
    values = flags.FlagValues()
    argv = ["main", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=argv)
    values(argv)
    return values["config"].value


def datasets(name: str) -> tuple[str, ...]:
    """Return what a variant can be trained on as it is, its default first."""
    if name in ("pix2pix", "cyclegan"):
        return base.TRANSLATION
    if name in ("colorize", "deblur", "denoise", "inpaint", "srgan"):
        return base.RESTORATION
    if name in ("mle", "seqgan", "textgan"):
        return base.TEXT
    if name in ("hifigan", "segan", "specgan", "wavegan"):
        return base.SOUND
    if name in ("mocogan", "predict", "videogan"):
        return base.VIDEO
    if name == "midinet":
        return base.MUSIC
    if name in ("stackgan", "text_to_image"):
        return base.CAPTIONED
    return base.GENERATION


def fields(config: ConfigDict, prefix: str = "") -> set[str]:
    """Return the dotted names of all fields."""
    found: set[str] = set()
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= fields(value, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found
