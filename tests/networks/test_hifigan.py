"""HiFi-GAN's networks: the paper's sizes, PyTorch, lengths, shifts, periods, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks import hifigan
from gan_jax.networks.hifigan import HiFiGANDiscriminator, HiFiGANGenerator, halved, rows
from gan_jax.networks.registry import make
from tests.networks.pytorch import drawn, tensor

MEL = np.random.default_rng(0).normal(size=(2, 12, 5)).astype(np.float32)
SOUND = np.random.default_rng(1).uniform(-1, 1, (2, 90, 1)).astype(np.float32)
SMALL = {"features": 8, "rates": (3, 2), "kernels": (3, 5), "dilations": (1, 3)}


def generator(**fields):
    own = {"shape": (12, 5), "outputs": 1, "factor": 6, **SMALL, **fields}
    return make("translator", "hifigan", **own)


def discriminator(**fields):
    own = {"shape": (90, 1), "periods": (2, 3), "features": (3, 4), "scales": 0, **fields}
    return make("patch_discriminator", "hifigan", **own)


def count(module, x):
    """Return the number of parameters."""
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("fields", "millions"),
    [
        ({}, 13.92),
        ({"features": 128}, 0.92),
        (
            {
                "features": 256,
                "rates": (8, 8, 4),
                "kernels": (3, 5, 7),
                "dilations": (1, 2),
                "double": False,
            },
            1.46,
        ),
    ],
)
def test_the_papers_generators_have_its_numbers_of_parameters(fields, millions):
    """V1, V2 and V3 of its table 1."""
    module = HiFiGANGenerator((32, 80), 1, **fields)
    assert count(module, np.zeros((1, 32, 80))) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(("double", "dilations"), [(True, (3,)), (False, (1, 3))])
def test_sounds_are_those_of_pytorch(double, dilations):
    torch = pytest.importorskip("torch", reason="compares with PyTorch (extra: parity)")
    functional = torch.nn.functional
    module = generator(double=double, dilations=dilations)
    params = drawn(module, MEL)["params"]
    number = {"WeightConv": 0, "WeightConvTranspose": 0}

    def layer(kind):
        """Return the next layer's normalized kernel ``[size, in, out]`` and bias."""
        own = params[f"{kind}_{number[kind]}"]
        number[kind] += 1
        kernel = np.asarray(own["kernel"])[:, 0]
        kernel = kernel * own["scale"] / np.sqrt((kernel**2).sum((0, 1)))
        return kernel, tensor(torch, own["bias"])

    def conv(h, dilation=1):
        kernel, bias = layer("WeightConv")
        reach = (len(kernel) - 1) // 2 * dilation
        weight = tensor(torch, kernel.transpose(2, 1, 0))
        return functional.conv1d(h, weight, bias, padding=reach, dilation=dilation)

    def up(h, rate):
        kernel, bias = layer("WeightConvTranspose")
        weight = tensor(torch, kernel[::-1].transpose(1, 2, 0))
        made = functional.conv_transpose1d(h, weight, bias, stride=rate)
        first = rate // 2
        return made[:, :, first : first + rate * h.shape[2]]

    h = conv(tensor(torch, MEL.transpose(0, 2, 1)))
    for rate in module.rates:
        h = up(functional.leaky_relu(h, 0.1), rate)
        blocks = []
        for _ in module.kernels:
            x = h
            for dilation in module.dilations:
                y = conv(functional.leaky_relu(x, 0.1), dilation)
                x = x + (conv(functional.leaky_relu(y, 0.1)) if double else y)
            blocks.append(x)
        h = sum(blocks) / len(blocks)
    expected = torch.tanh(conv(functional.leaky_relu(h, 0.01))).numpy().transpose(0, 2, 1)
    made = jax.jit(module.apply)({"params": params}, MEL)
    assert made.shape == (2, 72, 1)
    np.testing.assert_allclose(made, expected, atol=2e-5)
    assert np.std(expected) > 0.1


def test_a_shift_by_a_frame_shifts_the_sound_by_a_hop():
    module = generator(double=False, dilations=(3,))
    variables = drawn(module, MEL)
    apply = jax.jit(lambda x: module.apply(variables, x, train=False))
    longer = np.random.default_rng(2).normal(size=(1, 40, 5)).astype(np.float32)
    left, right = apply(longer[:, :-1]), apply(longer[:, 1:])
    assert left.shape == (1, 6 * 39, 1)
    np.testing.assert_allclose(right[:, 90:-96], left[:, 96:-90], atol=2e-5)
    assert np.std(right[:, 90:-96]) > 0.1


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_rows_are_those_of_a_plain_loop(mode):
    x = SOUND[:, :25].repeat(2, axis=2) * np.array([1.0, -2.0], np.float32)
    found = rows(x, 7, mode)
    assert found.shape == (2, 4, 7, 2)
    for sample in range(28):
        expected = x[:, sample if sample < 25 else 48 - sample]
        if sample >= 25 and mode == "constant":
            expected = np.zeros_like(expected)
        np.testing.assert_array_equal(found[:, sample // 7, sample % 7], expected)


def test_a_part_of_a_period_judges_every_column_by_itself():
    module = discriminator(periods=(3,))
    variables = drawn(module, SOUND)
    judge = jax.jit(lambda x: module.apply(variables, x, method="judge"))
    columns = SOUND.reshape(2, 30, 3, 1)
    plain, turned = judge(SOUND), judge(columns[:, :, ::-1].reshape(SOUND.shape))
    # 30 rows, every third of which is kept once.
    assert plain.scores.shape == (2, 30)
    for one, other in zip(plain.features, turned.features, strict=True):
        np.testing.assert_allclose(other[:, :, ::-1], one, atol=1e-5)
    assert not np.allclose(plain.scores, turned.scores, atol=1e-3)
    changed = columns.copy()
    changed[:, :, 1] += 0.5
    feature, before = judge(changed.reshape(SOUND.shape)).features[0], plain.features[0]
    np.testing.assert_allclose(feature[:, :, [0, 2]], before[:, :, [0, 2]], atol=1e-6)
    assert np.abs(feature - before)[:, :, 1].min() >= 0.0 < np.abs(feature - before).max()


def test_sounds_are_reflected_at_their_end_to_whole_rows():
    module = discriminator(periods=(7,))
    variables = drawn(module, SOUND)
    judge = jax.jit(lambda x: module.apply(variables, x))
    whole = np.pad(SOUND, ((0, 0), (0, 1), (0, 0)), mode="reflect")
    np.testing.assert_allclose(judge(SOUND), judge(whole), atol=1e-5)


def test_features_are_of_all_parts_with_their_scores_last(monkeypatch):
    monkeypatch.setattr(hifigan, "_GROUPS", (1,) * 7)  # Quicker to compile.
    module = discriminator(scales=1, scale_features=(16,) * 7)
    variables = drawn(module, SOUND)
    verdict = jax.jit(lambda x: module.apply(variables, x, method="judge"))(SOUND)
    parts = [verdict.features[2], verdict.features[5], verdict.features[13]]
    assert len(verdict.features) == 14
    joined = np.concatenate([part.reshape(2, -1) for part in parts], axis=1)
    np.testing.assert_array_equal(verdict.scores, joined)
    # 45, 15 of 2, then 30, 10 of 3, and 90 samples through strides of 64.
    assert [part.shape[1:3] for part in parts] == [(15, 2), (10, 3), (2, 1)]
    assert set(variables) == {"params", "spectral"}


def test_parts_of_a_scale_see_means_of_four_samples(monkeypatch):
    """A sound that alternates is 0 to the second scale, but for its ends."""
    monkeypatch.setattr(hifigan, "_GROUPS", (1,) * 7)
    module = discriminator(periods=(), scales=2, scale_features=(16,) * 7, normalization="none")
    variables = drawn(module, SOUND)
    judge = jax.jit(lambda x: module.apply(variables, x, method="judge"))
    wave = np.broadcast_to((-1.0) ** np.arange(90)[:, None], SOUND.shape).astype(np.float32)
    loud, silent = judge(wave), judge(0.0 * wave)
    second = [verdict.features[8] for verdict in (loud, silent)]
    assert second[0].shape == (2, 46, 1, 16)
    np.testing.assert_allclose(second[0][:, 10:-10], second[1][:, 10:-10], atol=1e-5)
    assert np.abs(loud.features[0] - silent.features[0])[:, 10:-10].max() > 0.1


@pytest.mark.parametrize("samples", [9, 10])
def test_halved_sounds_are_means_of_four(samples):
    padded = np.pad(SOUND[:, :samples], ((0, 0), (2, 4), (0, 0)))
    found = halved(SOUND[:, :samples])
    assert found.shape == (2, 6, 1)
    for i in range(6):
        np.testing.assert_allclose(found[:, i], padded[:, 2 * i : 2 * i + 4].mean(1), atol=1e-6)


def test_the_papers_discriminator_has_its_layers():
    module = HiFiGANDiscriminator((8192, 1))
    variables = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 8192, 1)))
    kernels = {name: own["kernel"].shape for name, own in variables["params"].items()}
    assert kernels["WeightConv_4"] == (5, 1, 1024, 1024)
    assert kernels["SpectralConv_1"] == (41, 1, 32, 128)
    assert kernels["SpectralConv_5"] == (41, 1, 64, 1024)
    assert len([name for name in kernels if name.startswith("SpectralConv")]) == 8
    assert len(kernels) == 5 * 6 + 3 * 8


def test_gradients_are_finite_and_reach_every_parameter():
    judge, make_sound = discriminator(), generator(dilations=(3,))
    for module, x in ((make_sound, MEL), (judge, SOUND)):
        params = drawn(module, x)["params"]
        gradient = jax.jit(
            jax.grad(lambda p, m=module, x=x: jnp.mean(jnp.square(m.apply({"params": p}, x) - 0.5)))
        )(params)
        sizes = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)]
        assert np.isfinite(sizes).all()
        assert min(sizes) > 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rates": (2, 2)}, r"rates = \(2, 2\), whose product is 4, but .* 6 times .*\.mel\.hop"),
        ({"kernels": (3, 4)}, r"kernels = \(3, 4\); accepted: odd numbers"),
        ({"features": 6}, r"features = 6 cannot be halved 2 times; accepted: multiples of 4"),
        ({"rates": ()}, r"rates = \(\), whose product is 1"),
        ({"dilations": (0,)}, r"dilations = \(0,\)"),
        ({"normalization": "batch"}, r"generator\.hifigan\.normalization = 'batch'"),
        ({"output": "residual"}, r"generator\.hifigan\.output = 'residual'"),
        ({"shape": (12, 5, 1)}, r"data\.name: hifigan is a network for sound"),
    ],
)
def test_generators_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        make(
            "translator",
            "hifigan",
            **{"shape": (12, 5), "outputs": 1, "factor": 6, **SMALL, **fields},
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"periods": (), "scales": 0}, r"periods = \(\) with scales = 0; accepted: one part"),
        ({"periods": (90,)}, r"periods = \(90,\) with sounds of 90 samples; accepted: shorter"),
        ({"scales": -1}, r"discriminator\.hifigan\.scales = -1"),
        ({"scales": 1, "scale_features": (8,) * 7}, r"accepted: multiples of 16"),
        ({"scale_features": (16,)}, r"scale_features = \(16,\).*a tuple of 7"),
        ({"normalization": "spectral"}, r"discriminator\.hifigan\.normalization = 'spectral'"),
        ({"shape": (8, 8, 1)}, r"data\.name: hifigan is a network for sound"),
    ],
)
def test_discriminators_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        discriminator(**fields)
