"""Trainings that take seconds, for the tests that kill them.

TensorFlow takes seconds to start, so that this process starts it once, and every line of its standard input, the JSON of `train`'s
arguments, is trained in a fork of it: a process of its own, to be killed. Answers on standard output: the fork's process id, and,
when it has ended, its exit status as `subprocess` counts it. With "memory" the fork gets only so many bytes more than it has.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.reproduction import parameters
from colorize_lib.training import runs
from colorize_lib.training.adversarial import AdversarialColorizer, adam_optimizers
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches

PROFILES = {"quick": {"epochs": 6, "width": 0.05, "learning_rate": 1e-3, "batch_size": 8}}
CLASSES = 3


def data(count, side=16):
    """A split of random images with random labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, side, side, 3), dtype="uint8")
    return Split(images, random.integers(0, CLASSES, count).astype("int32"))


def supervised(system, params):
    """The registered network `system`, narrow and compiled."""
    model = Colorizer.from_name(system, size=16, width=params.width)
    model.compile(keras.optimizers.Adam(params.learning_rate), loss="mse")
    return model


def adversarial(dropout):
    """Generator, discriminator and classifier with what the paper's have, small enough to be traced in a second."""

    def network(channels, *hidden):
        x = inputs = keras.Input((16, 16, channels))
        for layer in hidden:
            x = layer(x)
        return keras.Model(inputs, x)

    def convolution(filters, strides=1):
        return layers.Conv2D(filters, 3, strides, "same", activation="tanh")

    noise = [layers.Dropout(0.5)] if dropout else []
    model = AdversarialColorizer(
        network(1, convolution(4), layers.BatchNormalization(), *noise, convolution(2)),
        network(3, convolution(4, 2), layers.Conv2D(1, 3)),
        network(3, convolution(4, 2), layers.Flatten(), layers.Dense(CLASSES)),
        generator_updates=1,  # as often as the others, to be traced in half the time
    )
    model.compile(**adam_optimizers(1e-3, decay_steps=20))
    return model


def hungry(params):
    """A network whose middle needs 4 MB an image."""
    x = inputs = keras.Input((16, 16, 1))
    for layer in (layers.UpSampling2D(64), layers.MaxPooling2D(64), layers.Conv2D(2, 1)):
        x = layer(x)
    model = Colorizer(keras.Model(inputs, x), "polychromify")
    model.compile("adam", loss="mse")
    return model


SYSTEMS = {
    "supervised": lambda params: supervised("cnn", params),
    "supervised-dropout": lambda params: supervised("polychromify", params),
    "adversarial": lambda params: adversarial(dropout=False),
    "adversarial-dropout": lambda params: adversarial(dropout=True),
    "hungry": hungry,
}


def train(system, run, home, images=32, **given):
    """Train `system` in the run folder `run` below `home`, with the parameters `given`, and write its metrics."""
    os.environ["COLORIZE_RUNS"] = home
    params = parameters.resolve(PROFILES, {"RUN": run, **given})
    held = runs.Run("tiny", params)
    labels = system.startswith("adversarial")
    split = data(images)
    batches = [Batches(split, params.batch_size, seed, labels=labels) for seed in (params.seed, None)]
    _, history = held.fit(system, lambda: SYSTEMS[system](params), *batches, epochs=params.epochs)
    held.metrics = {"best": min(row["val_loss"] for row in history), "epochs": len(history)}
    held.finish()


def _in_a_fork(arguments):
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 — standard output is for answers, not for what a run prints
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory := arguments.pop("memory", None):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory, -1))
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            train(**arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        status = 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.stderr.flush()
    os._exit(status)  # TensorFlow's threads are the parent's


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # forks inherit it until they can say what became of them
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _in_a_fork(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
