"""Run a notebook without a browser, with progress on the terminal and results in the run folder."""

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from colorize_lib import driver, files, papers
from colorize_lib.errors import InputError, is_out_of_memory, reason
from colorize_lib.reproduction import closing, standalone
from colorize_lib.reproduction import parameters as parameters_module

LIBRARY = Path(__file__).parents[2]
START_TIMEOUT = 300  # seconds; starting Python is slow on a busy machine


def notebook_path(name):
    """Path of the notebook of the paper with the key `name`, or of the comparison. Raises InputError with the known keys."""
    if name not in papers.NOTEBOOKS:
        raise InputError(f"There is no notebook for {name!r}: the names are {', '.join(papers.NOTEBOOKS)}.")
    return files.project_root() / "notebooks" / f"{papers.NOTEBOOKS[name]}.ipynb"


def declared(path):
    """Names and values in the notebook's cell tagged `parameters`."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", ()):
            names = {"parameters": parameters_module}
            exec(cell.source, names)  # our own notebook: its kernel is about to run the same code
            return {name: value for name, value in names.items() if name.isupper()}
    raise InputError(f"The notebook {path} has no cell tagged 'parameters'; restore it from the repository.")


def plan(name, assignments=()):
    """What `reproduce` will run: the notebook's path, the run folder, the given parameters, and all parameters, resolved.

    Raises InputError for a wrong parameter.
    """
    path = notebook_path(name)
    given = parameters_module.parse(assignments)
    names = declared(path)
    unresolved = {key: value for key, value in names.items() if key != "PROFILES"} | given
    resolved = parameters_module.resolve(names["PROFILES"], unresolved)
    return path, files.run_root() / name / resolved.key(), given, resolved


def reproduce(name, assignments=()):
    """Execute the notebook of paper `name` with papermill; the notebook, its HTML and its results are in the run folder.

    Args:
        name: key of the notebook, one of `papers.NOTEBOOKS`.
        assignments: "NAME=VALUE" texts, see `parameters.KNOWN`.

    Returns:
        The run folder.

    Raises:
        InputError: a wrong parameter (before any work starts), or, as one sentence, what stopped the notebook.
    """
    path, folder, given, resolved = plan(name, assignments)
    failed = folder.with_name(f"{folder.name}.failed.ipynb")  # not in the folder, whose run may be finished
    begun = time.monotonic()
    print(f"{name}: {resolved.label} run in {folder}", flush=True)
    with files.lock(folder, "run"):
        pass  # the notebook itself would notice another process only after loading its data
    with _environment(folder), files.disk_errors(folder), tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / path.name
        try:
            _execute(path, output, given, failed)
        except Exception:
            with contextlib.suppress(OSError, InputError):  # the executed part helps to find the error
                _keep(output, failed)
            raise
        _keep(output, folder / "notebook.ipynb")
        failed.unlink(missing_ok=True)
    standalone.write_notebook(folder / "notebook.ipynb", folder / "notebook.html")
    _show(folder, time.monotonic() - begun)
    print(f"The command that repeats it, elsewhere, or here with RUN=another:\n  {resolved.command(name)}")
    if (folder / "metrics.json").exists():
        print(closing.sentence(folder, resolved.profile))
    return folder


def _keep(file, target):
    with files.atomic(target) as temporary:
        shutil.copyfile(file, temporary)


def _execute(path, output, given, failed):
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    def stop(signum, frame):
        raise KeyboardInterrupt

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns about some forms of a parameters cell
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # about the task of a stopped kernel
    previous = signal.signal(signal.SIGTERM, stop)  # papermill shuts its kernel down on an interrupt
    try:
        with _quiet_start():
            papermill.execute_notebook(
                path,
                output,
                given,
                cwd=path.parent,
                kernel_name="python3",
                progress_bar=False,
                start_timeout=START_TIMEOUT,
                request_save_on_cell_execute=False,
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(error.evalue) from error
        place = f"in its cell {error.exec_count}; the executed part is in {failed}"
        if is_out_of_memory(error.ename, error.evalue):
            raise InputError(
                f"Memory ran out in {path.name}, {place}: lower BATCH_SIZE, WIDTH or TRAIN_LIMIT; finished epochs are kept."
            ) from error
        raise InputError(
            f"The notebook {path.name} failed {place}: {error.ename}: {reason(error.evalue, 300)}"
        ) from error
    except NoSuchKernel as error:
        raise InputError(
            "Jupyter does not know the kernel python3: install requirements.txt with `make setup`."
        ) from error
    except DeadKernelError as error:
        raise InputError(
            f"The kernel of {path.name} died, most likely for lack of memory: lower BATCH_SIZE, WIDTH or TRAIN_LIMIT; the same "
            "command resumes after the last finished epoch."
        ) from error
    except RuntimeError as error:  # nbclient's, when a kernel does not answer in time
        raise InputError(
            f"The kernel of {path.name} did not start ({reason(error)}): run the same command again."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _quiet_start():
    """Discard the kernel's stderr: TensorFlow's notes at its start cannot be switched off, and errors are in the notebook."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _environment(folder):
    """Within the block, kernels use this library, which may not be the installed one, and the folder of runs of `folder`.

    Their messages by `driver.report` are shown on this terminal.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "progress"
        path.touch()
        before = dict(os.environ)
        os.environ |= {driver.VARIABLE: str(path), "COLORIZE_RUNS": str(folder.parents[1])}
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LIBRARY), before.get("PYTHONPATH")]))
        ended = threading.Event()
        thread = threading.Thread(target=_tail, args=(path, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            os.environ.clear()
            os.environ.update(before)


def _tail(path, ended):
    terminal = sys.stdout.isatty()
    system, shown = None, 0.0
    with open(path, encoding="utf-8") as file:
        while True:
            last = ended.is_set()
            for line in file.read().splitlines():
                text, stays = json.loads(line)
                new = text.split(":")[0] != system
                if terminal:
                    print(("\n" if new and system else "") + "\r\033[K" + text, end="\n" * stays, flush=True)
                elif new or stays or time.monotonic() - shown > 5 or "(100%)" in text:
                    print(text, flush=True)
                    shown = time.monotonic()
                system = None if stays else text.split(":")[0]
            if last:
                if terminal and system:
                    print()
                return
            ended.wait(0.5)


def _show(folder, seconds):
    if (folder / "paper_vs_here.csv").exists():
        print(f"\n{closing.heading(folder)}\n\n" + closing.table(folder / "paper_vs_here.csv"))
    print(f"\nDone in {seconds:.0f} s. In {folder}:")
    for item, meaning in (
        ("notebook.ipynb", "the executed notebook"),
        ("notebook.html", "the same as a page"),
        ("figures", "its pictures"),
        ("metrics.json", "its numbers"),
        ("manifest.json", "parameters, versions, hardware, data"),
    ):
        print(f"  {item:<16}{meaning}")
    for weights in sorted(folder.glob("*/best.weights.h5")):
        print(f"  {weights.relative_to(folder)}")
