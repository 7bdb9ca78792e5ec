"""The command ``attar``: words on the command line become data, teachers and students.

Everything that takes time to load is imported by the command that needs it: ``attar --help``
loads no torch, and ``attar predict`` works where only numpy and onnxruntime are installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give back its exit code.

    Args:
        arguments: The words after ``attar``; those of the process by default.

    Returns:
        0 where all went well, 2 where it did not (one line on stderr says why), 130 where the
        user stopped it.
    """
    from attar.cli.app import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
