"""The exception for a user's mistakes, and any message as one line."""

from hlens.visible import harmless

LONGEST = 1500  # characters of a message


class HlensError(ValueError):
    r"""A mistake in what was given: says what came, what was expected and how to mend it.

    The command line prints its one line and exits with code 2; anything else is a bug of hlens
    and shows its traceback. A `ValueError`, so that scikit-learn's own checks accept it.

    >>> raise HlensError("no file 'a\x1b[31m'\nis here")
    Traceback (most recent call last):
    hlens.errors.HlensError: no file 'a\u001b[31m' is here
    """

    def __init__(self, message: str) -> None:
        # Messages quote what was given, which may be of any length and hold anything.
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    r"""Any text as one line that a terminal shows and does not obey; a long one loses its middle.

    >>> one_line("two\nlines, \x1b[31mred\u202e")
    'two lines, \\u001b[31mred\\u202e'
    >>> len(one_line("x" * 100_000))
    1500
    """
    line = harmless(" ".join(part.strip() for part in text.strip().splitlines()), signs={})
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[: half - 3]} … {line[-half:]}"


def first_line(error: Exception) -> str:
    """The first line of an error's message; its type where the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def reason_of(error: Exception) -> str:
    """Why a file operation failed, without the name of the file: it may be one written aside.

    >>> reason_of(PermissionError(13, "Permission denied", "/tmp/.a.17.partial"))
    'Permission denied'
    """
    return (isinstance(error, OSError) and error.strerror) or first_line(error)
