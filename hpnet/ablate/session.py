"""A project and training seeds: the experiments that a table still needs, and the table from finished ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.clips import Clips
from ..artifacts.scores import Scores
from ..core.streams import STREAMS
from ..core.units import UNKNOWN, Units, independent_units
from ..data.protocols import class_table
from ..project.dvc_yaml import lookup
from . import plan, running, writing
from .paper import Overrides, PaperTable
from .plan import Experiment, Planned
from .running import Study
from .writing import Written

UNTIMED_SECONDS = 60.0
"""Assumed time of a stage while no stage has a time; used only to order the tables."""


@dataclass(frozen=True)
class Session:
    """The data for planning and making tables.

    Attributes:
        study: the project.
        defaults: its parameters, nested, with every default filled in.
        seeds: training seeds; several are averaged.
        everything: include the rows of other protocols and variants.
        known: signatures that need no run.
        seconds: command -> wall time of its last run.
    """

    study: Study
    defaults: Mapping[str, Any]
    seeds: tuple[int, ...]
    everything: bool
    known: frozenset[str]
    seconds: Mapping[str, float]
    _units: dict[Path, Units] = field(default_factory=dict, repr=False, compare=False)

    def plan(self, tables: Sequence[PaperTable]) -> list[Planned]:
        """The experiments that some tables still need, in order."""
        left = [
            experiment
            for experiment in plan.experiments(tables, self.defaults, self.seeds, self.everything)
            if set(running.finished(self.study, experiment)) < set(experiment.streams)
        ]
        return plan.plan(left, self.study.stages, self.study.signatures, self.known, self.seconds)

    def ordered(self, tables: Sequence[PaperTable]) -> list[PaperTable]:
        """Tables by value per remaining second; a stage that was never timed counts as an average one."""
        known = list(self.seconds.values())
        guess = sum(known) / len(known) if known else UNTIMED_SECONDS
        cost = {
            table.number: sum(item.total + guess * len(item.untimed) for item in self.plan([table])) for table in tables
        }
        return plan.by_value(tables, cost)

    def scores_of(self, setting: Overrides, seed: int) -> Mapping[str, Scores]:
        """Stream -> scores of a setting, for streams that have run."""
        return running.load_scores(self.study, self._experiment(setting, seed))

    def fisher_of(self, setting: Overrides, seed: int) -> float | None:
        """Fisher score of a setting's features."""
        return running.load_fisher(self.study, self._experiment(setting, seed))

    def units_of(self, setting: Overrides, seed: int) -> Units:
        """What intervals of a setting resample, by the clips of its run; of an earlier one, by the project's."""
        own, projects = running.clips_folder(self.study, self._experiment(setting, seed)), self.study.project.data
        folder = next((place for place in (own, projects) if (place / "clips.csv").is_file()), None)
        if folder is None:
            return UNKNOWN
        if folder not in self._units:
            self._units[folder] = independent_units(Clips.load(folder).usable())
        return self._units[folder]

    def _experiment(self, setting: Overrides, seed: int) -> Experiment:
        return Experiment(plan.normal(setting, self.defaults, seed), STREAMS)

    def make(self, table: PaperTable, resamples: int) -> Written | None:
        """A table from finished experiments; None if none is finished."""
        written: Written | None
        if table.kind == "cost":
            written = writing.cost_table(table)
        elif table.kind == "classes":
            names = self.class_names(table)
            written = writing.classes_table(table, self.scores_of, self.seeds, names, self.units_of)
        elif table.kind == "extremes":
            written = writing.extremes_table(table, self.scores_of, self.seeds, self.class_names(table))
        else:
            written = writing.accuracy_table(
                table, self.scores_of, self.seeds, resamples, 0, self.everything, self.fisher_of, self.units_of
            )
        return written if written is not None and written.done else None

    def class_names(self, table: PaperTable) -> list[str]:
        """The classes of a table's first row: from its run, else from the project's clip table, else from the protocol.

        Empty for a folder of videos that is not indexed yet; then there are no scores either.
        """
        found = running.load_classes(self.study, self._experiment(table.rows[0].settings[0], self.seeds[0]))
        folder = self.study.project.data
        if found is not None:
            return found
        if (folder / "clips.csv").is_file():
            return Clips.load(folder).class_names
        protocol = str(lookup(self.defaults, "data.protocol"))
        return [] if protocol == "folder" else list(class_table(protocol).name)
