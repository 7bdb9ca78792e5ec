"""`attar store`: what is in a store, whether it is whole, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.inputs import data_form
from attar.cli.label import batch_size_of
from attar.cli.options import Label, Labels, Size, Teachers, Trust
from attar.cli.teachers import TeacherWord, as_one, recipe_of

app = typer.Typer(help="Look after a store of soft targets.", no_args_is_help=True)

StoreWord = Annotated[
    str, typer.Argument(metavar="STORE", help="The folder of a store, or an address of fsspec.")
]


def _store() -> Any:
    need("torch", extra="train", purpose="attar store")
    from attar import store

    return store


@app.command()
def info(store: StoreWord) -> None:
    """Say who was asked about what, and how it is kept."""
    from attar.cli import show

    found = _store().contents(store)
    rows = []
    for one in found:
        teacher, encoding = one.about.teacher, one.about.encoding.to_json()
        name = encoding.pop("name")
        more = ", ".join(f"{key}={value}" for key, value in encoding.items())
        rows.append(
            [
                teacher.name if teacher.verified else f"{teacher.name} (unverified)",
                f"{one.rows:,}",
                f"{one.views:,}" + (f" (+ {one.begun:,} rows)" if one.begun else ""),
                f"{name} ({more})" if more else name,
                f"{one.record:,}",
                _size(one.size),
            ]
        )
    page = show.console()
    head = ["teacher", "rows", "views", "kept as", "bytes a row", "in all"]
    page.print(show.table(head, rows))
    for one in found:
        if one.about.data.left_out:
            words = _left_out(one.about.data.left_out)
            page.print(f"{one.about.teacher.name}: {words}", soft_wrap=True)
        if one.about.asked:
            page.print(f"{one.about.teacher.name}: {_asked(one.about.asked)}", soft_wrap=True)
        if one.about.fidelity.get("kl"):
            page.print(f"{one.about.teacher.name}: {_lost(one.about.fidelity)}", soft_wrap=True)


@app.command()
def verify(store: StoreWord) -> None:
    """Read everything and compare it with its checksums."""
    from attar.cli import show

    found = _store().damage(store)
    if found:
        for one in found:
            show.console().print(str(one), soft_wrap=True)
        raise AttarError(
            f"{len(found)} damaged in {store}; mend it: attar store repair {store} DATA "
            f"--teacher TEACHER"
        )
    there = _store().contents(store)
    inputs, begun = sum(one.rows * one.views for one in there), sum(one.begun for one in there)
    line = f"{inputs:,} inputs in {store}, all as they were written"
    if begun:
        line += f"; {begun:,} in views that are not finished are looked at when they are"
    show.console().print(line, soft_wrap=True)


@app.command()
def repair(
    store: StoreWord,
    data: Annotated[
        str, typer.Argument(help="What was labelled then; without it, descriptions alone.")
    ] = "",
    teacher: Teachers = None,
    trust: Trust = None,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
    folds: Annotated[int, typer.Option(help="As when it was labelled.")] = 0,
    batch_size: Annotated[
        str, typer.Option(help="Rows of one question; auto: as when it was labelled.")
    ] = "auto",
) -> None:
    """Ask the teacher again for the damaged rows, and for nothing else."""
    from attar.cli import show

    words = [TeacherWord.of(word) for word in teacher or ()]
    if bool(words) != bool(data):
        raise AttarError("attar store repair needs both the data and the --teacher, or neither.")
    made = _store()
    if words:
        from attar.export.backend import BACKENDS

        data_form(data, "the data")
        reading = replace(recipe_of(words), label=label, size=size)
        rows = reading.read(data, "the data", labels=labels)
        asked = as_one(words, trust or [], rows, folds=folds)
        rows_at_once = batch_size_of(batch_size)
        done = made.repair(store, asked, rows, batch_size=rows_at_once, backends=BACKENDS)
    else:
        done = made.repair(store)
    for one in done.mended:
        show.console().print(f"mended: {one}", soft_wrap=True)
    if done.left:
        raise AttarError(
            f"still damaged: {'; '.join(map(str, done.left[:5]))}. Repair it with the teacher "
            f"that said it, and the data that it was about."
        )
    show.console().print(f"{store} is whole", soft_wrap=True)


@app.command()
def merge(
    out: Annotated[str, typer.Argument(help="A store, or a folder that does not exist yet.")],
    stores: Annotated[list[str], typer.Argument(help="What to copy from.")],
) -> None:
    """Put several stores into one: teachers, rows, views, shares of one job."""
    from attar.cli import show

    _store().merge(out, stores)
    found = _store().contents(out)
    inputs = sum(one.rows * one.views for one in found)
    line = f"{inputs:,} inputs in {out}"
    if any(one.begun for one in found):
        line += f", and {sum(one.begun for one in found):,} in views that are not finished"
    show.console().print(line, soft_wrap=True)


@app.command()
def prune(
    store: StoreWord,
    teacher: Annotated[
        list[str] | None, typer.Option(help="A teacher, by its name, whose answers go.")
    ] = None,
    views: Annotated[int | None, typer.Option(help="Keep so many views.", min=1)] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also what belongs to no finished view.")
    ] = False,
) -> None:
    """Remove what is no longer wanted, and what killed writers left behind."""
    from attar.cli import show

    gone = _store().prune(store, teachers=teacher or (), views=views, unfinished=unfinished)
    show.console().print(f"{_size(gone)} removed from {store}", soft_wrap=True)


def _left_out(runs: Sequence[tuple[int, int]]) -> str:
    """Which rows are not there on purpose."""
    shown = ", ".join(f"{start} to {stop - 1}" for start, stop in runs[:5])
    return f"without rows that no fold held out, of {shown}{', ...' if len(runs) > 5 else ''}"


def _asked(said: Mapping[str, Any]) -> str:
    """How the teacher was asked, and what else was tried."""
    way, size, rates = said.get("way"), said.get("batch_size"), said.get("rows_per_second")
    words = f"asked {way}, {size} rows at a time"
    if not isinstance(rates, Mapping) or not rates:
        return words
    own, eager = (
        rates.get(f"{way}, {size}"),
        [rate for name, rate in rates.items() if str(name).startswith("eager, ")],
    )
    if isinstance(own, (int, float)) and eager:
        words += f", {own:,.0f} rows/s; {len(rates)} settings measured"
        if way != "eager":
            words += f", as it is {max(eager):,.0f} rows/s at best"
    return words


def _lost(fidelity: Mapping[str, Any]) -> str:
    """What the encoding loses, as measured when it was labelled."""
    try:
        parts = [
            f"at T = {one['temperature']:g} mean {one['mean']:.2g}, 99 % below {one['p99']:.2g}, "
            f"largest {one['max']:.2g}"
            for one in fidelity["kl"]
        ]
        said = f"KL from what the teacher said, in nats, on {fidelity['rows']:,} rows"
    except (KeyError, TypeError, ValueError):  # the description comes from someone else
        return f"fidelity: {str(dict(fidelity))[:200]}"
    return f"{said}: {'; '.join(parts)}"


def _size(count: float) -> str:
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count, units = count / 1000, units[1:]
    return f"{count:,.0f} bytes" if units[0] == "bytes" else f"{count:,.1f} {units[0]}"
