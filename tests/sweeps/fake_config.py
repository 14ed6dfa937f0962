"""A configuration for `tests.sweeps.fake`."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` is its variant."""
    c = ConfigDict()
    c.variant = arg or "fake"
    c.mode = "good"
    c.rate = 1.0
    c.pause = 0.02
    c.saving = 0.2
    c.flip = False
    c.policy = ()
    c.path = placeholder(str)
    c.clip = placeholder(float)
    c.train = ConfigDict({"steps": 4, "seed": 0, "log_every": 1})
    c.eval = ConfigDict({"every": 1, "metrics": ("auto",)})
    return c.lock()


def sweep(add, arg):
    """Name two rates with two seeds each."""
    for rate in (0.1, 0.01):
        for seed in (0, 1):
            add(**{"rate": rate, "train.seed": seed})


def search(space):
    """Vary the rate."""
    space.log_uniform("rate", 1e-4, 1.0)
    space.choice("flip", (True, False))
