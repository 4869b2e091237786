"""What can be run in the pages of docs/; and docs/commands.md, written from click: `python -m tests.documents`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from hpnet.stages.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "commands.md"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
OTHER_PAGES = sorted([*(ROOT / "benchmarks").glob("*.md"), ROOT / "CONTRIBUTING.md"])
"""Their commands must parse and their links lead somewhere; most run for hours or need data that nobody may pass on."""
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """(info string, text) of every fenced block."""
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield match["info"].strip(), match["body"]


def console_lines(text: str) -> Iterator[str]:
    """What follows ``$ `` in a console block."""
    for line in text.splitlines():
        if line.startswith("$ "):
            yield line[2:]


def calls(line: str) -> Iterator[list[str]]:
    """The hpnet and dvc calls of a shell line, as words; loops, assignments and other programs are left out."""
    for part in re.split(r"&&|;|\|", line.partition("  #")[0]):
        words = shlex.split(part, comments=True)
        while words and (words[0] in ("do", "then") or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
            words = words[1:]
        if words and words[0] in ("hpnet", "dvc"):
            yield words


def reference() -> str:
    """docs/commands.md."""
    parts = ["# Commands\n\nThis page lists every command with its options, as `hpnet COMMAND --help` prints them. It"
             " is written by `python -m tests.documents`.\n"]  # fmt: skip
    for name in COMMANDS:
        parts += _help(name)
    return "\n".join(parts)


def _help(*path: str) -> list[str]:
    command: click.Command = cli
    context = click.Context(cli, info_name="hpnet", **cli.context_settings)
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context, max_content_width=100)
    text = command.get_help(context)
    parts = [f"{'#' * (len(path) + 1)} hpnet {' '.join(path)}\n\n```text\n{text.rstrip()}\n```\n"]
    for name in command.list_commands(context) if isinstance(command, click.Group) else []:
        parts += _help(*path, name)
    return parts


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
