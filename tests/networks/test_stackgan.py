"""StackGAN's networks: images of several sizes, conditioning augmentation, scores of each stage."""

import functools
import itertools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks import registry
from gan_jax.networks.captioned import SENTENCE
from gan_jax.networks.stackgan import UNCONDITIONAL, joined, separated
from gan_jax.networks.verdict import Head
from tests.networks import pytorch

CAPTIONS = jnp.array([[1, 2, 3, 0], [3, 1, 2, 0], [4, 2, 3, 0]])


def make(role, **fields):
    own = {"condition_dim": 5, "blocks": 1, "latent_dim": 4} if role == "generator" else {}
    given = {"shape": (8, 8, 3), "features": 1, "sentence_dim": 6, "num_classes": 5}
    given |= {"conditioning": "text", "normalization": "none"} | own
    return registry.make(role, "stackgan", **given | fields)


@functools.cache
def started(role):
    """Return a network, parameters that are nowhere zero, and inputs."""
    network = make(role)
    x = jax.random.normal(jax.random.key(1), (3, 4) if role == "generator" else (3, 8, 8, 3))
    params = jax.eval_shape(network.init, jax.random.key(0), x, {"label": CAPTIONS})
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return network, tree.unflatten([rng.normal(0, 0.3, p.shape).astype("f") for p in leaves]), x


def test_images_of_all_stages_are_one_array_with_the_finest_first():
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(2, side, 2 * side, 3)).astype("f") for side in (2, 4, 8)]
    x = joined(images)
    assert x.shape == (2, 8, 16, 9)
    np.testing.assert_array_equal(x[..., :3], images[2])
    np.testing.assert_array_equal(x[:, ::4, ::4, 6:], images[0])
    chex.assert_trees_all_close(separated(x, 3, 3), images, rtol=1e-6)
    # Coarser versions of plain images are means.
    means = images[2].reshape(2, 2, 4, 4, 4, 3).mean((2, 4))
    coarse, _, fine = separated(images[2], 3, 3)
    np.testing.assert_allclose(coarse, means, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fine, images[2])


def test_the_condition_is_a_draw_from_the_distribution_of_its_caption():
    network, variables, _ = started("generator")
    count = 20_000
    keys = jax.random.split(jax.random.key(5), count)
    vectors = functools.partial(network.apply, variables, method="vectors")
    for caption in CAPTIONS[jnp.array([0, 2])]:
        condition = {"label": jnp.broadcast_to(caption, (count, 4))}
        drawn = jax.jit(vectors)(condition, keys)
        mean, log_variance = network.apply(variables, condition, method="statistics")
        assert np.ptp(log_variance[0]) > 0.1
        chex.assert_trees_all_close(drawn.mean(0), mean[0], atol=0.05)
        chex.assert_trees_all_close(drawn.std(0), jnp.exp(0.5 * log_variance[0]), rtol=0.03)
        # An entry is drawn whatever the others are.
        assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.03
    np.testing.assert_array_equal(vectors(condition, None), mean)


def test_images_of_both_stages_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    network = make("generator", conditioning="none", shape=(16, 16, 3))
    z = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    variables = pytorch.drawn(network, z)
    params = variables["params"]
    names = (f"Conv_{i}" for i in itertools.count())

    def convolved(h):
        return pytorch.conv(torch, h, params[next(names)], padding=1)

    def gated(h):
        return torch.nn.functional.glu(h, dim=1)

    def doubled(h):
        return gated(convolved(torch.nn.functional.interpolate(h, scale_factor=2)))

    dense = z @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    h = doubled(gated(pytorch.images_in(torch, dense.reshape(2, 4, 4, -1))))
    first = torch.tanh(convolved(h))
    h = gated(convolved(h))
    h = h + convolved(gated(convolved(h)))
    second = torch.tanh(convolved(doubled(h)))
    images = jax.jit(functools.partial(network.apply, method="images"))(variables, z)
    for ours, theirs in zip(images, (first, second), strict=True):
        assert np.std(ours) > 0.1
        np.testing.assert_allclose(ours, pytorch.images_out(theirs), atol=1e-4)


def test_images_depend_on_the_caption_and_on_the_draw():
    network, variables, z = started("generator")
    z = jnp.broadcast_to(z[:1], z.shape)
    keys = jnp.stack([jax.random.key(seed) for seed in (0, 0, 0)])
    images = jax.jit(functools.partial(network.apply, variables, z, method="images"))
    condition = {"label": CAPTIONS}
    for drawn in images(condition, keys=keys):
        # The first two captions have the same words.
        np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-4, atol=1e-5)
        assert jnp.abs(drawn[0] - drawn[2]).max() > 1e-3
    others = images(condition, keys=jax.random.split(jax.random.key(0), 3))
    for one, other in zip(images(condition), others, strict=True):
        assert jnp.abs(one - other).max() > 1e-3


def test_the_second_stage_continues_the_first_and_does_not_change_it():
    network, variables, z = started("generator")

    @jax.jit
    def gradients(params):
        def total(params, stage):
            images = network.apply({"params": params}, z, {"label": CAPTIONS}, method="images")
            return jnp.sum(jnp.sin(3.0 * images[stage]))

        return [jax.grad(total)(params, stage) for stage in (0, 1)]

    first, second = gradients(variables["params"])
    images = network.apply(variables, z, {"label": CAPTIONS}, method="images")
    assert [image.shape for image in images] == [(3, 4, 4, 3), (3, 8, 8, 3)]

    def touched(gradient):
        return {name for name, leaf in gradient.items() if np.any(jax.tree.leaves(leaf)[0])}

    # Conv_0 makes the first image, and Conv_5 the second.
    both = {"Dense_0", "augmentation"}
    assert touched(first) == both | {"Conv_0"}
    assert touched(second) == both | {f"Conv_{index}" for index in range(1, 6)}
    plain = network.apply(variables, z, {"label": CAPTIONS})
    np.testing.assert_allclose(plain, images[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stages", "sides"), [(1, [16]), (2, [8, 16]), (3, [4, 8, 16])])
def test_each_stage_has_twice_the_side_of_that_before(stages, sides):
    network = make("generator", shape=(16, 16, 3), stages=stages)
    start = functools.partial(network.init_with_output, method="images")
    z, condition = jnp.zeros((3, 4)), {"label": CAPTIONS}
    images, _ = jax.eval_shape(start, jax.random.key(0), z, condition)
    assert [image.shape[1] for image in images] == sides


def test_scores_of_a_stage_are_those_of_its_image_with_the_caption_and_without():
    network, variables, x = started("discriminator")
    coarse = jax.random.normal(jax.random.key(2), (3, 4, 4, 3))
    judge = jax.jit(functools.partial(network.apply, variables, method="judge"))
    condition = {"label": CAPTIONS}
    verdict = judge(joined([coarse, x]), condition)
    plain = verdict.heads[UNCONDITIONAL]
    assert verdict.scores.shape == plain.shape == (3, 2)
    for stage, other in enumerate(([-coarse, x], [coarse, -x])):
        changed = judge(joined(other), condition)
        for old, new in ((verdict.scores, changed.scores), (plain, changed.heads[UNCONDITIONAL])):
            moved = jnp.abs(old - new)
            assert moved[:, stage].min() > 1e-3
            np.testing.assert_allclose(moved[:, 1 - stage], 0.0, atol=1e-5)
    swapped = judge(joined([coarse, x]), {"label": CAPTIONS[::-1]})
    assert jnp.abs(verdict.scores - swapped.scores)[0].min() > 1e-3
    np.testing.assert_allclose(swapped.heads[UNCONDITIONAL], plain, rtol=1e-5)
    given = judge(joined([coarse, x]), {SENTENCE: verdict.heads[SENTENCE]})
    np.testing.assert_allclose(given.scores, verdict.scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"stages": 3}, "generator.stackgan.stages = 3; accepted for images of 8x8"),
        ("generator", {"condition_dim": 0}, "generator.stackgan.condition_dim = 0"),
        ("generator", {"blocks": -1}, "generator.stackgan.blocks = -1"),
        ("discriminator", {"stages": 0}, "discriminator.stackgan.stages = 0; accepted"),
        ("discriminator", {"normalization": "spectral"}, "discriminator.stackgan.normalization"),
        ("discriminator", {"heads": (Head("class", 3),)}, "'stackgan' cannot predict class"),
    ],
)
def test_fields_that_cannot_work_are_refused(role, fields, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(role, **fields)
