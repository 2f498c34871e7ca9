"""Learned image colorization in Keras: the models, colour, training and comparison behind the five notebooks.

Importing the package loads nothing heavy; import the modules you need (``from colorize_lib import color, models``).
"""

__version__ = "0.1.0"
