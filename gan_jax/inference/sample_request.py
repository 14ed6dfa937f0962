"""What `gan_jax.inference.sample_run` is asked to make, and of which run."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors, installation
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.games.game import GenerativeGame, as_generative
from gan_jax.inference import rendering
from gan_jax.report import provenance
from gan_jax.runs.run import Run, Weights
from gan_jax.runs.run_directory import choose_step
from gan_jax.training.sampling import (
    ClassOf,
    InProportion,
    Sampler,
    Sampling,
    Variables,
    Vectors,
    first_labels,
    in_turn,
)
from gan_jax.training.spaces import Space


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments that all functions share; they are checked against the run at once.

    Attributes:
      run: the trained run.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      batch_norm: one of `sampling.BATCH_NORM`, in place of the run's.
      seed: of the latents.
      label: the class of the samples, or what is asked of their attributes.
      proportions: the labels of an export in the proportions of the data; ``None``: samples go
        through the classes, or through vectors of attributes, in turn.
      truncation: limits of the latents, or psi; empty: the run's; several, for `truncations` only.
      num: how many; ``None``: the default of each function.
      batch_size: samples made at a time.
      out: the file or folder; ``None``: a picture in the run directory, named after its content.
      overwrite: replace an existing ``.npz``.
    """

    run: Run
    checkpoint: str = "latest"
    raw: bool = False
    batch_norm: str | None = None
    seed: int = 0
    label: int | str | None = None
    proportions: InProportion | Vectors | None = None
    truncation: tuple[float, ...] = ()
    num: int | None = None
    batch_size: int = 64
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        choose_step(self.run.path, self.checkpoint)
        _ = self.game, self.sampling
        self.run.class_number(self.label)

    @functools.cached_property
    def game(self) -> GenerativeGame:
        """The game of the run."""
        return as_generative(self.run.game, installation.command("sample"))

    @functools.cached_property
    def field(self) -> specs.Field:
        """The field of the samples."""
        return specs.data_field(self.game.spec)

    @functools.cached_property
    def sampling(self) -> Sampling:
        """How samples are made."""
        limit = self.truncation[0] if len(self.truncation) == 1 else None
        return self.run.sampling(average=not self.raw, batch_norm=self.batch_norm, truncation=limit)

    @functools.cached_property
    def class_of(self) -> ClassOf | None:
        """The labels of samples by number; ``None``: there are none, or one class is asked for.

        Raises:
          ConfigError: a label is asked for, and the proportions of all.
        """
        if self.proportions is not None:
            if self.label is not None:
                raise errors.ConfigError(
                    f"--proportions=data with --label={self.label}; accepted: one of them"
                )
            return self.proportions
        return None if isinstance(self.label, int) else in_turn(self.game, self.label)

    def labels(self, num: int) -> np.ndarray | None:
        """Return the labels of the first samples, ``[num, ...]``; ``None``: there are none."""
        if self.proportions is not None:
            return np.asarray(self.proportions(np.arange(num, dtype=np.uint32)))
        return first_labels(self.game, num, self.label)

    def require_images(self, flag: str, *, independent: bool = False) -> None:
        """Check that samples are images, and maybe that none depends on the others of its batch.

        Raises:
          ConfigError: they are not; ``flag`` says what needs it.
        """
        if self.field.kind != "image":
            raise errors.ConfigError(
                f"{flag}, but samples of {self.run.data['name']} are of kind "
                f"{self.field.kind!r}; accepted: a {kinds.of(self.field).sheet}, or an .npz"
            )
        if independent and self.sampling.batch_norm == "batch":
            raise errors.ConfigError(
                f"{flag} with batch_norm = 'batch', where a sample depends on the others of "
                "its batch; accepted: --batch_norm=ema, running or standing"
            )

    @functools.cached_property
    def weights(self) -> Weights:
        """The variables of the checkpoint, which is read here."""
        return self.run.load(self.checkpoint, self.sampling)

    @property
    def step(self) -> int:
        """The train step of the checkpoint."""
        return self.weights.step

    def sampler(self, devices: list[jax.Device] | None = None) -> Sampler:
        """Return what makes samples by number, on ``devices``; ``None``: on the first one."""
        return self.run.sampler(
            self.sampling,
            seed=self.seed,
            label=self.label,
            class_of=self.class_of,
            batch_size=self.batch_size,
            devices=devices,
        )

    @functools.cached_property
    def variables(self) -> dict[str, Variables]:
        """The variables on the first device, with ``standing`` statistics."""
        return self.sampler().place(self.weights.variables)

    def renderer(self, space: Space | None = None) -> rendering.Renderer:
        """Return what makes pictures of points of a space; ``None``: of latents."""
        return rendering.Renderer(
            self.game,
            self.variables,
            batch_size=self.batch_size,
            train=self.sampling.batch_norm == "batch",
            truncation=self.sampling.truncation,
            space=space,
        )

    def latents(self, num: int) -> np.ndarray:
        """Return the latents of the first samples."""
        return rendering.latents(self.game, seed=self.seed, num=num)

    def points(self, space: Space, num: int, labels: np.ndarray | None) -> np.ndarray:
        """Return the points of a space that the latents of the first samples are mapped to."""
        return rendering.points(space, self.game, self.variables, self.latents(num), labels)

    @property
    def captions(self) -> specs.Field | None:
        """The field of captions that samples can be asked for; ``None``: there are none."""
        field = self.game.attributes
        return field if field is not None and field.kind == "caption" else None

    def class_names(self, labels: Sequence[Any]) -> list[str]:
        """Return the names of the rows of a picture, or captions; empty strings of other labels."""
        if self.captions is not None:
            return kinds.of(self.captions).lines(np.asarray(labels))
        names = specs.class_names(self.game.spec) or ()
        return [names[k] if isinstance(k, int) else "" for k in labels]

    def picture(self, kind: str, suffix: str = ".png") -> Path:
        """Return the picture to write, or another file by its suffix.

        Raises:
          ConfigError: ``out`` has another suffix.
        """
        if self.out is not None:
            if self.out.suffix.lower() != suffix:
                raise errors.ConfigError(
                    f"--out={self.out} with samples of kind {self.field.kind!r}; accepted: a "
                    f"{suffix}, an .npz, or a folder"
                )
            return self.out
        limits = "_".join(f"{value:g}" for value in self.truncation)
        parts = [
            f"{kind}-step{self.step:08d}-seed{self.seed}",
            *([] if self.label is None else [f"label{self.label}".replace(" ", "_")]),
            *([f"truncation{limits}"] if limits else []),
            *([] if self.batch_norm is None else [self.batch_norm]),
            *(["raw"] if self.raw else []),
        ]
        return self.run.path / f"{'-'.join(parts)}{suffix}"

    @property
    def text(self) -> dict[str, str]:
        """Chunks of text for PNG files."""
        return provenance.synthetic(self.run.path, self.step, seed=self.seed, label=self.label)

    def about(self) -> dict[str, Any]:
        """Return a description of the samples without that of the weights, JSON-able."""
        record = {
            "variant": self.run.config.variant,
            "data": self.run.data["fingerprint"],
            "raw": self.raw,
            "batch_norm": self.sampling.batch_norm,
            "truncation": self.sampling.truncation,
            "seed": self.seed,
            "label": self.label,
            "proportions": self.proportions and self.proportions.record,
        }
        if self.sampling.batch_norm in ("standing", "batch"):
            record["batch_size"] = self.batch_size
        return record
