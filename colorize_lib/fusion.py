"""One pass over memory for chains of cheap operations: XLA for them alone, in TensorFlow's compiled steps on a CPU.

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
        if keras.backend.backend() == "tensorflow" and one_pass() and not isinstance(arguments[0], keras.KerasTensor):
            return _compiled(function)(*arguments)
        return function(*arguments)

    return call


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
