"""The fields of a run's configuration; `Config` lists its groups.

The groups that choose something by name are made from its registry, see `gan_jax.settings`; those
of the run itself are the dataclasses below.
"""

import dataclasses
import itertools
import textwrap
from collections import ChainMap
from collections.abc import Mapping

import flax.linen as nn
from ml_collections import ConfigDict

from gan_jax import errors, paths, settings
from gan_jax.data.degrade.registry import DEGRADATIONS
from gan_jax.data.sources.captioned import Captions
from gan_jax.data.sources.midi import Bars
from gan_jax.data.sources.sounds import Clip
from gan_jax.data.sources.spectral import Spectrograms
from gan_jax.data.sources.text import Tokenization
from gan_jax.data.sources.videos import Film
from gan_jax.evaluation.settings import Settings as Eval
from gan_jax.games.registry import GAMES, GROUPS
from gan_jax.games.terms import GradientPenalty
from gan_jax.losses.adversarial import LOSSES
from gan_jax.losses.penalties import PENALTIES
from gan_jax.networks.registry import (
    DISCRIMINATORS,
    ENCODERS,
    GENERATORS,
    PATCH_DISCRIMINATORS,
    TOKEN_DISCRIMINATORS,
    TRANSLATORS,
)
from gan_jax.settings import Field, Group
from gan_jax.training.ema import EMA
from gan_jax.training.fsdp import FSDP
from gan_jax.training.optimizers import OPTIMIZER
from gan_jax.training.sampling import Sampling

# A game accepts some of these.
_GENERATORS: Mapping[str, type[nn.Module]] = ChainMap(GENERATORS, TRANSLATORS)
_DISCRIMINATORS: Mapping[str, type[nn.Module]] = ChainMap(
    DISCRIMINATORS, PATCH_DISCRIMINATORS, TOKEN_DISCRIMINATORS
)


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """The optimizers, one per kind of network.

    Attributes:
      generator: of the networks that generate.
      discriminator: of those that judge.
      encoder: of those that encode, in games that have any.
    """

    generator: Group = OPTIMIZER
    discriminator: Group = OPTIMIZER
    encoder: Group = OPTIMIZER


@dataclasses.dataclass(frozen=True)
class Data:
    """The training data.

    Attributes:
      name: digits, stacked_digits, photos, folder, npz, ring, grid, swiss_roll, tones, sounds,
        bouncing, videos, grammar, text, scales, midi, shapes, captioned, or the name of a
        TFDS data set.
      split: the part of the data set that is trained on.
      resolution: size that images are brought to: one number for squares, or (height, width);
        unset: the nearest to the images' own that the networks make, and at most 256.
      resize: how: "resize" crops to a centred square, or a rectangle of that shape, and scales it;
        "letterbox" scales the whole image and fills up with black; "squeeze" scales height and
        width by factors of their own; "crop" cuts out the centre, and "pad" puts a border around
        small images (MNIST: 28 to 32), both without scaling; "tile" cuts photographs into square
        tiles without scaling.
      channels: 1 for grey images, 3 for colour, 4 for colour and alpha; unset: as they are stored,
        with transparency of files put on white.
      value_range: the values of pixels that become black and white; (): 0 and 255 of 8-bit images,
        and of others a range that is found over a sample of the set.
      pairing: how examples of two images are made: "none"; "side_by_side", the halves of each file;
        "twins", two folders with the same file names; or "domains", which are not paired: two
        folders, splits or classes.
      a: folder or class of the first image; unset: "A", so that folders are trainA and testA. Of
        "side_by_side" the half: "A" or "left", "B" or "right".
      b: the same of the second image; unset: "B", or the other half.
      scale: of "twins", the size of the second images over that of the first; 1: both are brought
        to one size; unset: as the files are, for super-resolution.
      labels: columns of metadata.csv or metadata.jsonl beside the images of "folder" that are the
        label, several of them as a vector of attributes; (): the sub-folders, or the column "label"
        where these are no classes.
      normal: names of the classes that are trained on; to anomaly detection all others are
        anomalies; (): all, or those that ``without`` leaves.
      without: names of the classes that are not trained on, instead of ``normal``.
      captions: how the captions of images of "captioned" become tokens.
      text: how the file of "text" is divided into examples and tokens.
      sound: what the files of "sounds" are brought to.
      video: which frames of the files of "videos" are used.
      spectrogram: whether networks see sound as spectrograms.
      music: how the files of "midi" are divided into bars.
      path: the folder or zip file of images of "folder" and "captioned", of sounds of "sounds", of
        videos of "videos", and of "midi"; the file of "npz" or "text".
      data_dir: the directory of prepared TFDS data sets; unset: TFDS's default.
      on_error: what happens at a damaged image, sound, video or MIDI file, or an image of
        "captioned" without a caption: "raise" reports its name, "skip" leaves it out and reports
        how many there are.
      flip: whether real images are mirrored left to right with probability 1/2.
      crop: size of random square crops that are trained on; unset: whole images.
      toy_size: examples of a toy mixture, of ``stacked_digits``, ``tones``, ``bouncing``,
        ``grammar``, ``scales`` or ``shapes``.
      toy_noise: standard deviation of a toy mixture's modes.
      device_cache_gib: data sets up to this size, in GiB, are kept on the device.
      workers: processes that decode images when data are streamed; 0: threads of the main process.
      prefetch: batches that are prepared in advance when data are streamed.
    """

    name: str = "digits"
    split: str = "train"
    resolution: int | tuple[int, int] | None = None
    resize: str = "resize"
    channels: int | None = None
    value_range: tuple[float, ...] = ()
    pairing: str = "none"
    a: str | None = None
    b: str | None = None
    scale: int | None = 1
    labels: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    captions: Group = Group(Captions)
    text: Group = Group(Tokenization)
    sound: Group = Group(Clip)
    video: Group = Group(Film)
    music: Group = Group(Bars)
    spectrogram: Group = Group(Spectrograms)
    path: str | None = None
    data_dir: str | None = None
    on_error: str = "raise"
    flip: bool = False
    crop: int | None = None
    toy_size: int = 50_000
    toy_noise: float = 0.02
    device_cache_gib: float = 2.0
    workers: int = 2
    prefetch: int = 4


@dataclasses.dataclass(frozen=True)
class Train:
    """Length, batches and records of a run. Intervals are in train steps.

    Attributes:
      steps: train steps; each is one turn of every player.
      batch_size: over all devices together.
      accumulate: parts in which a device processes its share of a batch, to save memory.
      steps_per_call: train steps per dispatch; more of them hide the latency of the host.
      log_every: interval between logged metrics.
      sample_every: interval between sample grids from fixed latents.
      checkpoint_every: interval between checkpoints.
      keep_latest: number of the newest checkpoints that are kept.
      keep_every: checkpoints at multiples of this step are kept forever; unset: none.
      seed: the seed of the initial parameters, of all random draws, and of the order of the data.
      replicas: independent runs in one program, with consecutive seeds from ``seed`` on, each in a
        directory of its own. They share the devices; the batch size is that of one of them.
      replica_learning_rates: a factor on every learning rate for each replica; (): 1.
      replica_penalty_weights: the penalty's weight for each replica; (): that of ``penalty``.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulate: int = 1
    steps_per_call: int = 1
    log_every: int = 50
    sample_every: int = 250
    checkpoint_every: int = 500
    keep_latest: int = 2
    keep_every: int | None = None
    seed: int = 0
    replicas: int = 1
    replica_learning_rates: tuple[float, ...] = ()
    replica_penalty_weights: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Init:
    """The weights that a new run starts from, as far as their shapes agree.

    Attributes:
      run: the directory of the run that they are taken from, or a .safetensors file of its weights;
        unset: they are random.
      checkpoint: its checkpoint: "latest", "best" or a train step.
      networks: names of the networks whose weights and averages are taken; (): all.
      optimizer: whether the state of their optimizers is taken, too. Learning rates begin anew.
    """

    run: str | None = None
    checkpoint: str = "latest"
    networks: tuple[str, ...] = ()
    optimizer: bool = False


@dataclasses.dataclass(frozen=True)
class Sample(Sampling):
    """Sample grids, and how samples are made in training and evaluation.

    Attributes:
      num: samples in a grid.
    """

    num: int = 64


@dataclasses.dataclass(frozen=True)
class Profile:
    """A profile of the running program, written by JAX.

    Attributes:
      start: train step that it starts at; unset: there is none.
      steps: train steps that it lasts.
    """

    start: int | None = None
    steps: int = 10


@dataclasses.dataclass(frozen=True)
class Report:
    """Where the metrics and sample grids of a run are written while it trains.

    Attributes:
      writers: "jsonl" (needed), "tensorboard", "csv", "wandb" (Weights & Biases), "mlflow".
    """

    writers: tuple[str, ...] = ("jsonl", "tensorboard")


@dataclasses.dataclass(frozen=True)
class Config:
    """A run's configuration.

    Attributes:
      variant: name of the configuration, for run directories and tables.
      precision: the precision of the computation: "float32", "bfloat16", or "highest" (no TF32 on
        GPUs).
      parallel: how the train step is mapped over devices: "shard_map" or "pmap".
      num_devices: devices to use; unset: all.
    """

    variant: str = "base"
    game: Group = Group(
        choices=GAMES,
        name="adversarial",
        shared=("discriminator_steps", "joint_batch", "clip"),
    )
    generator: Group = Group(
        choices=_GENERATORS,
        name="mlp",
        shared=("latent_dim", "conditioning"),
        hidden=("factor",),
    )
    discriminator: Group = Group(
        choices=_DISCRIMINATORS,
        name="mlp",
        shared=("conditioning",),
    )
    encoder: Group = Group(choices=ENCODERS, name="mlp")
    loss: Group = Group(choices=LOSSES, name="non_saturating")
    penalty: Group = Group(GradientPenalty, PENALTIES, "none", hidden=("start",))
    augment: Group = GROUPS["augment"]
    terms: Group = GROUPS["terms"]
    fakes: Group = GROUPS["fakes"]
    degrade: Group = Group(choices=DEGRADATIONS, name="none", hidden=("sample_rate",))
    optimizer: Group = Group(Optimizers)
    ema: Group = Group(EMA)
    data: Group = Group(Data)
    train: Group = Group(Train)
    init: Group = Group(Init)
    sample: Group = Group(Sample, hidden=("raw",))
    eval: Group = Group(Eval)
    report: Group = Group(Report)
    profile: Group = Group(Profile)
    precision: str = "float32"
    parallel: str = "shard_map"
    num_devices: int | None = None
    fsdp: Group = Group(FSDP)


ROOT = Group(Config)


def create() -> ConfigDict:
    """Return a configuration with every field at its default."""
    return settings.create(ROOT).lock()


def chosen(config: ConfigDict) -> ConfigDict:
    """Return a copy of a configuration with the groups of what it chooses alone."""
    return settings.chosen(ROOT, config)


def with_local_paths(config: ConfigDict) -> ConfigDict:
    """Return a configuration whose paths are on this machine, with ``~`` expanded.

    Raises:
      ConfigError: one is not.
    """
    config = config.copy_and_resolve_references()

    def visit(group: ConfigDict, path: str) -> None:
        for name, value in group.items():
            if isinstance(value, ConfigDict):
                visit(value, f"{path}{name}.")
            elif isinstance(value, str) and paths.is_special(value):
                group[name] = str(paths.local(value, f"{path}{name}"))

    visit(config, "")
    return config


def fields(config: ConfigDict) -> list[Field]:
    """Return the fields that apply to a run of a configuration.

    Raises:
      ConfigError: something that it chooses is unknown.
    """
    used = errors.lookup(GAMES, config.game.name, "game.name").uses
    unused = {name for game in GAMES.values() for name in game.uses} - used

    def applies(path: str) -> bool:
        group, below = path.removeprefix("optimizer.").split(".")[0], path.startswith("optimizer.")
        return group not in unused and (not below or group in used)

    return [field for field in settings.walk(ROOT, config) if applies(field.path)]


def describe(config: ConfigDict, width: int = 80) -> str:
    """Return the fields that apply to a run: value, default, accepted values and meaning.

    Args:
      config: a configuration.
      width: of a line, in characters.

    Raises:
      ConfigError: something that it chooses is unknown.
    """
    groups = []
    indent = "    "
    for _, group in itertools.groupby(fields(config), lambda field: field.path.partition(".")[0]):
        lines = []
        for field in group:
            notes = [] if field.value == field.default else [f"default: {field.default!r}"]
            notes += [f"accepted: {field.accepted}"] if field.accepted else []
            meaning = field.meaning[:1].upper() + field.meaning[1:]
            text = f"{meaning} ({'; '.join(notes)})" if notes else meaning
            lines += [
                f"{field.path} = {field.value!r}",
                *textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent),
            ]
        groups.append("\n".join(lines))
    return "\n\n".join(groups)
