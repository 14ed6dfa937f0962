"""Where the real data of some tests lies: outside the repository, never committed.

``$GAN_JAX_TEST_DATA``, or ``shared/data`` beside the repository. A test that asks for what is not
there is skipped.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """Return the folder of the real data, which may not exist."""
    return Path(os.environ.get("GAN_JAX_TEST_DATA") or _REPOSITORY.parent / "shared" / "data")


def find(name: str) -> Path:
    """Return the path of a real data set, such as "faces_64.zip"; skip the test without it."""
    path = data_root() / name
    if not path.exists():
        pytest.skip(f"real data {name} is not in {data_root()} (GAN_JAX_TEST_DATA)")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the function that finds a real data set or skips the test."""
    return find
