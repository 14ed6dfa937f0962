"""Every field of a configuration, its default and its meaning. Variants change only what differs.

A variant is used as ``--config=configs/wgan_gp.py:ARG``, where ARG joins, with commas, a data set
(``digits``, ``cifar10``, ``mnist``, ``fashion_mnist``, ``folder``) and ``smoke``, which shrinks the
run to seconds. Single fields are set with ``--config.train.steps=500``. A field whose value is
``None`` is unset.

Configuration files are Python and run when they are read: use only those that you trust.
"""

from collections.abc import Callable

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from gan_jax import errors


def get_config() -> ConfigDict:
    """Return the defaults; a variant sets the networks, the loss and what else differs."""
    c = ConfigDict()
    c.variant = "base"  # Name of the variant, for run directories and tables.

    c.game = ConfigDict()
    c.game.name = "adversarial"  # See gan_jax/games/registry.py.
    c.game.discriminator_steps = 1  # Gradient steps for each of the generator's.
    c.game.joint_batch = False  # The discriminator sees real and fake in one pass (faster).
    c.game.clip = placeholder(float)  # Clips discriminator weights to [-clip, clip] (WGAN: 0.01).

    # Networks: `name` in gan_jax/networks/registry.py; the other fields are that network's own.
    c.generator = ConfigDict({"name": "mlp"})
    c.discriminator = ConfigDict({"name": "mlp"})

    c.loss = ConfigDict()
    c.loss.name = "non_saturating"  # See gan_jax/losses/adversarial.py.
    c.loss.smoothing = placeholder(float)  # One-sided label smoothing of the logistic losses.
    c.loss.a = placeholder(float)  # Least squares: the target of fakes ...
    c.loss.b = placeholder(float)  # ... of real data ...
    c.loss.c = placeholder(float)  # ... and what the generator wants its fakes to score.

    c.penalty = ConfigDict()
    c.penalty.name = "none"  # See gan_jax/losses/penalties.py.
    c.penalty.weight = 10.0  # For r1 and r2 this is gamma: they include the 1/2.
    c.penalty.every = 1  # Lazy: computed every so many discriminator steps, scaled up by as much.
    c.penalty.target = placeholder(float)  # wgan_gp: the gradient norm to reach (1).
    c.penalty.one_sided = placeholder(bool)  # wgan_gp: norms below the target are free.
    c.penalty.scale = placeholder(float)  # dragan: size of the perturbation in standard deviations.

    c.optimizer = ConfigDict()
    c.optimizer.generator = adam(2e-4, 0.5, 0.999)
    c.optimizer.discriminator = adam(2e-4, 0.5, 0.999)

    c.ema = ConfigDict()  # Moving average of the generator, which is what is sampled from.
    c.ema.half_life = 0.0  # In real images; 0: none is kept.
    c.ema.ramp_up = placeholder(float)  # Half-life at most this share of the images so far.
    c.ema.start = 0  # Train steps before which the average is the raw weights.

    c.data = ConfigDict()
    c.data.name = "digits"  # digits, folder, npz, ring, grid, swiss_roll, or a TFDS name.
    c.data.split = "train"
    c.data.resolution = 16  # Images are cropped to a centred square and made this size.
    c.data.resize = "resize"  # "resize", or "pad": small images get a border (MNIST: 28 -> 32).
    c.data.channels = placeholder(int)  # 1: grey, 3: colour, unset: as they are.
    c.data.path = placeholder(str)  # folder: a folder or zip of images; npz: the file.
    c.data.data_dir = placeholder(str)  # TFDS: where prepared sets lie; unset: TFDS's own default.
    c.data.on_error = "raise"  # A damaged image: "raise" names it, "skip" leaves it out and counts.
    c.data.flip = False  # Mirror real images left to right with probability 1/2.
    c.data.toy_size = 50_000  # Points of a toy mixture.
    c.data.toy_noise = 0.02  # Standard deviation of a toy mixture's modes.
    c.data.device_cache_gib = 2.0  # Sets up to this size live on the device.
    c.data.workers = 2  # Streaming: processes that decode; 0: threads of this one.
    c.data.prefetch = 4  # Streaming: batches held ready.

    c.train = ConfigDict()
    c.train.steps = 1000  # Train steps: one turn of every player each.
    c.train.batch_size = 64  # Over all devices together.
    c.train.steps_per_call = 1  # Train steps per dispatch: more hide the host's latency.
    c.train.log_every = 50  # In train steps, as all of these.
    c.train.sample_every = 250  # Sample grid from fixed latents.
    c.train.checkpoint_every = 500
    c.train.keep_latest = 2  # Checkpoints kept: the newest so many ...
    c.train.keep_every = placeholder(int)  # ... and for good those at multiples of this step.
    c.train.seed = 0

    c.sample = ConfigDict()
    c.sample.num = 64  # Samples in a grid.

    c.profile = ConfigDict()
    c.profile.start = placeholder(int)  # A JAX profile is written from this train step on ...
    c.profile.steps = 10  # ... over so many.

    c.precision = "float32"  # Compute in "float32", "bfloat16", or "highest" (no TF32 on GPU).
    c.parallel = "shard_map"  # Or "pmap".
    c.num_devices = placeholder(int)  # Unset: all.
    return c


def adam(learning_rate: float, b1: float, b2: float) -> ConfigDict:
    """Return the fields of one network's optimizer, set to Adam at a constant rate."""
    o = ConfigDict()
    o.name = "adam"  # adam, adamw, rmsprop, momentum, sgd.
    o.learning_rate = learning_rate
    o.b1 = placeholder(float)  # adam, adamw.
    o.b2 = placeholder(float)
    o.b1, o.b2 = b1, b2
    o.eps = placeholder(float)  # adam, adamw, rmsprop.
    o.weight_decay = placeholder(float)  # adamw.
    o.decay = placeholder(float)  # rmsprop.
    o.momentum = placeholder(float)  # momentum, rmsprop.
    o.nesterov = placeholder(bool)  # momentum.
    o.clip_norm = placeholder(float)  # Scale gradients down to this global norm.
    o.schedule = ConfigDict()
    o.schedule.name = "constant"  # constant, linear, cosine, step.
    o.schedule.warmup_steps = 0
    o.schedule.end_factor = placeholder(float)  # linear, cosine: the last rate over the first.
    o.schedule.decay_start = placeholder(int)  # linear: train steps before the decay.
    o.schedule.factor = placeholder(float)  # step: multiplies the rate at every boundary ...
    o.schedule.boundaries = placeholder(tuple)  # ... which are train steps.
    return o


def smoke(c: ConfigDict) -> None:
    """Shrink a run to seconds: a check that it runs, not that it learns."""
    for network in (c.generator, c.discriminator):
        if "features" in network:
            features = network.features
            network.features = 8 if isinstance(features, int) else tuple(16 for _ in features)
    c.train.update(
        steps=4, batch_size=8, steps_per_call=1, log_every=2, sample_every=2, checkpoint_every=2
    )
    c.sample.num = 16


def digits(c: ConfigDict) -> None:
    """Scikit-learn's scanned digits: in every installation, needing no network."""
    c.data.update(name="digits", resolution=16, channels=1)


def cifar10(c: ConfigDict) -> None:
    """CIFAR-10, 32x32 in colour."""
    c.data.update(name="cifar10", resolution=32, channels=3)


def mnist(c: ConfigDict) -> None:
    """MNIST, with a border that makes it 32x32."""
    c.data.update(name="mnist", resolution=32, resize="pad", channels=1)


def fashion_mnist(c: ConfigDict) -> None:
    """Fashion-MNIST, with a border that makes it 32x32."""
    mnist(c)
    c.data.name = "fashion_mnist"


def folder(c: ConfigDict) -> None:
    """Any folder or zip of images: ``--config.data.path=...``."""
    c.data.update(name="folder", resolution=64, channels=3, flip=True)


DATASETS = {
    "digits": digits,
    "cifar10": cifar10,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "folder": folder,
}


def select(c: ConfigDict, arg: str, paper: Callable[[ConfigDict], None]) -> ConfigDict:
    """Return ``c`` with the choices in ``arg`` applied.

    Args:
      c: a variant's configuration for the digits.
      arg: what stands after the colon of ``--config=FILE:ARG``: choices joined by commas.
      paper: changes ``c`` to the paper's settings, for every data set but the digits.

    Raises:
      ConfigError: a choice is unknown, or two data sets are chosen.
    """
    choices = [choice for choice in arg.split(",") if choice]
    for choice in choices:
        errors.lookup({**DATASETS, "smoke": smoke}, choice, "--config=FILE:ARG")
    chosen = [choice for choice in choices if choice in DATASETS] or ["digits"]
    if len(chosen) > 1:
        raise errors.ConfigError(
            f"--config=FILE:{arg} names {len(chosen)} data sets; accepted: one"
        )
    if chosen != ["digits"]:
        paper(c)
    DATASETS[chosen[0]](c)
    if "smoke" in choices:
        smoke(c)
    return c
