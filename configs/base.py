"""What all configurations share: data sets, lengths of runs, and the smoke run.

A variant is used as ``--config=configs/wgan_gp.py:ARG``, where ARG joins, with commas, a data set
(``digits``, ``stacked_digits``, ``cifar10``, ``mnist``, ``fashion_mnist``, ``folder``, ``npz``,
``photos``, ``tiles``, ``tones``, ``sounds``, ``bouncing``, ``videos``, ``grammar``, ``text``,
``scales``, ``midi``, ``shapes``) and ``smoke``, which shrinks the run to seconds. Single fields are
set with ``--config.train.steps=500``, optional ones are unset with ``--config.data.crop=None``, and
``--describe`` prints them all. They are defined in `gan_jax.runs.config`.

A variant sets its paper's values on what `get_config` returns. What differs for a small data set
that is in every installation is set by a function that it passes to `finish`.

Configuration files are Python and run when they are read: use only those that you trust.
"""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from gan_jax import errors, settings
from gan_jax.runs import config


def adam(c: ConfigDict, learning_rate: float, b1: float, b2: float, *networks: str) -> None:
    """Set the optimizers of some networks, or of all, to Adam."""
    for network in networks or c.optimizer:
        c.optimizer[network].update(name="adam", learning_rate=learning_rate)
        c.optimizer[network].adam.update(b1=b1, b2=b2)


def learning_rate(c: ConfigDict, value: float) -> None:
    """Set all networks' learning rate."""
    for optimizer in c.optimizer.values():
        optimizer.learning_rate = value


def schedule(c: ConfigDict, name: str) -> None:
    """Set the schedule of all networks' learning rates."""
    for optimizer in c.optimizer.values():
        optimizer.schedule.name = name


def long(c: ConfigDict, *, steps: int, batch_size: int) -> None:
    """Set the length of a paper's run: many steps per call, and rare records.

    Args:
      c: a variant's configuration.
      steps: train steps.
      batch_size: over all devices together.
    """
    c.train.update(steps=steps, batch_size=batch_size, steps_per_call=20)
    c.train.update(log_every=100, sample_every=1000, checkpoint_every=5000)
    c.eval.update(every=5000, num_fake=10_000)


def short(
    c: ConfigDict,
    *,
    steps: int,
    every: int,
    batch_size: int = 64,
    log_every: int = 50,
    checkpoint_every: int = 500,
    average: bool = True,
) -> None:
    """Set the length of a run of minutes, and the moving average that suits it.

    Args:
      c: a variant's configuration.
      steps: train steps.
      every: interval of sample grids and evaluations.
      batch_size: over all devices together.
      log_every: in train steps.
      checkpoint_every: in train steps.
      average: whether to set the moving average.
    """
    c.train.update(steps=steps, batch_size=batch_size, steps_per_call=1)
    c.train.update(log_every=log_every, sample_every=every, checkpoint_every=checkpoint_every)
    c.eval.update(every=every, num_fake=1500)
    if average:
        c.ema.update(half_life=20_000.0, ramp_up=0.1)


def smoke(c: ConfigDict) -> None:
    """Shrink a run to seconds, which shows that it runs, not that it learns."""
    settings.shrink(config.ROOT, c)
    if c.data.crop is not None:
        c.data.update(resolution=48, crop=32)
    c.train.update(
        steps=4, batch_size=8, steps_per_call=1, log_every=2, sample_every=2, checkpoint_every=2
    )
    for optimizer in c.optimizer.values():
        decay = optimizer.schedule.linear
        decay.decay_start = min(decay.decay_start, c.train.steps // 2)
    c.sample.num = 16
    # The classifier alone would take longer than all the rest.
    c.eval.update(every=0, num_fake=64, num_real=64)


def digits(c: ConfigDict) -> None:
    """Scikit-learn's scanned digits: in every installation, needing no network."""
    c.data.update(name="digits", resolution=16, channels=1)


def stacked_digits(c: ConfigDict) -> None:
    """Three digits as the channels of one image: 1,000 modes."""
    c.data.update(name="stacked_digits", resolution=16, channels=3)


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
    """Any folder or zip of images, ``--config.data.path=...``, near their own size, as stored."""
    c.data.name = "folder"


def npz(c: ConfigDict) -> None:
    """The images of an ``.npz`` file: ``--config.data.path=...``."""
    c.data.name = "npz"


def photos(c: ConfigDict) -> None:
    """Tiles of the two photographs in every installation of scikit-learn."""
    c.data.update(name="photos", resolution=96, resize="tile", crop=64, channels=3, flip=True)
    c.eval.split = "test"


def tiles(c: ConfigDict) -> None:
    """Tiles of any folder or zip of photographs: ``--config.data.path=...``."""
    photos(c)
    c.data.name = "folder"
    c.eval.split = None


def tones(c: ConfigDict) -> None:
    """Synthetic tones of ten pitches: 1,024 samples at 8 kHz."""
    c.data.update(name="tones", toy_size=5000)


def bouncing(c: ConfigDict) -> None:
    """Synthetic videos of a bouncing shape: eight grey frames of 16x16 pixels."""
    c.data.update(name="bouncing", toy_size=5000)


def videos(c: ConfigDict) -> None:
    """Any folder or zip of videos, ``--config.data.path=...``: 16 frames of 64x64 pixels."""
    c.data.update(name="videos", resolution=64, channels=3)


def grammar(c: ConfigDict) -> None:
    """Sentences of known probability, computed from a seed."""
    c.data.name = "grammar"
    c.eval.split = "test"


def text(c: ConfigDict) -> None:
    """The lines of a text file: ``--config.data.path=...``."""
    c.data.name = "text"


def sounds(c: ConfigDict) -> None:
    """Any folder or zip of sound files, ``--config.data.path=...``."""
    c.data.name = "sounds"


def scales(c: ConfigDict) -> None:
    """Synthetic bars of music in four scales: 16 steps and 16 pitches."""
    c.data.update(name="scales", toy_size=5000)
    c.eval.split = "test"


def midi(c: ConfigDict) -> None:
    """Any folder or zip of MIDI files, ``--config.data.path=...``."""
    c.data.name = "midi"


def shapes(c: ConfigDict) -> None:
    """Synthetic pictures of one shape with captions: 16x16 in colour."""
    c.data.update(name="shapes", resolution=16, channels=3, toy_size=10_000)
    c.eval.split = "test"


DATASETS = {
    "digits": digits,
    "stacked_digits": stacked_digits,
    "cifar10": cifar10,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "folder": folder,
    "npz": npz,
    "photos": photos,
    "tiles": tiles,
    "tones": tones,
    "sounds": sounds,
    "bouncing": bouncing,
    "videos": videos,
    "grammar": grammar,
    "text": text,
    "scales": scales,
    "midi": midi,
    "shapes": shapes,
}


# Those in every installation.
EMBEDDED = (
    "digits",
    "stacked_digits",
    "photos",
    "tones",
    "bouncing",
    "grammar",
    "scales",
    "shapes",
)

# The data sets that suit a variant. The first is its default, which is in every installation.
GENERATION = ("digits", "cifar10", "mnist", "fashion_mnist", "folder", "npz", "stacked_digits")
TRANSLATION = ("photos", "folder")
RESTORATION = ("photos", "tiles")
SOUND = ("tones", "sounds", "npz")
VIDEO = ("bouncing", "videos")
TEXT = ("grammar", "text")
MUSIC = ("scales", "midi")
CAPTIONED = ("shapes", "folder")


def get_config(arg: str = "", datasets: Sequence[str] = GENERATION) -> ConfigDict:
    """Return the defaults, with the data set that is chosen.

    Args:
      arg: what follows the colon of ``--config=FILE:ARG``: choices joined by commas.
      datasets: keys of `DATASETS` that suit the variant, its default first.

    Raises:
      ConfigError: a choice is unknown, or two data sets are chosen.
    """
    c = config.create()
    choices = [choice for choice in arg.split(",") if choice]
    for choice in choices:
        errors.lookup(dict.fromkeys([*datasets, "smoke"]), choice, "--config=FILE:ARG")
    chosen = [choice for choice in choices if choice in DATASETS] or [datasets[0]]
    if len(chosen) > 1:
        raise errors.ConfigError(
            f"--config=FILE:{arg} names {len(chosen)} data sets; accepted: one"
        )
    DATASETS[chosen[0]](c)
    return c


def finish(c: ConfigDict, arg: str, small: Callable[[ConfigDict], None]) -> ConfigDict:
    """Return ``c`` with what depends on the choices in ``arg``.

    Args:
      c: a variant's configuration with its paper's values.
      arg: as for `get_config`.
      small: changes ``c`` to what suits data sets that are in every installation.
    """
    if c.data.name in EMBEDDED:
        small(c)
    if c.data.name == "stacked_digits":
        # The field's number of samples, which covered modes depend on; once, since it is large.
        c.eval.update(every=c.train.steps, num_fake=25_600, num_real=10_000)
    if "smoke" in arg.split(","):
        smoke(c)
    return c
