"""The Inception network: parity with torch-fidelity's, invariances, files of weights, mistakes."""

import io
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import cache
from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import inception, inception_network
from scripts import convert_inception
from tests.metrics import fidelity
from tests.real_data import find

ALL = tuple(inception.WIDTHS)
SHALLOW = ("64", "192")


@pytest.fixture(scope="module")
def random_weights():
    """Weights of order-one activations, all layers, without PyTorch."""
    rng = np.random.default_rng(0)
    return {
        name: (
            rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]) if len(shape) > 1 else 0.1)
        ).astype(np.float32)
        for name, shape in inception.shapes("logits").items()
    }


@pytest.fixture(scope="module")
def shallow(random_weights):
    """Weights that end at the layer "192"."""
    return {name: random_weights[name] for name in inception.shapes("192")}


@pytest.fixture(scope="module")
def real_weights():
    """The published weights up to the layer "768"."""
    return convert_inception.convert(find("inception-2015-12-05_to_mixed_7.npz"))


def extractor_of(weights, folder, **options):
    inception.save_weights(folder / "weights.npz", weights)
    return inception.make_inception(folder / "weights.npz", **options)


def compute(extractor, images, layers):
    return jax.jit(extractor.apply, static_argnums=2)(extractor.variables, images, layers)


def random_images(n, size, channels=3, seed=1):
    """Smooth colours with noise on them, so that the pools have something to choose from."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0, 255, (n, 1, 1, channels))
    return np.clip(base + 60 * rng.normal(size=(n, size, size, channels)), 0, 255).astype(np.uint8)


def assert_close(ours, theirs, tolerance):
    """Compare by the scale of each layer."""
    for layer, expected in theirs.items():
        assert ours[layer].dtype == np.float32
        assert np.std(expected) > 1e-2, "a reference that says nothing"
        np.testing.assert_allclose(
            ours[layer], expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=layer
        )


# Parity.


@pytest.mark.slow
def test_agrees_with_torch_fidelity_in_every_layer(tmp_path):
    """Random weights and random batch statistics, through our converter."""
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    state = fidelity.random_state()
    torch.save(state, tmp_path / "state.pth")
    weights = convert_inception.convert(tmp_path / "state.pth")
    extractor = extractor_of(weights, tmp_path)
    assert (extractor.name, extractor.default, extractor.logits) == (
        "inception",
        "2048",
        "logits_unbiased",
    )
    net = fidelity.network(ALL, state)
    images = random_images(2, 32)
    theirs = fidelity.features(net, images)
    assert all(0.1 < np.abs(value).mean() < 10 for value in theirs.values()), "not order one"
    ours = compute(extractor, images, ALL)
    assert {name: value.shape for name, value in ours.items()} == {
        name: (2, width) for name, width in extractor.layers.items()
    }
    assert_close(ours, theirs, 1e-4)


@pytest.mark.slow
def test_agrees_with_torch_fidelity_on_photographs(tmp_path, real_weights):
    """The published weights up to the layer "768"."""
    with zipfile.ZipFile(find("cifar10_jpeg75_train.zip")) as archive:
        names = [name for name in sorted(archive.namelist()) if name.lower().endswith("jpg")]
        files = [archive.read(name) for name in names[:: len(names) // 2][:2]]
    images = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    layers = ("64", "192", "768")
    net = fidelity.network(layers, fidelity.unfolded_state(real_weights))
    extractor = extractor_of(real_weights, tmp_path)
    assert tuple(extractor.layers) == layers
    assert (extractor.default, extractor.logits) == ("768", None)
    assert_close(compute(extractor, images, layers), fidelity.features(net, images), 1e-4)


# What must not matter.


@pytest.mark.slow
def test_neither_the_batch_nor_the_layers_asked_for_nor_grey_as_rgb_matter(tmp_path, shallow):
    extractor = extractor_of(shallow, tmp_path)
    grey = random_images(2, 32, channels=1)
    both = compute(extractor, np.repeat(grey, 3, -1), ("192", "64"))
    assert list(both) == ["192", "64"]
    assert_close(compute(extractor, grey, SHALLOW), both, 1e-6)
    alone = compute(extractor, grey[1:], ("64",))
    assert list(alone) == ["64"]
    assert_close(alone, {"64": both["64"][1:]}, 1e-6)


# Operations.


def products(layer, precision="highest"):
    """The convolutions and matrix products that a layer takes."""
    network = inception.Inception(precision)
    image = np.zeros((2, 32, 32, 3), np.uint8)
    variables = jax.eval_shape(lambda key: network.init(key, image, (layer,)), jax.random.key(0))
    closed = jax.make_jaxpr(network.apply, static_argnums=2)(variables, image, (layer,))

    def inner(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("conv_general_dilated", "dot_general"):
                yield equation
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    yield from inner(value.jaxpr)

    return list(inner(closed.jaxpr))


@pytest.mark.slow
def test_computes_no_deeper_than_asked():
    counts = [len(products(layer)) for layer in ALL]
    # 94 convolutions and the last layer, less those that one product makes: 3 in each of the ten
    # blocks with four heads of which three (the last block: 2), 1 in the step to 8x8 pixels.
    assert counts[:2] == [3, 5]
    assert counts[2] < counts[3] == counts[4] - 1 == counts[5] - 1
    assert counts[4] == 95 - 8 * 3 - 2 - 1


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("highest", jax.lax.Precision.HIGHEST), ("default", jax.lax.Precision.DEFAULT)],
)
def test_precision_reaches_every_product(tmp_path, shallow, precision, expected):
    assert extractor_of(shallow, tmp_path, precision=precision).protocol["precision"] == precision
    for equation in products("logits", precision):
        assert set(np.ravel(equation.params["precision"])) == {expected}


def test_unknown_precision_is_refused_before_the_file_is_looked_for(tmp_path):
    with pytest.raises(ConfigError, match="precision = 'high' is unknown; accepted: default, high"):
        inception.make_inception(tmp_path / "none.npz", precision="high")


def window_reference(x, function, stride, pad):
    """Apply ``function`` to the pixels of every 3x3 window that lie in the image."""
    out = (np.array(x.shape[1:3]) + 2 * pad - 3) // stride + 1
    made = np.zeros((x.shape[0], *out, x.shape[3]), x.dtype)
    for i, j in np.ndindex(*out):
        top, left = stride * i - pad, stride * j - pad
        window = x[:, max(top, 0) : top + 3, max(left, 0) : left + 3]
        made[:, i, j] = function(window, axis=(1, 2))
    return made


@pytest.mark.parametrize("size", [(7, 8), (3, 5)])
@pytest.mark.parametrize(
    ("pool", "function", "stride", "pad"),
    [
        (inception_network._average, np.mean, 1, 1),
        (inception_network._spreading_max, np.max, 1, 1),
        (inception_network._halving_max, np.max, 2, 0),
    ],
)
def test_pools_leave_padding_out(pool, function, stride, pad, size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32) - 3
    np.testing.assert_allclose(
        jax.jit(pool)(x), window_reference(x, function, stride, pad), rtol=1e-6
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_without_padding(stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 11, 4)).astype(np.float32)
    w = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    made = inception_network._convolve(x, w, stride, "VALID")
    np.testing.assert_allclose(made, expected, atol=1e-5)


# Weights and their files.


@pytest.mark.parametrize("end", ["64", "768", "logits"])
def test_weights_may_end_at_any_layer(monkeypatch, random_weights, end):
    weights = {name: random_weights[name] for name in inception.shapes(end)}
    monkeypatch.setattr(inception, "load_weights", lambda path: weights)
    extractor = inception.make_inception()
    assert tuple(extractor.layers) == (ALL if end == "logits" else ALL[: ALL.index(end) + 1])
    assert extractor.default == ("2048" if end == "logits" else end)
    assert extractor.logits == ("logits_unbiased" if end == "logits" else None)


def test_layers_beyond_the_weights_are_refused(tmp_path, shallow):
    extractor = extractor_of(shallow, tmp_path)
    images = random_images(1, 32)
    with pytest.raises(MetricError, match="'768' needs weights that are not in the file"):
        extractor.apply(extractor.variables, images, ("64", "768"))
    with pytest.raises(MetricError, match=r"'193' is unknown; accepted: 64, 192.*Did you mean"):
        extractor.apply(extractor.variables, images, ("193",))


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (np.zeros((2, 8, 8, 2), np.uint8), r"\(2, 8, 8, 2\)"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\)"),
        (np.zeros((2, 8, 8, 3), np.float32), "float32"),
    ],
)
def test_other_images_are_refused(tmp_path, shallow, images, got):
    extractor = extractor_of(shallow, tmp_path)
    with pytest.raises(MetricError, match=got + ".*accepted: .*1 or 3 channels, uint8"):
        extractor.apply(extractor.variables, images, ("64",))


def change(weights, name, value):
    changed = {key: array for key, array in weights.items() if key != name}
    return changed if value is None else {**changed, name: value}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Conv2d_4a_3x3/bias", None, "'Conv2d_4a_3x3/bias' is missing, which the layer '192'"),
        ("Conv2d_1a_3x3/kernel", None, "'Conv2d_1a_3x3/kernel' is missing, which the layer '64'"),
        ("fc/bias", np.zeros(1008, np.float32), "is missing, which the layer '768' needs"),
        ("fc/bais", np.zeros(1008, np.float32), "'fc/bais' does not.*Did you mean \"fc/bias\""),
        ("Conv2d_1a_3x3/bias", np.zeros(31, np.float32), r"has shape \(31,\); accepted: \(32,\)"),
        ("Conv2d_1a_3x3/bias", np.zeros(32), "has dtype float64; accepted: float32"),
        ("Conv2d_1a_3x3/bias", np.full(32, np.nan, np.float32), "'Conv2d_1a_3x3/bias'.*not finite"),
    ],
)
def test_wrong_weights_are_refused_by_name(tmp_path, shallow, name, value, message):
    weights = change(shallow, name, value)
    path = tmp_path / "weights.npz"
    np.savez(path, **weights)
    with pytest.raises(MetricError, match=message):
        inception.load_weights(path)
    before = path.read_bytes()
    with pytest.raises(MetricError, match=message):
        inception.save_weights(path, weights)
    assert path.read_bytes() == before


def test_no_weights_at_all_are_refused():
    with pytest.raises(MetricError, match="is missing, which the layer '64' needs"):
        inception.layers_of({})


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    with pytest.raises(MetricError) as caught:
        inception.make_inception()
    for part in (
        str(tmp_path / "inception-2015-12-05.npz"),
        "pt_inception-2015-12-05-6726825d.pth",
        "mseitzer/pytorch-fid",
        "fid_weights",
        "weights-inception-2015-12-05-6726825d.pth",
        "toshas/torch-fidelity",
        "v0.2.0",
        "python -m scripts.convert_inception FILE",
    ):
        assert part in str(caught.value)


def alien(kind, path, weights):
    """Write a file that is none of ours."""
    if kind == "text":
        path.write_text("not weights")
    elif kind == "folder":
        path.mkdir()
    elif kind == "objects":
        np.savez(path, **{**weights, "Conv2d_1a_3x3/bias": np.array([{}] * 32, object)})
    else:
        inception.save_weights(path, weights)
        content = bytearray(path.read_bytes())
        if kind == "cut":
            content = content[: len(content) // 2]
        else:
            content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["text", "folder", "objects", "cut", "one bit"])
def test_alien_and_damaged_files_are_refused(tmp_path, shallow, kind):
    path = tmp_path / "weights.npz"
    alien(kind, path, shallow)
    with pytest.raises(
        MetricError, match=r"weights.npz does not contain weights of .*convert_inception"
    ):
        inception.load_weights(path)


def test_weights_survive_a_file(tmp_path, shallow):
    path = tmp_path / "new" / "weights.npz"
    inception.save_weights(path, shallow)
    loaded = inception.load_weights(path)
    assert loaded.keys() == shallow.keys()
    for name, value in loaded.items():
        np.testing.assert_array_equal(value, shallow[name])


def test_hash_is_of_the_numbers_and_not_of_the_file(tmp_path, shallow):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    inception.save_weights(first, shallow)
    np.savez_compressed(second, **dict(reversed(shallow.items())))
    assert first.read_bytes() != second.read_bytes()
    hashes = {inception.weights_hash(inception.load_weights(path)) for path in (first, second)}
    assert hashes == {inception.weights_hash(shallow)}
    (digits,) = hashes
    assert len(digits) == 12
    assert inception.make_inception(second).protocol == {
        "extractor": "inception-2015-12-05",
        "weights": digits,
        "resize": "tf1 bilinear 299, no antialias",
        "precision": "highest",
    }


def test_hash_is_the_one_stored_with_old_results():
    """Computed apart, by sha256sum over "a (2,)\\n", 0000803f000000c0, "b (1, 1)\\n", 0000c03f."""
    weights = {"b": np.array([[1.5]], np.float32), "a": np.array([1, -2], np.float32)}
    assert inception.weights_hash(weights) == "8547972ed87d"


def test_weights_lie_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GAN_JAX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "gan_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.root() == tmp_path / "home" / ".cache" / "gan_jax"
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "own"))
    assert inception.default_path() == tmp_path / "own" / "inception-2015-12-05.npz"
