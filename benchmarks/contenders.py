"""What is run: see `worker` for what a contender is.

Throughput does not depend on what the images show, so that most contenders work on generated ones.
"""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

# The main network of each paper, at the size and batch that it is measured with here, and its loss.
NETWORKS = {
    "polychromify": dict(size=64, batch_size=64, loss="mse"),
    "autoencoder": dict(size=128, batch_size=8, loss="mse"),
    "yosemite_unet": dict(size=128, batch_size=16, loss="mae"),
    "colornet": dict(size=224, batch_size=16, loss="mse"),
    "kth_unet": dict(size=32, batch_size=64, loss="mae"),
}


def images(count, size, seed=0):
    """Smooth random colours, uint8 (count, size, size, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, size // 8 + 1, size // 8 + 1, 3), dtype="uint8")
    return np.repeat(np.repeat(coarse, 8, 1), 8, 2)[:, :size, :size]


def _split(count, size):
    from colorize_lib.dataset import Split

    return Split(images(count, size), np.zeros(count, "int32"))


# Training.


def _colorizer(network, size, width, loss, dtype):
    import keras

    from colorize_lib.training import machine
    from colorize_lib.training.colorizer import Colorizer

    model = Colorizer.from_name(network, size=size, width=width, dtype=machine.dtype_policy(dtype))
    model.compile(keras.optimizers.Adam(1e-3), loss=loss)
    return model


def fit(network, size, batch_size, loss, dtype, width=1.0):
    """This library: `fit` of uint8 RGB, with a run's callbacks but for what they write at an epoch's end. Unit: a step."""
    from benchmarks import networks
    from colorize_lib.training import checkpoint
    from colorize_lib.training.data import Batches
    from colorize_lib.training.progress import Progress

    model = _colorizer(network, size, width, loss, dtype)
    folder = Path(tempfile.mkdtemp())

    class Checkpoint(checkpoint.Checkpoint):
        def on_epoch_end(self, epoch, logs=None):
            pass

    def prepare(steps):
        batches = Batches(_split(steps * batch_size, size), batch_size, seed=0)
        model(batches[0][0][:1])
        callbacks = [
            checkpoint.StepHistory(folder / "steps.csv"),
            Checkpoint(folder, model, batches, "loss"),
            Progress(network, 1),
        ]

        def run():
            model.fit(batches, epochs=1, verbose=0, callbacks=callbacks)
            return {"policy": model.network.dtype_policy.name, "flops": networks.training_flops(model)}

        return run

    return prepare


def bare(network, size, batch_size, loss, dtype, width=1.0):
    """The compiled training step of the same model, again and again on one batch in memory. Unit: a step."""
    import tensorflow as tf

    model = _colorizer(network, size, width, loss, dtype)
    batch = tf.constant(images(batch_size, size))
    model(batch[:1])
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda rgb: model.train_step((rgb,)), reduce_retracing=True)

    def prepare(steps):
        def run():
            for _ in range(steps):
                logs = step(batch)
            float(logs["loss"])

        return run

    return prepare


def plain_keras(network, size, batch_size, loss, width=1.0):
    """The papers' way: the same layers in plain Keras, fed with float32 numpy arrays of Lab made beforehand. Unit: a step.

    What `fit` then waits for its input's autotuning thread (see `training.data.feed`) is "waited", and not in "seconds": in
    short runs like these it would be half of the time.
    """
    import keras

    from colorize_lib import color, models

    model = models.build(network, size=size, width=width, dtype="float32")
    model.compile("adam", loss=loss)
    convention = color.CONVENTIONS[models.entry(network).convention]

    def prepare(steps):
        inputs, target = (np.array(part) for part in convention.encode(images(steps * batch_size, size)))

        def run():
            ends = []
            clock = keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
            )
            begun = time.perf_counter()
            model.fit(inputs, target, batch_size=batch_size, epochs=1, verbose=0, callbacks=[clock])
            return {"seconds": ends[-1] - begun, "waited": time.perf_counter() - ends[-1]}

        return run

    return prepare


def pytorch(network, size, batch_size, loss, width=1.0):
    """The same network in PyTorch: forward, backward, Adam, on one float32 batch of Lab in memory. Unit: a step.

    It is the fastest of float32 and bfloat16, channels first and last, which the measurement names as "best".
    """
    import torch

    from benchmarks.torch_networks import Network
    from colorize_lib import models

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    described = models.build(network, size=size, width=width)
    distance = {"mse": torch.nn.MSELoss(), "mae": torch.nn.L1Loss()}[loss]

    def stepper(dtype, layout):
        model = Network(described).to(memory_format=layout)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        inputs = torch.rand(batch_size, 1, size, size).contiguous(memory_format=layout)
        target = torch.rand(batch_size, described.output_shape[-1], size, size).contiguous(memory_format=layout)

        def run(steps):
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
                    prediction = model(inputs)
                found = distance(prediction.float(), target)
                found.backward()
                optimizer.step()
            found.item()

        return run

    variants = {
        f"{dtype}, channels {name}": stepper(dtype, layout)
        for dtype in ("float32", "bfloat16")
        for name, layout in (("first", torch.contiguous_format), ("last", torch.channels_last))
    }
    for run in variants.values():
        run(2)
    times = dict.fromkeys(variants, float("inf"))
    for _ in range(3):  # by turns: a machine that others use changes its speed
        for name, run in variants.items():
            begun = time.perf_counter()
            run(2)
            times[name] = min(times[name], (time.perf_counter() - begun) / 2 / batch_size)
    best = min(times, key=times.get)
    run = variants.pop(best)
    variants.clear()

    def prepare(steps):
        def timed():
            run(steps)
            return {"best": best, "first_impressions": times}

        return timed

    return prepare


def matrix_product(policy, size=2048, library="tensorflow"):
    """Square matrix products in the precision of a Keras policy. Unit: one; "flops" says how many operations that is."""
    from colorize_lib.training import machine

    dtype = machine.dtype_policy(policy).removeprefix("mixed_") if library == "tensorflow" else policy
    if library == "pytorch":
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        a = torch.rand(size, size).to(getattr(torch, dtype))
        product, value = lambda: a @ a, lambda result: float(result[0, 0])
    else:
        import tensorflow as tf

        a = tf.cast(tf.random.uniform((size, size)), dtype)
        product, value = tf.function(lambda: a @ a), lambda result: float(result[0, 0])

    def prepare(count):
        def run():
            for _ in range(count):
                result = product()
            value(result)
            return {"flops": 2 * size**3}

        return run

    return prepare


def layers_alone(network, size, batch_size, loss, dtype, width=1.0):
    """The network's convolutions and dense layers, each alone: forward, gradients of weights and input. Unit: a step of all."""
    import tensorflow as tf

    from benchmarks.networks import computed
    from colorize_lib import models
    from colorize_lib.acceleration import accelerate
    from colorize_lib.training import cost, machine

    built = models.build(network, size=size, width=width, dtype=machine.dtype_policy(dtype))

    def stepper(layer, source, learns):
        inputs = tf.cast(tf.random.normal((batch_size, *source.shape[1:])), layer.compute_dtype)
        upstream = tf.ones_like(layer(inputs))

        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs)
            sought = [*layer.trainable_variables, *([inputs] if learns else [])]
            found = [outputs, *tape.gradient(outputs, sought, output_gradients=upstream)]
            return tf.add_n([tf.cast(tf.reshape(tensor, [-1])[0], "float32") for tensor in found])  # all are needed

        return step

    steps = [stepper(*each) for each in computed(accelerate(built)) if cost.layer_flops(each[0])]

    def prepare(count):
        def run():
            for step in steps:
                for _ in range(count):
                    found = step()
                float(found)

        return run

    return prepare


def profile(of, **options):
    """Where the time of contender `of` goes: {"share": {operation: share of the threads' busy time}} by TensorFlow's profiler."""
    import tensorflow as tf

    prepare_contender = globals()[of](**options)

    def prepare(steps):
        run_contender = prepare_contender(steps)

        def run():
            with tempfile.TemporaryDirectory() as folder:
                tf.profiler.experimental.start(folder)
                run_contender()
                tf.profiler.experimental.stop()
                return {"share": _shares(next(Path(folder).rglob("*.xplane.pb")))}

        return run

    return prepare


def _shares(path):
    """{operation: its share} of the time in which TensorFlow's threads compute operations of the graph."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent = Counter()
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):
                continue
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                if metadata.display_name:  # an operation: its name is "scope/name:Type", this is its type
                    spent[metadata.display_name.removeprefix("_MklNative").lstrip("_")] += event.duration_ps
    total = sum(spent.values()) or 1
    return {kind: picoseconds / total for kind, picoseconds in spent.most_common()}


# Adversarial training.


def _kth(name, dtype, width):
    from colorize_lib import models
    from colorize_lib.training import machine

    return models.build(name, width=width, dtype=machine.dtype_policy(dtype))


def adversarial(batch_size, dtype, width=1.0):
    """This library: generator and discriminator in one compiled step, one update each, under `fit`. Unit: a step."""
    from colorize_lib.training.adversarial import AdversarialColorizer, adam_optimizers
    from colorize_lib.training.data import Batches

    networks = _kth("kth_generator", dtype, width), _kth("patch_discriminator", dtype, width)
    model = AdversarialColorizer(*networks, generator_updates=1, shared_masks=True)
    model.compile(**adam_optimizers(generator_updates=1))

    def prepare(steps):
        batches = Batches(_split(steps * batch_size, 32), batch_size, seed=0)
        return lambda: model.fit(batches, epochs=1, verbose=0) and None

    return prepare


def keras_gan(batch_size, dtype, width=1.0):
    """The usual Keras GAN: `predict_on_batch`, then `train_on_batch` for real, for fake and for the generator. Unit: a step."""
    import keras
    from keras import ops

    from colorize_lib import color

    generator = _kth("kth_generator", dtype, width)
    discriminator = _kth("patch_discriminator", dtype, width)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile(keras.optimizers.Adam(3e-5), loss=entropy)
    lightness, ab = (np.array(part) for part in color.CONVENTIONS["kth"].encode(images(batch_size, 32)))
    shape = (batch_size, *discriminator.output_shape[1:])
    ones, zeros = np.ones(shape, "float32"), np.zeros(shape, "float32")
    real = np.concatenate([lightness, ab], -1)
    discriminator.train_on_batch(real, ones)  # compiled while it can still be trained
    discriminator.trainable = False
    source = keras.Input(lightness.shape[1:])
    colored = generator(source)
    gan = keras.Model(source, [discriminator(ops.concatenate([source, colored], axis=-1)), colored])
    gan.compile(keras.optimizers.Adam(3e-4), loss=[entropy, "mae"], loss_weights=[1, 100])

    def prepare(steps):
        def run():
            for _ in range(steps):
                fake = np.concatenate([lightness, generator.predict_on_batch(lightness)], -1)
                discriminator.train_on_batch(real, ones)
                discriminator.train_on_batch(fake, zeros)
                gan.train_on_batch(lightness, [ones, ab])

        return run

    return prepare


# Colour and scoring.


def lab():
    """`color.rgb_to_lab` in a compiled step, as `fit` calls it. Unit: a batch of 256 × 64²."""
    import tensorflow as tf

    from colorize_lib import color

    batch, convert = tf.constant(images(256, 64)), tf.function(color.rgb_to_lab)

    def prepare(count):
        def run():
            for _ in range(count):
                result = convert(batch)
            float(result[0, 0, 0, 0])

        return run

    return prepare


def lab_scikit_image():
    """scikit-image's `rgb2lab` of the same batch, as it comes: float64 for uint8."""
    from skimage.color import rgb2lab

    batch = images(256, 64)

    def prepare(count):
        def run():
            for _ in range(count):
                rgb2lab(batch)

        return run

    return prepare


def _trained(size, width):
    from colorize_lib.apps import trained
    from colorize_lib.training.colorizer import Colorizer

    if (size, width) == (64, 1.0):
        return trained.load("polychromify")
    return Colorizer.from_name("polychromify", size=size, width=width)


def scoring(size=64, width=1.0):
    """`evaluate.score` with all its default columns, compilation included. Unit: an image."""
    from colorize_lib.evaluation import evaluate

    system = _trained(size, width)

    def prepare(count):
        split = _split(count, size)
        return lambda: evaluate.score(system, split) is None and None

    return prepare


def forward(size=64, width=1.0):
    """The network alone: `predict` of lightness that is there already. Unit: an image."""
    from colorize_lib import color

    network = _trained(size, width).network

    def prepare(count):
        lightness = np.array(color.lightness(images(count, size)))
        return lambda: network.predict(lightness, batch_size=250, verbose=0) is None and None

    return prepare


def scoring_loop(size=64, width=1.0):
    """The papers' loop: `predict`, `lab2rgb`, `tf.image.psnr` and `tf.image.ssim`, image by image. Unit: an image."""
    import tensorflow as tf
    from skimage.color import lab2rgb, rgb2lab

    network = _trained(size, width).network

    def prepare(count):
        truth = images(count, size) / np.float32(255)
        lightness = rgb2lab(truth)[..., :1]

        def run():
            for rgb, light in zip(truth, lightness, strict=True):
                ab = network.predict(light[None], verbose=0)[0] * 128
                predicted = lab2rgb(np.concatenate([light, ab], -1)).astype("float32")
                float(tf.image.psnr(rgb, predicted, 1.0))
                float(tf.image.ssim(tf.constant(rgb), tf.constant(predicted), 1.0))

        return run

    return prepare


# Memory, growth, quality.


def _prepared(name):
    """A prepared dataset of the data home, or None: nothing is downloaded for a benchmark."""
    from colorize_lib import files
    from colorize_lib.errors import InputError
    from data_prep import prepared

    for folder in sorted((files.data_home() / "prepared").glob("*/")):
        try:
            found = prepared.open_dataset(folder)
        except InputError:
            continue
        if found.manifest.get("name") == name and found["train"].images.shape[1] == 64:
            return found
    return None


def memory(width=1 / 16, batch_size=64):
    """This library: an epoch of Polychromify over images on disk, Tiny ImageNet's or as many generated ones. Unit: an image."""
    from colorize_lib.training.data import Batches

    model = _colorizer("polychromify", 64, width, "mse", "auto")
    dataset = _prepared("tiny-imagenet")

    def prepare(count):
        real = dataset is not None and count >= len(dataset["train"])
        split = dataset["train"] if real else _generated(count)
        batches = Batches(split, batch_size, seed=0)

        def run():
            model.fit(batches, epochs=1, verbose=0)
            return {"images": len(split), "data": "tiny-imagenet" if real else "generated images"}

        return run

    return prepare


def _generated(count):
    """A split of generated images in a file that is mapped into memory, as prepared datasets are."""
    from colorize_lib.dataset import Images, Split

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        written = np.lib.format.open_memmap(path, "w+", "uint8", (count, 64, 64, 3))
        for start in range(0, count, 1000):
            written[start : start + 1000] = images(min(1000, count - start), 64)
        del written
        return Split(
            Images([np.load(path, mmap_mode="r")]), np.zeros(count, "int32")
        )  # the file goes with its last user


def memory_float64(width=1 / 16, batch_size=64):
    """The papers' way: all images as float64 arrays of Lab, then `fit`, of which the first steps suffice. Unit: an image."""
    from skimage.color import rgb2lab

    from colorize_lib import models

    model = models.build("polychromify", width=width, dtype="float32")
    model.compile("adam", loss="mse")

    def prepare(count):
        def run():
            lightness, ab = np.empty((count, 64, 64, 1)), np.empty((count, 64, 64, 2))
            for start in range(0, count, 1000):
                found = rgb2lab(images(min(1000, count - start), 64))
                lightness[start : start + 1000], ab[start : start + 1000] = found[..., :1], found[..., 1:] / 128
            model.fit(
                lightness,
                ab,
                batch_size=batch_size,
                epochs=1,
                steps_per_epoch=min(4, -(-count // batch_size)),
                verbose=0,
            )
            return {"images": count}

        return run

    return prepare


def quality(dtype, train, test, epochs, width, perturbed=False, batch_size=64, size=64):
    """A short training of Polychromify and its score: "psnr" of test images in dB. The amount of work is the seed.

    The learning rate falls to 0 along a cosine, as at a constant one every step changes the colour of all images, and runs end by
    chance some tenths of a dB apart. `perturbed` changes the initial weights by about a millionth: what chance still does.
    """
    import keras

    from colorize_lib.evaluation import evaluate
    from colorize_lib.training.data import Batches

    dataset = _prepared("tiny-imagenet")
    name = "tiny-imagenet"
    if dataset is None:
        from data_prep import load

        dataset, name = load("photos", size=64), "photos"

    def prepare(seed):
        keras.utils.set_random_seed(seed)
        model = _colorizer("polychromify", size, width, "mse", dtype)
        steps = epochs * -(-train // batch_size)
        model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
        if perturbed:
            noise = np.random.default_rng(seed)
            for variable in model.trainable_variables:
                variable.assign(np.array(variable) * (1 + 1e-6 * noise.standard_normal(variable.shape)))
        splits = dataset["train"].limit(train, 0), dataset["test"].limit(test, 0)

        def run():
            batches = Batches(splits[0], batch_size, seed=seed)
            for epoch in range(epochs):
                batches.set_epoch(epoch)
                model.fit(batches, epochs=1, verbose=0)
            table = evaluate.score(model, splits[1], columns=("psnr_rgb",))
            return {"psnr": float(table["psnr_rgb"].mean()), "data": name, "policy": model.network.dtype_policy.name}

        return run

    return prepare
