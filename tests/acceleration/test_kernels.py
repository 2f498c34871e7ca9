"""colorize_lib.acceleration.kernels: functions that are compiled outside of models give what they give as they are."""

import keras
import numpy as np
import pytest
from keras import ops

from colorize_lib.acceleration import kernels


def weighted(rgb, weights):
    return ops.cast(rgb, "float32") * weights + 1


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
@pytest.mark.parametrize("enabled", ["0", "1"])
def test_blocks_join_to_what_the_function_gives_of_all_rows(count, enabled, monkeypatch):
    monkeypatch.setenv("COLORIZE_ACCELERATE", enabled)
    rgb = np.random.default_rng(0).integers(0, 256, (count, 3), dtype="uint8")
    weights = np.random.default_rng(1).normal(size=(count, 3)).astype("float32")
    found = kernels.by_blocks(weighted, 4, rgb, weights)
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, rgb * weights + 1, rtol=1e-6)


def test_blocks_have_one_size_only():
    sizes = []

    def noted(values):
        sizes.append(values.shape[0])
        return values + 1

    for count in (3, 8, 11):
        kernels.by_blocks(noted, 4, np.zeros((count, 2), "float32"))
    compiled = kernels.tensorflow_cpu() or keras.backend.backend() == "jax"
    assert set(sizes) == ({4} if compiled else {3, 8, 11})


def test_a_repeated_function_is_compiled_and_sees_new_weights():
    weight, runs = keras.Variable(2.0), []

    def times(x):
        runs.append(1)
        return x * weight

    call = kernels.compiled_when_repeated(times, after=2)
    x = ops.ones((3,))
    for _ in range(6):
        np.testing.assert_array_equal(ops.convert_to_numpy(call(x)), 2)
    assert len(runs) == (3 if kernels.tensorflow_cpu() else 6)
    weight.assign(5.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(call(x)), 5)
