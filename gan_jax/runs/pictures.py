"""What a run shows of its state at intervals, of the same latents or images: a picture or lines."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.spec import Field
from gan_jax.evaluation.settings import make_settings
from gan_jax.evaluation.translation import shown_source
from gan_jax.games.game import GenerativeGame, as_generative
from gan_jax.games.translation import TranslationGame
from gan_jax.report import grids
from gan_jax.runs import build
from gan_jax.training import sampling, translating
from gan_jax.training.parallel import Parallel
from gan_jax.training.state import TrainState

# Samples of each caption that is shown.
_PER_CAPTION = 8
# Of a state, with the seed of what is drawn.
Draw = Callable[[TrainState, int], np.ndarray | str]


def make_picture(config: Any, training: build.Training, pipeline: Pipeline) -> Draw:
    """Return the function that draws a state: uint8 ``[height, width, channels]``, or lines."""
    if isinstance(training.game, TranslationGame):
        return _translations(config, training.game, training.devices, pipeline)
    return _samples(config, training, pipeline)


def kept(state: TrainState, parallel: Parallel) -> TrainState:
    """Return what can be drawn of a state, on the host: a train step deletes the state itself."""
    networks = {name: own.replace(opt_state=()) for name, own in state.networks.items()}
    shown = state.replace(key=(), networks=networks, game={})
    # Copies: on CPU, an array on the host is the one of the device.
    return jax.tree.map(np.array, parallel.fetch(shown))


def _samples(config: Any, training: build.Training, pipeline: Pipeline) -> Draw:
    """Return what draws samples from latents that stay the same."""
    game = as_generative(training.game, "a picture of samples")
    how = sampling.make_sampling(config)
    source = pipeline.source
    kind = kinds.of(source.field)
    count = config.sample.num * kind.crowd
    if (field := game.attributes) is not None and field.kind == "caption":
        return _captioned(config, game, field, training.devices)
    # A column per class, where they fit on a page.
    classes = game.num_classes
    columns = classes if classes is not None and 2 <= classes <= 20 else None
    sampler = sampling.Sampler(
        game,
        seed=config.train.seed,
        batch_size=count,
        sampling=how,
        devices=training.devices,
        class_of=sampling.in_turn(game),
    )
    real = None
    if kind.backdrop:
        shown = source.read(range(min(len(source), kind.backdrop)))
        real = specs.data(shown, source.spec)

    def draw(state: TrainState, seed: int) -> np.ndarray | str:
        variables = sampler.place(sampling.chosen_variables(state, how))
        samples = sampler.samples(variables, count, seed)
        if kind.sheet == ".txt":
            return "".join(f"{line}\n" for line in kind.lines(samples))
        return kind.picture(samples, columns, real)

    return draw


def _captioned(config: Any, game: GenerativeGame, field: Field, devices: list[jax.Device]) -> Draw:
    """Return what draws a row of samples for each of some captions, which stand beside them."""
    how = sampling.make_sampling(config)
    columns = min(config.sample.num, _PER_CAPTION)
    captions = sampling.shown_captions(field, config.sample.num // columns)
    count = len(captions) * columns
    sampler = sampling.Sampler(
        game,
        seed=config.train.seed,
        batch_size=count,
        sampling=how,
        devices=devices,
        class_of=sampling.Vectors(np.repeat(captions, columns, axis=0)),
    )
    names = kinds.of(field).lines(captions)

    def draw(state: TrainState, seed: int) -> np.ndarray:
        variables = sampler.place(sampling.chosen_variables(state, how))
        samples = sampler.samples(variables, count, seed)
        return grids.named_rows(samples.reshape(-1, columns, *samples.shape[1:]), names)

    return draw


def _translations(
    config: Any, game: TranslationGame, devices: list[jax.Device], pipeline: Pipeline
) -> Draw:
    """Return what draws, for some images held out if there are such, input, output and target."""
    how = sampling.make_sampling(config)
    settings = make_settings(config)
    source = shown_source(config, settings, game, pipeline.source)
    found = translating.data_points(source, config.sample.num)
    points = translating.fitting(found.batch, game)
    count = len(next(iter(points.values())))
    kind = kinds.of(specs.target(source.spec))
    translators = [
        translating.Translator(game, way, batch_size=count, devices=devices)
        for way in game.directions
    ]

    def draw(state: TrainState, seed: int) -> np.ndarray:
        variables = translators[0].place(sampling.chosen_variables(state, how))
        translated = [translator(variables, points, seed=seed) for translator in translators]
        return side_by_side(
            [images for found in translated for images in found if images is not None], kind
        )

    return draw


def side_by_side(columns: list[np.ndarray], kind: kinds.Kind) -> np.ndarray:
    """Lay examples out with a row for each number: input, output and so on beside each other.

    Args:
      columns: stored examples ``[n, ...]`` each; images are uint8 ``[n, height, width, channels]``
        of 1 or 3 channels, and smaller ones are enlarged, every pixel repeated.
      kind: of the examples.

    Returns:
      uint8 ``[H, W, channels]``; several rows stand beside each other where they are many.
    """
    if len({examples.shape for examples in columns}) > 1:
        height = max(images.shape[1] for images in columns)
        channels = max(images.shape[3] for images in columns)
        columns = [
            translating.as_colour(translating.enlarged(images, height), channels)
            for images in columns
        ]
    tiles = np.stack(columns, axis=1)
    beside = max(1, round(np.sqrt(len(tiles) / len(columns))))
    return kind.picture(tiles.reshape(-1, *tiles.shape[2:]), columns=len(columns) * beside)
