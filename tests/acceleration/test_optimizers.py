"""Adam by one kernel has the results, the configuration and the state of Keras' own."""

import keras
import numpy as np
import pytest
from keras import ops

from colorize_lib.acceleration import accelerate_optimizer, kernels, optimizers


def _trained(optimizer):
    """Weights of a small network, and the optimizer's variables, after five steps in which gradients change."""
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(2)])
    network.compile(optimizer, loss="mse")
    random = np.random.default_rng(4)
    inputs, targets = random.normal(size=(40, 6)).astype("float32"), random.normal(size=(40, 2)).astype("float32")
    network.fit(inputs, targets, batch_size=8, shuffle=False, verbose=0)
    variables = [*network.variables, *optimizer.variables]
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


@pytest.mark.parametrize("options", [{}, {"epsilon": 1e-3, "beta_1": 0.5, "weight_decay": 0.1, "clipnorm": 0.1}])
def test_adam_has_the_results_of_keras(monkeypatch, options):
    kernel, calls = kernels.adam, []
    monkeypatch.setattr(kernels, "adam", lambda *arguments: calls.append(kernel(*arguments)))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5)
    ours = _trained(accelerate_optimizer(keras.optimizers.Adam(schedule, **options)))
    assert bool(calls) == kernels.tensorflow_cpu(), "else Keras is compared with itself"
    theirs = _trained(keras.optimizers.Adam(schedule, **options))
    assert len(ours) == len(theirs)
    assert sum(map(np.size, ours)) > 3 * 40
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


def test_adam_takes_gradients_in_bfloat16():
    found = []
    for way in (accelerate_optimizer, lambda optimizer: optimizer):
        variable, optimizer = keras.Variable([1.0, -2.0, 3.0]), way(keras.optimizers.Adam(0.1))
        optimizer.build([variable])
        for _ in range(2):
            optimizer.apply([ops.cast([0.5, -1.0, 0.0], "bfloat16")], [variable])
        found.append(ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*found, rtol=1e-2)
    np.testing.assert_allclose(found[0], [0.8, -1.8, 3.0], rtol=1e-5)  # a constant gradient moves by the learning rate


def test_what_the_kernel_cannot_do_is_left_to_keras(monkeypatch):
    monkeypatch.setattr(kernels, "adam", lambda *_: pytest.fail("not for the kernel"))
    for dtype, options in (("float32", {"amsgrad": True}), ("bfloat16", {"beta_1": 0.5, "beta_2": 0.5})):
        variable = keras.Variable([1.0], dtype=dtype)
        optimizer = accelerate_optimizer(keras.optimizers.Adam(0.5, **options))
        optimizer.build([variable])
        optimizer.apply([ops.ones((1,), dtype)], [variable])
        np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(variable, "float32")), 0.5, rtol=1e-2)


def test_the_faster_adam_is_the_same_optimizer():
    plain = keras.optimizers.Adam(0.5, beta_1=0.25)
    faster = accelerate_optimizer(plain)
    assert type(faster) is optimizers.Adam
    assert faster.get_config() == plain.get_config()
    variable = keras.Variable([1.0])
    faster.build([variable])
    plain.learning_rate = 0.125
    faster.apply([ops.ones((1,))], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable), 0.875, rtol=1e-5)
    assert int(plain.iterations) == 1


def test_other_optimizers_stay(monkeypatch):
    class Own(keras.optimizers.Adam):
        pass

    for optimizer in (keras.optimizers.RMSprop(), keras.optimizers.AdamW(), Own()):
        assert accelerate_optimizer(optimizer) is optimizer
    monkeypatch.setenv("COLORIZE_ACCELERATE", "0")
    plain = keras.optimizers.Adam()
    assert accelerate_optimizer(plain) is plain
