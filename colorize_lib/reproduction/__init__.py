"""Running a paper's notebook headless, and documenting its results."""
