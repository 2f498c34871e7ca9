"""One batch that a network should be able to learn by heart."""

import numpy as np


def batch(input_shape, output_shape, low, high):
    """Two inputs and their targets, which no prediction fits at all that ignores either the input or the position.

    The inputs are a dark and a light image, both lighter on the left. The targets are (`low`, `high`) left and right for the
    dark one, the reverse for the light one, and the reverse of that in every second channel.
    """
    inputs = np.zeros((2, *input_shape), "float32")
    inputs[1] += 0.6
    inputs[:, :, : input_shape[1] // 2] += 0.4
    targets = np.full((2, *output_shape), low, "float32")
    middle = output_shape[1] // 2
    targets[0, :, middle:], targets[1, :, :middle] = high, high
    targets[..., 1] = low + high - targets[..., 1]
    return inputs, targets


def remaining_error(model, inputs, targets, steps, optimizer):
    """Mean squared error after `steps` on this batch, as a share of the error of the best constant colour."""
    model.compile(optimizer, "mse")
    model.fit(
        np.tile(inputs, (steps, 1, 1, 1)), np.tile(targets, (steps, 1, 1, 1)), len(inputs), shuffle=False, verbose=0
    )
    return model.evaluate(inputs, targets, verbose=0) / targets.var()
