"""The command line as tests call it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from attar.cli import main


def attar(*words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()
