"""Learned image colorization in Keras: the models, colour, training, and comparison behind the notebooks.

    import colorize_lib as cl
    cl.load("polychromify").colorize("photo.jpg")

Names are loaded when they are first used, so that the import itself takes a moment only; `dir(cl)` lists them.
"""

import lazy_loader

from colorize_lib import quiet

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["color", "models", "papers", "preprocess"],
    submod_attrs={
        "acceleration": ["accelerate"],
        "apps.trained": ["load", "load_trained"],
        "color": ["CONVENTIONS", "lab_to_rgb", "rgb_to_lab"],
        "color.metrics": ["delta_e2000", "psnr_rgb", "ssim"],
        "dataset": ["Dataset", "Split"],
        "errors": ["InputError"],
        "evaluation": ["evaluate", "plots"],
        "images": ["decode"],
        "models": ["build", "names"],
        "preprocess": ["resize_and_crop"],
        "training.colorizer": ["Colorizer"],
    },
)

quiet.install()
