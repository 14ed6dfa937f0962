"""The settings of evaluations: ``config.eval``."""

import dataclasses
from typing import Any

from gan_jax import errors

AUTO = "auto"
ON_ALARM = ("warn", "stop")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a run is evaluated: ``config.eval``.

    Attributes:
      every: train steps between evaluations, the last of which is at the end; 0: there are none.
      metrics: names of `gan_jax.metrics.names`. "auto": modes and share of high quality for toy
        mixtures; divergence of bigrams, validity, likelihood and unique share for text; violations
        of the scale, histograms of polyphony and intervals, and empty bars for music; modes,
        their evenness and FID by a small classifier for stacked digits; FID, precision and recall
        by it for other labelled images; what captions of shapes ask for; PSNR and SSIM for pairs;
        the share of the target's class for domains that are classes; AUROC and average precision
        for anomalies; none for other data.
      num_fake: generated images; results for different numbers are not comparable.
      num_real: real images; unset: all.
      split: the split of the real images; unset: ``data.split``, and of those that were not trained
        on, for ``gan_train``, ``membership_auroc`` and the like, the test or validation split.
      seed: the seed of the latents.
      seeds: evaluations with consecutive seeds, reported by mean and standard deviation.
      batch_size: images per batch, over all devices.
      best: the metric by which the best checkpoint is kept; of several directions of translation,
        by their mean; unset: the first one.
      alarm: an alarm is raised if the best metric is this factor worse than its best value so far,
        which must be positive for that.
      on_alarm: "warn" logs an alarm; "stop" also ends the run as diverged.
      patience: train steps without a new best value after which the run ends early; 0: never.
      inception: file of Inception's converted weights; unset: the one in the cache directory.
      border: pixels left out at each edge of image pairs; unset: the scale of super-resolution,
        else none.
    """

    every: int = 0
    metrics: tuple[str, ...] = (AUTO,)
    num_fake: int = 2000
    num_real: int | None = None
    split: str | None = None
    seed: int = 0
    seeds: int = 1
    batch_size: int = 128
    best: str | None = None
    alarm: float = 4.0
    on_alarm: str = "warn"
    patience: int = 0
    inception: str | None = None
    border: int | None = None

    def __post_init__(self):
        for name, least in (
            ("every", 0),
            ("num_fake", 2),
            ("num_real", 2),
            ("seed", 0),
            ("seeds", 1),
            ("batch_size", 1),
            ("patience", 0),
            ("border", 0),
        ):
            value = getattr(self, name)
            errors.require(
                value is None or value >= least, f"eval.{name}", value, f"{least} or more"
            )
        errors.require(self.alarm > 1, "eval.alarm", self.alarm, "above 1")
        errors.lookup(dict.fromkeys(ON_ALARM), self.on_alarm, "eval.on_alarm")
        if not self.metrics:
            raise errors.ConfigError('eval.metrics is empty; accepted: names, or "auto"')


def make_settings(config: Any, **changes: Any) -> Settings:
    """Return ``config.eval`` with the given fields changed; ``None`` changes nothing."""
    changes = {name: value for name, value in changes.items() if value is not None}
    fields = dict(config.eval) | changes
    return Settings(**{**fields, "metrics": tuple(fields["metrics"])})
