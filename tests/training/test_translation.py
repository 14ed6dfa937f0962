"""Games of images in training: devices, restarts, what they are measured by, and their pictures."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan_jax import errors
from gan_jax.data import device, sources
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.evaluation import best, evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.anomaly import AnomalyGame
from gan_jax.games.cycle import CycleGame
from gan_jax.games.paired import PairedGame
from gan_jax.games.translation import A_TO_B
from gan_jax.inference import sample_run
from gan_jax.losses import adversarial
from gan_jax.metrics import detection, extractors, similarity
from gan_jax.networks import registry
from gan_jax.report import evaluations
from gan_jax.runs import build, loop, pictures, replicas
from gan_jax.runs.run import open_run
from gan_jax.runs.run_evaluation import RunEvaluator
from gan_jax.training import parallel, sampling, step, translating
from gan_jax.training.ema import EMA
from gan_jax.training.preparation import Prepare
from tests.games import stub
from tests.metrics import stub as metric_stub
from tests.training import tiny

# As in tests/training/test_parallel.py: rounding, grown over some steps.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
CONFIGS = {
    "paired": tiny.paired_config,
    "cycle": tiny.cycle_config,
    "anomaly": tiny.anomaly_config,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what is cached out of the user's directory, and apart between tests."""
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def quarters(monkeypatch):
    """Register an extractor of our own."""
    monkeypatch.setitem(extractors.EXTRACTORS, "quarters", lambda setting: metric_stub.extractor())


# --- Devices. -------------------------------------------------------------------------------------


def host(state):
    state = state.replace(key=jax.random.key_data(state.key))
    return jax.tree.map(np.asarray, jax.device_get(state))


def restoration(**fields):
    """Return a game that fills boxes, with networks of a few numbers and noise in them."""
    options = {
        "generator": stub.Affine(0.5, 0.1, noise=0.2, outputs=1),
        "discriminator": stub.Patches((1.0, 2.0)),
        "spec": specs.images((8, 8, 1)),
        "loss": adversarial.make("non_saturating"),
        "degradation": degradation("mask", kind="boxes"),
    }
    return PairedGame(**{**options, **fields})


def unpaired(**fields):
    """Return CycleGAN, likewise."""
    options = {
        "generator": stub.Affine(0.5, 0.1, noise=0.2),
        "discriminator": stub.Patches((2.0,), 0.25),
        "spec": specs.pairs((8, 8, 1)),
        "loss": adversarial.make("least_squares"),
        "history": 20,
    }
    return CycleGame(**{**options, **fields})


def final(game, config, devices, mode="shard_map", steps=4):
    """Train a game on random crops of random images, and return its state."""
    optimizers = build.make_optimizers(tiny.sgd(config), game)
    train_step = step.make_train_step(
        game,
        optimizers,
        EMA(half_life=100.0),
        batch_size=16,
        prepare=Prepare(
            tiny.spec(config, None),
            config.data.flip,
            config.data.crop,
            config.data.pairing == "domains",
        ),
    )
    mapped = parallel.Parallel(train_step, mode, parallel.data_parallel(jax.devices()[:devices]))
    state = mapped.init(lambda: step.init_state(game, optimizers, EMA(half_life=100.0), 0))
    rows = tiny.data(config)
    rows.pop("label", None)
    data = mapped.put_replicated(rows)
    rng = np.random.default_rng(7)
    names = ["a", "b"] if config.data.pairing == "domains" else ["index"]
    for _ in range(steps):
        batch = mapped.put_batch({n: rng.integers(0, 64, (1, 1, 16), "int32") for n in names})
        state, _ = mapped(state, data, batch)
    return host(state)


@pytest.mark.parametrize(("kind", "mode"), [("paired", "shard_map"), ("cycle", "pmap")])
def test_draws_pools_and_phases_are_alike_on_any_number_of_devices(kind, mode):
    """Crops, flips, holes, dropout, past fakes: all belong to examples, not to devices."""
    config = CONFIGS[kind]()
    assert config.data.flip
    assert config.data.crop == 8
    game = unpaired() if kind == "cycle" else restoration(content_steps=2)
    one = final(game, config, 1)
    chex.assert_trees_all_close(final(game, config, 8, mode), one, **TOLERANCE)
    if kind == "cycle":
        assert [int(pool.count) for pool in one.game.values()] == [20, 20]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("paired", "shard_map"), ("cycle", "shard_map"), ("anomaly", "shard_map"), ("paired", "pmap")],
)
def test_real_networks_train_alike_on_any_number_of_devices(kind, mode):
    config = tiny.sgd(CONFIGS[kind]())
    config.num_devices = 1
    one = host(tiny.run(config, 3)[0])
    config.num_devices, config.parallel = 8, mode
    chex.assert_trees_all_close(host(tiny.run(config, 3)[0]), one, **TOLERANCE)


def perceptrons():
    """GANomaly of perceptrons: the fastest to compile."""
    config = tiny.anomaly_config()
    for network in (config.encoder, config.generator, config.discriminator):
        network.name = "mlp"
        network.mlp.features = (16,)
    return config


def test_anomaly_detection_trains_alike_on_any_number_of_devices():
    config = tiny.sgd(perceptrons())
    config.num_devices = 1
    one = host(tiny.run(config, 3)[0])
    config.num_devices = 8
    chex.assert_trees_all_close(host(tiny.run(config, 3)[0]), one, **TOLERANCE)


# --- Restarts. ------------------------------------------------------------------------------------


class Noisy(stub.Affine):
    """One with noise, as a configuration makes it."""

    slope: float = 0.5
    offset: float = 0.1
    noise: float = 0.2
    shape: tuple[int, ...] = ()


@pytest.mark.parametrize(("kind", "when"), [("paired", 1), ("cycle", 3), ("anomaly", 3)])
def test_a_stopped_run_goes_on_bit_for_bit(kind, when, tmp_path, monkeypatch):
    """Stopped while content is learnt; when the pools are full."""
    # No more than compiles fast; of the real networks, see tests/configs/test_variants.py.
    monkeypatch.setitem(registry.TRANSLATORS, "stub", Noisy)
    monkeypatch.setitem(registry.PATCH_DISCRIMINATORS, "stub", stub.Patches)
    config = perceptrons() if kind == "anomaly" else CONFIGS[kind]()
    if kind != "anomaly":
        config.generator.name = config.discriminator.name = "stub"
    config.num_devices = 1
    config.ema.half_life = 100.0
    config.game.paired.content_steps = 2
    config.train.update(steps=5, log_every=2, checkpoint_every=100, sample_every=100)
    assert loop.train(config, tmp_path / "whole").state == "done"
    tiny.stop_at(monkeypatch, when)
    result = loop.train(config, tmp_path / "parts")
    assert (result.state, result.step) == ("preempted", when)
    tiny.stop_at(monkeypatch, None)
    assert loop.train(config, tmp_path / "parts").state == "done"
    whole, parts = (open_run(tmp_path / name).state() for name in ("whole", "parts"))
    expected, found = tiny.bits(whole), tiny.bits(parts)
    assert [leaf for leaf in expected if expected[leaf] != found.get(leaf)] == []
    if kind == "cycle":
        for pool in whole.game.values():
            assert int(pool.count) == 20
            assert np.abs(pool.images).max((1, 2, 3)).min() > 0


# --- What is done to images before a turn. --------------------------------------------------------


def numbered(count, size, channels):
    """Return images whose every pixel tells its row and column."""
    rows, columns = np.mgrid[:size, :size].astype(np.uint8)
    image = np.stack([10 * rows + columns] * channels, -1)
    return np.stack([image] * count)


def corners(images):
    """Return, of crops of `numbered` images, where they begin and whether they are mirrored."""
    values = np.asarray(device.to_uint8(images)).astype(int)
    mirrored = values[:, 0, 0] > values[:, 0, 1]
    first = np.minimum(values[:, 0, 0], values[:, 0, -1])
    return first // 10, first % 10, mirrored


@pytest.mark.parametrize("apart", [False, True])
def test_halves_of_a_pair_move_together_and_domains_apart(apart):
    prepare = Prepare(specs.pairs((9, 9, 1)), flip=True, crop=4, apart=apart)
    assert prepare.spec == specs.pairs((4, 4, 1))
    images = jnp.asarray(numbered(256, 9, 1))
    made = prepare({"a": images, "b": images}, jax.random.key(0), None)
    assert made["a"].shape == made["b"].shape == (256, 4, 4, 1)
    first, second = (corners(made[name][..., 0]) for name in "ab")
    for one, other in zip(first, second, strict=True):
        if apart:
            assert np.mean(one == other) < 0.7
        else:
            np.testing.assert_array_equal(one, other)
    for tops, lefts, mirrored in (first, second):
        # Every place comes up, the last ones as well, and either way round.
        assert set(tops) == set(lefts) == set(range(6))
        assert 0.4 < mirrored.mean() < 0.6
        assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2
    # Rows and columns stand as they stood: one step to the right, one row below.
    values = np.asarray(device.to_uint8(made["a"][..., 0])).astype(int)
    np.testing.assert_array_equal(values[:, 1:] - values[:, :-1], 10)
    np.testing.assert_array_equal(np.abs(np.diff(values, axis=2)), 1)


def test_a_crop_of_the_whole_is_the_whole():
    images = jnp.asarray(numbered(3, 9, 1))
    prepare = Prepare(specs.images((9, 9, 1)), crop=9)
    made = prepare({"image": images}, jax.random.key(0), None)
    np.testing.assert_array_equal(device.to_uint8(made["image"]), images)


@pytest.mark.parametrize(
    ("crop", "shape", "message"),
    [
        (10, (9, 12, 1), r"data\.crop = 10; .*\(9, 12, 1\): 1 to 9, or unset"),
        (0, (9, 9, 1), r"data\.crop = 0; .*: 1 to 9"),
        (2, (2,), r"data\.crop = 2; .*\(2,\): unset"),
    ],
)
def test_a_crop_that_is_none_is_refused(crop, shape, message):
    with pytest.raises(errors.ConfigError, match=message):
        Prepare(tiny.spec_of(shape), crop=crop)
    with pytest.raises(ValueError, match=r"cannot cut 5x5 out of images of shape \(2, 4, 8, 1\)"):
        device.crop(jnp.zeros((2, 4, 8, 1)), 5, jax.random.split(jax.random.key(0), 2))


# --- Evaluation. ----------------------------------------------------------------------------------


def photographs(count=24, size=16, channels=3, seed=0):
    """Return smooth random images, uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, size // 4, size // 4, channels)).astype(np.float32)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    blurred = sum(np.roll(large, (i, j), (1, 2)) for i in range(3) for j in range(3)) / 9
    return blurred.astype(np.uint8)


def source_of(images, labels=None, names=None):
    return sources.image_source("random", "train", images, labels, names)


def restorer(how="gaussian", scale=1, channels=3, crop=16, **options):
    """Return a game whose generator gives back its input, enlarged as it must be."""
    return PairedGame(
        generator=stub.Affine(factor=scale, outputs=channels),
        discriminator=None,
        spec=specs.images((crop, crop, channels)),
        loss=adversarial.make("hinge"),
        degradation=degradation(how, **options),
        conditional=False,
    )


def state_of(game):
    """Return a game's first state, which keeps no moving average."""
    optimizers = build.make_optimizers(tiny.paired_config(), game)
    return step.init_state(game, optimizers, EMA(), 0)


def variables_of(game):
    return sampling.chosen_variables(state_of(game), sampling.Sampling())


def evaluator(game, source, config=None, devices=1, how=None, **changes):
    """Return an evaluator of a game, ``config.eval`` changed."""
    config = config or tiny.paired_config()
    config.eval.num_real = None
    config.eval.update(changes)
    return evaluators.make_evaluator(
        config,
        make_settings(config),
        game=game,
        source=source,
        devices=jax.devices()[:devices],
        sampling=how or sampling.make_sampling(config),
    )


def spoiled(game, images, seed=0):
    """Return what the evaluation degrades images to, by the game and the keys of their numbers."""
    translator = translating.Translator(game, A_TO_B, seed=seed, batch_size=8)
    return translator(translator.mapped.place(variables_of(game)), {"image": images})


def mean_psnr(images, reference, **options):
    return float(np.mean(similarity.psnr(images, reference, **options)))


METRICS = ("psnr", "ssim", "psnr_y", "ssim_y")


@pytest.mark.parametrize("border", [None, 2])
def test_an_identity_is_as_good_as_its_input(border):
    game, images = restorer(), photographs()
    made = evaluator(game, source_of(images), metrics=METRICS, border=border, batch_size=7)
    result = made(variables_of(game))
    found = spoiled(game, images)
    np.testing.assert_array_equal(found.outputs, found.inputs)
    np.testing.assert_array_equal(found.targets, images)
    edge = slice(border or None, -border if border else None)
    pairs = [(a[edge, edge], b[edge, edge]) for a, b in zip(found.inputs, images, strict=True)]
    psnr = np.mean([peak_signal_noise_ratio(b, a, data_range=255) for a, b in pairs])
    ssim = [
        structural_similarity(
            b,
            a,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in pairs
    ]
    assert result.values["psnr"] == pytest.approx(psnr, rel=1e-5)
    assert result.values["ssim"] == pytest.approx(np.mean(ssim), rel=1e-4)
    luminance = [similarity.to_luminance(x) for x in (found.inputs, images)]
    grey = mean_psnr(*luminance, data_range=255.0, border=border or 0)
    assert result.values["psnr_y"] == pytest.approx(grey, rel=1e-5)
    # Noise of 25 levels.
    assert 19.5 < result.values["psnr"] < 22
    assert result.spread == {}
    ((first, after, _), (second, before, _)), note = made.reference(variables_of(game))
    assert (first, second, note) == ("output", "input", "24 of random")
    assert after == before == result.values


def test_images_without_an_error_count_a_hundred_decibels():
    game = restorer("blur", sigma=(0.0, 0.0), motion=(0.0, 0.0))
    result = evaluator(game, source_of(photographs()), metrics=("psnr",))(variables_of(game))
    assert result.values == {"psnr": 100.0}


def test_enlarging_leaves_the_edge_out_and_compares_the_input_enlarged():
    game, images = restorer("downsample", scale=2, factor=2), photographs()
    made = evaluator(game, source_of(images), metrics=("psnr",))
    variables = variables_of(game)
    assert made.protocol(variables)["border"] == 2
    found = spoiled(game, images)
    assert found.inputs.shape == (24, 8, 8, 3)
    repeated = found.inputs.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(found.outputs, repeated)
    expected = mean_psnr(repeated, images, border=2)
    assert made(variables).values["psnr"] == pytest.approx(expected, rel=1e-6)
    bicubic = [
        np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC))
        for image in found.inputs
    ]
    expected = mean_psnr(np.stack(bicubic), images, border=2)
    assert made.reference(variables)[0][1][1]["psnr"] == pytest.approx(expected, rel=1e-6)
    made = evaluator(game, source_of(images), metrics=("psnr",), border=0)
    assert made.protocol(variables)["border"] == 0


def test_grey_inputs_are_compared_in_colour():
    game, images = restorer("grey"), photographs()

    class Coloured(stub.Affine):
        def __call__(self, x, condition=None, *, keys=None, train=True):
            return jnp.repeat(super().__call__(x, keys=keys, train=train), 3, axis=-1)

    game = dataclasses.replace(game, generator=Coloured(0.0, 0.5))
    made = evaluator(game, source_of(images), metrics=("psnr",))
    columns, _ = made.reference(variables_of(game))
    grey = spoiled(game, images).inputs
    assert grey.shape == (24, 16, 16, 1)
    expected = mean_psnr(np.repeat(grey, 3, axis=-1), images)
    assert columns[1][1]["psnr"] == pytest.approx(expected, rel=1e-6)
    flat = np.full_like(images, 191)
    expected = mean_psnr(flat, images)
    assert columns[0][1]["psnr"] == pytest.approx(expected, rel=1e-6)


def test_several_seeds_give_a_mean_and_a_deviation():
    game, source = restorer(), source_of(photographs())
    variables = variables_of(game)
    result = evaluator(game, source, metrics=("psnr",), seeds=3)(variables)
    each = [
        evaluator(game, source, metrics=("psnr",), seed=seed)(variables).values["psnr"]
        for seed in range(3)
    ]
    assert len(set(each)) == 3
    assert result.values["psnr"] == pytest.approx(np.mean(each), rel=1e-6)
    assert result.spread["psnr"] == pytest.approx(np.std(each, ddof=1), rel=1e-3)


def test_neither_devices_nor_batches_change_a_number(quarters):
    game, source = restorer(), source_of(photographs())
    variables = variables_of(game)
    metrics = ("psnr", "ssim", "quarters_fid")
    one = evaluator(game, source, metrics=metrics, batch_size=24)(variables)
    assert one.protocol["extractors"]["quarters"]["weights"] == "v1"
    for devices, batch_size in ((8, 16), (1, 7)):
        made = evaluator(game, source, metrics=metrics, devices=devices, batch_size=batch_size)
        found = made(variables)
        assert found.protocol == one.protocol
        for name, value in one.values.items():
            assert found.values[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


def test_sizes_that_a_network_cannot_take_are_cut_in_the_middle(quarters):
    game = restorer()
    game = dataclasses.replace(game, generator=stub.Affine(multiple=5, outputs=3))
    images = photographs()
    made = evaluator(game, source_of(images), metrics=("psnr",))
    variables = variables_of(game)
    assert made.protocol(variables)["size"] == [15, 15]
    found = spoiled(game, images[:, :15, :15])
    expected = mean_psnr(found.inputs, images[:, :15, :15])
    assert made(variables).values["psnr"] == pytest.approx(expected, rel=1e-5)
    cut = translating.fitting({"image": images[:, :, :13]}, game)
    np.testing.assert_array_equal(cut["image"], images[:, :15, 1:11])
    game = dataclasses.replace(game, generator=stub.Affine(multiple=20, outputs=3))
    with pytest.raises(errors.ConfigError, match=r"data\.resolution: images of 16x16 are too sma"):
        evaluator(game, source_of(images), metrics=("quarters_fid",))


def two_domains(sizes=(5, 7)):
    """Return a source of two sets of grey images, the second brighter."""
    parts = [
        source_of(photographs(size, 8, 1, seed) // 2 + 100 * seed)
        for seed, size in enumerate(sizes)
    ]
    return sources.DomainSource(*parts, "train")


def test_domains_are_measured_both_ways(quarters):
    source = two_domains()
    generator = stub.Affine()
    game = unpaired(generator=generator, history=0)
    made = evaluator(game, source, metrics=("quarters_fid", "quarters_kid"), border=3)
    variables = variables_of(game)
    result = made(variables)
    names = {"quarters_fid", "quarters_kid", "quarters_kid_standard_error"}
    assert set(result.values) == names | {f"{name}_BtoA" for name in names}
    # Untranslated, A is as far from B as B is from A.
    assert result.values["quarters_fid"] > 0.3
    assert result.values["quarters_fid_BtoA"] == pytest.approx(result.values["quarters_fid"])
    params = {"slope": jnp.float32(1.0), "offset": jnp.float32(100 / 127.5)}
    variables = {**variables, "a_to_b": {**variables["a_to_b"], "params": params}}
    closer = made(variables).values
    assert closer["quarters_fid"] < 0.2 * result.values["quarters_fid"]
    assert closer["quarters_fid_BtoA"] == pytest.approx(result.values["quarters_fid"])
    assert result.protocol["n_real"] == 7
    assert "border" not in result.protocol
    columns, note = made.reference(variables)
    assert columns[1][1]["quarters_fid"] == pytest.approx(result.values["quarters_fid"])
    assert note.startswith("7 of random+random")


def test_data_points_of_domains_begin_anew_where_they_are_fewer():
    source = two_domains()
    found = translating.data_points(source)
    assert found.sizes == (5, 7)
    np.testing.assert_array_equal(found.batch["b"], source.b.arrays["image"])
    np.testing.assert_array_equal(found.batch["a"][:5], source.a.arrays["image"])
    np.testing.assert_array_equal(found.batch["a"][5:], source.a.arrays["image"][:2])
    some = translating.data_points(source, 6)
    assert some.sizes == (5, 6)
    assert some.batch["a"].shape == (6, 8, 8, 1)
    again = translating.data_points(source, 6)
    np.testing.assert_array_equal(some.batch["a"], again.batch["a"])


@dataclasses.dataclass(frozen=True)
class Brightness(AnomalyGame):
    """A game that takes bright images for anomalies."""

    def anomaly_scores(self, variables, images):
        return images.mean((1, 2, 3))


def brightness():
    """Return such a game, and a configuration whose training does without the class "odd"."""
    config = perceptrons()
    config.data.without = ("odd",)
    base = build.make_game(config, specs.images((8, 8, 1)), None)
    game = Brightness(**{f.name: getattr(base, f.name) for f in dataclasses.fields(base)})
    return game, config


def test_anomalies_are_told_by_their_scores(monkeypatch):
    game, config = brightness()
    rng = np.random.default_rng(0)
    levels = rng.permutation(np.arange(100, 140)).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (40, 8, 8, 1)).copy()
    labels = (levels + rng.integers(-9, 9, 40) > 125).astype(np.int32)
    whole = source_of(images, labels, ("even", "odd"))
    changed = []

    def make_source(fields):
        changed.append(fields)
        return whole

    monkeypatch.setattr(sources, "make_source", make_source)
    train = sources.Subset(whole, np.flatnonzero(labels == 0), "train-without-odd")
    made = evaluator(game, train, config, metrics=("auto",), split="test", batch_size=7, devices=8)
    # The measured images have the classes that training lacks.
    assert [(fields.split, fields.without) for fields in changed] == [("test", ())]
    assert [metric.name for metric in made.metrics] == ["auroc", "average_precision"]
    state = step.init_state(game, build.make_optimizers(config, game), EMA(), 0)
    variables = sampling.chosen_variables(state, sampling.Sampling())
    result = made(variables)
    expected = detection.auroc(levels, labels == 1)
    assert 0.7 < expected < 1.0
    assert result.values["auroc"] == pytest.approx(expected, abs=1e-9)
    precision = detection.average_precision(levels, labels == 1)
    assert result.values["average_precision"] == pytest.approx(precision, abs=1e-9)
    assert result.protocol["anomalies"] == ["odd"]
    assert result.protocol["n_real"] == 40
    columns, _ = made.reference(variables)
    assert [name for name, _, _ in columns] == ["scores"]
    # Without anomalies among the measured there is nothing to tell.
    whole = source_of(images, np.zeros(40, np.int32), ("even", "odd"))
    with pytest.raises(errors.ConfigError, match=r"eval\.num_real = 40, of which 0 are of the"):
        evaluator(game, train, config)


@pytest.mark.parametrize(
    ("kind", "without", "names"),
    [
        ("paired", (), ["psnr", "ssim"]),
        ("cycle", (), []),
        ("anomaly", (), ["psnr", "ssim"]),
        ("anomaly", ("0",), ["auroc", "average_precision"]),
    ],
)
def test_metrics_are_chosen_by_what_is_known(kind, without, names):
    config = perceptrons() if kind == "anomaly" else CONFIGS[kind]()
    config.data.without = without
    config.data.resolution = 16
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    settings = make_settings(config)
    found = evaluators.choose_metrics(config, settings, game, source)
    assert [metric.name for metric in found] == names
    if not names:
        assert evaluator(game, source, config) is None


def test_what_is_measured_is_larger_than_what_is_trained_on():
    """SSIM's windows do not fit the crops, but the whole images, which are compared."""
    images = photographs()
    made = evaluator(restorer(crop=8), source_of(images), metrics=("ssim",))
    variables = variables_of(restorer(crop=8))
    assert made.protocol(variables)["size"] == [16, 16]
    assert 0 < made(variables).values["ssim"] < 1


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("paired", {"metrics": ("psnrr",)}, r"eval\.metrics has 'psnrr'; accepted: fid.*psnr"),
        ("paired", {"metrics": ("auroc",)}, r"has 'auroc', but no classes are left out"),
        ("paired", {"metrics": ("modes",)}, r"has 'modes', but these are images"),
        ("paired", {"metrics": ("classifier_fid",)}, r"'classifier_fid'; accepted for games that"),
        ("paired", {"metrics": ("classifier_accuracy",)}, r"but the game is not class-conditional"),
        ("paired", {"metrics": ("ms_ssim",)}, r"'ms_ssim': images of 16x16 pixels; accepted: at"),
        ("paired", {"border": 3}, r"'ssim': images of 10x10 pixels within a border of 3"),
        ("paired", {"border": -1}, r"eval\.border = -1; accepted: 0 or more"),
        (
            "paired",
            {"metrics": ("psnr_y",)},
            r"has 'psnr_y': images have the shape .*accepted: \[n, height, width, 3\]",
        ),
        ("paired", {"best": "fid"}, r"eval\.best = 'fid' is unknown; accepted: psnr, ssim"),
        (
            "paired",
            {"metrics": ("quarters_recall",), "num_real": 5},
            r"eval\.num_real = 5; accepted for quarters_recall: 6 or more",
        ),
        ("cycle", {"metrics": ("psnr",)}, r"'psnr', but images of two domains have no targets"),
        ("cycle", {"metrics": ("auroc",)}, r"'auroc', but no classes are left out"),
        ("anomaly", {"metrics": ("auroc",)}, r"'auroc', but no classes are left out"),
    ],
)
def test_metrics_that_do_not_suit_are_refused(kind, changes, message, quarters):
    config = perceptrons() if kind == "anomaly" else CONFIGS[kind]()
    config.data.without = ()
    config.data.resolution = 16
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    config.eval.update(changes)
    with pytest.raises(errors.ConfigError, match=message):
        evaluators.choose_metrics(config, make_settings(config), game, source)


def test_ways_to_sample_that_depend_on_others_are_refused():
    how = sampling.Sampling(batch_norm="batch")
    with pytest.raises(errors.ConfigError, match=r"sample\.batch_norm = 'batch'; .*'ema', 'runni"):
        evaluator(restorer(), source_of(photographs()), how=how)


def test_the_protocol_changes_with_what_matters():
    source = source_of(photographs())

    def protocol(game=None, config=None, how=None, **changes):
        game = game or restorer()
        made = evaluator(game, source, config, how=how, **{"metrics": ("psnr",), **changes})
        found = made.protocol(variables_of(game))
        assert json.loads(json.dumps(found)) == found
        return found

    plain = protocol()
    assert plain == {
        "data": source.fingerprint(),
        "n_real": 24,
        "weights": "raw",
        "batch_norm": "none",
        "seed": 0,
        "seeds": 1,
        "size": [16, 16],
        "degradation": {"name": "gaussian", "sigma": [25.0, 25.0], "clip": True},
        "border": 0,
        "constants": {},
    }
    others = [
        protocol(restorer(sigma=(10.0, 25.0))),
        protocol(restorer("poisson")),
        protocol(dataclasses.replace(restorer(), generator=stub.Affine(multiple=5, outputs=3))),
        protocol(border=1),
        protocol(seed=1),
        protocol(seeds=2),
        protocol(num_real=10),
    ]
    assert all(other != plain for other in others)
    # Neither the weights of the losses nor how it is computed change what is measured.
    assert protocol(dataclasses.replace(restorer(), pixel_weight=1.0)) == plain
    assert protocol(batch_size=5) == plain


# --- Whole runs. ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run that removes noise from digits, and its configuration."""
    path = tmp_path_factory.mktemp("runs") / "denoise"
    config = tiny.paired_config()
    config.num_devices = 1
    config.degrade.name = "gaussian"
    config.game.paired.update(adversarial_weight=0.0, pixel="l1")
    config.generator.unet.update(levels=1, output="residual", normalization="none")
    config.generator.unet.dropout_levels = 0
    config.ema.half_life = 50.0
    config.train.update(steps=6, log_every=2, sample_every=6, checkpoint_every=3, keep_latest=1)
    config.eval.update(every=1, split="test", best="psnr")
    loop.train(config, path)
    return path, config


def test_the_best_checkpoint_is_that_of_the_highest_psnr(trained):
    path, config = trained
    rows = evaluations.read(path / evaluations.EVALUATIONS)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    values = {row["step"]: row["psnr"] for row in rows}
    assert len(set(values.values())) == 6
    found = best.read(path)
    assert (found.metric, found.step) == ("psnr", max(values, key=values.get))
    assert found.value == max(values.values())
    assert open_run(path).state("best").step == found.step
    # Measured on the split held out, of the moving averages.
    changed = config.data.copy_and_resolve_references()
    changed.split = "test"
    protocol = rows[0]["protocol"]
    assert protocol["data"] == sources.make_source(changed).fingerprint()
    assert (protocol["weights"], protocol["n_real"]) == ("ema", 32)


def test_a_finished_run_is_evaluated_alike(trained, capsys):
    path, _ = trained
    during = evaluations.read(path / evaluations.EVALUATIONS)[5]
    opened = open_run(path)
    run = RunEvaluator(opened, changes={}, data={})
    row = run.record(6, reference=True)
    assert row["protocol"] == during["protocol"]
    assert row["psnr"] == pytest.approx(during["psnr"], abs=1e-3)
    out = capsys.readouterr().out
    assert "psnr" in out
    assert "output" in out
    assert "input" in out
    assert f"32 of {sources.make_source(opened.config.data).fingerprint()[:6]}" in out
    raw = opened.evaluate(step=6, average=False)
    assert raw.protocol["weights"] == "raw"
    assert raw.values["psnr"] != row["psnr"]
    with pytest.raises(errors.ConfigError, match=r"sample\.batch_norm = 'standing'"):
        RunEvaluator(opened, changes={}, data={}, batch_norm="standing")


def test_a_run_that_translates_makes_no_samples(trained, tmp_path):
    path, _ = trained
    ask = sample_run.Request(str(path), out=tmp_path / "x.png")
    with pytest.raises(
        errors.ConfigError, match=r"^experiments\.sample is .*experiments\.trans"
    ) as e:
        sample_run.grid(ask)
    assert "\n" not in str(e.value)
    with pytest.raises(errors.ConfigError, match=r"experiments\.translate"):
        sample_run.export(ask, archive=False)
    assert not (tmp_path / "x.png").exists()


# --- Pictures. ------------------------------------------------------------------------------------


def columns_of(picture, size, columns, padding=2):
    """Return the first row of tiles of a grid."""
    pitch = size + padding
    return [
        picture[padding : padding + size, padding + i * pitch : padding + i * pitch + size]
        for i in range(columns)
    ]


def draw(game, config, source):
    """Return the picture of a game's first state."""
    config.num_devices = 1
    training = build.make_training(config, source.spec)
    training = dataclasses.replace(training, game=game)
    pipeline = replicas.make_pipeline(config, training, source)
    draw = pictures.make_picture(config, training, pipeline)
    return draw(state_of(game), config.train.seed)


def test_a_picture_shows_input_output_and_target():
    config = tiny.paired_config()
    config.sample.num = 1
    source = source_of(np.full((3, 32, 32, 1), 200, np.uint8))
    game = dataclasses.replace(
        restorer("downsample", channels=1, scale=2, factor=2),
        generator=stub.Affine(0.5, 0.0, factor=2, outputs=1),
    )
    picture = draw(game, config, source)
    assert picture.shape == (36, 3 * 34 + 2, 1)
    shown = columns_of(picture, 32, 3)
    # 200 is 0.569 in [-1, 1]; half of that is 164.
    assert [int(tile.min()) for tile in shown] == [200, 164, 200]
    assert [int(tile.max()) for tile in shown] == [200, 164, 200]


def test_a_picture_of_domains_shows_both_ways():
    config = tiny.cycle_config()
    config.sample.num = 1
    a, b = (source_of(np.full((3, 32, 32, 1), level, np.uint8)) for level in (100, 200))
    source = sources.DomainSource(a, b, "train")
    game = unpaired(generator=stub.Affine(-1.0), history=0)
    picture = draw(game, config, source)
    shown = columns_of(picture, 32, 4)
    assert [int(tile.min()) for tile in shown] == [100, 155, 200, 55]


def test_small_and_grey_images_are_shown_as_large_and_coloured_as_the_others():
    small = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    large = np.full((1, 32, 32, 3), 7, np.uint8)
    picture = pictures.side_by_side([small, large])
    assert picture.shape == (36, 70, 3)
    first, second = columns_of(picture, 32, 2)
    np.testing.assert_array_equal(first[::16, ::16, 0], small[0, :, :, 0])
    np.testing.assert_array_equal(first, first[:, :, :1].repeat(3, -1))
    np.testing.assert_array_equal(first[:16, :16], 0)
    np.testing.assert_array_equal(first[16:, 16:], 3)
    np.testing.assert_array_equal(second, 7)


def test_an_examples_images_stay_beside_each_other():
    columns = [np.full((8, 32, 32, 1), 10 * k, np.uint8) for k in range(3)]
    for k, column in enumerate(columns):
        column += np.arange(8, dtype=np.uint8)[:, None, None, None] + np.uint8(k)
    picture = pictures.side_by_side(columns)
    # Two examples beside each other, four below.
    assert picture.shape == (4 * 34 + 2, 6 * 34 + 2, 1)
    corners = picture[2::34, 2::34, 0]
    np.testing.assert_array_equal(corners[0], [0, 11, 22, 1, 12, 23])
    np.testing.assert_array_equal(corners[3], [6, 17, 28, 7, 18, 29])
