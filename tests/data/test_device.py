import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import device


@pytest.fixture(autouse=True)
def _strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("run", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_bytes_survive_the_round_trip(run):
    levels = np.arange(256, dtype=np.uint8)
    floats = run(device.to_float)(levels)
    assert floats.dtype == jnp.float32
    assert floats[0] == -1.0
    assert floats[255] == 1.0
    np.testing.assert_allclose(np.diff(floats), 2 / 255, atol=1e-6)
    np.testing.assert_array_equal(run(device.to_uint8)(floats), levels)


def test_to_uint8_clips_and_rounds_halves_up():
    # 0 lies half way between the levels 127 and 128.
    values = jnp.array([-7.0, -1.0, 0.0, 1.0, 1.004, 9.0, jnp.inf, -jnp.inf])
    assert device.to_uint8(values).tolist() == [0, 0, 128, 255, 255, 255, 255, 0]
    assert device.to_uint8(values.astype(jnp.bfloat16)).dtype == jnp.uint8


def test_points_pass_through():
    points = np.array([[3.0, -2.5]], np.float32)
    np.testing.assert_array_equal(device.to_float(points), points)


def test_fetch_gathers_the_resident_examples():
    data = {"image": np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1), "label": np.arange(6) * 10}
    data["label"] = data["label"].astype(np.int32)
    index = np.array([5, 0, 5], np.int32)
    got = jax.jit(device.fetch)(data, {"index": index})
    np.testing.assert_array_equal(got["image"], data["image"][index])
    np.testing.assert_array_equal(got["label"], [50, 0, 50])
    assert got["image"].dtype == jnp.uint8
    streamed = {"image": data["image"][index], "label": data["label"][index]}
    jax.tree.map(np.testing.assert_array_equal, device.fetch({}, streamed), got)


def test_flip_mirrors_only_the_chosen_left_to_right():
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 3), np.uint8)
    got = device.flip(jnp.asarray(images), jnp.array([True, False, True]))
    np.testing.assert_array_equal(got[0], images[0][:, ::-1])
    np.testing.assert_array_equal(got[1], images[1])
    np.testing.assert_array_equal(got[2], images[2][:, ::-1])


@pytest.mark.parametrize(
    ("shape", "draws"),
    [((4, 2), jnp.ones(4, bool)), ((4, 2, 2, 1), jnp.ones(3, bool)), ((4, 2, 2, 1), jnp.ones(4))],
)
def test_flip_refuses_what_it_would_broadcast(shape, draws):
    with pytest.raises(ValueError, match="got"):
        device.flip(jnp.zeros(shape), draws)
