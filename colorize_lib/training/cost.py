"""What a training costs: arithmetic and memory, counted from the networks, and speed, measured."""

import math
import time

import keras

from colorize_lib.training import checkpoint, devices


def layer_flops(layer):
    """Floating-point operations of a convolution or dense layer for one image, 2 for each multiplication; 0 for other layers."""
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose | keras.layers.Dense):
        return 0
    place = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
    return 2 * math.prod(place.shape[1:-1]) * math.prod(layer.kernel.shape)


def flops(network):
    """Floating-point operations of a functional network for one image, in convolutions and dense layers."""
    return sum(map(layer_flops, devices.layers(network)))


def training_bytes(model, batch_size):
    """Memory that a training step cannot do without: weights, gradients, optimizers' variables, and what the backward pass needs.

    The latter are the outputs of all layers for one batch, each in the layer's own precision. What libraries add, such as copies in
    another layout, is not in it.

    Args:
        model: built `Colorizer`, or another model with an attribute `network`.
        batch_size: images a batch.
    """
    variables = [*checkpoint.state_variables(model), *model.trainable_variables]  # the latter's gradients
    total = sum(4 * math.prod(variable.shape) for variable in variables)
    for name in ("network", "discriminator", "classifier"):
        for layer in devices.layers(getattr(model, name, None) or keras.Sequential()):
            size = 2 if "16" in layer.compute_dtype else 4
            total += size * batch_size * math.prod(layer.output.shape[1:])
    return total


class _Clock(keras.callbacks.Callback):
    """Records when each batch had been learned, and stops the training `seconds` after the first one."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.ends, self._before = seconds, [], 0

    def on_epoch_begin(self, epoch, logs=None):
        self._before = self.ends[-1][1] if self.ends else 0

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((time.monotonic(), self._before + self.model.batches_done(batch)))
        self.model.stop_training = self.ends[-1][0] - self.ends[0][0] > self.seconds


def images_a_second(model, batches, seconds=3.0):
    """Measure the speed of training, and leave the model as it was.

    Args:
        model: compiled and built `ResidentModel`, such as a `Colorizer`.
        batches: `Batches` to train on: some to compile, then up to three epochs to measure.
        seconds: how long to measure, about.

    Returns:
        Images a second, without compilation and validation.
    """
    with checkpoint.as_before(model):
        model.fit(batches, epochs=1, verbose=0, callbacks=[_Clock(0)])
        clock = _Clock(seconds)
        model.fit(batches, epochs=3, verbose=0, callbacks=[clock])
    (begun, first), (ended, last) = clock.ends[0], clock.ends[-1]
    return (last - first) * batches.batch_size / (ended - begun)
