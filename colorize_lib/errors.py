"""Errors that are shown to the user."""

import argparse
import difflib


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
