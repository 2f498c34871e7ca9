"""Pieces that several papers' networks share."""

from keras import layers, ops

from colorize_lib import fusion
from colorize_lib.errors import InputError


def scaled(filters, width):
    """Number of filters after the `width` factor: rounded, at least 1; `width=1` gives the paper's own number."""
    if not width > 0:
        raise InputError(
            f"The width factor must be above 0, not {width}: 1 is the paper's own network, 0.25 a narrower one."
        )
    return max(1, round(filters * width))


def require_size(name, size, step, most=None):
    """Raise `InputError` unless network `name` can take (`size`, `size`) images: a multiple of `step` up to `most` pixels."""
    if size not in range(step, (most or size) + 1, step):
        limit = f" up to {most}" if most else ""
        raise InputError(f"{name} takes a size that is a multiple of {step}{limit}, not {size}.")


class BatchNormalization(layers.BatchNormalization):
    """Keras' layer with its results, trained on images by TensorFlow's kernel on a CPU: see `fusion.batch_normalization`."""

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and mask is None and self._has_kernel(inputs)):
            return super().call(inputs, training=training, mask=mask)
        scale, offset = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        x = ops.cast(inputs, self.compute_dtype)
        outputs, mean, variance = fusion.batch_normalization(x, scale, offset, self.epsilon)
        for statistic, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + found * (1 - self.momentum))
        return outputs

    def _has_kernel(self, inputs):
        plain = self.scale and self.center and not self.renorm and not self.synchronized
        return plain and self.axis == -1 and len(inputs.shape) == 4 and fusion.on_tensorflow_cpu(inputs)
