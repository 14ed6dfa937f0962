import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.activation import PReLU


def test_starts_as_leaky_relu_of_a_quarter():
    x = jnp.array([[-4.0, 2.0], [0.0, -1.0]])
    y, variables = PReLU().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(y, [[-1.0, 2.0], [0.0, -0.25]])
    assert variables["params"]["slope"].shape == (2,)


def test_equals_pytorch_with_its_gradients():
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 3, 5)).astype(np.float32)
    slope = rng.normal(size=5).astype(np.float32)

    def total(slope, x):
        return jnp.sum(jnp.square(PReLU().apply({"params": {"slope": slope}}, x)))

    ours = jax.grad(total, argnums=(0, 1))(slope, x)
    weight = torch.tensor(slope, requires_grad=True)
    image = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    torch.nn.functional.prelu(image, weight).square().sum().backward()
    np.testing.assert_allclose(ours[0], weight.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours[1], image.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-5)


def test_bfloat16_keeps_float32_slopes():
    x = jnp.ones((2, 3), jnp.float32)
    y, variables = PReLU(dtype=jnp.bfloat16).init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert variables["params"]["slope"].dtype == jnp.float32
