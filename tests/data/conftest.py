"""What the tests of data share: the real data, and configurations like ``config.data``."""

import pytest
from ml_collections import ConfigDict

from tests.real_data import shared_data

__all__ = ["data_config", "shared_data"]


@pytest.fixture
def data_config():
    """Return a function that makes a ``config.data`` with some fields changed."""

    def make(**fields):
        defaults = {
            "name": "digits",
            "split": "train",
            "resolution": 16,
            "channels": None,
            "value_range": (),
            "labels": (),
            "resize": "resize",
            "path": None,
            "captions": {},
            "text": {},
            "sound": {},
            "video": {},
            "music": {},
            "spectrogram": {},
            "data_dir": None,
            "on_error": "raise",
            "toy_size": 800,
            "toy_noise": None,
            "pairing": "none",
            "a": None,
            "b": None,
            "scale": 1,
            "normal": (),
            "without": (),
        }
        assert fields.keys() <= defaults.keys()
        return ConfigDict(defaults | fields)

    return make
