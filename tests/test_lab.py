"""A paper's notebook in JupyterLab, used as people use it: headless Chromium, driven by Playwright (`make test-browser`)."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("playwright", reason="Playwright is not installed: make setup")
pytestmark = [
    pytest.mark.skipif("COLORIZE_BROWSER" not in os.environ, reason="minutes: make test-browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WAIT = 600_000  # ms; a whole notebook on a busy machine
EPOCHS = 25  # enough for the interrupt to come before the last
SMALL = f'SYSTEMS, EPOCHS, WIDTH = "polychromify", {EPOCHS}, 0.1\nTRAIN_LIMIT, TEST_LIMIT = 512, 32\n'
# Every cell is in the page, also where it is not seen; nobody is asked about news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


class Lab:
    """JupyterLab on a folder with a free port, without settings of the user."""

    def __init__(self, folder):
        for name, values in SETTINGS.items():
            path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/lab"
        environment = os.environ | {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "COLORIZE_DATA": str(folder / "data"),
            "COLORIZE_RUNS": str(folder / "runs"),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
        command += [f"--ServerApp.root_dir={folder}", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"]
        self.log = folder / "log.txt"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        begun = time.monotonic()
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - begun < WAIT / 1000, self.log.read_text()
            time.sleep(0.5)

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.address}/../api/status", timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError):
            return False

    def stop(self):
        """End the server and its kernels, which a kernel that is just starting delays."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    """The notebook in the browser. Cells are the code cells, found by a text that their code holds."""

    def __init__(self, page):
        self.page = page

    def cell(self, text):
        return self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".cm-content", has_text=text))

    def output(self, text):
        return self.cell(text).locator(".jp-OutputArea").first.inner_text()

    def toolbar(self, command):
        self.page.locator(f'.jp-NotebookPanel-toolbar [data-command="{command}"]').click()

    def menu(self, *names):
        self.page.locator(".lm-MenuBar-itemLabel", has_text=names[0]).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(names[1], exact=True).click()

    def run_all(self):
        """Start all cells. JupyterLab loses a click into a menu while it is still being set up."""
        from playwright.sync_api import TimeoutError as NothingRuns

        for _ in range(12):
            self.menu("Run", "Run All Cells")
            try:
                return self.page.locator(".jp-CodeCell .jp-InputPrompt", has_text="*").first.wait_for(timeout=10_000)
            except NothingRuns:
                self.page.keyboard.press("Escape")
        pytest.fail("JupyterLab did not run the cells")

    def run(self, text):
        """Run one cell, and wait."""
        self.cell(text).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.wait()

    def wait(self):
        """Until no cell is running or waiting to run."""
        self.page.wait_for_timeout(1000)  # the request is on its way
        self.page.wait_for_function(
            """() => ![...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(
                (prompt) => prompt.textContent.includes('*'))""",
            timeout=WAIT,
        )

    def replace(self, text, old, new):
        """Edit a cell: one piece of its code by another."""
        editor = self.cell(text).locator(".cm-content")
        code = "\n".join(editor.locator(".cm-line").all_inner_texts()).replace("\u200b", "")
        assert old in code
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code.replace(old, new))
        self.page.wait_for_timeout(500)

    def counts(self):
        """The number in front of every cell, None where it has not run."""
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        return [int(found[0]) if (found := re.findall(r"\d+", prompt)) else None for prompt in prompts]

    def errors(self):
        """What is shown in red: errors, and what was written to the standard error."""
        return self.page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()


@pytest.fixture
def lab(tmp_path):
    """JupyterLab with Polychromify's notebook open, without outputs, in a small version."""
    from playwright.sync_api import sync_playwright

    notebook = nbformat.read(ROOT / "notebooks" / "polychromify.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace("paper = dict(", f"{SMALL}paper = dict(", 1)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "polychromify.ipynb")
    server = Lab(tmp_path)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(120_000)
            page.goto(f"{server.address}/tree/notebooks/polychromify.ipynb")
            page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
            page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
            yield Page(page)
            browser.close()
    finally:
        server.stop()


TRAINING = "trained, histories = {}, {}"
COMPILED = "def regression(system):"


def epochs_restored(output):
    return [int(count) for count in re.findall(rf"polychromify: (\d+) of {EPOCHS} epochs restored", output)]


def test_a_notebook_is_run_interrupted_resumed_edited_and_run_again(lab):
    # "Run all", and the interrupt button within training: the cells after it do not run.
    lab.run_all()
    lab.cell(TRAINING).locator(".jp-OutputArea", has_text=re.compile(rf"epoch ([3-9]|1\d)/{EPOCHS}")).wait_for(
        timeout=WAIT
    )
    lab.toolbar("notebook:interrupt-kernel")
    lab.wait()
    assert "KeyboardInterrupt" in lab.output(TRAINING)
    before = lab.counts()
    assert before[-1] is None
    assert len(lab.errors()) == 1

    # The cell again: the training resumes after its last finished epoch.
    lab.run(TRAINING)
    output = lab.output(TRAINING)
    [restored] = epochs_restored(output)
    assert 1 <= restored < EPOCHS  # of epochs that last a moment, not every one is saved
    assert f"epoch {EPOCHS}/{EPOCHS} (100%)" in output
    assert "validation loss" in output
    assert not lab.errors()

    # An edited learning rate: one sentence, and no table of the training that it does not describe.
    lab.replace(COMPILED, "keras.optimizers.Adam(params.learning_rate)", "keras.optimizers.Adam(0.02)")
    lab.run(COMPILED)
    lab.run(TRAINING)
    [sentence] = lab.errors()
    assert re.fullmatch(
        r"InputError: .* holds another training: learning_rate .*0\.001.* 0\.02.*; .*\.", sentence.strip()
    )
    assert lab.output(TRAINING).strip() == sentence.strip()

    # With the old rate again, restart and run all: what was trained is restored, and every cell runs.
    lab.replace(COMPILED, "keras.optimizers.Adam(0.02)", "keras.optimizers.Adam(params.learning_rate)")
    lab.toolbar("notebook:restart-run-all")
    lab.page.locator(".jp-Dialog button.jp-mod-accept").click()
    lab.page.locator(".jp-InputPrompt", has_text="*").first.wait_for()  # the new kernel has started
    lab.wait()
    assert not lab.errors()
    assert lab.counts() == list(range(1, len(before) + 1))
    assert epochs_restored(lab.output(TRAINING)) == [EPOCHS]
