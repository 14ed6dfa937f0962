"""Games with an untrained generator with styles, small enough to compile in a second."""

import functools
from typing import Any

import jax
import numpy as np

from gan_jax.games.game import GenerativeGame, as_generative
from gan_jax.networks.styles import AVERAGE
from gan_jax.runs import build
from tests.training import tiny

LAYERS = 4


@functools.cache
def styled(num_classes: int | None = None) -> tuple[GenerativeGame, dict[str, Any]]:
    """Return StyleGAN2 at 8x8, and the generator's variables with a mean style."""
    config = tiny.style_config()
    if num_classes:
        config.generator.conditioning = "concat"
        config.discriminator.conditioning = "projection"
    game = as_generative(build.make_game(config, tiny.spec(config, num_classes)), "a test")
    own = dict(jax.jit(game.networks["generator"].init)(jax.random.key(0)))
    # So that nearly all pixels are in the range of images.
    synthesis = jax.tree.map(lambda x: 0.7 * x, own["params"]["synthesis"])
    own["params"] = {**own["params"], "synthesis": synthesis}
    mean = np.random.default_rng(0).normal(size=4).astype(np.float32)
    return game, {"generator": {**own, AVERAGE: {"mean": mean}}}
