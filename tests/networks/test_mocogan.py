"""MoCoGAN's networks: what content and motion determine, and what each discriminator judges."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.dcgan import DCGANDiscriminator
from gan_jax.networks.mocogan import random_frames
from gan_jax.networks.registry import make

SHAPE = (4, 8, 8, 1)
CONTENT, MOTION = 3, 2


def kernels(role, shape, **fields):
    """Return the shapes of all kernels at the paper's widths: traced, not computed."""
    module = make(role, "mocogan", shape=shape, **fields)
    x = jnp.zeros((1, *shape) if role == "discriminator" else (1, module.latent_dim))
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    flat = jax.tree_util.tree_leaves_with_path(params)
    names = ["/".join(key.key for key in path) for path, _ in flat]
    return {n.removesuffix("/kernel"): x.shape for n, (_, x) in zip(names, flat, strict=True)}


def test_networks_have_the_papers_layers():
    found = kernels("generator", (16, 64, 64, 3))
    assert found["image/Dense_0"] == (50 + 10, 4 * 4 * 512)
    assert found["image/ConvTranspose_3"] == (4, 4, 64, 3)
    assert found["recurrent/cell/in"] == found["recurrent/cell/hn"] == (10, 10)
    found = kernels("discriminator", (12, 64, 64, 3))
    assert found["image/Conv_0"] == (4, 4, 3, 64)
    assert found["image/Dense_0"] == (4 * 4 * 512, 1)
    assert found["Conv_3"] == (4, 4, 4, 256, 512)
    # Strides are in space alone.
    assert found["Dense_0"] == (12 * 4 * 4 * 512, 1)


@pytest.fixture(scope="module")
def generator():
    """A small generator without normalization, as functions of latents: codes and videos."""
    module = make(
        "generator",
        "mocogan",
        shape=SHAPE,
        latent_dim=CONTENT + SHAPE[0] * MOTION,
        motion_dim=MOTION,
        motion_features=5,
        features=4,
        normalization="none",
    )
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, module.latent_dim)))
    # Weights start near 0: too little to be seen.
    image = jax.tree.map(lambda x: 20 * x, variables["params"]["image"])
    variables = {"params": {**variables["params"], "image": image}}
    codes = jax.jit(functools.partial(module.apply, variables, method="codes"))
    return codes, jax.jit(functools.partial(module.apply, variables))


def parts(seed):
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(2, CONTENT)).astype(np.float32)
    return content, rng.normal(size=(2, SHAPE[0], MOTION)).astype(np.float32)


def joined(content, noise):
    return np.concatenate([content, noise.reshape(2, -1)], axis=1)


def test_content_is_the_same_in_all_frames_and_does_not_depend_on_the_motion(generator):
    codes, _ = generator
    (content, noise), (other_content, other_noise) = parts(0), parts(1)
    found = codes(joined(content, noise))
    chex.assert_shape(found, (2, SHAPE[0], CONTENT + 5))
    chex.assert_trees_all_close(found[:, :, :CONTENT], np.repeat(content[:, None], SHAPE[0], 1))
    moved = codes(joined(content, other_noise))
    np.testing.assert_array_equal(moved[..., :CONTENT], found[..., :CONTENT])
    assert np.all(np.abs(moved - found)[..., CONTENT:].max(axis=-1) > 1e-3)
    swapped = codes(joined(other_content, noise))
    np.testing.assert_array_equal(swapped[..., CONTENT:], found[..., CONTENT:])
    assert np.all(np.abs(swapped - found)[..., :CONTENT].max(axis=-1) > 1e-3)


def test_the_motion_of_a_frame_depends_on_the_noise_up_to_it(generator):
    codes, videos = generator
    content, noise = parts(0)
    changed = noise.copy()
    changed[0, 2] += 1.0
    for made in (lambda z: codes(z)[..., CONTENT:], videos):
        one, other = made(joined(content, noise)), made(joined(content, changed))
        np.testing.assert_array_equal(one[0, :2], other[0, :2])
        np.testing.assert_array_equal(one[1], other[1])
        for frame in (2, 3):
            assert np.abs(one[0, frame] - other[0, frame]).max() > 1e-3


def test_each_frame_is_made_from_its_own_code(generator):
    """A video's order of frames is that of the codes, and examples do not mix."""
    _, videos = generator
    (content, noise), (other, _) = parts(0), parts(1)
    video = videos(joined(content, noise))
    chex.assert_shape(video, (2, *SHAPE))
    mixed = videos(joined(np.stack([other[0], content[1]]), noise))
    np.testing.assert_array_equal(video[1], mixed[1])
    assert np.all(np.abs(video[0] - mixed[0]).max(axis=(1, 2, 3)) > 1e-3)


@pytest.fixture(scope="module")
def discriminator():
    """A small discriminator, as functions of videos and keys: scores."""
    module = make(
        "discriminator", "mocogan", shape=SHAPE, features=4, image_features=6, normalization="none"
    )
    x = jax.random.normal(jax.random.key(1), (2, *SHAPE))
    variables = jax.jit(module.init)(jax.random.key(0), x)
    return variables, jax.jit(lambda x, keys=None: module.apply(variables, x, keys=keys)), x


def test_one_score_is_of_a_frame_and_one_of_the_whole_video(discriminator):
    variables, score, x = discriminator
    scores, reversed_ = score(x), score(x[:, ::-1])
    assert scores.shape == (2, 2)
    np.testing.assert_allclose(scores[:, 0], reversed_[:, 0], atol=1e-6)
    assert np.all(np.abs(scores[:, 1] - reversed_[:, 1]) > 1e-6)

    image = DCGANDiscriminator(SHAPE[1:], features=6, normalization="none")
    own = {"params": variables["params"]["image"]}
    each = jax.jit(lambda x: image.apply(own, x))(x.reshape(-1, *SHAPE[1:])).reshape(2, SHAPE[0])
    np.testing.assert_allclose(scores[:, 0], each.mean(axis=1), rtol=1e-5)
    # With keys it is the score of one frame, and that of the whole does not change.
    keys = jax.random.split(jax.random.key(2), 2)
    drawn = score(x, keys)
    np.testing.assert_allclose(drawn[:, 1], scores[:, 1], rtol=1e-5)
    distance = np.abs(each - drawn[:, :1])
    assert np.all(distance.min(axis=1) < 1e-6)
    assert np.all(np.sort(distance, axis=1)[:, 1] > 1e-6)


def test_the_class_belongs_to_the_content_and_to_both_scores(discriminator):
    labels = {"label": np.array([2, 0], np.int32)}
    given = {"shape": SHAPE, "features": 4, "normalization": "none", "num_classes": 3}
    module = make("generator", "mocogan", conditioning="concat", latent_dim=50, **given)
    z = jnp.ones((2, 50))

    @jax.jit
    def codes(labels):
        return module.init_with_output(jax.random.key(0), z, labels, method="codes")[0]

    found = codes(labels)
    onehot = np.repeat(np.eye(3)[labels["label"]][:, None], SHAPE[0], axis=1)
    np.testing.assert_array_equal(found[..., 10:13], onehot)
    chex.assert_shape(found, (2, SHAPE[0], 10 + 3 + 10))

    module = make("discriminator", "mocogan", conditioning="projection", **given)

    @jax.jit
    def scores(labels):
        return module.init_with_output(jax.random.key(0), discriminator[2], labels)[0]

    one, other = scores(labels), scores({"label": np.array([1, 0], np.int32)})
    assert np.all(one[0] != other[0])
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("count", [1, 3])
def test_every_frame_is_drawn_equally_often_and_at_most_once(count):
    videos = jnp.broadcast_to(jnp.arange(4.0)[:, None, None, None], (400, 4, 1, 1, 1))
    drawn = random_frames(jax.random.split(jax.random.key(0), 400), videos, count)
    assert drawn.shape == (400, count, 1, 1, 1)
    found = np.sort(np.asarray(drawn, int).reshape(400, count), axis=1)
    assert np.all(np.diff(found, axis=1) > 0)
    counts = np.bincount(found.ravel(), minlength=4)
    assert np.all(np.abs(counts - 100 * count) < 40)


def test_the_score_of_several_frames_is_their_mean(discriminator):
    """And that of as many as there are is the score without keys; more are not asked for."""
    variables, score, x = discriminator
    keys = jax.random.split(jax.random.key(2), 2)
    for count in (SHAPE[0], SHAPE[0] + 3):
        module = make(
            "discriminator",
            "mocogan",
            shape=SHAPE,
            features=4,
            image_features=6,
            image_frames=count,
            normalization="none",
        )
        found = jax.jit(module.apply)(variables, x, keys=keys)
        np.testing.assert_allclose(found, score(x), rtol=1e-5)


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_refused_shapes_are_explained(role):
    with pytest.raises(ConfigError, match=r"videos, but one data point has shape \(16, 16, 1\)"):
        make(role, "mocogan", shape=(16, 16, 1))
    with pytest.raises(ConfigError, match=r"data\.resolution = 4 cannot be made by mocogan"):
        make(role, "mocogan", shape=(4, 4, 4, 1))


def test_a_latent_vector_without_content_is_refused():
    with pytest.raises(ConfigError, match=r"latent_dim = 40 leaves.*accepted: more than 40"):
        make("generator", "mocogan", shape=SHAPE, latent_dim=40, motion_dim=10)
