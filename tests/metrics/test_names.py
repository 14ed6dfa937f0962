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
        ("classifier_modes", "modes", "classifier", None, False),
        ("classifier_mode_kl", "mode_kl", "classifier", None, True),
        ("modes", "modes", None, None, False),
        ("mode_kl", "mode_kl", None, None, True),
        ("bigram_kl", "bigram_kl", None, None, True),
        ("valid", "valid", None, None, False),
        ("ms_ssim", "ms_ssim", None, None, False),
        ("pitch_accuracy", "pitch_accuracy", None, None, False),
        ("psnr_y", "psnr_y", None, None, False),
        ("ssim_y", "ssim_y", None, None, False),
        ("si_sdr_gain", "si_sdr_gain", None, None, False),
        ("log_mel_distance", "log_mel_distance", None, None, True),
        ("auroc", "auroc", None, None, False),
        ("average_precision", "average_precision", None, None, False),
        ("gan_augment10", "gan_augment10", None, None, False),
        ("membership_auroc", "membership_auroc", None, None, True),
    ],
)
def test_a_name_says_what_is_measured_by_what(name, statistic, extractor, layer, lower):
    metric = names.parse(name, EXTRACTORS)
    assert metric == names.Metric(name, statistic, extractor, layer)
    assert metric.lower_is_better == lower


def test_what_a_metric_is_of():
    of = {
        "images": ("fid", "is", "precision", "accuracy", "classifier_modes"),
        "points": ("modes",),
        "text": ("valid", "nll", "reverse_nll", "bigram_kl", "unique"),
        "sound": ("pitch_accuracy",),
        "music": ("scale_violations", "polyphony_tv", "interval_tv", "empty_bars"),
        "pairs": ("psnr", "psnr_y", "ssim_y", "ms_ssim"),
        "sound_pairs": ("si_sdr", "si_sdr_gain", "log_mel_distance", "same_pitch"),
        "scores": ("auroc", "average_precision"),
        "held_out": ("gan_train", "gan_augment10", "membership_auroc", "membership_auroc_pixels"),
    }
    for kind, of_kind in of.items():
        assert {names.parse(name, EXTRACTORS).of for name in of_kind} == {kind}


@pytest.mark.parametrize("name", ["", "fid_768", "inception_fid", "classifier", "other_fid", "FID"])
def test_what_means_nothing_is_refused_with_what_would(name):
    with pytest.raises(errors.ConfigError, match=r"eval\.metrics has .*accepted: fid, kid, is"):
        names.parse(name, EXTRACTORS)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("clasifier_recall", "classifier_recall"), ("aurc", "auroc"), ("psnr_x", "psnr_y")],
)
def test_a_typo_gets_a_suggestion(typo, meant):
    with pytest.raises(errors.ConfigError, match=f'Did you mean "{meant}"'):
        names.parse(typo, EXTRACTORS)


@pytest.mark.parametrize("name", ["classifier_auroc", "psnr768", "auroc64", "inception_psnr_y"])
def test_statistics_without_features_have_no_extractor_and_no_layer(name):
    with pytest.raises(errors.ConfigError, match="for scores auroc, average_precision"):
        names.parse(name, EXTRACTORS)
