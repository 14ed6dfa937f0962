"""Evaluation of games of images: pairs, domains and anomaly scores."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan_jax import errors
from gan_jax.data import order, sources
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.anomaly import AnomalyGame
from gan_jax.games.paired import PairedGame
from gan_jax.losses import adversarial
from gan_jax.metrics import detection, enhancement, similarity
from gan_jax.report import evaluations
from gan_jax.runs import build
from gan_jax.training import sampling, translating
from tests.games import stub
from tests.training import tiny
from tests.training.images import (
    CONFIGS,
    evaluator,
    photographs,
    restorer,
    source_of,
    spoiled,
    unpaired,
    variables_of,
)


def mean_psnr(images, reference, **options):
    return float(np.mean(similarity.psnr(images, reference, **options)))


METRICS = ("psnr", "ssim", "psnr_y", "ssim_y")


def enhanced(**changes):
    """Return a game that halves noisy sounds, and its evaluator on tones."""
    source = sources.tones("test", 12)
    game = PairedGame(
        generator=stub.Affine(0.5, 0.01),
        discriminator=None,
        spec=source.spec,
        loss=adversarial.make("hinge"),
        degradation=degradation("noise", snr=(5.0, 5.0)),
    )
    config = tiny.paired_config()
    config.data.name = "tones"
    return game, source, evaluator(game, source, config, **changes)


def test_sounds_are_compared_with_clean_ones():
    game, source, made = enhanced(batch_size=8)
    result = made(variables_of(game))
    assert list(result.values) == ["si_sdr", "si_sdr_gain", "log_mel_distance", "same_pitch"]
    translator = translating.Translator(game, "AtoB", batch_size=12)
    clean = source.read(range(12))["audio"]
    found = translator(translator.place(variables_of(game)), {"audio": clean}, seed=0)
    np.testing.assert_array_equal(found.targets, clean)
    assert found.outputs.dtype == np.int16
    inputs, outputs, targets = (np.asarray(x, np.float32) / 32768 for x in found)
    after, before = (enhancement.si_sdr(x, targets) for x in (outputs, inputs))
    # Noise of 5 dB, clipped; an offset makes it worse, a factor does not.
    assert 4.8 < before.mean() < 6.0
    assert 0.0 < (before - after).mean() < 1.0
    assert result.values["si_sdr"] == pytest.approx(float(after.mean()), rel=1e-5)
    gain = float((after - before).mean())
    assert result.values["si_sdr_gain"] == pytest.approx(gain, rel=1e-4)
    distance = enhancement.log_mel_distance(outputs, targets, 8_000).mean()
    assert result.values["log_mel_distance"] == pytest.approx(float(distance), rel=1e-5)
    assert result.values["same_pitch"] == 1.0  # Noise is weaker than the tones.
    ((_, output, _), (_, given, _)), note = made.reference(variables_of(game))
    assert output == result.values
    assert (given["si_sdr_gain"], note) == (0.0, "12 of tones")
    assert given["si_sdr"] == pytest.approx(float(before.mean()), rel=1e-5)
    assert "border" not in result.protocol
    assert result.protocol["degradation"]["name"] == "noise"


def test_metrics_of_images_and_of_sounds_are_not_exchanged():
    with pytest.raises(errors.ConfigError, match=r"'psnr', but these are pairs of sounds.*si_sdr"):
        enhanced(metrics=("psnr",))
    with pytest.raises(errors.ConfigError, match=r"eval\.border = 2; accepted: unset, for sounds"):
        enhanced(border=2)
    with pytest.raises(errors.ConfigError, match=r"'si_sdr', but these are images.*: psnr"):
        evaluator(restorer(), source_of(photographs()), metrics=("si_sdr",))


@pytest.mark.slow
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


def test_each_seed_spoils_the_images_anew():
    game, images = restorer(), photographs()
    result = evaluator(game, source_of(images), metrics=("psnr",), seeds=2)(variables_of(game))
    each = [mean_psnr(spoiled(game, images, seed).inputs, images) for seed in range(2)]
    assert each[0] != each[1]
    assert result.values["psnr"] == pytest.approx(np.mean(each), rel=1e-6)
    assert result.spread["psnr"] == pytest.approx(np.std(each, ddof=1), rel=1e-3)


@pytest.mark.slow
def test_neither_devices_nor_batches_change_a_number(quarters):
    game, source = restorer(), source_of(photographs())
    variables = variables_of(game)
    metrics = ("psnr", "ssim", "quarters_fid")
    one = evaluator(game, source, metrics=metrics, batch_size=24)(variables)
    assert one.protocol["extractors"]["quarters"]["weights"] == "v1"
    for devices, batch_size in ((2, 16), (1, 7)):
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
    assert made.names_of(made.metrics[1]) == ["quarters_kid", "quarters_kid_BtoA"]
    # As those who have only its row find them.
    found = evaluations.by_metric(result.row(0, 0.0))
    assert [found[metric.name] for metric in made.metrics] == [*map(made.names_of, made.metrics)]
    assert result.protocol["n_real"] == 7
    assert "border" not in result.protocol
    columns, note = made.reference(variables)
    assert columns[1][1]["quarters_fid"] == pytest.approx(result.values["quarters_fid"])
    assert note.startswith("5 and 7 of random+random")


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
    config = tiny.mlp_anomaly_config()
    config.data.without = ("odd",)
    base = build.make_game(config, specs.images((8, 8, 1)), None)
    game = Brightness(**{f.name: getattr(base, f.name) for f in dataclasses.fields(base)})
    return game, config


def test_anomalies_are_reported_by_their_scores(monkeypatch):
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
    made = evaluator(game, train, config, metrics=("auto",), split="test", batch_size=7, devices=2)
    # The measured images have the classes that training lacks.
    assert {(fields.split, fields.without) for fields in changed} == {("test", ())}
    assert [metric.name for metric in made.metrics] == ["auroc", "average_precision"]
    variables = variables_of(game, config)
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
    # Without anomalies among the measured images, scores cannot be evaluated.
    lone = np.isin(np.arange(40), order.subset(40, 2), invert=True).argmax()
    whole = source_of(images, (np.arange(40) == lone).astype(np.int32), ("even", "odd"))
    with pytest.raises(errors.ConfigError, match=r"num_real = 2, .* 0 are anomalies"):
        evaluator(game, train, config, num_real=2)
    whole = source_of(images, np.zeros(40, np.int32), ("even", "odd"))
    assert evaluator(game, train, config) is None


@pytest.mark.parametrize(
    ("kind", "without", "names"),
    [
        ("paired", (), ["psnr", "ssim"]),
        ("cycle", (), ["classifier_accuracy"]),
        ("anomaly", ("0",), ["auroc", "average_precision"]),
    ],
)
def test_metrics_are_chosen_by_what_is_known(kind, without, names):
    config = CONFIGS[kind]()
    config.data.without = without
    config.data.resolution = 16
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    settings = make_settings(config)
    found = evaluators.choose(config, settings, game, source).metrics
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
        ("paired", {"metrics": ("auroc",)}, r"has 'auroc', but no split has images of normal cla"),
        ("paired", {"metrics": ("modes",)}, r"has 'modes', but these are images"),
        ("paired", {"metrics": ("classifier_fid",)}, r"_fid', but digits has no two domains that"),
        ("paired", {"metrics": ("classifier_accuracy",)}, r", but digits has no two domains that"),
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
        ("cycle", {"metrics": ("auroc",)}, r"'auroc', but no split has images of normal cla"),
        ("anomaly", {}, r"data\.normal = \(\), and digits has images of 10 classes in split 'tr"),
    ],
)
def test_metrics_that_do_not_suit_are_refused(kind, changes, message, quarters):
    config = CONFIGS[kind]()
    config.data.without = ()
    config.data.resolution = 16
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    config.eval.update(changes)
    with pytest.raises(errors.ConfigError, match=message):
        evaluators.choose(config, make_settings(config), game, source)


def test_ways_to_sample_that_do_not_suit_translation_are_refused():
    for field, value, message in (
        ("batch_norm", "batch", r"sample\.batch_norm = 'batch'; .*'ema', 'runni"),
        ("truncation", 0.5, r"sample\.truncation = 0\.5; accepted: none, in games that trans"),
    ):
        how = sampling.Sampling(**{field: value})
        with pytest.raises(errors.ConfigError, match=message):
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
