"""Scores, statistics, claims, judges, and plots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "claims",
        "evaluate",
        "judges",
        "photographs",
        "plots",
        "recorded",
        "regions",
        "report",
        "scores",
        "statistics",
    ],
)
