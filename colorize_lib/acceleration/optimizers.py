"""Optimizers by name."""

import keras

from colorize_lib.acceleration import kernels


class Adam(keras.optimizers.Adam):
    """Keras' optimizer with its results. On a CPU see `kernels.adam`."""

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


def get(name, learning_rate):
    """The optimizer with Keras' `name`, such as "adam" or "rmsprop".

    Args:
        name: of the optimizer.
        learning_rate: number or Keras schedule.

    Raises:
        ValueError: Keras has none of that name.
    """
    if name.lower() == "adam":
        return Adam(learning_rate)
    return keras.optimizers.get({"class_name": name, "config": {"learning_rate": learning_rate}})
