"""The commands under one roof, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import attar
from attar.checks import AttarError
from attar.cli.bench import bench
from attar.cli.bundle import bundle
from attar.cli.cascade import cascade
from attar.cli.demo import demo
from attar.cli.distill import distill
from attar.cli.evaluate import evaluate
from attar.cli.export import export
from attar.cli.label import label
from attar.cli.ladder import ladder
from attar.cli.predict import predict
from attar.cli.quantize import quantize
from attar.cli.report import compare, report
from attar.cli.store import app as store

#: Errors of every kind end with this; argparse and typer use it too.
FAILED = 2
#: What a shell reports for a process that ended by Ctrl-C.
STOPPED = 130

#: Command -> how to go on after Ctrl-C; the others have nothing to go on with.
_GO_ON = {
    "distill": "go on with --resume",
    "ladder": "go on with --resume",
    "label": "go on by running the same command again",
}

app = typer.Typer(
    name="attar",
    help="Knowledge distillation: train big, distill small, prove it, ship it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS = (
    demo,
    distill,
    ladder,
    label,
    evaluate,
    report,
    compare,
    export,
    bundle,
    quantize,
    cascade,
    bench,
    predict,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(store, name="store")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"attar {attar.__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
) -> None:
    # `debug` is declared for --help; `run` has taken it out of the words before they come here,
    # so that it may stand after the command too.
    pass


def run(arguments: Sequence[str]) -> int:
    """Run the words of a command line; errors become one line on stderr and an exit code."""
    words, debug = _without_debug(arguments)
    try:
        with _quiet_libraries(debug):
            code: Any = app(words or ["--help"], prog_name="attar", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            _complain(_line(error, words))
        return FAILED
    if code == STOPPED:
        go_on = next((_GO_ON[word] for word in words if word in _GO_ON), None)
        _complain("stopped" if go_on is None else f"stopped; {go_on}")
    return code if isinstance(code, int) else 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The words without ``--debug``, and whether it was among them (up to a ``--``)."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _line(error: Exception, words: Sequence[str]) -> str:
    """What went wrong, and what to do about it, in one line."""
    if isinstance(error, AttarError):
        return str(error)
    message = getattr(error, "format_message", None)  # a mistake in the words themselves
    if callable(message):
        names = [c.__name__ for c in _COMMANDS if c.__name__ in words[:1]]
        return f"{message().rstrip('. ')}. See: {' '.join(['attar', *names, '--help'])}"
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename}: {error.strerror or error}. See whether the path is there, may be "
            "read or written, and has room"
        )
    return f"unexpected {type(error).__name__}: {error} (run again with --debug for the traceback)"


def _complain(text: str) -> None:
    print("attar:", " ".join(text.split()), file=sys.stderr)


@contextmanager
def _quiet_libraries(debug: bool) -> Iterator[None]:
    """Warnings as one line each, those for developers not at all; no bars of other libraries."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if debug:
        yield
        return

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            _complain(f"note: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show  # catch_warnings puts the old one back
        yield
