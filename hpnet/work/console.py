"""Output of a step while it works: a progress bar on a terminal, and notes. The command prints results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_LINE = 2000
"""Maximum characters of a line of a note or an error."""


def note(text: str) -> None:
    """Print a note on stderr, because stdout is for results; see :func:`printable`."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """A text of one or more lines for the terminal.

    Names come from files of others, and a name can hold commands for the terminal. Everything but letters, signs and
    line breaks is escaped, and a line ends after :data:`LONGEST_LINE` characters.
    """
    lines = (line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in text.split("\n"))
    return "\n".join(map(one_line, lines))


def one_line(name: str) -> str:
    """A file's name for printing: line breaks and text that is not UTF-8 are escaped."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show progress on a terminal, with rate and remaining time; yields ``advance(n=1, note="")``. Quiet elsewhere.

    The note, such as the last epoch's metrics, is shown after the bar.
    """
    if not sys.stderr.isatty():
        yield lambda n=1, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), Rate(""),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        yield advance
