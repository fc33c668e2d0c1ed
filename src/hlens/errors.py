"""The one exception that is the user's to mend."""


class HlensError(ValueError):
    """A mistake in what was given: says what came, what was expected and how to mend it.

    The command line prints its one line and exits with code 2; anything else is a bug of hlens
    and shows its traceback. A `ValueError`, so that scikit-learn's own checks accept it.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message; its type where the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
