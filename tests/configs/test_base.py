"""The fields that every configuration has: documented, read, and open to the command line."""

import re
from pathlib import Path

import pytest

import gan_jax
from configs import base
from gan_jax import errors, settings
from gan_jax.data import spec as specs
from gan_jax.losses import adversarial, penalties
from gan_jax.networks import registry
from gan_jax.runs import build, config
from gan_jax.training import optimizers
from tests.configs import variants

FIELDS = list(settings.walk(config.ROOT, config.create(), every=True))


def test_every_field_is_explained_once():
    assert [field.path for field in FIELDS if not field.meaning.endswith(".")] == []
    paths = [field.path for field in FIELDS]
    assert len(paths) == len(set(paths))
    assert set(paths) == variants.fields(config.create())


@pytest.mark.slow
def test_every_field_is_read_somewhere():
    root = Path(gan_jax.__file__).parent
    text = "\n".join(path.read_text() for path in root.rglob("*.py"))
    text += (root.parent / "experiments/main.py").read_text()
    unread = []
    for name in {field.name for field in FIELDS}:
        # As an attribute, or as the parameter of what a group's options are passed to.
        if not re.search(rf"\.{name}\b|\b{name}: |\b{name}=|\"{name}\"", text):
            unread.append(name)
    assert unread == []


def test_a_misspelt_field_is_refused():
    with pytest.raises(AttributeError, match="Did you mean"):
        base.get_config().train.stepps = 3


def parse(*overrides):
    """Return ``gan.py`` with overrides from the command line."""
    return variants.parse(variants.FOLDER / "gan.py", *overrides)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("game.clip", "0.01", 0.01),
        ("loss.minimax.smoothing", "0.1", 0.1),
        ("penalty.wgan_gp.one_sided", "true", True),
        ("penalty.wgan_gp.target", "2", 2.0),
        ("ema.ramp_up", "0.05", 0.05),
        ("data.channels", "3", 3),
        ("data.path", "photos.zip", "photos.zip"),
        ("train.keep_every", "1000", 1000),
        ("num_devices", "4", 4),
        ("optimizer.generator.rmsprop.momentum", "0.9", 0.9),
        ("optimizer.generator.momentum.nesterov", "true", True),
        ("optimizer.discriminator.schedule.step.boundaries", "(100, 200)", (100, 200)),
        ("optimizer.discriminator.clip_norm", "1", 1.0),
        ("generator.mlp.features", "(8, 16)", (8, 16)),
        ("game.laplacian.generator.features", "8", 8),
        ("generator.resnet.features", "(8, 16,)", (8, 16)),
        ("data.resolution", "48", 48),
        ("data.resolution", "(48,64)", (48, 64)),
    ],
)
# ml_collections loads the file by a way that newer Pythons warn of.
@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
def test_fields_take_values_from_the_command_line(field, text, value):
    found = parse(f"--config.{field}={text}")
    for name in field.split("."):
        found = found[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
def test_an_optional_field_is_unset_by_none():
    assert parse("--config.ema.ramp_up=None").ema.ramp_up is None
    assert parse("--config.data.path=x", "--config.data.path=None").data.path is None


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("{0}1", r"'{0}1' is unknown; accepted: .*{0}.* Did you mean \"{0}\"\?"),
        ("smok", r"'smok' is unknown; .* Did you mean \"smoke\"\?"),
        ("{0},{1}", r"{0},{1} names 2 data sets; accepted: one"),
    ],
)
@pytest.mark.parametrize("name", ["gan", "pix2pix", "denoise"])
def test_an_unknown_choice_is_refused(name, arg, message):
    known = variants.datasets(name)
    with pytest.raises(errors.ConfigError, match=message.format(*known)):
        variants.load(name, arg.format(*known))


def test_stacked_digits_are_small_and_measured_once_by_the_fields_protocol():
    plain, stacked = (variants.load("r3gan", data) for data in ("digits", "stacked_digits"))
    assert stacked.generator.r3gan.features == plain.generator.r3gan.features == (64, 32, 16)
    assert (stacked.eval.every, stacked.eval.num_fake) == (stacked.train.steps, 25_600)
    tiny = variants.load("r3gan", "stacked_digits,smoke").eval
    assert (tiny.every, tiny.num_fake, tiny.num_real) == (0, 64, 64)


def test_choices_join_in_any_order():
    one, other = variants.load("gan", "smoke,mnist"), variants.load("gan", "mnist,smoke,")
    assert one.to_dict() == other.to_dict()
    assert one.data.name == "mnist"


@pytest.mark.parametrize(
    ("group", "registered"),
    [
        ("loss", adversarial.LOSSES),
        ("penalty", penalties.PENALTIES),
        ("optimizer.generator", optimizers.OPTIMIZERS),
        ("optimizer.generator.schedule", optimizers.SCHEDULES),
        ("generator", registry.GENERATORS),
        ("discriminator", registry.DISCRIMINATORS),
    ],
)
def test_every_choice_builds_by_its_name_alone(group, registered):
    sound = specs.labelled("audio", specs.Field("audio", (64, 1), "int16", sample_rate=8000))
    video = specs.labelled("video", specs.Field("video", (4, 8, 8, 1), "uint8"))
    own = {
        "segan": sound,
        "wavegan": sound,
        "textgan": {"text": specs.text(8, "ab")},
        "mocogan": specs.labelled("video", video["video"], 3),
        "videogan": video,
    }
    own["midinet"] = specs.labelled("music", specs.music((8, 5), 60), 2)
    for name in registered:
        c = variants.load(name if name in own else "wgan_gp", "smoke")
        c.num_devices, c.generator.latent_dim = 1, 12  # Of which BigGAN makes chunks.
        chosen = c
        for part in group.split("."):
            chosen = chosen[part]
        chosen.name = name
        build.make_training(c, own.get(name, specs.images((16, 16, 1))))


@pytest.mark.parametrize("name", ["wgan_gp", "vae_gan", "cyclegan", "srgan"])
def test_the_fields_that_apply_are_those_of_what_is_chosen(name):
    c = variants.load(name)
    found = {field.path: field for field in config.fields(c)}
    kept = variants.fields(config.chosen(c))
    assert set(found) <= kept < variants.fields(c)
    game = c.game.name
    assert ("encoder.name" in found) == (game == "vae")
    assert ("optimizer.encoder.learning_rate" in found) == (game == "vae")
    assert ("penalty.name" in found) == (game != "cycle")
    assert ("generator.latent_dim" in found) == (game in ("adversarial", "vae"))
    chosen = c.generator.name
    assert f"generator.{chosen}.features" in found
    assert "generator.mlp.features" not in kept
    assert found["train.steps"].value == c.train.steps
    assert found["train.steps"].default == 1000
    assert "one turn of every player" in found["train.steps"].meaning


def test_a_setting_that_a_game_does_not_have_is_refused():
    for field, value in (("degrade.name", "grey"), ("data.crop", 8)):
        c = variants.load("dcgan", "smoke")
        group, name = field.split(".")
        c[group][name] = value
        with pytest.raises(errors.ConfigError, match=rf"{field} = .*accepted for game.name"):
            build.make_training(c, specs.images((16, 16, 1)))
