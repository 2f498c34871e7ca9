"""Training on several devices of one machine: each batch is divided among them, and each of them holds all weights.

On JAX this is `keras.distribution.DataParallel`, on TensorFlow `tf.distribute.MirroredStrategy`. Losses are the same as on one
device: a batch is divided, not enlarged, so that `BATCH_SIZE` stays the paper's, and batch normalization sees the whole batch. Two
differences remain: dropout draws other masks on TensorFlow, and a batch that cannot be divided evenly, such as the last one of an
epoch, is completed by repeating some of its images.
"""

import contextlib

import keras

from colorize_lib.errors import InputError

_known = {}  # number of devices → strategy: networks of two TensorFlow strategies cannot be joined


def spread(make, count, build):
    """Make a model to be trained on `count` devices; None or 1: on one.

    Args:
        make: function without arguments that returns a compiled `Colorizer`.
        count: number of devices; the machine's first ones are used.
        build: function of the model that creates all its variables, including the optimizers'.

    Returns:
        The model.

    Raises:
        InputError: the machine has fewer devices, or the backend is neither TensorFlow nor JAX.
    """
    if count in (None, 1):
        model = make()
        build(model)
        return model
    with _strategy(count).scope():
        model = make()
        model.devices = count
        for layer in layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = keras.backend.backend() == "tensorflow"  # JAX sees the whole batch anyway
        build(model)
    return model


def layers(model):
    """All layers of a model, including those of the models within it."""
    for layer in model.layers:
        yield from layers(layer) if hasattr(layer, "layers") else [layer]


def _strategy(count):
    names = keras.distribution.list_devices()
    if count > len(names):
        raise InputError(f"DEVICES is {count}, and this machine has {len(names)} ({', '.join(names)}): take fewer.")
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise InputError(f"DEVICES needs TensorFlow or JAX, not {backend}: set KERAS_BACKEND to one of them.")
    if count not in _known:
        if backend == "jax":
            _known[count] = keras.distribution.DataParallel(devices=names[:count], auto_shard_dataset=False)
        else:
            import tensorflow as tf

            _known[count] = tf.distribute.MirroredStrategy(names[:count])
    return _known[count]


@contextlib.contextmanager
def sharing(model, *batches):
    """Train or evaluate `model` with these batches, within the block, on the devices that it was made for."""
    count = getattr(model, "devices", 1)
    for found in batches:
        if hasattr(found, "multiple"):
            found.multiple = count
    if count > 1 and keras.backend.backend() == "jax":
        with _strategy(count).scope():
            yield
    else:
        yield  # a TensorFlow model remembers its strategy
