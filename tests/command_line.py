"""The command line run in this process: what a shell would see of it, without a start of Python."""

import io
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from hlens import cli


@dataclass(frozen=True)
class Called:
    """What a command line gave: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def call(*words: str) -> Called:
    """Run a command line in this process; what hlens would show a traceback for is raised."""
    out, err = io.StringIO(), io.StringIO()
    shell = patch.object(sys, "argv", ["hlens", *words])
    handlers = patch.object(logging.getLogger("hlens"), "handlers", [])
    with redirect_stdout(out), redirect_stderr(err), shell, handlers:
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Called(code, out.getvalue(), err.getvalue())
