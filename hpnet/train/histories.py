"""The history of a training run: every epoch in dvclive's files, and on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..work.console import progress
from .checkpoints import Epoch
from .loop import Clock

Report = Callable[[str, Epoch], None]
"""Called with the stream and every epoch."""


@dataclass(frozen=True)
class EpochLog:
    """Where epochs go: those of a training to its curves and the terminal, those of folds to the terminal alone."""

    show: Callable[[Epoch], None]
    write: Callable[[Epoch], None]

    def __call__(self, epoch: Epoch) -> None:
        """An epoch of the training whose weights are kept."""
        self.write(epoch)
        self.show(epoch)

    def fold(self, epoch: Epoch) -> None:
        """An epoch of a fold."""
        self.show(epoch)


@contextmanager
def epoch_log(
    history: Path | None, stream: str, epochs: int, clock: Clock, report: Report | None = None
) -> Iterator[EpochLog]:
    """Epochs to dvclive's ``history`` (None: nowhere), and to ``report`` or else the progress bar."""
    if history is None:
        yield EpochLog(lambda epoch: None, lambda epoch: None)
        return
    with (
        _curves(history) as live,
        nullcontext() if report else progress(f"train {stream}", epochs) as advance,
    ):

        def write(epoch: Epoch) -> None:
            values = {
                "lr": epoch.lr,
                "train/loss": epoch.train_loss,
                "val/loss": epoch.val_loss,
                "val/accuracy": epoch.val_accuracy,
            }
            for name, value in values.items():
                if value is not None:
                    live.log_metric(name, value)
            live.next_step()

        def show(epoch: Epoch) -> None:
            if report is not None:
                report(stream, epoch)
            elif advance is not None:
                advance(note=f"{epoch_note(epoch)}, waiting for data {clock.waiting:.0%}")

        yield EpochLog(show, write)


def epoch_note(epoch: Epoch) -> str:
    """Note behind the progress bar."""
    note = f"loss {epoch.train_loss:.3f}"
    return note if epoch.val_accuracy is None else f"{note}, val {epoch.val_accuracy:.1%}"


def _curves(history: Path) -> Any:
    """dvclive, used only for its files.

    Without these settings it makes a DVC repository of any git repository, and fails in a git repository without a
    commit. It also hands every epoch to a thread that may send it to DVC Studio, and Ctrl-C would wait for this thread
    without end.
    """
    from dvclive import Live

    class Curves(Live):  # type: ignore[misc]
        def _init_dvc(self) -> None:
            pass

        def _init_studio(self) -> None:
            self._studio_events_to_skip |= {"start", "data", "done"}

        def post_data_to_studio(self) -> None:
            pass

    return Curves(str(history), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False)
