"""What discriminators say: scores, projection, heads, the batch; and how networks take labels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import make
from gan_jax.networks.verdict import DIRECTION, Head

SHAPE = (16, 16, 3)
CLASSES = 3
FIELDS = {
    "mlp": {"features": (12, 10)},
    "dcgan": {"features": 6, "normalization": "none"},
    "resnet": {"features": 6},
}
HEADS = (Head("class", 3), Head("code", 2, hidden=5))
LABELS = jnp.array([0, 1, 2, 0], jnp.int32)
# The two that compile in a second, for what does not depend on the trunk.
QUICK = ("mlp", "dcgan")
# Of the trunk's vector, by hand: the last hidden layer, 4x4 of 12 channels, pooled 8x8 of 6.
TRUNK = {"mlp": 10, "dcgan": 4 * 4 * 12, "resnet": 6}


def _images(batch=4):
    return jax.random.uniform(jax.random.key(1), (batch, *SHAPE), minval=-1.0, maxval=1.0)


@functools.cache
def _discriminator(name, **fields):
    module = make(
        "discriminator", name, shape=SHAPE, num_classes=CLASSES, **{**FIELDS[name], **fields}
    )
    return module, jax.jit(module.init)(jax.random.key(0), _images(), {"label": LABELS})


@functools.partial(jax.jit, static_argnames=("module", "train"))
def _judge(module, variables, x, labels=None, train=True):
    condition = None if labels is None else {"label": labels}
    return module.apply(variables, x, condition, train=train, method="judge")


def _vector(name, verdict):
    """Return the trunk's vector from its last activations, as the architecture's text has it."""
    last = verdict.features[-1]
    if name == "resnet":
        return np.maximum(last, 0.0).mean(axis=(1, 2))
    return np.asarray(last).reshape(last.shape[0], -1)


@pytest.mark.parametrize("name", FIELDS)
def test_projection_is_the_formula(name):
    """Equation 3 of 1802.05637: w.phi + b + <v_y, phi>."""
    module, variables = _discriminator(name, conditioning="projection")
    verdict = _judge(module, variables, _images(), LABELS)
    phi, params = _vector(name, verdict), variables["params"]
    assert phi.shape == (4, TRUNK[name])
    vectors = np.asarray(params["projection"]["embedding"])
    assert vectors.shape == (CLASSES, TRUNK[name])
    (dense,) = [
        layer for layer in params.values() if layer.get("kernel", phi).shape == (TRUNK[name], 1)
    ]
    plain = phi @ np.asarray(dense["kernel"])[:, 0] + np.asarray(dense["bias"])
    expected = plain + np.sum(vectors[np.asarray(LABELS)] * phi, axis=1)
    np.testing.assert_allclose(verdict.scores, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(verdict.scores - plain).min() > 1e-4


@pytest.mark.slow
def test_the_projection_of_a_spectral_discriminator_has_norm_one():
    """Three rows of 6: the table divides by its largest singular value."""
    module, variables = _discriminator(
        "resnet", conditioning="projection", normalization="spectral"
    )
    settle = jax.jit(
        lambda v: module.apply(v, _images(), {"label": LABELS}, mutable=["spectral"])[1]
    )
    for _ in range(30):
        variables = {**variables, **settle(variables)}
    params = variables["params"]
    loud = {**params, "projection": {"embedding": 7.0 * params["projection"]["embedding"]}}
    silent = {**params, "projection": {"embedding": 0.0 * params["projection"]["embedding"]}}
    # Each of six images for every class: what the classes add is the image times the table.
    x = jnp.repeat(_images(6)[:, None], CLASSES, axis=1).reshape(-1, *SHAPE)
    labels = jnp.tile(jnp.arange(CLASSES), 6)
    verdicts = [_judge(module, {**variables, "params": p}, x, labels) for p in (loud, silent)]
    added = np.reshape(verdicts[0].scores - verdicts[1].scores, (6, CLASSES))
    phi = _vector("resnet", verdicts[0])[::CLASSES]
    table = np.asarray(params["projection"]["embedding"])
    table = table / np.linalg.svd(table, compute_uv=False)[0]
    np.testing.assert_allclose(added, phi @ table.T, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_heads_are_independent_outputs_of_one_trunk(name):
    module, variables = _discriminator(name, heads=HEADS)
    x = _images()
    verdict = _judge(module, variables, x)
    assert {head: value.shape for head, value in verdict.heads.items()} == {
        "class": (4, 3),
        "code": (4, 2),
    }
    assert {value.dtype for value in verdict.heads.values()} == {jnp.dtype(jnp.float32)}

    @functools.partial(jax.jit, static_argnames="head")
    def gradient(params, head):
        def total(params):
            found = module.apply({**variables, "params": params}, x, method="judge")
            return jnp.sum(jnp.sin(found.heads[head]))

        return jax.grad(total)(params)

    for head, other in (("class", "code"), ("code", "class")):
        reached = {
            layer for layer, g in gradient(variables["params"], head).items() if _largest(g) > 0
        }
        assert {f"{head}_head"} < reached
        assert f"{other}_head" not in reached
        assert ("code_hidden" in reached) == (head == "code")
        # The trunk, but not the score's own layer.
        first, score = _trunk_and_score(variables["params"], TRUNK[name])
        assert first in reached
        assert score not in reached


@pytest.mark.parametrize(("name", "normalization"), [("dcgan", "spectral"), ("resnet", "none")])
def test_the_direction_is_that_of_the_scores_kernel_of_norm_one_if_spectral(name, normalization):
    heads = (Head(DIRECTION, 1), Head("code", 2))
    module, variables = _discriminator(name, heads=heads, normalization=normalization)
    verdict = _judge(module, variables, _images())
    layer = variables["params"]["DirectionDense_0"]
    norm = np.linalg.norm(layer["kernel"]) if normalization == "spectral" else 1.0
    direction = _vector(name, verdict) @ (layer["kernel"] / norm)
    np.testing.assert_allclose(verdict.heads[DIRECTION], direction, rtol=1e-4, atol=1e-5)
    scores = (direction + layer["bias"])[:, 0]
    np.testing.assert_allclose(verdict.scores, scores, rtol=1e-4, atol=1e-5)
    assert set(verdict.heads) == {DIRECTION, "code"}


def _largest(tree):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))


def _trunk_and_score(params, width):
    """Return the names of the trunk's first layer and of the score's layer."""
    first = next(name for name in ("Conv_0", "DownBlock_0", "Dense_0") if name in params)
    (score,) = [
        name
        for name, layer in params.items()
        if "kernel" in layer and layer["kernel"].shape == (width, 1)
    ]
    return first, score


@pytest.mark.parametrize("name", FIELDS)
def test_concat_lets_the_label_change_the_score(name):
    module, variables = _discriminator(name, conditioning="concat")
    x = _images()
    scores = _judge(module, variables, x, LABELS).scores
    others = _judge(module, variables, x, LABELS.at[1].set(2)).scores
    np.testing.assert_array_equal(np.asarray(scores != others), [False, True, False, False])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "conditioning"),
    [
        ("mlp", "concat"),
        ("dcgan", "concat"),
        ("dcgan", "batch_norm"),
        ("resnet", "concat"),
        ("resnet", "batch_norm"),
    ],
)
def test_a_conditional_generators_label_changes_its_image(name, conditioning):
    fields = {"features": (12, 12)} if name == "mlp" else {"features": 6}
    module = make(
        "generator",
        name,
        shape=SHAPE,
        latent_dim=6,
        num_classes=CLASSES,
        conditioning=conditioning,
        **fields,
    )
    z = jax.random.normal(jax.random.key(1), (4, 6))
    variables = jax.jit(module.init)(jax.random.key(0), z, {"label": LABELS})
    # Tables of classes start from zero: an untrained layer makes no difference between them.
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape, np.float32), variables["params"]
    )
    variables = {**variables, "params": params}
    # By running statistics, so that one example's label cannot reach another's image.
    apply = jax.jit(functools.partial(module.apply, train=False))
    images = apply(variables, z, {"label": LABELS})
    others = apply(variables, z, {"label": LABELS.at[1].set(2)})
    np.testing.assert_array_equal(others[jnp.array([0, 2, 3])], images[jnp.array([0, 2, 3])])
    assert np.abs(others[1] - images[1]).max() > 0.01
    np.testing.assert_array_equal(apply(variables, z, {"label": LABELS}), images)
    with pytest.raises(ValueError, match=r"conditioned on 'label', but was given nothing"):
        module.apply(variables, z, train=False)


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
@pytest.mark.parametrize("name", QUICK)
def test_a_conditional_discriminator_without_labels_says_so(name, conditioning):
    module, variables = _discriminator(name, conditioning=conditioning)
    with pytest.raises(ValueError, match=r"conditioned on 'label', but was given nothing"):
        module.apply(variables, _images())


@pytest.mark.parametrize("name", FIELDS)
def test_conditioning_needs_classes(name):
    for role in ("generator", "discriminator"):
        with pytest.raises(ConfigError, match=rf"^{role}\.conditioning = 'concat' needs classes"):
            make(role, name, shape=SHAPE, conditioning="concat")
        with pytest.raises(ConfigError, match=rf"^{role}\.conditioning = 'concta' is unknown"):
            make(role, name, shape=SHAPE, conditioning="concta", num_classes=CLASSES)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("mlp", [(12,), (10,)]),
        ("dcgan", [(8, 8, 6), (4, 4, 12)]),
        ("resnet", [(8, 8, 6)] * 3),
    ],
)
def test_features_are_the_hidden_layers_from_the_input_on(name, shapes):
    module, variables = _discriminator(name)
    x = _images()
    verdict = _judge(module, variables, x)
    assert [value.shape[1:] for value in verdict.features] == shapes
    # Each is made from the one before: changing the n-th layer leaves the earlier ones alone.
    layers = {
        "mlp": ["Dense_0", "Dense_1"],
        "dcgan": ["Conv_0", "Conv_1"],
        "resnet": ["DownBlock_0", "DownBlock_1", "DownBlock_2"],
    }[name]
    for index, layer in enumerate(layers):
        changed = jax.tree.map(lambda leaf: 1.5 * leaf, variables["params"][layer])
        other = _judge(module, {"params": {**variables["params"], layer: changed}}, x)
        same = [
            bool(np.array_equal(a, b))
            for a, b in zip(verdict.features, other.features, strict=True)
        ]
        assert same == [True] * index + [False] * (len(layers) - index)


@pytest.mark.parametrize("minibatch", ["none", "stddev", "discrimination"])
@pytest.mark.parametrize("name", QUICK)
def test_the_verdicts_scores_are_what_calling_gives(name, minibatch):
    module, variables = _discriminator(name, minibatch=minibatch, heads=HEADS)

    @jax.jit
    def both(variables, x):
        judged = {t: module.apply(variables, x, train=t, method="judge") for t in (True, False)}
        return [(module.apply(variables, x, train=t), judged[t].scores) for t in (True, False)]

    for called, score in both(variables, _images()):
        np.testing.assert_array_equal(called, score)


@pytest.mark.parametrize("minibatch", ["stddev", "discrimination"])
@pytest.mark.parametrize("name", QUICK)
def test_only_the_score_sees_the_batch(name, minibatch):
    """Heads and features depend on each example alone."""
    module, variables = _discriminator(name, minibatch=minibatch, heads=HEADS)
    x = _images()
    alike = jnp.repeat(x[:1], 4, axis=0)
    verdict, collapsed = _judge(module, variables, x), _judge(module, variables, alike)
    first, alone = verdict.scores[0], collapsed.scores[0]
    assert np.abs(first - alone) > 1e-3 * np.abs(first)
    np.testing.assert_allclose(collapsed.scores, collapsed.scores[0], rtol=1e-5)
    for head, values in verdict.heads.items():
        np.testing.assert_allclose(collapsed.heads[head][0], values[0], rtol=1e-4, atol=1e-6)
    extra = {
        "stddev": {"mlp": 1, "dcgan": 16, "resnet": 1}[name],
        "discrimination": 16,
    }[minibatch]
    _trunk_and_score(variables["params"], TRUNK[name] + extra)


@pytest.mark.parametrize("name", FIELDS)
def test_the_deviation_is_what_the_score_is_given(name):
    """By hand: over 4 examples, averaged over pixels and channels, one weight per entry."""
    module, variables = _discriminator(name, minibatch="stddev")
    verdict = _judge(module, variables, _images())
    last = np.asarray(verdict.features[-1])
    last = np.maximum(last, 0.0) if name == "resnet" else last
    deviation = np.sqrt(last.var(axis=0) + 1e-8).mean()
    extra = 16 if name == "dcgan" else 1
    width = TRUNK[name] + extra
    _, score = _trunk_and_score(variables["params"], width)
    layer = variables["params"][score]
    # Channels are the last axis of the map, so that the deviation stands after each pixel's own.
    vector = np.concatenate([last, np.full((*last.shape[:-1], 1), deviation)], axis=-1)
    vector = vector.mean(axis=(1, 2)) if name == "resnet" else vector.reshape(4, -1)
    expected = vector @ np.asarray(layer["kernel"])[:, 0] + np.asarray(layer["bias"])
    np.testing.assert_allclose(verdict.scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FIELDS)
def test_discrimination_counts_near_examples(name):
    """Equal examples have the greatest nearness, the batch's size; others a smaller one."""
    module, variables = _discriminator(name, minibatch="discrimination")
    nearness = {}

    capture = functools.partial(
        module.apply,
        capture_intermediates=lambda m, _: type(m).__name__ == "MinibatchDiscrimination",
    )
    apply = jax.jit(capture)

    def appended(x):
        _, state = apply(variables, x)
        (value,) = state["intermediates"]["MinibatchDiscrimination_0"]["__call__"]
        assert value.shape == (4, TRUNK[name] + 16)
        return np.asarray(value[:, -16:])

    x = _images()
    nearness = appended(x)
    np.testing.assert_allclose(appended(jnp.repeat(x[:1], 4, axis=0)), 4.0, rtol=1e-3)
    assert np.all(nearness >= 1.0)
    # Neither all alike nor all lost: a gradient has somewhere to go.
    assert 1.0 + 1e-4 < nearness.mean() < 4.0 - 1e-4


def test_groups_of_the_deviation():
    module, variables = _discriminator("dcgan", minibatch="stddev")
    x = np.asarray(_images(8))
    scores = _judge(module, variables, x).scores
    np.testing.assert_allclose(scores[4:], _judge(module, variables, x[4:]).scores, rtol=1e-5)
    # A smaller batch is one group.
    assert np.all(np.isfinite(_judge(module, variables, x[:1]).scores))
    assert np.all(np.isfinite(_judge(module, variables, x[:3]).scores))
    with pytest.raises(ConfigError) as caught:
        _judge(module, variables, x[:6])
    message = str(caught.value)
    assert message.startswith("discriminator.dcgan.minibatch = 'stddev': 6 examples at once")
    assert "a multiple of 4 (see train.batch_size and train.accumulate)" in message
    # Two on each of two devices would be groups that one device does not have.
    shared = module.clone(axis_name="data")
    both = jax.jit(jax.vmap(lambda x: shared.apply(variables, x), axis_name="data"))
    with pytest.raises(ConfigError, match=r"2 examples at once on each of 2 devices"):
        both(x[:4].reshape(2, 2, *SHAPE))
    np.testing.assert_allclose(np.ravel(both(x.reshape(2, 4, *SHAPE))), scores, rtol=1e-5)


@pytest.mark.parametrize("minibatch", ["stddev", "discrimination"])
@pytest.mark.parametrize("name", QUICK)
def test_outside_training_no_mapped_axis_is_needed(name, minibatch):
    """InfoGAN's codes are recovered from images by a discriminator on its own."""
    module, variables = _discriminator(name, minibatch=minibatch, heads=HEADS)
    shared = module.clone(axis_name="data")
    x = _images()
    np.testing.assert_array_equal(
        _judge(shared, variables, x, train=False).scores,
        _judge(module, variables, x, train=False).scores,
    )
