"""TensorFlow without its start-up notes.

While TensorFlow is being imported, it writes notes about CUDA and oneDNN to standard error, before any of its own settings can stop
them; in a notebook they are the first thing that people see, in red. `install` drops the lines that are known to be notes and lets
everything else through.
"""

import contextlib
import functools
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import threading

# absl's line: level (I: information, W: warning), date, time, process, source file. Errors (E) and what is fatal (F) pass.
_NOTE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ (cudart_stub|port|cpu_feature_guard|cuda_executor|gpu_device|computation_placer)\.cc:"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] .*(cudart_stub|port|cpu_feature_guard|cuda_executor|gpu_device)\.cc:"
    rb"|To enable the following instructions: .* rebuild TensorFlow"
    # Written once, as an error, on processors without AVX-512: another implementation takes over, and nothing is lost.
    rb"|E\d{4} \d\d:\d\d:\d+\.\d+ +\d+ util\.cc:\d+\] oneDNN supports DT_\w+ only on platforms with AVX-512"
)

# On a machine without an NVIDIA device, it is not an error that CUDA cannot start.
_NO_GPU = re.compile(rb"E\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \w+\.cc:\d+\] failed call to cuInit")


def install():
    """Filter what TensorFlow writes while it is being imported, now or later. This function does not import it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


@functools.cache
def settle():
    """Drop TensorFlow's note on the types that the processor lacks, which it otherwise writes in the middle of the first training.

    TensorFlow writes it once, at the first operation on such a type. This function runs one, so devices must be configured before.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        with filtered_stderr(), tensorflow.device("CPU"):
            tensorflow.nn.softmax(tensorflow.zeros([1, 2], "float16"))


class _Finder(importlib.abc.MetaPathFinder):
    """Has TensorFlow's own loader run with a filter, once."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader.exec_module = functools.partial(_execute, spec.loader.exec_module)
        return spec


def _execute(exec_module, module):
    with filtered_stderr():
        exec_module(module)
        module.config.list_physical_devices()  # looks for GPUs now, while the notes about them are filtered
    logging.getLogger("tensorflow").addFilter(
        lambda record: "triggered tf.function retracing" not in record.getMessage()
    )


@contextlib.contextmanager
def filtered_stderr():
    """Drop known notes from what the block writes to file descriptor 2; every other line passes immediately and unchanged."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    receive, send = os.pipe()
    passing = threading.Thread(target=_pass_on, args=(receive, kept), daemon=True)
    passing.start()
    os.dup2(send, 2)
    os.close(send)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        passing.join(timeout=5)  # a process that the block started may still hold the pipe
        if not passing.is_alive():
            os.close(kept)


def _pass_on(receive, kept):
    has_gpu = os.path.exists("/dev/nvidiactl")
    with open(receive, "rb") as lines:
        for line in lines:
            if not (_NOTE.match(line) or (_NO_GPU.match(line) and not has_gpu)):
                os.write(kept, line)
