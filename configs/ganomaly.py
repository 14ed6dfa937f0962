"""GANomaly: images unlike those of training have latents that do not come back (Akçay 2018).

python -m experiments.main --config=configs/ganomaly.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "ganomaly"
    c.game.name = "anomaly"
    c.data.without = ("0",)
    c.generator.latent_dim = 32
    for network in ("encoder", "generator", "discriminator"):
        c[network].name = "dcgan"
        c[network].dcgan.features = 32
        c.optimizer[network] = base.adam(2e-4, 0.5, 0.999)
    c.train.update(steps=1000, batch_size=64, log_every=50, sample_every=250, checkpoint_every=500)
    c.sample.num = 16
    c.eval.update(every=250, split="test")
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    c.generator.latent_dim = 100
    for network in ("encoder", "generator", "discriminator"):
        c[network].dcgan.features = 64
    base.full_length(c, steps=20_000, batch_size=64)
    c.eval.split = "test"
