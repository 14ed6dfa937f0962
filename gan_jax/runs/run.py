"""A trained run, opened from its directory on the devices of this machine."""

import dataclasses
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import attributes, captions, sources
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source
from gan_jax.data.sources.levels import Levels
from gan_jax.evaluation.result import Result
from gan_jax.games.game import Game, as_generative
from gan_jax.runs import build, replicas, run_translation
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run_directory import RunDirectory, choose_step
from gan_jax.training.sampling import (
    ClassOf,
    InProportion,
    Sampler,
    Sampling,
    Variables,
    Vectors,
    in_turn,
    make_sampling,
)
from gan_jax.training.state import TrainState


class Weights(NamedTuple):
    """The train step of a checkpoint, and the variables of its networks, by name, on the host."""

    step: int
    variables: dict[str, Variables]


class Run:
    """A run directory, opened for use; `gan_jax.open_run` returns it.

        run = gan_jax.open_run("runs/wgan_gp")
        images = run.sample(64, seed=0)  # uint8 [64, height, width, channels]
        best = run.sample(64, seed=0, step="best", truncation=0.7)
        params = run.variables()["generator"]["params"]
        print(run.steps, run.evaluate(metrics=("fid",)).values)

    A checkpoint is read when a method needs one, and only the leaves of the networks that make
    samples, averaged or raw. Calls of `sample` with the same arguments but ``seed`` share what was
    read and compiled. Nothing of JAX's global state is changed: the run's matrix-product precision
    applies inside these methods only.

    Attributes:
      path: the run directory.
      config: its configuration.
      data: the record of its data set (``data.json``).

    Every ``step`` argument is a train step, ``"best"`` for the best evaluated one, or ``None`` (or
    ``"latest"``) for the newest checkpoint that is whole. Every ``average`` argument chooses
    between the moving average of the weights, where one is kept, and the raw weights.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        directory = RunDirectory(path, "--run")
        self.path = directory.path
        self.config: ConfigDict = directory.read_config()
        self.data: dict[str, Any] = directory.read_data()
        self._ready = lru_cache(maxsize=1)(self._make_ready)
        if (count := self.config.train.replicas) > 1:
            raise errors.WorkdirError(
                f"{self.path} holds {count} replicas; accepted: the directory of one of them, such "
                f"as {replicas.folders(self.path, count)[0]}"
            )

    @cached_property
    def game(self) -> Game:
        """The game that was trained.

        Raises:
          ConfigError: the run uses an entry of a registry that is not registered in this process.
        """
        try:
            return build.make_game(self.config, specs.from_json(self.data["spec"]))
        except errors.UnknownNameError as error:
            raise errors.ConfigError(
                f"{self.path}: {error} If a file of your own registers it, import that file first: "
                "--import=FILE on the command line"
            ) from error

    @property
    def steps(self) -> list[int]:
        """The train steps of the complete checkpoints, ascending."""
        with self._checkpoints() as checkpoints:
            return checkpoints.steps()

    def precision(self) -> AbstractContextManager[Any]:
        """Return a context in which matrix products have the precision of the run."""
        return build.matmul_precision(self.config)

    def variables(
        self, step: int | str | None = None, average: bool = True
    ) -> dict[str, Variables]:
        """Return the variables of the networks that sample or translate, by name; as `load`."""
        return self.load(step, make_sampling(self.config, raw=not average)).variables

    def load(self, step: int | str | None, how: Sampling, *, raw: Sequence[str] = ()) -> Weights:
        """Return the variables that ``how`` samples with, and the raw ones of networks ``raw``.

        Raises:
          CheckpointError: there is no such checkpoint, or it is damaged.
          WorkdirError: ``"best"`` is asked for, but the run was not evaluated.
        """
        parts = ["params", "mutable"] if how.raw else ["ema"]
        if how.batch_norm == "running" and not how.raw:
            parts.append("mutable/batch_stats")
        names = [name for name, network in self.game.networks.items() if network.averaged]
        wanted = [(name, part) for name in names for part in parts]
        wanted += [(name, part) for name in raw for part in ("params", "mutable")]
        paths = {(name, part): f"networks/{name}/{part}" for name, part in wanted}
        with self._checkpoints() as checkpoints:
            restored = checkpoints.read(list(paths.values()), choose_step(self.path, step))
        variables: dict[str, Variables] = {name: {} for name, _ in wanted}
        for (name, part), path in paths.items():
            if found := restored.state.get(path):
                collection = part.rsplit("/", 1)[-1]
                whole = collection in ("ema", "mutable")
                variables[name] |= found if whole else {collection: found}
        return Weights(restored.step, variables)

    def abstract_variables(self) -> dict[str, Variables]:
        """Return the shapes and dtypes of `variables`; no checkpoint is read."""
        return {
            name: jax.eval_shape(network.init, jax.random.key(0))
            for name, network in self.game.networks.items()
            if network.averaged
        }

    def state(self, step: int | str | None = None) -> TrainState:
        """Return the whole train state on one device, which takes longer than `variables`.

        Raises:
          CheckpointError: there is no such checkpoint, or it is damaged, or of another model.
        """
        with self._checkpoints() as checkpoints:
            return checkpoints.restore(self._abstract_state, choose_step(self.path, step)).state

    @cached_property
    def _abstract_state(self) -> TrainState:
        config = ConfigDict(self.config.to_dict())
        # One device is enough, and the batch size need not divide by the number of devices here.
        config.num_devices = config.fsdp.devices = 1
        return build.make_training(config, specs.from_json(self.data["spec"])).abstract_state

    def source(self, **changes: Any) -> Source:
        """Return the data set that the run was trained with.

        Args:
          **changes: of ``config.data``, such as ``path`` and ``data_dir``, where the files are now;
            ``None`` changes nothing.

        Raises:
          DataError: it is missing, or is not the one that the run was trained with.
        """
        fields = ConfigDict(self.config.data.to_dict())
        fields.update({name: value for name, value in changes.items() if value is not None})
        source = sources.make_source(fields)
        if source.fingerprint() != self.data["fingerprint"]:
            raise errors.DataError(
                f"the data set is not the one of the run: {source.fingerprint()} is here, the run "
                f"was trained with {self.data['fingerprint']}"
            )
        return source

    @property
    def levels(self) -> Levels | None:
        """The values of pixels that are black and white in image files of more than 8 bits."""
        return Levels(**found) if (found := self.data["levels"]) else None

    def proportions(self, **changes: str | None) -> InProportion | Vectors:
        """Return labels of samples in the proportions of the training data.

        Args:
          **changes: as those of `source`.

        Raises:
          ConfigError: the run is not conditional.
          DataError: as `source`.
        """
        classes = self.game.num_classes
        if classes is None and self.game.attributes is None:
            raise errors.ConfigError(
                f"{self.config.variant!r} is not class-conditional; accepted: a run with classes"
            )
        labels = sources.labels_of(self.source(**changes))
        if classes is None:
            return Vectors(labels)
        return InProportion(tuple(np.bincount(labels, minlength=classes).tolist()))

    def sampling(
        self,
        *,
        average: bool = True,
        batch_norm: str | None = None,
        truncation: float | None = None,
    ) -> Sampling:
        """Return how samples are made: ``config.sample``, with what is given in its place."""
        given = {"batch_norm": batch_norm, "truncation": truncation}
        changes: dict[str, Any] = {name: x for name, x in given.items() if x is not None}
        return dataclasses.replace(make_sampling(self.config, raw=not average), **changes)

    def class_number(self, label: int | str | None) -> int | str | None:
        """Return the number of the class of samples, given by its number or name, or ``None``.

        A text that gives values to attributes, as `gan_jax.data.attributes.asked` takes it, is
        checked and returned.

        Raises:
          ConfigError: the run has no classes, or not that one, or no such attribute.
        """
        if label is None:
            return None
        if (field := self.game.attributes) is not None:
            attributes.asked(field, str(label))
            return str(label)
        names = specs.class_names(specs.from_json(self.data["spec"]))
        if self.game.num_classes is None or names is None:
            raise errors.ConfigError(
                f"label = {label}, but {self.config.variant!r} is not class-conditional; "
                "accepted: no label"
            )
        return specs.class_number(names, label, "label")

    def caption(self, text: str) -> str:
        """Return a caption that samples can be asked for.

        Raises:
          ConfigError: the run has no captions, or the text has a word that is not in them.
        """
        field = self.game.attributes
        if field is None or field.kind != "caption":
            raise errors.ConfigError(
                f"text = {text!r}, but {self.config.variant!r} is not asked for images by text; "
                "accepted: a run with captions, such as text_to_image"
            )
        captions.tokens(field, text)
        return text

    def sampler(
        self,
        how: Sampling,
        *,
        seed: int = 0,
        label: int | str | None = None,
        class_of: ClassOf | None = None,
        batch_size: int = 64,
        devices: list[jax.Device] | None = None,
    ) -> Sampler:
        """Return what makes samples by number.

        The label of a run with labels is ``label``, or that of ``class_of``; with neither, samples
        go through the classes, or through vectors of attributes, in turn.

        Raises:
          ConfigError: the run has no such class, or makes nothing from noise.
        """
        game = as_generative(self.game, "sampling")
        number = self.class_number(label)
        if class_of is None and not isinstance(number, int):
            class_of = in_turn(game, number)
        return Sampler(
            game,
            seed=seed,
            batch_size=batch_size,
            sampling=how,
            devices=devices,
            label=number if isinstance(number, int) else None,
            class_of=class_of,
        )

    def sample(
        self,
        num: int = 64,
        *,
        seed: int = 0,
        label: int | str | None = None,
        text: str | None = None,
        truncation: float | None = None,
        batch_norm: str | None = None,
        step: int | str | None = None,
        average: bool = True,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Return samples, the same that ``experiments.sample --out=FILE.npz`` writes.

        Args:
          num: how many. Sample ``i`` of a seed is the same for any ``num`` and ``batch_size``.
          seed: of the latents, 0 to 2^32 - 1.
          label: the class of all samples, by number or name; ``None``: sample ``i`` of a
            class-conditional run has class ``i`` modulo the number of classes. Of attributes, such
            as ``"Smiling=1,Male=-1"``, those that are not named are as in vectors of the data.
          text: the caption of all samples, of a run with captions; ``None``: those of the data.
          truncation: limit of normal latents, or psi of generators with styles; ``None``: that of
            the configuration.
          batch_norm: the statistics of batch normalisation, one of `sampling.BATCH_NORM`; ``None``:
            those of the configuration.
          step: of the checkpoint.
          average: use the moving average of the weights.
          batch_size: samples made at a time.

        Returns:
          uint8 ``[num, height, width, channels]``; of toy mixtures float32 ``[num, 2]``.

        Raises:
          ConfigError: an argument does not suit the run.
          CheckpointError: there is no such checkpoint, or it is damaged.
        """
        errors.require(num >= 1, "num", num, "1 or more")
        if text is not None:
            errors.require(label is None, "label", label, "no label with a text")
            label = self.caption(text)
        how = self.sampling(average=average, batch_norm=batch_norm, truncation=truncation)
        size = batch_size if how.batch_norm in ("standing", "batch") else min(batch_size, num)
        # Beside standing statistics, the seed changes nothing that is compiled or placed.
        fixed = seed if how.batch_norm == "standing" else 0
        with self.precision():
            chosen, number = choose_step(self.path, step), self.class_number(label)
            sampler, variables = self._ready(how, fixed, number, size, chosen, tuple(self.steps))
            return sampler.samples(variables, num, seed)

    def _make_ready(
        self,
        how: Sampling,
        seed: int,
        label: int | str | None,
        size: int,
        step: int | None,
        steps: tuple[int, ...],
    ) -> tuple[Sampler, dict[str, Variables]]:
        """Return a sampler and its variables on the device; ``steps`` are those on the disk."""
        del steps
        sampler = self.sampler(how, seed=seed, label=label, batch_size=size)
        return sampler, sampler.place(self.load(step, how).variables)

    def translate(
        self,
        images: np.ndarray,
        *,
        direction: str | None = None,
        known: np.ndarray | None = None,
        dropout: int | None = None,
        step: int | str | None = None,
        average: bool = True,
        tile: int | None = None,
        overlap: int | None = None,
        batch_size: int = 8,
    ) -> np.ndarray:
        """Return translated or restored images or sounds, as ``experiments.translate`` makes them.

        Args:
          images: uint8 ``[n, height, width, channels]``, of any height and width; larger ones than
            a tile are translated in overlapping tiles. Of runs of sounds, sounds of any length at
            the rate of the run's data, ``[n, samples, channels]``, stored as these: int16, or
            float32 in [-1, 1].
          direction: such as ``"AtoB"``; ``None``: the first of the run.
          known: for runs that fill holes: bool ``[n, height, width]``, False in the holes.
          dropout: seed of the dropout that is a network's noise; ``None``: no dropout.
          step: of the checkpoint.
          average: use the moving average of the weights.
          tile: height and width of a tile, or its samples; ``None``: 512, of sounds 16,384.
          overlap: pixels or samples that neighbouring tiles share, at least; ``None``: 64, of
            sounds 4,096.
          batch_size: tiles at a time.

        Returns:
          uint8 ``[n, scale * height, scale * width, channels]``; sounds as they were given.

        Raises:
          ConfigError: an argument does not suit the run.
          CheckpointError: there is no such checkpoint, or it is damaged.
        """
        arrays = run_translation.Arrays(
            self, images, direction, known, dropout, tile, overlap, batch_size
        )
        return arrays.translated(step, make_sampling(self.config, raw=not average))

    def evaluate(
        self,
        *,
        step: int | str | None = None,
        average: bool = True,
        batch_norm: str | None = None,
        truncation: float | None = None,
        data_path: str | None = None,
        data_dir: str | None = None,
        **settings: Any,
    ) -> Result:
        """Return the metrics of one checkpoint and the protocol by which they were measured.

        Nothing is recorded in the run directory; ``experiments.evaluate`` does that.

        Args:
          step: of the checkpoint.
          average: measure the moving average of the weights.
          batch_norm: as for `sample`.
          truncation: as for `sample`.
          data_path: where the run's images are now (``config.data.path``).
          data_dir: where TFDS sets are now (``config.data.data_dir``).
          **settings: of ``config.eval``, such as ``metrics=("fid",)``, ``num_fake=50000``.

        Raises:
          ConfigError: a setting cannot work, or no metric suits the data.
          DataError: the data set is missing, or is not the one that the run was trained with.
          MetricError: an extractor's weights are missing.
          CheckpointError: there is no such checkpoint, or it is damaged.
        """
        # Imported late: evaluation needs scikit-learn and SciPy, which take a second to load.
        from gan_jax.runs.run_evaluation import RunEvaluator

        evaluator = RunEvaluator(
            self,
            changes=settings,
            data={"path": data_path, "data_dir": data_dir},
            average=average,
            batch_norm=batch_norm,
            truncation=truncation,
        )
        return evaluator.measure(step)[1]

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(RunDirectory(self.path).checkpoints, read_only=True)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Return the run in ``path``; no checkpoint is read yet.

    Raises:
      WorkdirError: this is no run directory, or one that another version has written.
    """
    return Run(path)
