import pytest

from gan_jax.metrics import extractors
from tests.metrics import stub


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what is cached out of the user's directory, and apart between tests."""
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def quarters(monkeypatch):
    """Register an extractor of our own."""
    monkeypatch.setitem(extractors.EXTRACTORS, "quarters", lambda setting: stub.extractor())
