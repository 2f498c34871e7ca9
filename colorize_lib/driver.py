"""Messages to the headless driver, `colorize_lib.reproduction.notebook`, which shows them on its terminal."""

import contextlib
import json
import os

INTERVAL = 1.0  # seconds between two messages
VARIABLE = "COLORIZE_PROGRESS"  # environment variable with the path of the file that the driver reads


def report(message, stays=False):
    """Send a message to the driver; without a driver, do nothing.

    Args:
        message: text.
        stays: True keeps the message on the terminal; otherwise the next message of the same system replaces it.
    """
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([message, stays]) + "\n")
