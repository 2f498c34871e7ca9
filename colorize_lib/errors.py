"""The one kind of error that is meant for the user's eyes."""


class InputError(ValueError):
    """Something from outside is wrong: a file, a parameter, a missing dataset, a full disk.

    The message is one sentence that says what is wrong, where, and what to do next. Command lines print it
    without a traceback and exit with status 2.
    """
