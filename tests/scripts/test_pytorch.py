"""PyTorch's references: networks, losses, players and batches are those of the configuration."""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util

from gan_jax.data import spec as specs
from gan_jax.losses import adversarial, penalties
from gan_jax.runs import build
from gan_jax.training.ema import EMA
from scripts.benchmark import load, stored_spec
from tests.networks.pytorch import randomized

torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")

from scripts.pytorch import losses, references, translators  # noqa: E402
from scripts.pytorch.system import Averages, Placement, host_decay  # noqa: E402
from scripts.pytorch.weights import copy_weights, in_order  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = specs.pairs((286, 286, 3))
# Choices whose data are not in every installation, and a specification of such data.
OTHERS = {
    "cyclegan:folder": PAIRS,
    "pix2pix:folder": PAIRS,
    "srgan:tiles": specs.images((96, 96, 3)),
}
CHOICES = [*references.REFERENCES, "acgan:cifar10", "sngan_projection:cifar10", "vae_gan:cifar10"]


@functools.cache
def made(choice):
    """Return a configuration, its game and its reference."""
    config = load(choice)
    spec = OTHERS.get(choice) or stored_spec(config)
    game = build.make_game(config, spec, axis_name=None)
    return config, game, references.make(config, spec, Placement())


@pytest.mark.parametrize("choice", [*CHOICES, *OTHERS])
def test_networks_have_the_same_parameters(choice):
    _, game, system = made(choice)
    assert set(system.networks) == set(game.networks)
    for name, network in game.networks.items():
        shapes, theirs = in_order(network), system.networks[name]
        sizes = sorted(int(np.prod(shape)) for shape in shapes.values())
        assert sorted(x.numel() for x in theirs.parameters()) == sizes, name
        # Each parameter is filled with its number, in an array without memory.
        numbered = {
            path: np.broadcast_to(np.float32(i), shape)
            for i, (path, shape) in enumerate(shapes.items())
        }
        copy_weights(network, traverse_util.unflatten_dict(numbered), theirs)
        firsts = sorted(int(x.detach().flatten()[0]) for x in theirs.parameters())
        assert firsts == list(range(len(shapes))), name


def nchw(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


# All that differ, but for those with spectral normalization, whose vectors are drawn, and the
# translator, whose strided convolutions are padded on one side here and on both in PyTorch.
@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("gan:smoke", ("generator", "discriminator")),
        ("dcgan:smoke", ("generator", "discriminator")),
        ("wgan_gp:smoke", ("generator", "discriminator")),
        ("wgan_gp:cifar10,smoke", ("generator", "discriminator")),
        ("sngan_projection:smoke", ("generator",)),
        ("acgan:smoke", ("generator",)),
        ("vae_gan:smoke", ("encoder",)),
        ("cyclegan:smoke", ("discriminator_a",)),
        ("srgan:smoke", ("generator",)),
        ("pix2pix:smoke", ("generator",)),
    ],
)
def test_networks_compute_the_same(choice, names):
    _, game, system = made(choice)
    for name in names:
        network, theirs = game.networks[name], system.networks[name]
        variables = randomized(jax.eval_shape(network.init, jax.random.key(0)))
        copy_weights(network, variables["params"], theirs)
        for part in theirs.modules():
            if isinstance(part, torch.nn.Dropout):
                part.eval()  # Ours drops nothing without keys.
        rng = np.random.default_rng(1)
        x = rng.normal(size=(4, *network.inputs[0].shape[1:])).astype(np.float32)
        labels = np.arange(4, dtype=np.int32)

        def apply(x, labels, network=network, variables=variables):
            condition = {"label": labels}
            mutable = ["batch_stats"]
            return network.module.apply(variables, x, condition, train=True, mutable=mutable)[0]

        ours = np.asarray(jax.jit(apply)(x, labels))
        given = nchw(x) if x.ndim == 4 else torch.tensor(x)
        classes = [torch.tensor(labels).long()] if len(network.inputs) > 1 else []
        with torch.no_grad():
            found = theirs(given, *classes[: name != "encoder"]).numpy()
        if found.ndim == 4:
            found = np.moveaxis(found, 1, -1).reshape(ours.shape)
        np.testing.assert_allclose(found, ours, rtol=1e-3, atol=1e-4, err_msg=name)


def test_penalties_are_the_same():
    _, game, system = made("wgan_gp:smoke")
    network, theirs = game.networks["discriminator"], system.networks["discriminator"]
    variables = randomized(jax.eval_shape(network.init, jax.random.key(0)))
    copy_weights(network, variables["params"], theirs)
    x = np.random.default_rng(1).normal(size=(4, *game.shape)).astype(np.float32)

    def critic(images):
        return network.module.apply(variables, images, train=True)

    values = jax.jit(lambda x: penalties.wgan_gp(critic, x, x, np.zeros(4, np.float32)))(x)
    expected = losses.gradient_penalty(theirs, nchw(x)).detach()
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["translator", "unet"])
def test_networks_double_the_resolution_as_they_are_asked_to(name):
    config = load("cyclegan")
    config.generator.name = name
    doublings = 2 if name == "translator" else config.generator.unet.levels
    for upsample, expected in {"transposed": (0, doublings), "nearest": (doublings, 0)}.items():
        config.generator[name].upsample = upsample
        layers = list(translators.make_translator(config.generator, 3, 3).modules())
        kinds = [type(layer) for layer in layers]
        assert (kinds.count(torch.nn.Upsample), kinds.count(torch.nn.ConvTranspose2d)) == expected
        after = [layers[i + 1] for i, kind in enumerate(kinds) if kind is torch.nn.Upsample]
        padding = "reflect" if name == "translator" else "zeros"
        assert all((layer.kernel_size, layer.padding_mode) == ((3, 3), padding) for layer in after)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_are_the_same(name):
    real, fake = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    ours, theirs = adversarial.make(name), losses.LOSSES[name]
    found = theirs.discriminator(torch.tensor(real), torch.tensor(fake)).item()
    np.testing.assert_allclose(found, np.mean(ours.discriminator(real, fake)), rtol=1e-5)
    found = theirs.generator(torch.tensor(fake)).item()
    np.testing.assert_allclose(found, np.mean(ours.generator(fake, None)), rtol=1e-5)


@pytest.mark.parametrize(("ramp_up", "start"), [(0.05, 0), (None, 3)])
def test_averages_are_the_same(ramp_up, start):
    config, game, _ = made("dcgan:smoke")
    own = EMA(100.0, ramp_up, start)
    steps, images = np.arange(40), config.train.batch_size
    expected = own.decay(steps, images)
    decays = [host_decay(own, step, images) for step in steps.tolist()]
    np.testing.assert_allclose(decays, expected, rtol=1e-5)
    config = config.copy_and_resolve_references()
    config.ema.update(half_life=own.half_life, ramp_up=ramp_up, start=start)
    source = torch.nn.BatchNorm1d(1)
    averages = Averages(config, game, {"generator": source})
    average = 0.0
    for step in range(6):
        source.running_mean.fill_(step)
        source.weight.data.fill_(step)
        averages.update(step)
        average = step + decays[step] * (average - step)
    module = averages.networks["generator"].module
    assert module.running_mean.item() == pytest.approx(average, rel=1e-5)
    assert module.weight.item() == pytest.approx(average, rel=1e-5)


@pytest.mark.parametrize("name", references.REFERENCES)
def test_players_take_the_same_turns(name):
    config, game, system = made(f"{name}:smoke")
    turns, counts = [], set()
    for player, optimizer in system.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, player=player: turns.append(player))
    for network in system.networks.values():
        network.register_forward_pre_hook(lambda _, inputs: counts.add(len(inputs[0])))
    assert np.isfinite(system.step(config.train.steps, system.batches))
    assert turns == [player.name for player in game.players for _ in range(player.steps)]
    # Real and generated examples may be judged in one pass.
    assert {count % config.train.batch_size for count in counts} == {0}
    assert max(counts) <= 3 * config.train.batch_size
    for player in game.players:
        owned = {
            id(x) for network in player.networks for x in system.networks[network].parameters()
        }
        groups = system.optimizers[player.name].param_groups
        assert {id(x) for group in groups for x in group["params"]} == owned
        group = config.optimizer[game.networks[player.networks[0]].optimizer or player.networks[0]]
        assert {own["lr"] for own in groups} == {group.learning_rate}
