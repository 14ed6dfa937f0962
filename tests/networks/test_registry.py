import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import ROLES, make


def _message(role, name, shape=(32, 32, 3), **fields):
    with pytest.raises(ConfigError) as caught:
        make(role, name, shape=shape, **fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_unknown_network(role):
    accepted = ", ".join(sorted(ROLES[role][1]))
    assert _message(role, "dcgn") == (
        f"{role}.name = 'dcgn' is unknown; accepted: {accepted}. Did you mean \"dcgan\"?"
    )


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_unknown_field(role):
    message = _message(role, "resnet", featurs=64)
    assert message.startswith(f"{role}.resnet.featurs = 64 is unknown")
    assert message.endswith('Did you mean "features"?')
    accepted = {
        "generator": "attention, conditioning, features, groups, latent_dim, normalization, "
        "spectral.",
        "discriminator": "attention, conditioning, features, minibatch, normalization, pooling.",
    }
    assert f"accepted: {accepted[role]}" in message


def test_fields_given_by_data_and_devices_are_not_the_users():
    assert "is unknown" in _message("discriminator", "resnet", train=True)


@pytest.mark.parametrize("role", ["generator", "discriminator"])
@pytest.mark.parametrize(
    ("name", "shape", "value", "accepted"),
    [
        ("dcgan", (4, 4, 3), "4", "8 or more."),
        ("dcgan", (30, 30, 1), "30", "at this size multiples of 4, such as 28 or 32."),
        (
            "dcgan",
            (48, 70, 3),
            "(48, 70)",
            "at this size multiples of 8, such as (48, 64) or (48, 72).",
        ),
        ("dcgan", (6, 64, 3), "(6, 64)", "8 or more."),
        ("resnet", (8, 8, 3), "8", "16 or more."),
        ("resnet", (1000, 1000, 3), "1000", "at this size multiples of 128, such as 896 or 1024."),
    ],
)
def test_resolution_that_the_architecture_cannot_make(role, name, shape, value, accepted):
    message = _message(role, name, shape)
    assert message == f"data.resolution = {value} cannot be made by {name}; accepted: {accepted}"


@pytest.mark.parametrize("role", ["generator", "discriminator"])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_points_are_refused_by_networks_for_images(role, name):
    message = _message(role, name, (2,))
    assert message.startswith(f"data.name: {name} is a network for images")
    assert "(2,)" in message
    assert "mlp" in message


@pytest.mark.parametrize(
    ("role", "name", "fields", "expected"),
    [
        ("generator", "mlp", {"output": "tan"}, ["generator.mlp.output = 'tan'", "tanh, linear"]),
        ("generator", "mlp", {"features": (8, 0)}, ["generator.mlp.features = (8, 0)", "above 0"]),
        ("generator", "mlp", {"features": 8}, ["generator.mlp.features = 8", "a tuple"]),
        ("generator", "mlp", {"latent_dim": 0}, ["generator.latent_dim = 0", "above 0"]),
        ("generator", "dcgan", {"features": -1}, ["generator.dcgan.features = -1", "above 0"]),
        ("generator", "dcgan", {"kernel_size": 2.5}, ["generator.dcgan.kernel_size = 2.5"]),
        ("discriminator", "mlp", {"features": ("8",)}, ["discriminator.mlp.features = ('8',)"]),
        (
            "discriminator",
            "dcgan",
            {"normalization": "layr"},
            ["discriminator.dcgan.normalization = 'layr'", "spectral", 'Did you mean "layer"?'],
        ),
        (
            "generator",
            "dcgan",
            {"normalization": "spectral"},
            ["generator.dcgan.normalization = 'spectral'", "none, batch, instance, layer, group"],
        ),
        (
            "generator",
            "resnet",
            {"normalization": "layers"},
            ["generator.resnet.normalization = 'layers'", 'Did you mean "layer"?'],
        ),
        (
            "generator",
            "dcgan",
            {"normalization": "group", "features": 6},
            ["generator.dcgan.groups = 8", "widths 24, 12, 6", "a divisor of 6"],
        ),
        (
            "generator",
            "resnet",
            {"normalization": "group", "features": (8, 12, 16, 8)},
            ["generator.resnet.groups = 8", "widths 8, 12, 16, 8", "a divisor of 4"],
        ),
        (
            "discriminator",
            "dcgan",
            {"normalization": "group", "features": 6},
            ["discriminator.dcgan.groups = 8", "widths 12, 24", "a divisor of 12"],
        ),
        ("generator", "dcgan", {"groups": 0}, ["generator.dcgan.groups = 0", "above 0"]),
        *(
            (
                "generator",
                name,
                {"normalization": "layer", "conditioning": "batch_norm", "num_classes": 3},
                [
                    "generator.conditioning = 'batch_norm'",
                    f"generator.{name}.normalization = 'layer'",
                ],
            )
            for name in ("dcgan", "resnet")
        ),
        *(
            (
                "discriminator",
                name,
                {"minibatch": "stdev"},
                [
                    f"discriminator.{name}.minibatch = 'stdev'",
                    'none, stddev, discrimination. Did you mean "stddev"?',
                ],
            )
            for name in ("mlp", "dcgan", "resnet")
        ),
        (
            "generator",
            "resnet",
            {"attention": 64},
            ["generator.resnet.attention = 64", "0 (none), 8, 16, 32."],
        ),
        ("generator", "resnet", {"attention": 4}, ["generator.resnet.attention = 4"]),
        (
            "discriminator",
            "resnet",
            {"attention": 32},
            ["discriminator.resnet.attention = 32", "0 (none), 8, 16."],
        ),
        (
            "discriminator",
            "resnet",
            {"pooling": "men"},
            ["discriminator.resnet.pooling = 'men'", 'mean, sum. Did you mean "mean"?'],
        ),
        ("discriminator", "resnet", {"normalization": "batch"}, ["none, layer"]),
        ("discriminator", "resnet", {"features": (8, 8)}, ["a tuple of 4", "after each block"]),
        ("generator", "resnet", {"features": (8, 8)}, ["a tuple of 4", "4x4, 8x8, 16x16, 32x32"]),
        ("generator", "resnet", {"features": True}, ["generator.resnet.features = True"]),
    ],
)
def test_value_that_cannot_work(role, name, fields, expected):
    message = _message(role, name, **fields)
    for part in expected:
        assert part in message


def test_lists_are_taken_as_tuples():
    """JSON, in which a run's configuration is kept, has no tuples."""
    module = make("generator", "mlp", shape=[8, 8, 1], features=[4, 4])
    assert module == make("generator", "mlp", shape=(8, 8, 1), features=(4, 4))
    assert isinstance(hash(module), int)


def test_axis_name_reaches_the_networks():
    for name in ("mlp", "dcgan", "resnet"):
        module = make("discriminator", name, shape=(32, 32, 3), axis_name="data")
        assert module.axis_name == "data"
    assert make("generator", "resnet", shape=(32, 32, 3), axis_name="data").axis_name == "data"


@pytest.mark.parametrize(("name", "latent_dim"), [("mlp", 100), ("dcgan", 100), ("resnet", 128)])
def test_default_latent_lengths_are_the_papers(name, latent_dim):
    assert make("generator", name, shape=(32, 32, 3)).latent_dim == latent_dim


IMAGE_NETWORKS = {
    **{
        name: ("translator", {"shape": (16, 32, 3), "outputs": 3})
        for name in ("unet", "translator", "srresnet")
    },
    **{
        name: ("patch_discriminator", {"shape": (32, 32, 3)})
        for name in ("patchgan", "dcgan", "resnet", "mlp")
    },
}


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_networks_of_images_get_what_the_devices_and_the_precision_give(name):
    role, fields = IMAGE_NETWORKS[name]
    module = make(role, name, **fields, axis_name="data", dtype="bfloat16", param_dtype="float32")
    assert (module.axis_name, module.dtype, module.param_dtype) == ("data", "bfloat16", "float32")
    assert module.shape == fields["shape"]
    listed = make(role, name, **{**fields, "shape": list(fields["shape"])})
    assert listed == make(role, name, **fields)


@pytest.mark.parametrize("field", ["train", "heads"])
@pytest.mark.parametrize(
    ("role", "name", "group", "given"),
    [
        ("translator", "unet", "generator", {"outputs": 3}),
        ("patch_discriminator", "patchgan", "discriminator", {}),
    ],
)
def test_networks_of_images_refuse_what_is_not_a_field_of_their_own(
    role, name, group, given, field
):
    with pytest.raises(ConfigError, match=rf"{group}\.{name}\.{field} = 1 is unknown"):
        make(role, name, shape=(32, 32, 3), **given, **{field: 1})


def test_generators_and_translators_are_told_apart():
    """A translator asks for an image, a generator for latents."""
    with pytest.raises(
        ConfigError, match=r"accepted: hifigan, segan, srresnet, translator, unet\."
    ):
        make("translator", "dcgan", shape=(32, 32, 3), outputs=3)
    with pytest.raises(ConfigError, match=r"accepted: .*dcgan, .*mlp, .*resnet, .*stylegan1, st"):
        make("generator", "unet", shape=(32, 32, 3))
    with pytest.raises(ConfigError, match=r"accepted: .*dcgan, .*mlp, .*resnet, .*wavegan\."):
        make("discriminator", "patchgan", shape=(32, 32, 3))
