"""The same results, faster: everything that is written for the speed of one backend.

`accelerate` gives a network of plain Keras layers faster ones, `accelerate_optimizer` does the same for Adam; `Colorizer` calls
both. The environment variable COLORIZE_ACCELERATE=0 turns all of it off.

`layers` and `optimizers` decide where a faster way is taken, `kernels` holds those of TensorFlow on a CPU, and `lab` the arithmetic
of the conversion to Lab. This package, and `colorize_lib.training.resident`, are the only places that use private parts of Keras:
`Functional`, the nodes of its graph, an optimizer's slots, `_symbolic_build`, and the metrics that were given to `compile`.
"""

from colorize_lib.acceleration.networks import accelerate
from colorize_lib.acceleration.optimizers import accelerate_optimizer

__all__ = ["accelerate", "accelerate_optimizer"]
