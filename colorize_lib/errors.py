"""Errors that are shown to the user."""

import argparse
import difflib
import os
import sys


class InputError(ValueError):
    """An error in the input or the environment, such as a damaged file, a wrong parameter, a missing dataset, or a full disk.

    The message is one sentence that says what is wrong, where, and what to do next. Command lines print it without a traceback and
    exit with status 2; notebooks show it without a traceback as well.
    """

    def _render_traceback_(self):
        """The lines that IPython shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def reason(error, limit=200):
    """The message of an exception, or a text, on one line of at most `limit` characters; the exception's class if it is empty."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


_MEMORY = ("memoryerror", "resource_exhausted", "resourceexhausted", "out of memory", "bad_alloc", "alloc_failed")


def is_out_of_memory(name, message):
    """Whether an exception, given by the name of its class and its message, says that memory ran out, on any backend."""
    text = f"{name} {message}".lower()
    return any(sign in text for sign in _MEMORY)


def printable(text):
    """A text for the terminal, with control characters escaped, which names of files may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


# Module → the extra of this package that installs it; all others are installed by "notebooks".
_EXTRAS = {"tensorflow": "tensorflow", "jax": "jax", "starlette": "web", "uvicorn": "web"}


def exit_status(command):
    """Call `command`, which has no arguments, and return the exit status of the program: what it returns, or 0 for None.

    An `InputError`, a library that is not installed, and memory that runs out are printed as one line each and give 2.
    """
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        sentence = str(error)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "colorize_lib", "data_prep"):
            raise
        extra = _EXTRAS.get(missing, "notebooks")
        sentence = f"{missing} is not installed: run `pip install {missing}`, or install colorize-lib[{extra}]."
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("Stopped; the same command resumes from here.", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_out_of_memory(type(error).__name__, error):
            raise
        sentence = "Memory ran out: choose a smaller size, or smaller photographs."
    print(printable(f"error: {sentence}"), file=sys.stderr)
    return 2


def near_match(word, words):
    """A hint for a message with the one of `words` that is most similar to `word`, in parentheses, or an empty text."""
    near = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def number(kind, low, high):
    """A type for argparse: a number of this kind, int or float, from `low` to `high`."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} from {low:g} to {high:g}")
        return value

    return parse
