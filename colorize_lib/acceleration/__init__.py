"""Faster computation with the same results: all code that is written for the speed of one backend.

`accelerate` replaces the plain Keras layers of a network by faster ones, and `accelerate_optimizer` does the same for Adam.
`Colorizer` calls both. The environment variable COLORIZE_ACCELERATE=0 turns everything off.

`layers` and `optimizers` decide where a faster way is taken, `kernels` has those of TensorFlow on a CPU, and `lab` the
arithmetic of the conversion to Lab. Only this package and `colorize_lib.training.resident` use private parts of Keras:
`Functional`, the nodes of its graph, `AutocastScope`, an optimizer's slots, `_symbolic_build`, and the metrics that were given
to `compile`.
"""

from colorize_lib.acceleration.networks import accelerate
from colorize_lib.acceleration.optimizers import accelerate_optimizer

__all__ = ["accelerate", "accelerate_optimizer"]
