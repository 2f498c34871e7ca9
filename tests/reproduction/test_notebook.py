import json
import os

import nbformat
import pytest
import toy_project

from colorize_lib import __main__, files
from colorize_lib.errors import InputError
from colorize_lib.reproduction import notebook

PARAMETERS = """from colorize_lib.reproduction import parameters
PROFILE = "quick"
EPOCHS = None
RUN = None
PROFILES = parameters.profiles(quick={"epochs": 2}, paper={"epochs": 25})"""


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Function that writes a small notebook `unet.ipynb` with the given last cell."""
    write = toy_project.make(tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    return lambda source: write("unet", PARAMETERS, source)


FINISH = """print("seen in the page")
from colorize_lib import files; from colorize_lib.training import progress
progress.report("unet: epoch 1/1 (100%), loss 0.5, 0:00 left")
resolved = parameters.read(PROFILES, globals())
folder = files.run_root() / "unet" / resolved.key()
files.write_json(folder / "metrics.json", {"epochs": resolved.epochs})
files.write_text(folder / "paper_vs_here.csv", "system,paper,here\\ncnn,21.6,22.1\\n")"""


def test_parameters_reach_the_notebook_and_results_are_shown(notebooks, capsys):
    notebooks(FINISH)
    folder = notebook.reproduce("unet", ["EPOCHS=3"])
    assert json.loads((folder / "metrics.json").read_text()) == {"epochs": 3}
    assert nbformat.read(folder / "notebook.ipynb", as_version=4).cells[-1].execution_count
    assert "seen in the page" in (folder / "notebook.html").read_text()
    printed = capsys.readouterr().out
    assert "unet: budgeted run in" in printed
    assert "loss 0.5" in printed
    assert "cnn" in printed
    assert "22.1" in printed
    assert "metrics.json" in printed


def test_wrong_parameters_stop_before_any_work(notebooks, capsys):
    notebooks(FINISH)
    for assignment, message in (
        ("EPOCH=3", "did you mean 'EPOCHS'"),
        ("EPOCHS=x", "EPOCHS is 'x'"),
        ("EPOCHS", "NAME=VALUE"),
    ):
        assert __main__.main(["reproduce", "unet", assignment]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert len(captured.err.splitlines()) == 1
    assert not list(files.run_root().iterdir())
    assert __main__.main(["reproduce", "tyo"]) == 2
    assert "the names are" in capsys.readouterr().err


def test_a_failing_notebook_is_an_error_and_is_kept(notebooks, capsys):
    raising = "from colorize_lib.errors import InputError; raise InputError('the disk is full; free some space')"
    notebooks(raising)
    assert __main__.main(["reproduce", "unet"]) == 2
    assert capsys.readouterr().err.strip() == "error: the disk is full; free some space"
    notebooks("1 / 0")
    with pytest.raises(InputError, match=r"failed in its cell 2; .*ZeroDivisionError"):
        notebook.reproduce("unet")
    assert len(list(files.run_root().glob("unet/quick-*.failed.ipynb"))) == 1
    assert not list(files.run_root().glob("unet/*/*.ipynb"))
    notebooks(FINISH)
    notebook.reproduce("unet")
    assert not list(files.run_root().glob("unet/*.failed.ipynb"))


def test_a_dying_kernel_is_one_sentence(notebooks):
    notebooks("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(InputError, match=r"kernel of unet\.ipynb died.*lower BATCH_SIZE"):
        notebook.reproduce("unet")


RUN = """from colorize_lib.training import runs
params = parameters.read(PROFILES, globals())
run = runs.Run("unet", params)
"""


def test_a_second_run_that_fails_leaves_a_finished_folder_as_it_was(notebooks):
    notebooks(RUN + "run.finish()")
    folder = notebook.reproduce("unet")
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"manifest.json", "metrics.json", "notebook.ipynb"} <= made.keys()
    notebooks(RUN + "1 / 0")
    with pytest.raises(InputError, match=r"ZeroDivisionError") as raised:
        notebook.reproduce("unet")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
    failed = folder.with_name(f"{folder.name}.failed.ipynb")
    assert str(failed) in str(raised.value)
    assert failed.exists()


def test_a_folder_that_another_process_holds_is_said_before_the_notebook_starts(notebooks, monkeypatch):
    notebooks(FINISH)
    folder = notebook.plan("unet")[1]
    monkeypatch.setattr(notebook, "_execute", lambda *arguments: pytest.fail("the notebook was started"))
    with files.lock(folder, "run"), pytest.raises(InputError, match="Another process is working on the run"):
        notebook.reproduce("unet")
    assert not list(folder.parent.glob("*.ipynb"))


def test_the_kernel_uses_this_library_and_the_runs_of_the_checkout_at_hand(notebooks, monkeypatch):
    """Two checkouts can share an environment: notebooks and runs are those of the current folder's."""
    monkeypatch.delenv("COLORIZE_RUNS")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebooks("import colorize_lib\nprint(colorize_lib.__file__)\n" + RUN + "run.finish()")
    folder = notebook.reproduce("unet")
    checkout = files.project_root()
    assert folder.is_relative_to(checkout / "runs" / "unet")
    assert checkout != notebook.LIBRARY
    outputs = nbformat.read(folder / "notebook.ipynb", as_version=4).cells[-1].outputs
    printed = "".join(output.text for output in outputs)
    assert printed.splitlines()[0] == str(notebook.LIBRARY / "colorize_lib" / "__init__.py")
    assert printed.splitlines()[1] == f"run folder: {folder.relative_to(checkout)}"
    assert "COLORIZE_RUNS" not in os.environ
    monkeypatch.chdir(checkout / "notebooks")  # as a notebook in JupyterLab
    assert files.run_root() == checkout / "runs"
