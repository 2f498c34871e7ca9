"""Kernels for TensorFlow on a CPU, with the same results in fewer passes over memory and by matrix products.

TensorFlow's CPU kernels read and write memory once for each operation, while XLA compiles a chain of operations to one loop. XLA's
convolutions are slower than TensorFlow's on a CPU, though, so only parts of models are compiled by it. JAX compiles everything by
XLA.
"""

import functools
import itertools
import os

import keras
import numpy as np
from keras import ops

SMALLER_MAP_ON_JAX = False  # see `smaller_map`; `benchmarks.gpu` measures whether it pays on a card


def enabled():
    """Whether anything is accelerated: unless the environment variable COLORIZE_ACCELERATE is "0"."""
    return os.environ.get("COLORIZE_ACCELERATE") != "0"


def fused(function):
    """Decorator: within a compiled step, `function` of tensors and hashable values (tensors first) becomes one pass over memory.

    Each new shape takes some tenths of a second to compile. Nothing changes outside compiled steps (`fit`, `evaluate` and
    `predict`), on other backends, or on a GPU. Results differ in the last digit of float32.
    """

    @functools.wraps(function)
    def call(*arguments):
        if on_tensorflow_cpu(arguments[0]) and one_pass():
            return _compiled(function)(*arguments)
        return function(*arguments)

    return call


def on_tensorflow(tensor):
    """Whether TensorFlow computes `tensor`, which is not symbolic, and these kernels are enabled."""
    return enabled() and keras.backend.backend() == "tensorflow" and not isinstance(tensor, keras.KerasTensor)


def on_tensorflow_cpu(tensor):
    """Like `on_tensorflow`, on a CPU."""
    return tensorflow_cpu() and not isinstance(tensor, keras.KerasTensor)


def tensorflow_cpu():
    """Whether TensorFlow computes on a CPU, and these kernels are enabled."""
    if not enabled() or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def smaller_map():
    """Whether compiled steps compute a convolution after an upsampling on the smaller map: see `upsampled_convolution`.

    They do on TensorFlow and a CPU, and on JAX if `SMALLER_MAP_ON_JAX` is true when the step is compiled.
    """
    return tensorflow_cpu() or (SMALLER_MAP_ON_JAX and enabled() and keras.backend.backend() == "jax")


def one_pass():
    """Whether the current code is compiled to one pass over memory, in which repeating arithmetic is cheap."""
    if keras.backend.backend() != "tensorflow":
        return enabled() and keras.backend.backend() == "jax"
    import tensorflow as tf

    return tf.inside_function() and tensorflow_cpu()


@functools.cache
def _compiled(function):
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def by_blocks(function, rows, *arrays):
    """Apply `function`, which treats each row of its arrays independently, in blocks that are compiled once for all sizes.

    Args:
        function: of tensors (n, ...), without variables.
        rows: number of rows that it takes at once; the last block is padded.
        *arrays: numpy arrays (n, ...) of the same n.

    Returns:
        numpy array (n, ...). Results differ in the last digit of float32 from those of `function`, which is simply called on GPUs
        and PyTorch, and with COLORIZE_ACCELERATE=0.
    """
    if tensorflow_cpu():
        run = _compiled(function)
    elif enabled() and keras.backend.backend() == "jax":
        import jax

        run = jax.jit(function)
    else:
        return ops.convert_to_numpy(function(*arrays))
    found = []
    for start in range(0, max(1, len(arrays[0])), rows):
        block = [array[start : start + rows] for array in arrays]
        count = len(block[0])
        if count < rows:
            block = [np.concatenate([part, np.zeros((rows - count, *part.shape[1:]), part.dtype)]) for part in block]
        found.append(ops.convert_to_numpy(run(*block))[:count])
    return found[0] if len(found) == 1 else np.concatenate(found)


def compiled_when_repeated(function, after=2):
    """`function` of tensors, compiled by TensorFlow from its call `after` + 1 on, which takes as long as about eight calls.

    On other backends and GPUs, and with COLORIZE_ACCELERATE=0, it is never compiled.
    """
    calls = itertools.count()

    @functools.cache
    def compiled():
        import tensorflow as tf

        return tf.function(function, autograph=False)

    def call(*arguments):
        run = compiled() if next(calls) >= after and tensorflow_cpu() else function
        return run(*arguments)

    return call


def batch_normalization(x, scale, offset, epsilon):
    """Normalize a batch in training by TensorFlow's own kernel instead of Keras' ten or so operations in float32.

    Args:
        x: (batch, height, width, channels) in any precision.
        scale, offset: (channels,) float32.
        epsilon: added to the variance.

    Returns:
        Normalized `x` in its own precision, and the channels' means and biased variances, float32.
    """
    import tensorflow as tf

    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // x.shape[-1], "float32")  # the kernel's variance is the unbiased one
    return y, mean, variance * tf.maximum(count - 1, 1) / count


def add_bias(x, bias):
    """Add `bias` (channels,) to `x` (batch, ..., channels), with a gradient of the bias that keeps all terms.

    TensorFlow's own operation, which Keras uses, sums that gradient in bfloat16: of the 65,536 terms of 64 maps of 32×32 pixels,
    only 1/15 of the sum survived. Here it is correct up to one rounding.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def add(x, bias):
        def gradient(upstream):
            of_each = tf.reduce_sum(upstream, axis=list(range(1, len(x.shape) - 1)))
            return upstream, tf.reduce_sum(of_each, axis=0)

        return tf.nn.bias_add(x, bias), gradient

    return add(x, bias)


def leaky_relu(x, slope):
    """Leaky ReLU of slope > 0 whose gradient reads its output, which has the signs of its input.

    TensorFlow 2.21's graph optimizer merges convolution, bias and leaky ReLU. It fails, and prints a message for each model, if the
    gradient still reads the sum in between, as it does when only the gradient of the input is needed: a generator needs that of its
    discriminator.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def activate(x):
        y = tf.nn.leaky_relu(x, slope)
        return y, lambda upstream: tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=slope)

    return activate(x)


def convolution(x, kernel, strides, padding):
    """Keras' convolution, with a faster gradient of the weights in bfloat16.

    If a map has no more positions than filters, that gradient is one matrix product for each tap: the transposed part of `x` that
    the tap saw times the gradient of the result. oneDNN's kernel takes 1.0 to 10 times as long for such maps.

    Args:
        x: (batch, height, width, channels), all but the batch known.
        kernel: (rows, columns, channels, filters) in the same precision.
        strides: two steps, of rows and columns.
        padding: "same" or "valid".

    Returns:
        (batch, new height, new width, filters).
    """
    import tensorflow as tf

    options = dict(strides=[1, *strides, 1], padding=padding.upper())

    @tf.custom_gradient
    def convolve(x, kernel):
        result = tf.nn.conv2d(x, kernel, **options)

        def gradient(upstream):
            of_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, **options
            )
            return of_x, _weight_gradient(x, upstream, kernel.shape, options)

        return result, gradient

    return convolve(x, kernel)


def transposed_convolution(x, kernel, size, strides, padding):
    """Keras' transposed convolution, accelerated like `convolution`.

    `size` is (height, width) of the result, and `kernel` is (rows, columns, filters, channels).
    """
    import tensorflow as tf

    options = dict(strides=[1, *strides, 1], padding=padding.upper())

    @tf.custom_gradient
    def convolve(x, kernel):
        shape = [tf.shape(x)[0], *size, kernel.shape[2]]
        result = tf.ensure_shape(tf.nn.conv2d_transpose(x, kernel, shape, **options), [x.shape[0], *shape[1:]])

        def gradient(upstream):
            of_x = tf.nn.conv2d(upstream, kernel, **options)
            return of_x, _weight_gradient(upstream, x, kernel.shape, options)

        return result, gradient

    return convolve(x, kernel)


def upsampled_convolution(x, kernel, factor):
    """Convolution with "same" padding and strides of 1 of `x` after nearest-neighbour upsampling by `factor`.

    It is a single transposed convolution of `x`, because a pixel and its copies are multiplied by a sum of weights. For 3×3 weights
    and factor 2, this takes 4/9 of the products.

    Args:
        x: (batch, height, width, channels), all but the batch known.
        kernel: (rows, columns, channels, filters), float32: sums of weights that are rounded already would be rounded twice.
        factor: of the upsampling, in both directions.

    Returns:
        (batch, factor · height, factor · width, filters).
    """
    kernel = _absorbing(kernel, factor, x.dtype.name)
    if keras.backend.backend() == "jax":
        return ops.conv_transpose(x, kernel, factor, padding="same")
    size = [factor * extent for extent in x.shape[1:3]]
    return transposed_convolution(x, kernel, size, (factor, factor), "same")


@fused
def _absorbing(kernel, factor, dtype):
    """The weights of that transposed convolution, (new rows, new columns, filters, channels)."""
    for axis in (0, 1):
        taps = ops.unstack(kernel, axis=axis)
        # The number of sums for which "same" padding is that of the convolution; of an even number of taps, the last sum is 0.
        firsts = [len(taps) - 1 - i for i in range(factor + 2 * (len(taps) // 2))]
        zero = ops.zeros_like(taps[0])
        kernel = ops.stack([sum(taps[max(0, first) : max(0, first + factor)], zero) for first in firsts], axis=axis)
    return ops.cast(ops.swapaxes(kernel, 2, 3), dtype)


def _weight_gradient(large, small, shape, options):
    """The gradient of the weights, of shape `shape`, of a convolution with `options`.

    Args:
        large: what the convolution sees, (batch, height, width, channels).
        small: the gradient of its result, (batch, new height, new width, filters).
    """
    import tensorflow as tf

    (rows, columns), strides = small.shape[1:3], options["strides"][1:3]
    if large.dtype != "bfloat16" or rows * columns > shape[3]:
        return tf.raw_ops.Conv2DBackpropFilter(input=large, filter_sizes=shape, out_backprop=small, **options)
    margins, lengths = [], []
    for extent, kept, taps, step in zip(large.shape[1:3], (rows, columns), shape[:2], strides, strict=True):
        reached = (kept - 1) * step + taps
        before = max(reached - extent, 0) // 2 if options["padding"] == "SAME" else 0
        length = -(-reached // step) * step
        margins.append([before, max(length - extent - before, 0)])
        lengths.append(length)
    padded = tf.pad(large, [[0, 0], *margins, [0, 0]])[:, : lengths[0], : lengths[1]]
    # Slices with steps are slow in TensorFlow, so the steps become axes.
    down, right = strides
    blocks = tf.reshape(padded, (-1, lengths[0] // down, down, lengths[1] // right, right, shape[2]))
    small = tf.reshape(small, (-1, shape[3]))
    of_taps = []
    for i in range(shape[0]):
        for j in range(shape[1]):
            seen = blocks[:, i // down : i // down + rows, i % down, j // right : j // right + columns, j % right]
            of_taps.append(tf.matmul(tf.reshape(seen, (-1, shape[2])), small, transpose_a=True))
    return tf.reshape(tf.stack(of_taps), shape)


def adam(variable, momentum, velocity, gradient, step, learning_rate, beta_1, beta_2, epsilon):
    """One step of Adam by TensorFlow's own kernel, in one pass over memory instead of Keras' ten or so.

    Args:
        variable, momentum, velocity: TensorFlow variables, float32; changed in place.
        gradient: of the variable, in any precision.
        step: number of this step, counted from 1.
        learning_rate, beta_1, beta_2, epsilon: Adam's.
    """
    import tensorflow as tf

    step = tf.cast(step, "float32")
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.handle,
        v=velocity.handle,
        beta1_power=beta_1**step,
        beta2_power=beta_2**step,
        lr=tf.cast(learning_rate, "float32"),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=tf.cast(gradient, "float32"),
    )
