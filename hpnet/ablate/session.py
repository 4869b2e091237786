"""A project and the seeds that are asked for: what is left to run for a table, and the table from what has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifacts import Clips, Scores
from ..data.mannequin.actions import NAMES
from ..params import STREAMS
from . import plan, running, writing
from .paper import Overrides, PaperTable
from .plan import Experiment, Planned
from .running import Bench
from .writing import Written


@dataclass(frozen=True)
class Session:
    """Everything that tables are planned and made from.

    Attributes:
        bench: the project.
        defaults: its parameters, nested, with every default filled in.
        seeds: training seeds; several are averaged.
        everything: the rows of other protocols and variants too.
        known: signatures that need no run.
        seconds: command -> wall time of its last run.
    """

    bench: Bench
    defaults: Mapping[str, Any]
    seeds: tuple[int, ...]
    everything: bool
    known: frozenset[str]
    seconds: Mapping[str, float]

    def plan(self, tables: Sequence[PaperTable]) -> list[Planned]:
        """What is left to run for some tables, in order."""
        left = [
            experiment
            for experiment in plan.experiments(tables, self.defaults, self.seeds, self.everything)
            if set(running.finished(self.bench, experiment)) < set(experiment.streams)
        ]
        bench = self.bench
        return plan.plan(left, bench.stages, bench.params, bench.digests, self.known, self.seconds)

    def ordered(self, tables: Sequence[PaperTable]) -> list[PaperTable]:
        """Tables by value per second of what is left of them."""
        cost = {table.number: sum(item.total for item in self.plan([table])) for table in tables}
        return plan.by_value(tables, cost)

    def scores_of(self, setting: Overrides, seed: int) -> Mapping[str, Scores]:
        """Stream -> scores of a setting, as far as it has run."""
        return running.load_scores(self.bench, self._experiment(setting, seed))

    def fisher_of(self, setting: Overrides, seed: int) -> float | None:
        """Fisher score of a setting's features."""
        return running.load_fisher(self.bench, self._experiment(setting, seed))

    def _experiment(self, setting: Overrides, seed: int) -> Experiment:
        return Experiment(plan.normal(setting, self.defaults, seed), STREAMS)

    def make(self, table: PaperTable, resamples: int) -> Written | None:
        """A table from what has run; None where nothing of it has."""
        written: Written | None
        if table.kind == "cost":
            written = writing.cost_table(table)
        elif table.kind == "classes":
            written = writing.classes_table(table, self.scores_of, self.seeds, self.class_names())
        elif table.kind == "extremes":
            written = writing.extremes_table(table, self.scores_of, self.seeds, self.class_names())
        else:
            written = writing.accuracy_table(
                table, self.scores_of, self.seeds, resamples, 0, self.everything, self.fisher_of
            )
        return written if written is not None and written.done else None

    def class_names(self) -> list[str]:
        """The classes, of the project or of the built-in benchmark."""
        folder = self.bench.root / "artifacts" / "data"
        return Clips.load(folder).class_names if (folder / "clips.csv").is_file() else list(NAMES)
