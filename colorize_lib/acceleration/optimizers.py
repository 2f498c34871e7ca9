"""Adam in one pass over memory."""

import keras

from colorize_lib.acceleration import kernels
from colorize_lib.acceleration.layers import share


class Adam(keras.optimizers.Adam):
    """Keras' Adam, computed by `kernels.adam` on a CPU."""

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or variable.dtype != "float32" or not kernels.on_tensorflow_cpu(gradient):
            return super().update_step(gradient, variable, learning_rate)
        i = self._get_variable_index(variable)
        kernels.adam(
            variable,
            self._momentums[i].value,
            self._velocities[i].value,
            gradient,
            self.iterations + 1,
            learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )


def accelerate_optimizer(optimizer):
    """An optimizer that computes faster than `optimizer`, with the same results.

    Args:
        optimizer: any Keras optimizer.

    Returns:
        For Adam, a faster optimizer that shares all attributes with `optimizer`, also when they change, such as the learning
        rate; any other optimizer itself, also if COLORIZE_ACCELERATE=0 is set.
    """
    if not kernels.enabled() or type(optimizer) is not keras.optimizers.Adam:
        return optimizer
    return share(Adam, optimizer)
