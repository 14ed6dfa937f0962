"""The configuration files, and their fields by dotted name."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from configs import base

FOLDER = Path(__file__).parents[2] / "configs"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "base"))


def module(name: str) -> ModuleType:
    """Return a variant's module."""
    return importlib.import_module(f"configs.{name}")


def load(name: str, arg: str = "") -> ConfigDict:
    """Return a variant's configuration."""
    return module(name).get_config(arg)


def datasets(name: str) -> tuple[str, ...]:
    """Return what a variant can be trained on as it is, its default first."""
    if name in ("pix2pix", "cyclegan"):
        return base.TRANSLATION
    if name in ("colorize", "deblur", "denoise", "inpaint", "srgan"):
        return base.RESTORATION
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


def options(group: ConfigDict) -> dict[str, Any]:
    """Return the fields of a group that are set, and those of the sub-group that it names."""
    shared = {k: v for k, v in group.items() if k != "name" and not isinstance(v, ConfigDict)}
    chosen = {**shared, **group.get(group.name, {})}
    return {k: v for k, v in chosen.items() if v is not None}
