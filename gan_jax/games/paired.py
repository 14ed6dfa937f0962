"""Translation of an image, a sound or a video: pix2pix, restoration, vocoders, prediction.

- "Image-to-Image Translation with Conditional Adversarial Networks", Isola et al. 2016,
  https://arxiv.org/abs/1611.07004
- "Context Encoders: Feature Learning by Inpainting", Pathak et al. 2016,
  https://arxiv.org/abs/1604.07379
- "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", Ledig et
  al. 2016, https://arxiv.org/abs/1609.04802
- "SEGAN: Speech Enhancement Generative Adversarial Network", Pascual et al. 2017,
  https://arxiv.org/abs/1703.09452
- "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis", Kong
  et al. 2020, https://arxiv.org/abs/2010.05646
- "Deep multi-scale video prediction beyond mean square error", Mathieu et al. 2015,
  https://arxiv.org/abs/1511.05440

They differ in where the pairs come from, in the networks, and in the weights of the same terms:

- generator: ``pixel_weight * |G(x) - y| + adversarial_weight * adversarial + ...``;
- discriminator: real targets against what the generator makes, each seen beside its input
  (``conditional``) or alone.

A pair is in the data (two images per example), or a degradation makes the input of its target. What
is said of images and pixels holds for sounds and samples, too; the perceptual term and the total
variation are of images alone. Networks see videos as images whose channels are the frames.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation
from gan_jax.data.spec import Spec
from gan_jax.games import building, frames, judging, paired_config
from gan_jax.games.apply import apply, judge
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.perceptual import Compare, Perceptual
from gan_jax.games.terms import Context, Term, add_terms, make_terms
from gan_jax.games.translation import (
    A_TO_B,
    Direction,
    Example,
    TranslationGame,
    paste,
    with_mask,
)
from gan_jax.losses import feature_matching, reconstruction
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.condition import Condition
from gan_jax.networks.verdict import Verdict
from gan_jax.settings import arguments


@dataclasses.dataclass(frozen=True)
class PairedGame(TranslationGame):
    """The discriminator, then the generator, on the same batch; or the generator alone.

    The generated images of both turns are the same, and are computed once. For the first
    ``content_steps`` train steps the generator learns without the adversarial term and the
    discriminator is inactive.

    Attributes:
      generator: module of inputs to images; see `gan_jax.networks.registry`.
      discriminator: module of images, with a method ``judge``, whose scores may
        be a map; ``None``: there is none, and no adversarial term.
      spec: of the data: a target image, or, without a degradation, an input ``a`` and its target
        ``b``.
      loss: the pair of adversarial losses; every score of a map counts as one.
      pixel: how pixels are compared: "l1", "l2" or "charbonnier"; of sounds that are made from mel
        spectrograms also "mel", the L1 distance of their spectrograms, up to half the sample rate.
      degradation: makes inputs of targets; ``None``: the data have both.
      conditional: the discriminator sees the input beside the image.
      pixel_weight: weight of the pixel term in the generator's loss.
      adversarial_weight: weight of the adversarial term there; 0: there is no discriminator.
      gradient_weight: weight of the gradient difference loss there, of images and videos.
      matching_weight: weight of the distance of the discriminator's features there, of generated
        images from their targets; 0: it is not computed.
      variation_weight: weight of the total variation of generated images there.
      perceptual: settings of the perceptual term.
      features: compares features in that term, ``(images, reference) -> [batch]``; ``None``: there
        is no such term.
      known_weight: weight of a known pixel in the pixel term, relative to one in a hole; used with
        masks only.
      discriminator_weight: weight of the discriminator's loss; 1/2, as in pix2pix, slows it down.
      discriminator_steps: gradient steps of the discriminator for each of the generator's.
      content_steps: train steps at the start without the adversarial term and without the
        discriminator.
      terms: that are added to the discriminator's loss, by name: the penalty on the gradient of
        its mean score.
    """

    uses = frozenset({"generator", "discriminator", "loss", "penalty", "degrade"})
    TINY: ClassVar[dict[str, int]] = {"content_steps": 2}

    generator: nn.Module
    discriminator: nn.Module | None
    spec: Spec
    loss: AdversarialLoss
    pixel: str = "l1"
    degradation: Degradation | None = None
    conditional: bool = True
    pixel_weight: float = 100.0
    adversarial_weight: float = 1.0
    gradient_weight: float = 0.0
    matching_weight: float = 0.0
    variation_weight: float = 0.0
    perceptual: Perceptual = Perceptual()  # noqa: RUF009
    features: Compare | None = None
    known_weight: float = 0.0
    discriminator_weight: float = 1.0
    discriminator_steps: int = 1
    content_steps: int = 0
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> Self:
        own, degradation = config.game.paired, paired_config.make_degradation(config, given)
        shape = paired_config.target_shape(given.spec)
        way = _way(degradation, given.spec)
        paired_config.check(config, way.scale, specs.target(given.spec).kind)
        inputs, seen = _shapes(shape, way, own.conditional)
        discriminator = None
        if own.adversarial_weight:
            discriminator = paired_config.make_network(
                "patch_discriminator", config, given, shape=seen, num_classes=None
            )
        elif config.penalty.name != "none":
            raise errors.ConfigError(
                f"penalty.name = {config.penalty.name!r} with game.paired.adversarial_weight = 0, "
                "which leaves no discriminator to penalise; accepted: 'none'"
            )
        factor = paired_config.enlargement(config.generator.name, way.scale)
        how = Perceptual(**arguments(own.perceptual))
        return cls(
            generator=paired_config.make_network(
                "translator",
                config,
                given,
                shape=inputs,
                outputs=frames.image_shape(shape)[-1],
                **factor,
            ),
            discriminator=discriminator,
            spec=given.spec,
            loss=building.make_loss(config, given),
            degradation=degradation,
            discriminator_steps=building.discriminator_steps(config),
            perceptual=how,
            features=how.make(config.eval.inception),
            **{k: v for k, v in own.items() if k != "perceptual"},
            terms=make_terms(config, given),
        )

    @property
    @override
    def directions(self) -> Mapping[str, Direction]:
        return {A_TO_B: _way(self.degradation, self.spec, self.generator.multiple)}

    @property
    @override
    def image_shape(self) -> tuple[int, int, int]:
        return kinds.check_images({"image": specs.target(self.spec)}, "this game")

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        x, y = (
            jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            for shape in _shapes(
                paired_config.target_shape(self.spec), self.directions[A_TO_B], self.conditional
            )
        )
        networks = {"generator": Network(self.generator, (x,), averaged=True)}
        if self.discriminator is not None:
            networks["discriminator"] = Network(self.discriminator, (y,))
        return networks

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        if self.discriminator is None:
            return (Player("generator", ("generator",), self.generator_loss),)
        names, steps = ("discriminator",), self.discriminator_steps
        start, loss = self.content_steps, self.discriminator_loss
        return (
            Player("discriminator", names, loss, steps, start=start, prepare=self.fakes),
            Player("generator", ("generator",), self.generator_loss, fresh_data=False),
        )

    @override
    def examples(
        self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str = A_TO_B
    ) -> Example:
        if self.degradation is None:
            return Example(batch["a"], None, batch["b"])
        images = specs.data(batch, self.spec)
        degraded = self.degradation(keys, images)
        return Example(degraded.input, degraded.known, images)

    def fakes(self, turn: Turn) -> jax.Array:
        """Return the images that the discriminator is shown; the generator's turn shares them."""
        example = self.examples(turn.batch, turn.batch_keys("degrade"))
        return self._generate({}, example, turn)[0]

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss on one batch."""
        assert self.discriminator is not None
        variables = turn.with_params(params, "discriminator")
        example = self.examples(turn.batch, turn.batch_keys("degrade"))
        real_seen = self._seen(example, example.target)
        fake_seen = self._seen(example, turn.prepared)
        # Both halves, and the penalty, are scored with the same spectral norms.
        real, shown, mutable = judging.judge_pair(
            self.discriminator, variables, real_seen, fake_seen
        )
        adversarial = jnp.mean(self.loss.discriminator(real.scores, shown.scores))
        means = judging.mean_scores(real=real, fake=shown)
        own = {"discriminator": variables | mutable}
        context = Context("discriminator", turn, self, own, None, shown, real)
        loss, metrics = (
            self.discriminator_weight * adversarial,
            {"adversarial": adversarial, **means},
        )
        loss, metrics, _ = add_terms(self.terms, context, loss, metrics)
        return loss, Outcome(metrics, {"discriminator": mutable})

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's loss on one batch."""
        example = self.examples(turn.batch, turn.batch_keys("degrade"))
        made, mutable = self._generate(params, example, turn)
        terms = self._compared(example, made)
        if self.discriminator is not None:
            terms |= self._judged(example, made, turn)
        weights = {
            "pixel": self.pixel_weight,
            "perceptual": self.perceptual.weight,
            "gradient": self.gradient_weight,
            "variation": self.variation_weight,
            "adversarial": self.adversarial_weight,
            "matching": self.matching_weight,
        }
        loss = sum((weights[name] * term for name, term in terms.items()), jnp.float32(0.0))
        return loss, Outcome(terms, {"generator": mutable})

    def _compared(self, example: Example, made: jax.Array) -> dict[str, jax.Array]:
        """Return the terms of generated images beside their targets, by name."""
        assert example.target is not None
        weights = None
        if example.known is not None:
            weights = jnp.where(example.known > 0.5, jnp.float32(self.known_weight), 1.0)
        if (how := self.degradation) is not None and how.name == self.pixel:
            represented = map(how.represented, (made, example.target))
            distance = reconstruction.l1(*represented)
        else:
            compare = reconstruction.make_pixel_loss(self.pixel)
            distance = compare(made, example.target, weights)
        terms = {"pixel": jnp.mean(distance)}
        # The image that a user gets, unless the generator learns known pixels, too.
        shown = made if self.known_weight else paste(made, example.inputs, example.known)
        if self.features is not None:
            terms["perceptual"] = jnp.mean(self.features(shown, example.target))
        if self.gradient_weight:
            edges = reconstruction.gradient_difference(shown, example.target, weights)
            terms["gradient"] = jnp.mean(edges)
        if self.variation_weight:
            terms["variation"] = jnp.mean(reconstruction.total_variation(shown))
        return terms

    def _judged(self, example: Example, made: jax.Array, turn: Turn) -> dict[str, jax.Array]:
        """Return the terms of verdicts by name; 0 in the first ``content_steps`` train steps."""

        def compute() -> dict[str, jax.Array]:
            assert self.discriminator is not None
            shown = paste(made, example.inputs, example.known)
            variables = turn.variables["discriminator"]
            fake = judge(self.discriminator, variables, self._seen(example, shown))[0]
            real = None
            if self.loss.generator_needs_real or self.matching_weight:
                seen = self._seen(example, example.target)
                real = judge(self.discriminator, variables, seen)[0]
            scores = real.scores if real and self.loss.generator_needs_real else None
            terms = {"adversarial": jnp.mean(self.loss.generator(fake.scores, scores))}
            if real and self.matching_weight:
                features = real.features, fake.features
                terms["matching"] = jnp.mean(feature_matching.feature_distance(*features))
            return terms

        if not self.content_steps:
            return compute()
        begun = turn.count >= self.content_steps
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
        return lax.cond(begun, compute, lambda: zeros)

    def _generate(
        self, params: Params, example: Example, turn: Turn
    ) -> tuple[jax.Array, Variables]:
        """Return generated images and the generator's new mutable collections.

        In the discriminator's turn, without parameters, known pixels are pasted back.
        """
        variables = turn.with_params(params, "generator")
        own = "generator" in params
        seen, keys = with_mask(example.inputs, example.known), turn.batch_keys("dropout")
        image = frames.as_image(seen)
        made, mutable = apply(self.generator, variables, image, keys=keys, iterate=own)
        made = frames.as_video(made, seen)
        return (made if own else paste(made, example.inputs, example.known)), mutable

    def _seen(self, example: Example, images: jax.Array | None) -> jax.Array:
        """Return images as the discriminator sees them."""
        assert images is not None
        if self.conditional:
            images = jnp.concatenate([example.inputs, images], axis=-1)
        return frames.as_image(images)

    def judge(
        self, variables: Variables, x: jax.Array, condition: Condition, **options: Any
    ) -> tuple[Verdict, Variables]:
        """Return a verdict and the discriminator's new mutable collections; see `apply`."""
        assert self.discriminator is not None
        return judge(self.discriminator, variables, x, condition, **options)


def _way(degradation: Degradation | None, spec: Spec, multiple: int = 1) -> Direction:
    """Return the direction from inputs to target images."""
    channels = paired_config.target_shape(spec)[-1]
    if (how := degradation) is None:
        return Direction(channels, channels, multiple, scale=specs.pair_scale(spec))
    inputs = how.inputs(channels)
    return Direction(inputs, channels, multiple, scale=how.scale, masked=how.masked)


def _shapes(
    shape: tuple[int, ...], way: Direction, conditional: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of what the generator and the discriminator see of one example."""
    *sizes, channels = shape
    inputs = (*(size // way.scale for size in sizes), way.inputs + way.masked)
    seen = (*sizes, channels + (way.inputs if conditional else 0))
    return frames.image_shape(inputs), frames.image_shape(seen)
