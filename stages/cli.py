"""The ``hpnet`` command: imports a subcommand's module only when needed, and prints errors as one or two lines."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Sequence

import click

from hpnet.core.version import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Make a project from a preset."),
    "data": ("data", "Make the clip tables: index a folder of videos, or render the mannequins."),
    "detect": ("detect", "Find people: boxes, tracks and person frames."),
    "estimate": ("estimate", "Run the pose network: keypoints and windows of its feature maps."),
    "pool": ("pool", "Pool the windows at the joints into features of fixed length."),
    "train": ("train", "Train one stream and score validation and test clips."),
    "compare": ("compare", "Train the joint stream on other features, for comparison."),
    "fuse": ("fuse", "Fuse the streams' scores."),
    "events": ("events", "Find what happens when in untrimmed videos, and measure it."),
    "report": ("report", "Write the report page, its figures and tables."),
    "crossval": ("crossval", "Train and test every fold: mean, interval, pooled confusion."),
    "ablate": ("ablate", "Plan, run and write the paper's tables."),
    "look": ("look", "Show what the detector and the pose network see in any video."),
    "predict": ("predict", "Recognise actions in any video with the trained streams."),
    "teach": ("teach", "Teach a trained project a new action by a few clips."),
    "protocol": ("protocol", "Write labels and splits of clip names as CSV."),
    "import": ("import_", "Import scores, poses and features of other projects."),
    "export": ("export", "Export features or a network for other programs."),
    "weights": ("weights", "List, download, convert and check pretrained weights."),
    "pretrain": ("pretrain", "Train the small packaged networks again."),
    "bench": ("bench", "Measure speed compared with plain implementations."),
    "doctor": ("doctor", "Check what is installed and what is missing."),
    "code": ("code", "Write digests of the code of each stage."),
}


TIMED = ("data", "detect", "estimate", "pool", "train", "compare", "fuse", "events")


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only to run it, or to show that subcommand's own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the graph."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``hpnet.stages.<module>`` and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"hpnet.stages.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, but suggests the nearest name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args else []
            if near:
                error.message += f" Did you mean {near[0]!r}?"
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="hpnet")
def cli(debug: bool) -> None:
    """Recognise human actions in video by heatmap pooling.

    The stages read params.yaml and each other's artifacts. `dvc repro` runs the stages that are not up to date.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Entry point: exit status 0 done, 1 failed, 2 wrong usage."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _name_user()
    try:
        started = time.monotonic()
        # --debug works at any position
        cli.main(["--debug"] * debug + [a for a in arguments if a != "--debug"], "hpnet", standalone_mode=False)
        _remember(arguments, time.monotonic() - started)
    except click.exceptions.Abort:
        _stop("interrupted")
    except click.ClickException as error:
        from hpnet.work.console import printable

        error.message = printable(error.message)
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _stop("interrupted")
    except (ValueError, OSError, RuntimeError, ArithmeticError, ImportError, MemoryError) as error:
        if debug:
            raise
        from hpnet.work.console import printable

        click.echo(f"Error: {printable(_explain(error))}", err=True)
        sys.exit(1)


def _name_user() -> None:
    """Give a user without an entry in the system's list, as containers have them, a name and an empty private home.

    Libraries ask for both when they are imported, and git and DVC when they run.
    """
    if os.name != "posix" or ("HOME" in os.environ and "LOGNAME" in os.environ):
        return
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("LOGNAME", f"user{os.getuid()}")
        if "HOME" not in os.environ:
            import atexit
            import shutil
            import tempfile

            os.environ["HOME"] = tempfile.mkdtemp(prefix="hpnet-home-")
            atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)


def _remember(arguments: Sequence[str], seconds: float) -> None:
    """Record the time of a stage (``.work/seconds.json``) and its git revision (``.work/revisions.json``).

    The report and `hpnet ablate` read them. They vary from run to run, so no output of DVC and no file of git has them.
    """
    names = [a for a in arguments if not a.startswith("-")]
    if not names or names[0] not in TIMED or "--help" in arguments or not os.path.isdir("artifacts"):
        return
    import json
    from pathlib import Path

    from hpnet.work.locks import locked

    name = " ".join(names[: 2 if names[0] in ("train", "compare") else 1])
    facts = {"seconds": round(seconds, 1), "revisions": _git_revision()}
    with locked(Path(".work/locks/seconds")):  # two stages may end at once
        for what, value in facts.items():
            file = os.path.join(".work", f"{what}.json")
            known: object = None
            with contextlib.suppress(FileNotFoundError, ValueError), open(file, encoding="utf-8") as stream:
                known = json.load(stream)
            others = {k: v for k, v in known.items() if k != name} if isinstance(known, dict) else {}
            with open(f"{file}.part", "w", encoding="utf-8") as stream:
                json.dump(others | {name: value}, stream, indent=1)
            os.replace(f"{file}.part", file)


def _git_revision() -> str | None:
    """HEAD of the git repository of this folder, or None outside of one."""
    import subprocess

    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _stop(what: str) -> None:
    click.echo(f"\nError: {what}; finished work is kept, and the same command resumes", err=True)
    sys.exit(1)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
        remedy = {28: " (make room, then run the same command again: finished work is kept)"}.get(error.errno, "")
        return f"{where}{error.strerror}{remedy}"
    text = str(error).strip() or type(error).__name__
    lines = text.splitlines()
    return "\n".join(lines if len(lines) <= 4 else [*lines[:3], "... (--debug shows all)"])


if __name__ == "__main__":
    main()
