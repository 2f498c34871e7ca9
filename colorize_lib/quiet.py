"""TensorFlow without its start-up notes.

While TensorFlow is being imported it writes notes about CUDA and oneDNN to the process's standard error, before any of its own
settings can stop them; in a notebook they are the first thing that people see, in red. `install` lets everything through except
the lines that are known to be notes.
"""

import contextlib
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
    # Written once, as an error, where the processor lacks AVX-512: another implementation takes over, and nothing is lost.
    rb"|E\d{4} \d\d:\d\d:\d+\.\d+ +\d+ util\.cc:\d+\] oneDNN supports DT_\w+ only on platforms with AVX-512"
)

# On a machine without an NVIDIA device it is no error that CUDA cannot start.
_NO_GPU = re.compile(rb"E\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \w+\.cc:\d+\] failed call to cuInit")


def install():
    """Filter what TensorFlow writes while it is imported, whenever that will be. Imports nothing itself."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def settle():
    """Have TensorFlow say unheard what it otherwise says in the middle of the first training: which types the processor lacks.

    It says so at the first operation on such a type, once. This runs one, so that devices must be configured before.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and not _settled:
        _settled.append(True)
        with filtered_stderr(), tensorflow.device("CPU"):
            tensorflow.nn.softmax(tensorflow.zeros([1, 2], "float16"))


_settled = []  # not empty when `settle` has run in this process


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the loader of TensorFlow, once."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):  # resources, source: the original loader's
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        with filtered_stderr():
            self._loader.exec_module(module)
            module.config.list_physical_devices()  # looks for GPUs now, while the notes about them are filtered
        logging.getLogger("tensorflow").addFilter(
            lambda record: "triggered tf.function retracing" not in record.getMessage()
        )


@contextlib.contextmanager
def filtered_stderr():
    """Drop known notes from what the block writes to file descriptor 2; every other line passes at once, unchanged."""
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
