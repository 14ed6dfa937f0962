"""Perceptual path lengths have their closed form, in latents and in styles."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import gan
from gan_jax import errors, metrics
from gan_jax.evaluation import paths
from gan_jax.metrics import extractors, path_length
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.names import Metric
from gan_jax.training import spaces
from gan_jax.training.sampling import Sampler, Sampling
from tests.inference.painter import Painter
from tests.inference.styled import styled
from tests.inference.untrained import make_run

METRIC = Metric("identity_ppl", "ppl", "identity")


def identity(factor=1.0):
    """Return the extractor whose features are the pixels in [-1, 1], times a factor."""

    def features(_, images, layers):
        flat = images.reshape(len(images), -1)
        return dict.fromkeys(layers, factor * (flat / 127.5 - 1.0))

    return Extractor("identity", {"features": 64}, "features", None, (), features, {}, features)


class Linear(Painter):
    """Makes data that are linear in their latents, and depend on the class."""

    def sample(self, variables, z, condition=None, *, keys=None, truncation=None, train=False):
        """Return data within the range."""
        data = z @ variables["generator"]["inner"] @ variables["generator"]["outer"] / 20
        if condition is not None:
            data = data * (1 + condition["label"])[:, None] / 4
        return data.reshape(-1, *self.shape)


def measured(game, variables, count=512, how=None, factor=1.0, devices=None):
    how, devices = how or Sampling(), devices or jax.devices()[:1]
    sampler = Sampler(game, seed=0, batch_size=128, sampling=how, devices=devices)
    options = {"game": game, "sampler": sampler, "how": how, "devices": devices}
    layers, made = {METRIC.name: "features"}, {"identity": identity(factor)}
    lengths = paths.PathLengths([METRIC], layers, made, **options)
    return lengths(sampler.place(variables), count, 0), sampler, lengths


def ends(sampler, count=512):
    both = []
    for start in (0, 2**31):
        batches = [sampler.latents(start + first)[0] for first in range(0, count, 128)]
        both.append(np.concatenate(batches).astype(np.float64))
    return both


def test_the_lengths_of_a_linear_generator_are_those_of_its_arcs():
    game = Linear()
    found, sampler, lengths = measured(game, game.variables)
    own = game.variables["generator"]
    a, b = ends(sampler)
    t = np.random.default_rng([0, 512]).uniform(size=512)[:, None]
    length_a, length_b = (np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    u, v = a / length_a, b / length_b
    angle = np.arccos(np.sum(u * v, 1, keepdims=True))
    across = (v - np.cos(angle) * u) / np.sin(angle)
    # The derivative of (|a| + t (|b| - |a|)) (cos(t angle) u + sin(t angle) across).
    radius = length_a + t * (length_b - length_a)
    along = np.cos(t * angle) * u + np.sin(t * angle) * across
    turn = np.cos(t * angle) * across - np.sin(t * angle) * u
    slope = (length_b - length_a) * along + radius * angle * turn
    expected = np.square(slope @ own["inner"] @ own["outer"] / 20).sum(1)
    kept = np.sort(expected)[5:-5]
    assert found["identity_ppl"] == pytest.approx(kept.mean(), rel=5e-3)
    error = kept.std(ddof=1) / np.sqrt(len(kept))
    assert found["identity_ppl_standard_error"] == pytest.approx(error, rel=2e-2)
    assert (lengths.protocol["space"], lengths.protocol["path"]) == ("z", "slerp")


def test_lengths_are_squares_and_do_not_depend_on_devices():
    game = Linear(num_classes=3)
    one, sampler, _ = measured(game, game.variables, count=200)
    # Both ends have the class of the first.
    plain, _, _ = measured(Linear(), game.variables, count=200)
    labels = np.concatenate([sampler.latents(first)[1] for first in (0, 128)])[:200]
    ratio = np.square((1 + labels) / 4).mean()
    assert one["identity_ppl"] == pytest.approx(ratio * plain["identity_ppl"], rel=0.15)
    twice, _, _ = measured(game, game.variables, count=200, factor=2.0)
    many, _, _ = measured(game, game.variables, count=200, devices=jax.devices())
    assert twice["identity_ppl"] == pytest.approx(4 * one["identity_ppl"], rel=1e-5)
    assert many["identity_ppl"] == pytest.approx(one["identity_ppl"], rel=2e-2)


def test_styles_are_joined_by_straight_lines_which_psi_shortens():
    game, variables = styled()
    space = spaces.make_space(game)

    class Flat:
        """The styles themselves in place of images."""

        name = "w"
        points = staticmethod(space.points)

        @staticmethod
        def sample(variables, points, condition, *, truncation):
            del condition
            return 0.01 * (1.0 if truncation is None else truncation) * points

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "spaces", types.SimpleNamespace(make_space=lambda game: Flat))
        found, sampler, lengths = measured(game, variables)
        half, _, _ = measured(game, variables, how=Sampling(truncation=0.5))
    a, b = (
        np.asarray(jax.jit(space.points)(variables, jnp.asarray(z, jnp.float32)))
        for z in ends(sampler)
    )
    expected = np.sort(np.square(0.01 * (b - a)).sum((1, 2)))[5:-5].mean()
    assert found["identity_ppl"] == pytest.approx(expected, rel=2e-2)
    assert half["identity_ppl"] == pytest.approx(found["identity_ppl"] / 4, rel=2e-2)
    assert (lengths.protocol["space"], lengths.protocol["path"]) == ("w", "lerp")


def test_a_run_is_measured_with_its_protocol(tmp_path, monkeypatch):
    monkeypatch.setitem(extractors.EXTRACTORS, "identity", lambda setting: identity())
    run = make_run(tmp_path / "run", gan.get_config("smoke"))
    result = run.evaluate(metrics=("identity_ppl",), num_fake=40)
    assert set(result.values) == {"identity_ppl", "identity_ppl_standard_error"}
    assert result.values["identity_ppl"] > 0
    assert result.protocol["paths"] == {
        "space": "z",
        "path": "slerp",
        "epsilon": 1e-4,
        "tail": 1.0,
        "noise": "none",
    }
    again = run.evaluate(metrics=("identity_ppl",), num_fake=40, batch_size=16)
    assert again.values["identity_ppl"] == pytest.approx(result.values["identity_ppl"], rel=2e-2)
    images = np.zeros((4, 16, 16, 1), np.uint8)
    with pytest.raises(errors.ConfigError, match="'ppl', which is not a metric of two sets"):
        metrics.measure(images, images, ["ppl"])


def test_tails_are_left_out():
    lengths = np.arange(1000.0)
    lengths[-1], lengths[0] = 1e9, -1e9
    found = path_length.path_length(np.random.default_rng(0).permutation(lengths))
    assert found.mean == pytest.approx(499.5, abs=0.6)
    assert found.standard_error == pytest.approx(980 / np.sqrt(12 * 980), rel=1e-2)
    for given in ([1.0], [1.0, np.nan], np.ones((2, 2))):
        with pytest.raises(errors.MetricError, match="accepted: two or more numbers"):
            path_length.path_length(np.asarray(given))


def test_what_cannot_be_measured_is_refused():
    game = Linear()
    with pytest.raises(errors.ConfigError, match=r"batch_norm = 'batch'.*accepted: ema"):
        measured(game, game.variables, how=Sampling(batch_norm="batch"))
    blind = extractors.from_function("identity", jnp.asarray, width=64, weights="v1")
    with pytest.raises(errors.ConfigError, match="'identity_ppl', but identity accepts bytes"):
        paths._check([METRIC], {"identity": blind}, game, Sampling())
    module = types.SimpleNamespace(dtype=jnp.bfloat16)
    game.networks = {"generator": types.SimpleNamespace(module=module)}
    with pytest.raises(errors.ConfigError, match="bfloat16 would hide; accepted: a run whose"):
        measured(game, game.variables)
