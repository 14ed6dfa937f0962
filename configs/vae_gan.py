"""VAE/GAN: an autoencoder whose likeness a discriminator learns (Larsen 2015, 1512.09300).

    python -m experiments.main --config=configs/vae_gan.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "vae_gan"
    c.game.name = "vae"
    # Batch-norm that saw originals and reconstructions apart would hide how they differ.
    c.game.joint_batch = False
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = c.encoder.name = "dcgan"
    c.generator.latent_dim = 32
    c.generator.dcgan.features = c.discriminator.dcgan.features = c.encoder.dcgan.features = 32
    for network in ("generator", "discriminator", "encoder"):
        c.optimizer[network].update(name="rmsprop", learning_rate=3e-4)
    c.ema.half_life = 20_000.0
    c.ema.ramp_up = 0.1
    c.train.update(steps=2000, batch_size=64, log_every=50, sample_every=250, checkpoint_every=500)
    c.eval.update(every=250, num_fake=1500)
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = c.encoder.dcgan.features = 64
    c.ema.half_life = 0.0
    base.full_length(c, steps=100_000, batch_size=64)
