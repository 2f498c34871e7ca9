"""Fewer passes over memory for cheap operations, on TensorFlow and a CPU.

TensorFlow's CPU kernels read and write memory once an operation, and XLA compiles a chain of them to one loop; yet XLA's
convolutions on a CPU are slower than TensorFlow's, so that whole models are not compiled by it. JAX compiles everything by XLA
anyway. The library's second place, beside `adversarial`, with code for one backend.
"""

import functools

import keras


def fused(function):
    """Decorator: within a compiled step, `function` of tensors and hashable values (tensors first) becomes one pass.

    That costs some tenths of a second for each new shape, and not at all where nothing is compiled: outside of `fit`, `evaluate`
    and `predict`. On other backends and on a GPU nothing changes. Results differ in the last digit of float32.
    """

    @functools.wraps(function)
    def call(*arguments):
        if on_tensorflow_cpu(arguments[0]) and one_pass():
            return _compiled(function)(*arguments)
        return function(*arguments)

    return call


def on_tensorflow_cpu(tensor):
    """Whether `tensor` has values, or will have, that TensorFlow computes on a CPU."""
    if keras.backend.backend() != "tensorflow" or isinstance(tensor, keras.KerasTensor):
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def one_pass():
    """Whether what is being computed is compiled to one pass, so that repeated arithmetic costs less than memory."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf

    return tf.inside_function() and not tf.config.list_physical_devices("GPU")


@functools.cache
def _compiled(function):
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def batch_normalization(x, scale, offset, epsilon):
    """Normalize a batch in training by TensorFlow's own kernel, where Keras composes it of about ten operations in float32.

    Args:
        x: (batch, height, width, channels) in any precision.
        scale, offset: (channels,) float32.
        epsilon: added to the variance.

    Returns:
        Normalized `x` in its own precision; mean and variance, biased, of the channels, float32.
    """
    import tensorflow as tf

    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // x.shape[-1], "float32")  # the kernel's variance is the unbiased one
    return y, mean, variance * tf.maximum(count - 1, 1) / count
