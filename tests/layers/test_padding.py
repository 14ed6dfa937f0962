import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.padding import edge_pad, reflect_pad


@pytest.mark.parametrize("width", [0, 1, 3])
@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 5, 9, 1), (2, 4, 4, 2), (1, 2, 3, 1)])
def test_equals_numpy(shape, width):
    """Of images smaller than the padding, too, which are reflected to and fro."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(reflect_pad(x, width), expected)


@pytest.mark.parametrize("shape", [(2, 5, 9, 3), (1, 1, 2, 1)])
def test_outermost_pixels_are_repeated(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    np.testing.assert_array_equal(edge_pad(x), expected)


def test_the_outermost_row_is_the_mirror():
    row = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(reflect_pad(row, 2)[0, 0, :, 0], [3, 2, 1, 2, 3, 2, 1])


@pytest.mark.parametrize("width", [1, 3])
def test_equals_pytorch(width):
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    x = np.random.default_rng(1).normal(size=(2, 6, 9, 3)).astype(np.float32)
    padded = torch.nn.ReflectionPad2d(width)(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(reflect_pad(x, width), padded.numpy().transpose(0, 2, 3, 1))


def test_gradient_is_the_adjoint():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(1, 4, 5, 2)), rng.normal(size=(1, 10, 11, 2))
    x, y = x.astype(np.float32), y.astype(np.float32)
    padded, back = jax.vjp(lambda images: reflect_pad(images, 3), x)
    np.testing.assert_allclose(np.sum(padded * y), np.sum(x * back(y)[0]), rtol=1e-4)


def test_dtype_is_kept():
    for dtype in (jnp.bfloat16, jnp.uint8):
        assert reflect_pad(jnp.ones((1, 4, 4, 1), dtype), 1).dtype == dtype
