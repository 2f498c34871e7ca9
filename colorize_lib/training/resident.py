"""Training with the whole split in the accelerator's memory and many steps in one compiled call, with JAX on a GPU or TPU.

The networks here are small, so a fast accelerator that is fed batch by batch waits for Python. This module sends only row numbers:
batches are gathered, converted to Lab and learned on the device, up to a whole epoch in one call. Losses, weights and the order
of images are the same as batch by batch, except that a smaller last batch of an epoch is completed by repeating its own images,
so that one compiled program serves all batches.

A model that derives from `ResidentModel` trains in this way when `fit` is called as usual. It trains batch by batch on TensorFlow,
without an accelerator, on several devices, for batches with a `transform`, and for splits that do not fit into memory.
"""

import functools
import math

import keras
import numpy as np

from colorize_lib.training import devices
from colorize_lib.training.data import Batches, feed

CALLS = 32  # compiled calls an epoch, at most; callbacks run after each
MEMORY_SHARE = 0.4  # of the accelerator's memory, at most, for one split's images and labels


class ResidentBatches(keras.utils.PyDataset):
    """The row numbers of a `Batches`, several batches an item: (int32 (steps, batch size),). `images`, `labels`: on the device.

    Args:
        batches: `Batches`; its `set_epoch` still chooses the order.
        steps: batches an item.
        fill: complete a smaller last batch with its own images; otherwise it is a separate item.
    """

    def __init__(self, batches, steps, fill):
        import jax

        super().__init__()
        self.batches = batches
        self.images = jax.device_put(batches.split.images[:])
        self.labels = jax.device_put(batches.split.labels[:]) if batches.labels else None
        multiple = batches.batch_size if fill and len(batches) > 1 else 1
        whole = len(batches) if multiple > 1 else batches.images // batches.batch_size
        self._multiple = multiple
        # Items as ranges of batches: only those of one shape are stacked.
        self.ends = [*range(steps, whole, steps), whole] if whole else []
        if whole < len(batches):
            self.ends.append(len(batches))

    def __len__(self):
        return len(self.ends)

    def __getitem__(self, item):
        start = self.ends[item - 1] if item else 0
        rows = [self.batches.rows(index, self._multiple) for index in range(start, self.ends[item])]
        return (np.stack(rows).astype("int32"),)


def calls_an_epoch(batches):
    """The largest number of calls, up to `CALLS`, that divides the batches evenly, so that the step is compiled only once."""
    return max(n for n in range(1, CALLS + 1) if len(batches) % n == 0)


class ResidentModel(keras.Model):
    """A `keras.Model` whose `fit` and `evaluate` keep `Batches` on the accelerator where that is possible."""

    def settings(self):
        """Plain values that decide the training in addition to networks, optimizer and loss; a run records them."""
        return {}

    def metric_names(self):
        """Names of the metrics that were given to `compile`."""
        given = keras.tree.flatten(self._compile_metrics._user_metrics) if self._compile_metrics else []
        return [next(filter(None, (getattr(each, key, None) for key in ("name", "__name__"))), each) for each in given]

    def fit(self, x=None, *arguments, validation_data=None, **named):
        with devices.sharing(self, x, validation_data):
            validation_data = self._resident(validation_data, training=False)
            if isinstance(x, Batches):
                named["shuffle"] = False  # `Batches` shuffle reproducibly, also after a resume
            x = self._resident(x, training=True)
            try:
                return super().fit(x, *arguments, validation_data=validation_data, **named)
            finally:
                self._forget()

    def evaluate(self, x=None, *arguments, **named):
        if isinstance(x, ResidentBatches):  # Keras' `fit` validates
            return super().evaluate(x, *arguments, **named)
        with devices.sharing(self, x):
            x = self._resident(x, training=False)
            try:
                return super().evaluate(x, *arguments, **named)
            finally:
                self._forget()

    def batches_done(self, item):
        """The number of batches of the epoch that `fit` has learned after this item, counted from 0."""
        store = getattr(self, "_stores", {}).get(True)
        return store.ends[item] if store else item + 1

    def _resident(self, batches, training):
        """`batches` as `ResidentBatches` if the accelerator has room for them, else batch by batch."""
        if not isinstance(batches, Batches) or not _fits(batches) or getattr(self, "devices", 1) > 1:
            return feed(batches)
        self._symbolic_build(data_batch=batches[0])  # otherwise Keras would build the model from row numbers
        store = ResidentBatches(batches, len(batches) // (calls_an_epoch(batches) if training else 1), fill=training)
        self._stores = getattr(self, "_stores", {}) | {training: store}
        return store

    def _forget(self):
        """Free the images, and let Keras make its own functions again."""
        if getattr(self, "_stores", {}):
            self._stores = {}
            self.train_function = self.test_function = None

    def make_train_function(self, force=False):
        super().make_train_function(force)
        if True in getattr(self, "_stores", {}):
            self.train_function = _in_one_call(self.train_step, self._stores[True])

    def make_test_function(self, force=False):
        super().make_test_function(force)
        if False in getattr(self, "_stores", {}):
            self.test_function = _in_one_call(self.test_step, self._stores[False])


def _fits(batches):
    if keras.backend.backend() != "jax" or batches.transform is not None or batches.multiple > 1:
        return False
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return False
    limit = (device.memory_stats() or {}).get("bytes_limit", 0)
    parts = [batches.split.images] + [batches.split.labels] * batches.labels
    return sum(math.prod(part.shape) * part[:1].dtype.itemsize for part in parts) < MEMORY_SHARE * limit


def _in_one_call(step, store):
    """Keras' function of (state, iterator over row numbers) → logs, state, for all steps of an item."""
    import jax

    @functools.partial(jax.jit, donate_argnums=0)
    def learn(state, images, labels, rows):
        def one(state, rows):
            data = (images[rows],) if labels is None else (images[rows], labels[rows])
            logs, after = step(state, data)
            return tuple(map(list, after)), logs

        state, logs = jax.lax.scan(one, tuple(map(list, state)), rows)
        return {name: values[-1] for name, values in logs.items()}, state

    return lambda state, iterator: learn(state, store.images, store.labels, next(iterator)[0])
