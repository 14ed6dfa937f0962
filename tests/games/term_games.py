"""Games of small networks with one term of a loss each."""

import functools

import jax

from tests.games import stub
from tests.training import tiny

SHAPE = (4, 4, 1)
# Fields without which a term cannot be switched on, and small sizes.
NEEDS = {
    "classification": {"generator.conditioning": "concat"},
    "information": {"terms.information.categorical": (3, 2), "terms.information.hidden": 4},
    "matching": {
        "generator.conditioning": "text",
        "discriminator.conditioning": "text",
        "generator.name": "dfgan",
        "discriminator.name": "dfgan",
        "generator.dfgan.features": 1,
        "generator.dfgan.sentence_dim": 3,
        "discriminator.dfgan.features": 1,
        "discriminator.dfgan.sentence_dim": 3,
        "terms.matching.penalty": 0.0,
    },
    "path_length": {
        "generator.name": "stylegan2",
        "generator.stylegan2.features": 2,
        "generator.stylegan2.style_dim": 3,
        "generator.stylegan2.mapping_layers": 1,
    },
    "penalty": {"penalty.name": "wgan_gp", "penalty.weight": 2.0},
    "self_supervision": {
        "discriminator.name": "fastgan",
        "discriminator.fastgan.features": 1,
        "discriminator.fastgan.decoder_features": 1,
        "discriminator.fastgan.normalization": "none",
    },
    "transport": {"generator.latent_dim": 16},
}
SHAPES = {"matching": (8, 8, 1), "path_length": (8, 8, 1), "self_supervision": (16, 16, 1)}
LABELS = {"matching": tiny.CAPTION}


@functools.cache
def started(name, **fields):
    """Return a game of MLPs with one term, of weight 2 unless it is given, and a turn."""
    config = tiny.point_config()
    weight = {} if name == "penalty" else {f"terms.{name}.weight": 2.0}
    config.update_from_flattened_dict({**weight, **NEEDS.get(name, {}), **fields})
    return stub.begin(config, SHAPES.get(name, SHAPE), 3, batch=4, label=LABELS.get(name))


def both(game, turn):
    """Return real and generated data of a turn, and the verdicts on them."""

    @jax.jit
    def compute():
        data = {"real": game.data(turn), "fake": stub.generated(game, turn)}
        return data, {kind: stub.verdict(game, turn, x) for kind, x in data.items()}

    return jax.device_get(compute())
