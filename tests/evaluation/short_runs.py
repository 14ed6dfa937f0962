"""Runs on points of the plane that are evaluated while they train; classifiers of few steps."""

from gan_jax.metrics import classifier
from gan_jax.report import evaluations
from tests.training import tiny


def points(**changes):
    config = tiny.point_config()
    config.num_devices = 1
    config.train.update(steps=6, log_every=1, sample_every=100, checkpoint_every=2)
    config.eval.update(every=2, num_fake=100, num_real=512)
    config.eval.update(**changes)
    return config


def rows(path):
    return evaluations.read(path / evaluations.EVALUATIONS)


def shorten_classifier(monkeypatch, cache, steps):
    """Train classifiers for some steps: most of the time of a short run would go into theirs.

    They are kept in ``cache``, and not among those of the user.
    """
    monkeypatch.setenv("GAN_JAX_CACHE", str(cache))
    train = classifier.train_classifier

    def shortened(*arguments, **options):
        return train(*arguments, **{**options, "steps": steps})

    monkeypatch.setattr(classifier, "train_classifier", shortened)
