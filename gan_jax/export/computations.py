"""What the networks of a run compute, as functions of plain arrays, for programs without gan_jax.

A `Computation` has the weights in it. Its inputs are described in words and as shapes whose sizes
may be symbols, such as ``batch, 4*height, 4*width, 3``, in the notation of `jax.export`. Nothing in
it is random: noise beside the latents, and dropout, are left out.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Field
from gan_jax.games.codes import Codes
from gan_jax.games.game import Game, GenerativeGame
from gan_jax.games.translation import Direction, TranslationGame
from gan_jax.runs import build
from gan_jax.runs.run import Run
from gan_jax.training import translating
from gan_jax.training.sampling import Sampling, Variables, condition_of

#: The ways of batch normalization that do not depend on the other samples of a batch.
BATCH_NORM = ("ema", "running", "standing")
# What a computation makes, by kind of data.
_OUTPUTS = {
    "image": "images in [-1, 1]; an 8-bit level is round(127.5 * (x + 1))",
    "points": "points of the plane",
    "audio": "sounds in [-1, 1]",
    "spectrogram": "log-magnitude spectrograms, scaled to [-1, 1]",
    "video": "videos in [-1, 1]: frames, height, width, channels",
    "music": "piano rolls: steps, pitches, 1; a note where a number is above 0",
}
_BATCH = "batch"
# The least height and width of an input: padding by reflection needs that many pixels.
_SMALLEST = 8
# Samples of which `standing` statistics are taken at a time.
_STANDING_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a computation.

    Attributes:
      name: of the argument.
      shape: its sizes in the notation of `jax.export.symbolic_shape`.
      dtype: of its numbers.
      meaning: what it is, and its range.
    """

    name: str
    shape: str
    dtype: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Computation:
    """A function of arrays, with weights in it.

    Attributes:
      name: of the file that it is exported to.
      inputs: its arguments in their order.
      meaning: what it returns, float32 ``[batch, ...]``.
      function: it; takes and returns arrays.
      constraints: on the symbols of the shapes, in the notation of `jax.export.symbolic_shape`.
      sizes: height and width, or length, of the training's inputs, by their symbols.
    """

    name: str
    inputs: tuple[Input, ...]
    meaning: str
    function: Callable[..., jax.Array]
    constraints: tuple[str, ...] = ()
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)


def of_run(
    run: Run, step: int | None, how: Sampling, networks: Sequence[str] = ()
) -> tuple[int, list[Computation]]:
    """Return the train step, and what a run samples or translates with, or single networks of it.

    Args:
      run: the trained run.
      step: of the checkpoint; ``None``: the newest.
      how: samples are made.
      networks: names of networks, each of which is a computation; none: what `Run.sample` or
        `Run.translate` computes, of the latter one for each direction.

    Returns:
      The train step, and computations named as `names` says.

    Raises:
      ConfigError: the run makes texts, or ``how`` or a network's name does not suit it.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    check(run, how)
    raw = [name for name in networks if not run.game.networks[name].averaged]
    weights = run.load(step, how, raw=raw)
    variables = weights.variables
    if how.batch_norm == "standing":
        sampler = run.sampler(how, batch_size=_STANDING_BATCH)
        own = {name: variables[name] for name in variables if name not in raw}
        variables = variables | jax.device_get(sampler.place(own))
    if networks:
        # Without the mapped axis, over whose devices some discriminators gather their batch.
        game = build.make_game(run.config, specs.from_json(run.data["spec"]), None)
        return weights.step, [network(game, name, variables[name]) for name in networks]
    if isinstance(run.game, TranslationGame):
        return weights.step, translations(run.game, variables)
    assert isinstance(run.game, GenerativeGame)
    return weights.step, [sampling(run.game, variables, how.truncation)]


def names(game: Game, networks: Sequence[str] = ()) -> list[str]:
    """Return the names of the computations that `of_run` returns."""
    if networks:
        return list(networks)
    if isinstance(game, TranslationGame):
        return [_translation_name(*item) for item in game.directions.items()]
    return ["generator"]


def check(run: Run, how: Sampling) -> None:
    """Raise a `ConfigError` if `of_run` cannot do what it is asked for; no checkpoint is read."""
    field = specs.target(run.game.spec)
    if field.kind not in _OUTPUTS:
        raise errors.ConfigError(
            f"--run={run.path} makes data of kind {field.kind!r}, whose tokens are drawn one after "
            f"the other; accepted: runs of {', '.join(_OUTPUTS)}, or --format=safetensors"
        )
    if isinstance(run.game, TranslationGame):
        translating.check_sampling(how)
    errors.lookup(dict.fromkeys(BATCH_NORM), how.batch_norm, "--batch_norm")


def sampling(
    game: GenerativeGame, variables: Mapping[str, Variables], truncation: float | None = None
) -> Computation:
    """Return latents, and labels where there are any, to samples.

    Args:
      game: what was trained.
      variables: by network.
      truncation: as `GenerativeGame.sample`'s.
    """
    field = specs.data_field(game.spec)

    def sample(z: jax.Array, label: jax.Array | None = None) -> jax.Array:
        made = game.sample(variables, z, condition_of(game, label), truncation=truncation)
        return made if field.kind == "points" else jnp.clip(made, -1.0, 1.0)

    inputs = [Input("z", f"{_BATCH}, {game.latent_dim}", "float32", _latent_words(game))]
    if game.num_classes is not None or game.attributes is not None:
        inputs.append(_label_input(game.spec[LABEL]))
    return Computation("generator", tuple(inputs), _output(field), sample)


def translations(game: TranslationGame, variables: Mapping[str, Variables]) -> list[Computation]:
    """Return inputs to outputs for each direction; arguments as those of `sampling`."""
    return [_translation(game, name, way, variables) for name, way in game.directions.items()]


def _translation(
    game: TranslationGame, direction: str, way: Direction, variables: Mapping[str, Variables]
) -> Computation:
    field = specs.target(game.spec)
    how = game.degradation
    meaning, axes = f"{_plural(field)} in [-1, 1]", ["height", "width"]
    larger = f", {way.scale} times as high and wide" if way.scale > 1 else ""
    if kinds.is_sound(field):
        axes = ["samples"]
    if how is not None and how.analysis:
        meaning, axes = f"what degrade.{how.name} makes of sounds in [-1, 1]", ["frames"]
        larger = f", {way.scale} samples for each frame"
    sizes = [str(way.multiple) if way.exact else _multiple(way.multiple, axis) for axis in axes]
    if field.kind == "video":
        meaning = "videos in [-1, 1], whose unknown frames repeat the last known one"
        sizes.insert(0, str(field.shape[0]))
    place = ", ".join([_BATCH, *sizes])
    inputs = [Input("x", f"{place}, {way.inputs}", "float32", meaning)]
    if way.masked:
        meaning = "1 where the input is known, 0 in holes"
        inputs.append(Input("known", f"{place}, 1", "float32", meaning))

    def translate(x: jax.Array, known: jax.Array | None = None) -> jax.Array:
        if known is not None and (fill := getattr(how, "fill", None)) is not None:
            # The networks have seen no other value in holes.
            x = jnp.where(known > 0.5, x, float(fill))
        return game.translate(variables, x, direction, known=known)

    name = _translation_name(direction, way)
    least = -(-_SMALLEST // way.multiple)
    bounds = () if way.exact else tuple(f"{axis} >= {least}" for axis in axes)
    shown = game.networks[way.networks[0]].inputs[0].shape[1:-1]
    usual = {} if way.exact else dict(zip(axes, shown, strict=True))
    return Computation(name, tuple(inputs), f"{_output(field)}{larger}", translate, bounds, usual)


def _translation_name(direction: str, way: Direction) -> str:
    return way.networks[0] if len(way.networks) == 1 else direction


def network(game: Game, name: str, variables: Variables) -> Computation:
    """Return the output of one network: scores of a discriminator, latents of an encoder.

    Args:
      game: what was trained.
      name: of the network.
      variables: of it.
    """
    own = game.networks[name]
    x, *more = own.inputs
    condition = dict(more[0]) if more else {}
    if getattr(own.module, "conditioning", "none") == "none":
        condition.pop(LABEL, None)
    inputs = [Input("x", _fixed(x), str(x.dtype), "as the network sees it in training")]
    for field, array in condition.items():
        if field == LABEL:
            inputs.append(_label_input(game.spec[LABEL]))
        else:
            inputs.append(Input(field, _fixed(array), str(array.dtype), "as in training"))
    fields = list(condition)

    def apply(x: jax.Array, *given: jax.Array) -> jax.Array:
        shown = dict(zip(fields, given, strict=True))
        if LABEL in shown:
            shown[LABEL] = kinds.of(game.spec[LABEL]).to_network(shown[LABEL])
        made = own.module.apply(variables, x, shown or None, train=False)
        return jnp.asarray(made)

    return Computation(name, tuple(inputs), f"the output of {name}", apply)


def _fixed(array: Any) -> str:
    """Return the shape of an array with a batch of any size."""
    return ", ".join([_BATCH, *map(str, array.shape[1:])])


def _multiple(factor: int, axis: str) -> str:
    return axis if factor == 1 else f"{factor}*{axis}"


def _plural(field: Field) -> str:
    return {"image": "images", "audio": "sounds"}.get(field.kind, field.kind)


def _output(field: Field) -> str:
    rate = f", {field.sample_rate:,} Hz" if field.sample_rate is not None else ""
    return f"{_OUTPUTS[field.kind]}{rate}"


def _latent_words(game: GenerativeGame) -> str:
    codes = getattr(game, "codes", None)
    if not isinstance(codes, Codes):
        return "latents: numbers of the standard normal distribution"
    parts = [f"latents: {codes.noise} numbers of the standard normal distribution"]
    parts += [f"a one-hot vector of {size}" for size in codes.categorical]
    if codes.continuous:
        parts.append(f"{codes.continuous} numbers in [-1, 1]")
    return ", then ".join(parts)


def _label_input(field: Field) -> Input:
    shape = ", ".join([_BATCH, *map(str, field.shape)])
    if field.kind == "caption":
        words = ", ".join(f"{i} {word!r}" for i, word in enumerate(field.vocabulary) if i)
        meaning = f"captions: the numbers of their words, then 0; {words}"
    elif field.attributes is not None:
        meaning = f"attributes, as the data have them: {', '.join(field.attributes)}"
    else:
        classes = enumerate(field.class_names or ())
        named = (str(i) if name == str(i) else f"{i} {name}" for i, name in classes)
        meaning = f"classes: {', '.join(named)}"
    return Input(LABEL, shape, field.dtype, meaning)
