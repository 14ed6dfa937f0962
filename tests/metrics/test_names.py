import pytest

from gan_jax import errors
from gan_jax.metrics import names

EXTRACTORS = ("inception", "classifier", "mine")


@pytest.mark.parametrize(
    ("name", "statistic", "extractor", "layer", "lower"),
    [
        ("fid", "fid", "inception", None, True),
        ("fid768", "fid", "inception", "768", True),
        ("kid64", "kid", "inception", "64", True),
        ("is", "is", "inception", None, False),
        ("classifier_fid", "fid", "classifier", None, True),
        ("mine_recall", "recall", "mine", None, False),
        ("modes", "modes", None, None, False),
        ("mode_kl", "mode_kl", None, None, True),
        ("ms_ssim", "ms_ssim", None, None, False),
    ],
)
def test_a_name_says_what_is_measured_by_what(name, statistic, extractor, layer, lower):
    metric = names.parse(name, EXTRACTORS)
    assert metric == names.Metric(name, statistic, extractor, layer)
    assert metric.lower_is_better == lower


def test_what_a_metric_is_of():
    kinds = {name: names.parse(name, EXTRACTORS).of for name in ("fid", "modes", "psnr")}
    assert kinds == {"fid": "images", "modes": "points", "psnr": "pairs"}


@pytest.mark.parametrize("name", ["", "fid_768", "inception_fid", "classifier", "other_fid", "FID"])
def test_what_means_nothing_is_refused_with_what_would(name):
    with pytest.raises(errors.ConfigError, match=r"eval\.metrics has .*accepted: fid, kid, is"):
        names.parse(name, EXTRACTORS)


def test_a_typo_gets_a_suggestion():
    with pytest.raises(errors.ConfigError, match='Did you mean "classifier_recall"'):
        names.parse("clasifier_recall", EXTRACTORS)
