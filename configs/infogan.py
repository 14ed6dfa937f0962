"""InfoGAN: codes that can be read off the images, found without labels (Chen 2016, 1606.03657).

    python -m experiments.main --config=configs/infogan.py
    python -m experiments.main --config=configs/infogan.py:mnist

The latent vector holds a categorical code of ten values and two continuous ones; heads of the
discriminator recover them. ``discriminator/accuracy_category_0`` in ``metrics.jsonl`` is how often
the categorical code is read off a generated image.

RESULT

The other data sets have the paper's settings for MNIST: 62 numbers of noise, one code of ten values
and two continuous ones, lambda 1 and 0.1, Adam(0.5, 0.999) at 2e-4 for the discriminator and 1e-3
for the generator, on DCGAN's networks.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "infogan"
    c.game.name = "info"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "dcgan"
    c.generator.latent_dim = 62
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    c.optimizer.generator = base.adam(1e-3, 0.5, 0.999)
    c.optimizer.discriminator = base.adam(1e-3, 0.5, 0.999)
    c.ema.half_life = 20_000.0
    c.ema.ramp_up = 0.1
    c.train.update(steps=2000, batch_size=64, log_every=50, sample_every=250, checkpoint_every=500)
    c.eval.update(every=250, num_fake=1500)
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 64
    c.optimizer.generator.learning_rate = 1e-3
    c.optimizer.discriminator.learning_rate = 2e-4
    c.ema.half_life = 0.0
    base.full_length(c, steps=50_000, batch_size=128)
