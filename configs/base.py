"""Every field of a configuration, its default and its meaning. Variants change only what differs.

A variant is used as ``--config=configs/wgan_gp.py:ARG``, where ARG joins, with commas, a data set
(``digits``, ``cifar10``, ``mnist``, ``fashion_mnist``, ``folder``, ``photos``, ``tiles``) and
``smoke``, which shrinks the run to seconds. Single fields are set with
``--config.train.steps=500``. A field whose value is ``None`` is unset.

Configuration files are Python and run when they are read: use only those that you trust.
"""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from gan_jax import errors


def get_config() -> ConfigDict:
    """Return the defaults; a variant sets the networks, the loss and what else differs."""
    c = ConfigDict()
    c.variant = "base"  # Name of the variant, for run directories and tables.

    c.game = ConfigDict()
    c.game.name = "adversarial"  # See gan_jax/games/registry.py.
    c.game.discriminator_steps = 1  # Gradient steps for each of the generator's.
    c.game.joint_batch = False  # The discriminator sees real and fake in one pass (faster).
    c.game.clip = placeholder(float)  # Clips discriminator weights to [-clip, clip] (WGAN: 0.01).
    c.game.auxiliary = ConfigDict()  # AC-GAN: weights of the class's likelihood ...
    c.game.auxiliary.real_weight = 1.0  # ... of real images in the discriminator's loss,
    c.game.auxiliary.fake_weight = 1.0  # of generated ones there,
    c.game.auxiliary.generator_weight = 1.0  # and in the generator's loss.
    c.game.info = ConfigDict()  # InfoGAN: the codes in the latent vector, beside latent_dim noise.
    c.game.info.categorical = (10,)  # Values of each categorical code.
    c.game.info.continuous = 2  # Continuous codes, uniform in [-1, 1].
    c.game.info.hidden = 128  # Width of the layer between the trunk and what recovers the codes.
    c.game.info.categorical_weight = 1.0  # The paper's lambda for categorical codes ...
    c.game.info.continuous_weight = 0.1  # ... and for continuous ones.
    c.game.vae = ConfigDict()  # VAE/GAN: originals and reconstructions, sums over entries, in nats.
    c.game.vae.gamma = 1e-3  # Weight of the reconstruction in the generator's loss.
    c.game.vae.kl_weight = 1.0  # Of the divergence from the prior in the encoder's.
    c.game.vae.layer = -2  # Of the discriminator, whose features are compared; -1: the last.
    c.game.laplacian = (
        ConfigDict()
    )  # LAPGAN: `generator` and `discriminator` at the coarsest level,
    c.game.laplacian.coarsest = 8  # of this resolution; it is doubled up to that of the data.
    c.game.laplacian.generator = ConfigDict()  # At each finer level:
    c.game.laplacian.generator.features = 64  # Width of the hidden convolutions, ...
    c.game.laplacian.generator.layers = 2  # ... their number, ...
    c.game.laplacian.generator.kernel_size = 5  # ... and the size of all convolutions.
    c.game.laplacian.generator.normalization = "none"  # "none" or "batch".
    c.game.laplacian.discriminator = ConfigDict()
    c.game.laplacian.discriminator.features = 64  # Width of the first of two convolutions.
    c.game.laplacian.discriminator.kernel_size = 5  # Of both.
    c.game.laplacian.discriminator.normalization = "none"  # "none", "batch", or "spectral".

    c.game.paired = ConfigDict()  # pix2pix, and restoration.
    c.game.paired.conditional = True  # The discriminator sees the input beside the image.
    c.game.paired.pixel = "l1"  # How pixels are compared: "l1", "l2" or "charbonnier".
    c.game.paired.pixel_weight = 100.0  # Weights in the generator's loss: of the pixels, ...
    c.game.paired.adversarial_weight = 1.0  # ... of the game; 0: there is no discriminator, ...
    c.game.paired.variation_weight = 0.0  # ... and of the total variation of what it makes.
    c.game.paired.known_weight = 0.0  # Of a known pixel, where one in a hole weighs 1.
    c.game.paired.discriminator_weight = 1.0  # Of the discriminator's loss (pix2pix: 0.5).
    c.game.paired.content_steps = 0  # Train steps by content alone, before the game begins.
    c.game.paired.perceptual = ConfigDict()  # Likeness of features:
    c.game.paired.perceptual.extractor = placeholder(str)  # "inception"; unset: none.
    c.game.paired.perceptual.layers = ()  # Of the extractor; (): its default one.
    c.game.paired.perceptual.weight = 1.0  # In the generator's loss.
    c.game.cycle = ConfigDict()  # CycleGAN.
    c.game.cycle.cycle_weight = 10.0  # Of the way there and back.
    c.game.cycle.identity_weight = 5.0  # Of images that are in the target domain already; 0: none.
    c.game.cycle.discriminator_weight = 0.5  # Of the discriminators' losses.
    c.game.cycle.history = 50  # Past fakes in each pool that a discriminator is shown from.
    c.game.anomaly = ConfigDict()  # GANomaly: weights ...
    c.game.anomaly.pixel_weight = 50.0  # ... of the reconstruction, ...
    c.game.anomaly.latent_weight = 1.0  # ... of its latent, ...
    c.game.anomaly.adversarial_weight = 1.0  # ... and of the discriminator's features.

    # Networks: `name` chooses one of gan_jax/networks/registry.py. Here and below, the fields of a
    # group are for whatever is chosen, and those of the sub-group of its name for it alone.
    c.generator = ConfigDict()
    c.generator.name = "mlp"  # From noise: mlp, dcgan, resnet; of images: see below.
    c.generator.latent_dim = 100  # Size of the latent vector.
    # How it learns of the class asked for: "none", "concat" (beside the latent vector),
    # "batch_norm" (scales and shifts of each class).
    c.generator.conditioning = "none"
    c.generator.mlp = ConfigDict()
    c.generator.mlp.features = (256, 512, 1024)  # Widths of the hidden layers.
    c.generator.mlp.output = "tanh"  # "tanh", or "linear" for points of the plane.
    c.generator.dcgan = ConfigDict()
    c.generator.dcgan.features = (
        64  # Width at half the resolution; it doubles with every halving ...
    )
    c.generator.dcgan.max_features = 512  # ... up to this.
    c.generator.dcgan.kernel_size = 4  # Of the strided convolutions.
    # "batch", "none", "instance", "layer", "group", "pixel" or "local_response".
    c.generator.dcgan.normalization = "batch"
    c.generator.dcgan.groups = 8  # Of "group"; a divisor of every width.
    c.generator.resnet = ConfigDict()
    c.generator.resnet.features = 128  # Width of every block.
    c.generator.resnet.normalization = "batch"  # As dcgan's.
    c.generator.resnet.groups = 8  # As dcgan's.
    c.generator.resnet.attention = 0  # Resolution at which self-attention stands; 0: nowhere.

    c.generator.unet = ConfigDict()  # Of images:
    c.generator.unet.levels = 4  # Times that the resolution is halved; sizes are multiples of 2^it.
    c.generator.unet.features = (
        64  # Width at half the resolution; it doubles with every halving ...
    )
    c.generator.unet.max_features = 512  # ... up to this.
    c.generator.unet.normalization = "instance"  # As dcgan's.
    c.generator.unet.groups = 8  # As dcgan's.
    c.generator.unet.dropout_levels = 0  # Levels, from the coarsest up, with dropout (pix2pix: 3).
    c.generator.unet.dropout = 0.5  # Its rate.
    c.generator.unet.upsample = "transposed"  # Convolutions, or "nearest" before plain ones.
    c.generator.unet.stem = 0  # Width of a convolution at full resolution; 0: there is none.
    c.generator.unet.output = "tanh"  # "tanh", "residual" (what is added to the input), "linear".
    c.generator.translator = ConfigDict()
    c.generator.translator.features = 64  # Width at full resolution.
    c.generator.translator.blocks = 6  # Residual blocks (CycleGAN at 256x256: 9).
    c.generator.translator.downsamplings = 2  # Halvings before them, and doublings after.
    c.generator.translator.normalization = "instance"  # As dcgan's.
    c.generator.translator.groups = 8  # As dcgan's.
    c.generator.translator.dropout = 0.0  # Rate in the blocks.
    c.generator.translator.output = "tanh"  # As unet's.
    c.generator.srresnet = ConfigDict()  # Enlarges by the factor of degrade.
    c.generator.srresnet.features = 64  # Width.
    c.generator.srresnet.blocks = 16  # Residual blocks.
    c.generator.srresnet.kernel_size = 9  # Of the first and the last convolution.
    c.generator.srresnet.normalization = "batch"  # As dcgan's.
    c.generator.srresnet.groups = 8  # As dcgan's.
    c.generator.srresnet.output = "linear"  # As unet's; "residual" adds to the bicubic enlargement.

    c.discriminator = ConfigDict()
    c.discriminator.name = "mlp"  # mlp, dcgan, resnet; in games of images, patchgan too.
    # Likewise: "none", "concat" (planes beside the image), "projection" (Miyato and Koyama 2018).
    c.discriminator.conditioning = "none"
    c.discriminator.mlp = ConfigDict()
    c.discriminator.mlp.features = (1024, 512, 256)  # Widths of the hidden layers.
    # What the score sees of the batch's other examples: "none", "stddev" (over groups of 4, of
    # which a device's share must be a multiple), or "discrimination" (Salimans et al. 2016).
    c.discriminator.mlp.minibatch = "none"
    c.discriminator.dcgan = ConfigDict()
    c.discriminator.dcgan.features = 64  # Width at half the resolution; it doubles ...
    c.discriminator.dcgan.max_features = 512  # ... up to this.
    c.discriminator.dcgan.kernel_size = 4  # Of the strided convolutions.
    # Those of the generator, or "spectral" (of the weights).
    c.discriminator.dcgan.normalization = "batch"
    c.discriminator.dcgan.groups = 8  # Of "group"; a divisor of every width but the first.
    c.discriminator.dcgan.minibatch = "none"  # As mlp's.
    c.discriminator.resnet = ConfigDict()
    c.discriminator.resnet.features = 128  # Width of every block.
    c.discriminator.resnet.normalization = "none"  # "none", "layer", or "spectral".
    c.discriminator.resnet.pooling = "mean"  # Of the last map: "mean" (WGAN-GP) or "sum" (SNGAN).
    c.discriminator.resnet.attention = 0  # As the generator's.
    c.discriminator.resnet.minibatch = "none"  # As mlp's.

    c.discriminator.patchgan = ConfigDict()  # Judges patches.
    c.discriminator.patchgan.features = 64  # Width of the first layer; it doubles ...
    c.discriminator.patchgan.max_features = 512  # ... up to this.
    c.discriminator.patchgan.layers = (
        3  # Strided ones: patches of 16 (1), 34 (2), 70 (3) pixels ...
    )
    c.discriminator.patchgan.normalization = "instance"  # As dcgan's.
    c.discriminator.patchgan.groups = 8  # As dcgan's.

    c.encoder = ConfigDict()  # For games that have one.
    c.encoder.name = "mlp"  # mlp, dcgan.
    c.encoder.mlp = ConfigDict()
    c.encoder.mlp.features = (1024, 512, 256)  # Widths of the hidden layers.
    c.encoder.dcgan = ConfigDict()
    c.encoder.dcgan.features = 64  # Width at half the resolution; it doubles ...
    c.encoder.dcgan.max_features = 512  # ... up to this.
    c.encoder.dcgan.kernel_size = 4  # Of the strided convolutions.
    c.encoder.dcgan.normalization = "batch"  # "batch" or "none".

    c.loss = ConfigDict()
    c.loss.name = "non_saturating"  # See gan_jax/losses/adversarial.py.
    for logistic in (
        "minimax",
        "non_saturating",
        "relativistic_pairing",
        "relativistic_average",
    ):
        c.loss[logistic] = ConfigDict({"smoothing": 0.0})  # One-sided label smoothing.
    c.loss.least_squares = ConfigDict()
    c.loss.least_squares.a = 0.0  # The target of fakes,
    c.loss.least_squares.b = 1.0  # of real data,
    c.loss.least_squares.c = 1.0  # and what the generator wants its fakes to score.

    c.penalty = ConfigDict()
    c.penalty.name = "none"  # none, or see gan_jax/losses/penalties.py.
    c.penalty.weight = 10.0  # For r1 and r2 this is gamma: they include the 1/2.
    c.penalty.every = 1  # Lazy: computed every so many discriminator steps, scaled up by as much.
    c.penalty.wgan_gp = ConfigDict()
    c.penalty.wgan_gp.target = 1.0  # The gradient norm to reach.
    c.penalty.wgan_gp.one_sided = False  # Whether norms below the target are free.
    c.penalty.dragan = ConfigDict()
    c.penalty.dragan.scale = 0.5  # Size of the perturbation, in standard deviations of the data.

    c.augment = ConfigDict()  # Of real and generated data alike, before they are judged.
    c.augment.policy = ()  # DiffAugment: any of "color", "translation", "cutout".
    c.augment.noise = 0.0  # Instance noise: its standard deviation at the start ...
    c.augment.noise_steps = 0  # ... falls to 0 over so many train steps; 0: it stays.

    c.regularize = ConfigDict()  # Further terms of the adversarial game.
    c.regularize.consistency_real = 0.0  # Weights of balanced consistency (bCR: 10) on real ...
    c.regularize.consistency_fake = 0.0  # ... and on generated images.
    c.regularize.lecam = 0.0  # Weight of LeCam (its paper: 0.3 to 0.0001) ...
    c.regularize.lecam_decay = 0.99  # ... the decay of its averages of the scores ...
    c.regularize.lecam_start = 0  # ... and the train step that it begins at.
    c.regularize.feature_matching = 0.0  # Weight in the generator's loss.
    c.regularize.top_k = 1.0  # The generator learns from at least this share of its fakes, ...
    c.regularize.top_k_decay = 0.99  # ... a share that shrinks by this factor ...
    c.regularize.top_k_steps = 1000  # ... every so many train steps.
    c.regularize.history = 0  # Past fakes in a pool that the discriminator is shown from.

    c.degrade = ConfigDict()  # What makes inputs of images, for game.name = "paired".
    # "none" (the data has both), "gaussian", "poisson", "jpeg", "blur", "downsample", "mask",
    # "grey". Pairs of numbers are ranges that one is drawn from for each image.
    c.degrade.name = "none"
    c.degrade.gaussian = ConfigDict()
    c.degrade.gaussian.sigma = (25.0, 25.0)  # In units of 0 ... 255.
    c.degrade.gaussian.clip = True  # To [-1, 1], as a file would.
    c.degrade.poisson = ConfigDict()
    c.degrade.poisson.peak = (30.0, 30.0)  # Photons of a white pixel.
    c.degrade.jpeg = ConfigDict()
    c.degrade.jpeg.quality = (10, 40)  # 1 to 100.
    c.degrade.blur = ConfigDict()
    c.degrade.blur.sigma = (1.6, 1.6)  # Of a Gaussian, in pixels.
    c.degrade.blur.motion = (0.0, 0.0)  # Length of a straight motion, in pixels.
    c.degrade.blur.noise = (0.0, 0.0)  # Gaussian noise behind it, in units of 0 ... 255.
    c.degrade.downsample = ConfigDict()
    c.degrade.downsample.factor = 4  # 2, 3, 4 or 8; bicubic, antialiased.
    c.degrade.downsample.round = True  # To bytes, as a file would.
    c.degrade.mask = ConfigDict()
    c.degrade.mask.kind = "center"  # "center", "boxes" or "strokes".
    c.degrade.mask.fraction = (0.25, 0.25)  # Share of the area.
    c.degrade.mask.count = 4  # Boxes, or strokes.
    c.degrade.mask.fill = 0.0  # What holes are filled with.

    c.optimizer = ConfigDict()
    c.optimizer.generator = adam(2e-4, 0.5, 0.999)  # One per network, each with its own rate.
    c.optimizer.discriminator = adam(2e-4, 0.5, 0.999)
    c.optimizer.encoder = adam(2e-4, 0.5, 0.999)  # For games that have one.

    c.ema = ConfigDict()  # Moving average of the generator, which is what is sampled from.
    c.ema.half_life = 0.0  # In real images; 0: none is kept.
    c.ema.ramp_up = placeholder(float)  # Half-life at most this share of the images so far.
    c.ema.start = 0  # Train steps before which the average is the raw weights.

    c.data = ConfigDict()
    # digits, photos, folder, npz, ring, grid, swiss_roll, or a TFDS name.
    c.data.name = "digits"
    c.data.split = "train"
    c.data.resolution = 16  # Images are cropped to a centred square and made this size.
    # "resize"; "pad": small images get a border (MNIST: 28 -> 32); "tile": photographs are cut,
    # unscaled, into tiles of that resolution.
    c.data.resize = "resize"
    c.data.channels = placeholder(int)  # 1: grey, 3: colour, unset: as they are.
    # Two images per example: "side_by_side" (halves of each file), "twins" (two folders with the
    # same names), "domains" (unpaired: two folders, splits, or classes).
    c.data.pairing = "none"
    c.data.a = placeholder(str)  # The first of the two folders or classes; unset: "A", so that ...
    c.data.b = placeholder(str)  # ... folders are trainA and trainB. The second; unset: "B".
    c.data.without = ()  # Names of classes that are left out of training (anomalies).
    c.data.path = placeholder(str)  # folder: a folder or zip of images; npz: the file.
    c.data.data_dir = placeholder(str)  # TFDS: where prepared sets lie; unset: TFDS's own default.
    c.data.on_error = "raise"  # A damaged image: "raise" names it, "skip" leaves it out and counts.
    c.data.flip = False  # Mirror real images left to right with probability 1/2.
    c.data.crop = placeholder(int)  # Train on random squares of this size; unset: on whole images.
    c.data.toy_size = 50_000  # Points of a toy mixture.
    c.data.toy_noise = 0.02  # Standard deviation of a toy mixture's modes.
    c.data.device_cache_gib = 2.0  # Sets up to this size live on the device.
    c.data.workers = 2  # Streaming: processes that decode; 0: threads of this one.
    c.data.prefetch = 4  # Streaming: batches held ready.

    c.train = ConfigDict()
    c.train.steps = 1000  # Train steps: one turn of every player each.
    c.train.batch_size = 64  # Over all devices together.
    c.train.accumulate = 1  # Parts that a device takes its share of a batch in, to save memory.
    c.train.steps_per_call = 1  # Train steps per dispatch: more hide the host's latency.
    c.train.log_every = 50  # In train steps, as all of these.
    c.train.sample_every = 250  # Sample grid from fixed latents.
    c.train.checkpoint_every = 500
    c.train.keep_latest = 2  # Checkpoints kept: the newest so many ...
    c.train.keep_every = placeholder(int)  # ... and for good those at multiples of this step.
    c.train.seed = 0
    # Independent runs in one program, with seeds from that one on, each in a folder of its own;
    # all share the devices. The batch size is that of one. Each keeps two checkpoints at least.
    c.train.replicas = 1
    c.train.replica_learning_rates = ()  # A factor on every learning rate, for each; (): 1.
    c.train.replica_penalty_weights = ()  # Replaces penalty.weight, for each; (): it is the same.

    c.sample = ConfigDict()
    c.sample.num = 64  # Samples in a grid.
    # Statistics of the generator's batch-norm when it samples: "ema" (the running ones' moving
    # average), "running" (as they stand), "standing" (of many new batches), "batch" (of each one).
    c.sample.batch_norm = "ema"
    c.sample.standing_images = 4096  # Images that "standing" takes them from.
    c.sample.truncation = placeholder(float)  # Limits normal latents to so much; unset: no limit.

    c.eval = ConfigDict()
    c.eval.every = 0  # Train steps between evaluations, and one at the end; 0: none at all.
    # Names of gan_jax/metrics/names.py. "auto": modes and high_quality of toy mixtures; FID,
    # precision and recall by a small classifier for labelled images; PSNR and SSIM of pairs; AUROC
    # and average precision of anomalies; none for others.
    c.eval.metrics = ("auto",)
    c.eval.num_fake = 2000  # Generated images; results for different numbers are not comparable.
    c.eval.num_real = placeholder(int)  # Real images; unset: all.
    c.eval.split = placeholder(str)  # Of the real images; unset: data.split.
    c.eval.seed = 0  # Of the latents.
    c.eval.seeds = 1  # Evaluations with seeds from that one on: mean and standard deviation.
    c.eval.batch_size = 128  # Images at a time, over all devices.
    c.eval.border = placeholder(int)  # Pixels left out of pairs at each edge; unset: the scale of
    # super-resolution, else none.
    c.eval.best = placeholder(str)  # Keep the checkpoint that is best by this; unset: the first.
    c.eval.alarm = 4.0  # The best metric so many times worse than its best value is an alarm, ...
    c.eval.on_alarm = "warn"  # ... which is told, or, with "stop", ends the run as diverged.
    c.eval.inception = placeholder(str)  # Converted weights; unset: in the cache directory.

    c.profile = ConfigDict()
    c.profile.start = placeholder(int)  # A JAX profile is written from this train step on ...
    c.profile.steps = 10  # ... over so many.

    c.precision = "float32"  # Compute in "float32", "bfloat16", or "highest" (no TF32 on GPU).
    c.parallel = "shard_map"  # Or "pmap".
    c.num_devices = placeholder(int)  # Unset: all.
    c.fsdp = ConfigDict()  # Fully sharded data parallelism, for networks that fill a device.
    c.fsdp.devices = 1  # That share one copy of parameters, optimizers' states and averages.
    c.fsdp.min_size = 2**14  # Arrays of fewer numbers are on every device, whole.
    return c.lock()


def adam(learning_rate: float, b1: float, b2: float) -> ConfigDict:
    """Return the fields of one network's optimizer, set to Adam at a constant rate."""
    o = ConfigDict()
    o.name = "adam"  # adam, adamw, rmsprop, momentum, sgd.
    o.learning_rate = learning_rate  # Before the schedule.
    o.clip_norm = placeholder(float)  # Scale gradients down to this global norm.
    o.adam = ConfigDict()
    o.adam.b1 = b1  # Decay of the mean ...
    o.adam.b2 = b2  # ... and of the variance.
    o.adam.eps = 1e-8  # Added to the root of the variance.
    o.adamw = ConfigDict()
    o.adamw.b1 = b1  # As adam's.
    o.adamw.b2 = b2  # As adam's.
    o.adamw.eps = 1e-8  # As adam's.
    o.adamw.weight_decay = 1e-2  # Times the learning rate.
    o.rmsprop = ConfigDict()
    o.rmsprop.decay = 0.99  # Of the mean square.
    o.rmsprop.eps = 1e-8  # Added to its root.
    o.rmsprop.momentum = placeholder(float)  # Unset: none.
    o.momentum = ConfigDict()
    o.momentum.momentum = 0.9  # Decay of the sum of gradients.
    o.momentum.nesterov = False  # Whether to look ahead.
    o.schedule = ConfigDict()
    o.schedule.name = "constant"  # constant, linear, cosine, step.
    o.schedule.warmup_steps = 0  # Train steps over which the rate grows to its value.
    o.schedule.linear = ConfigDict()
    o.schedule.linear.decay_start = 0  # Train steps before the decay.
    o.schedule.linear.end_factor = 0.0  # The last rate over the first.
    o.schedule.cosine = ConfigDict()
    o.schedule.cosine.end_factor = 0.0  # The last rate over the first.
    o.schedule.step = ConfigDict()
    o.schedule.step.factor = 0.1  # Multiplies the rate at every boundary ...
    o.schedule.step.boundaries = ()  # ... which are train steps.
    return o


def full_length(c: ConfigDict, *, steps: int, batch_size: int) -> None:
    """Make a run as long as a paper's: many steps per call, and records now and then.

    Args:
      c: a variant's configuration.
      steps: train steps.
      batch_size: over all devices together.
    """
    c.train.update(steps=steps, batch_size=batch_size, steps_per_call=20)
    c.train.update(log_every=100, sample_every=1000, checkpoint_every=5000)
    c.eval.update(every=5000, num_fake=10_000)


def smoke(c: ConfigDict) -> None:
    """Shrink a run to seconds: a check that it runs, not that it learns."""
    for network in (c.generator, c.discriminator):
        network.mlp.features = (16,) * len(network.mlp.features)
        network.dcgan.features = network.resnet.features = 8
    c.encoder.mlp.features = (16,) * len(c.encoder.mlp.features)
    for network in (c.game.laplacian.generator, c.game.laplacian.discriminator):
        network.features = 8
    c.encoder.dcgan.features = 8
    for translator in (c.generator.unet, c.generator.translator, c.generator.srresnet):
        translator.features = 8
    c.generator.unet.levels = 2
    c.generator.unet.dropout_levels = min(c.generator.unet.dropout_levels, 1)
    c.generator.translator.blocks = c.generator.srresnet.blocks = 1
    c.discriminator.patchgan.features = 8
    c.discriminator.patchgan.layers = 1
    if c.data.crop is not None:
        c.data.update(resolution=48, crop=32)
    c.game.paired.content_steps = min(c.game.paired.content_steps, 2)
    c.game.cycle.history = min(c.game.cycle.history, 4)
    c.train.update(
        steps=4, batch_size=8, steps_per_call=1, log_every=2, sample_every=2, checkpoint_every=2
    )
    for optimizer in c.optimizer.values():
        decay = optimizer.schedule.linear
        decay.decay_start = min(decay.decay_start, c.train.steps // 2)
    c.sample.num = 16
    # The classifier alone would take longer than all the rest.
    c.eval.update(every=0, num_fake=64, num_real=64)


def digits(c: ConfigDict) -> None:
    """Scikit-learn's scanned digits: in every installation, needing no network."""
    c.data.update(name="digits", resolution=16, channels=1)


def cifar10(c: ConfigDict) -> None:
    """CIFAR-10, 32x32 in colour."""
    c.data.update(name="cifar10", resolution=32, channels=3)


def mnist(c: ConfigDict) -> None:
    """MNIST, with a border that makes it 32x32."""
    c.data.update(name="mnist", resolution=32, resize="pad", channels=1)


def fashion_mnist(c: ConfigDict) -> None:
    """Fashion-MNIST, with a border that makes it 32x32."""
    mnist(c)
    c.data.name = "fashion_mnist"


def folder(c: ConfigDict) -> None:
    """Any folder or zip of images: ``--config.data.path=...``."""
    c.data.update(name="folder", resolution=64, channels=3, flip=True)


def photos(c: ConfigDict) -> None:
    """Tiles of the two photographs in every installation of scikit-learn."""
    c.data.update(name="photos", resolution=96, resize="tile", crop=64, channels=3, flip=True)
    c.eval.split = "test"


def tiles(c: ConfigDict) -> None:
    """Tiles of any folder or zip of photographs: ``--config.data.path=...``."""
    photos(c)
    c.data.name = "folder"
    c.eval.split = None


DATASETS = {
    "digits": digits,
    "cifar10": cifar10,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "folder": folder,
    "photos": photos,
    "tiles": tiles,
}


# What a variant can be trained on as it is; the first is its default.
GENERATION = ("digits", "cifar10", "mnist", "fashion_mnist", "folder")
TRANSLATION = ("photos", "folder")
RESTORATION = ("photos", "tiles")


def select(
    c: ConfigDict,
    arg: str,
    paper: Callable[[ConfigDict], None],
    datasets: Sequence[str] = GENERATION,
) -> ConfigDict:
    """Return ``c`` with the choices in ``arg`` applied.

    Args:
      c: a variant's configuration for its default data set.
      arg: what stands after the colon of ``--config=FILE:ARG``: choices joined by commas.
      paper: changes ``c`` to the paper's settings, for every data set but the default one.
      datasets: keys of `DATASETS`: those that suit the variant, its default one first.

    Raises:
      ConfigError: a choice is unknown, or two data sets are chosen.
    """
    choices = [choice for choice in arg.split(",") if choice]
    for choice in choices:
        errors.lookup(dict.fromkeys([*datasets, "smoke"]), choice, "--config=FILE:ARG")
    chosen = [choice for choice in choices if choice in DATASETS] or [datasets[0]]
    if len(chosen) > 1:
        raise errors.ConfigError(
            f"--config=FILE:{arg} names {len(chosen)} data sets; accepted: one"
        )
    DATASETS[chosen[0]](c)
    if chosen != [datasets[0]]:
        paper(c)
    if "smoke" in choices:
        smoke(c)
    return c
