"""What nbval (`make test`) does not do by itself.

Each notebook trains from the beginning, in an empty folder of runs: a run that is there already
would be given back instead. COLORIZE_RUNS names another folder. After the last cell of a notebook,
the numbers of its run are held against `tests/reference/quick`.
"""

import os
import tempfile

import pytest
import reference_values


def pytest_configure(config):
    if "COLORIZE_RUNS" not in os.environ:  # processes of pytest-xdist inherit it
        folder = tempfile.TemporaryDirectory(prefix="runs-")
        os.environ["COLORIZE_RUNS"] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.hookimpl(trylast=True)  # after the collector of the cells
def pytest_collect_file(file_path, parent):
    is_run = file_path.suffix == ".ipynb" and parent.config.getoption("nbval", False)
    if is_run and reference_values.of_notebook(file_path):
        return Numbers.from_parent(parent, path=file_path)
    return None


class Numbers(pytest.File):
    def collect(self):
        yield Comparison.from_parent(self, name="numbers of the run")


class Comparison(pytest.Item):
    def runtest(self):
        name, folder = self.path.name, reference_values.of_notebook(self.path)
        if not any((folder / kept).exists() for kept in ("metrics.json", reference_values.TABLE)):
            pytest.fail(f"{name} did not run to its end: no numbers in {folder}", pytrace=False)
        if different := reference_values.differences(self.path.stem, folder):
            lines = [f"{name}: {len(different)} numbers differ", *different]
            pytest.fail("\n".join(lines), pytrace=False)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}: numbers of the run"
