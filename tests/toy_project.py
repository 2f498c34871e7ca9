"""A checkout with small notebooks that train nothing, for the tests of the headless driver."""

import nbformat


def make(folder):
    """Make `folder` look like a checkout of this project; returns a function that writes a notebook into it.

    Its arguments are the notebook's name, the source of its parameters cell, and those of the other cells.
    """
    (folder / "colorize_lib").mkdir(parents=True)
    (folder / "colorize_lib" / "files.py").touch()
    (folder / "notebooks").mkdir()

    def write(name, parameters, *sources):
        cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *sources)]
        cells[0].metadata.tags = ["parameters"]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")

    return write
