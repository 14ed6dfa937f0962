"""The discriminator of text whose generator learns by policy gradients (1609.05473, 1905.09922).

It reads a text from left to right through a gated recurrent unit (Cho et al. 2014, 1406.1078), and
scores every token given those before it, so that each token has a reward of its own.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.networks.condition import Condition
from gan_jax.networks.textgan import check_text
from gan_jax.networks.verdict import Discriminator, Verdict

VALUE = "value"
"""The head that estimates the return from each token on, given the tokens before it."""


class SeqGANDiscriminator(Discriminator):
    """Text to a score for every token, float32 `[batch, length]`, and an estimate of its return.

    Attributes:
      features: width of the embeddings and of the recurrent state.
    """

    GROUP: ClassVar[str] = "discriminator.seqgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int = 64

    def __post_init__(self) -> None:
        check_text("discriminator.name = 'seqgan'", self.shape)
        self._check_sizes("features")
        super().__post_init__()

    @override
    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        x = nn.Dense(self.features, use_bias=False, name="embedding", **self._types)(x)
        states = nn.RNN(nn.GRUCell(self.features, **self._types))(x)
        assert isinstance(states, jax.Array)
        states = states.astype(jnp.float32)
        last = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        scores = nn.Dense(1, name="score", **last)(states)[..., 0]
        # The value of a token does not depend on it, and does not change the states.
        before = lax.stop_gradient(jnp.pad(states, ((0, 0), (1, 0), (0, 0)))[:, :-1])
        value = nn.Dense(1, name=VALUE, **last)(before)[..., 0]
        return Verdict(scores, (states,), {VALUE: value})
