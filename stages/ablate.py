"""``hpnet ablate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import PROJECT

if TYPE_CHECKING:
    from hpnet.ablate.paper import Overrides, PaperTable
    from hpnet.ablate.plan import Planned
    from hpnet.ablate.running import Bench
    from hpnet.ablate.writing import Written
    from hpnet.artifacts import Scores


@click.command("ablate")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would run, and stop.")
@click.option("--seeds", default="", help="Training seeds, such as 1,2,3.  [default: train.seed]")
@click.option("--budget", help="Start nothing that would not be done in this time: 2h, 90m.")
@click.option("--full", is_flag=True, help="Other protocols and variants too, which cost whole runs.")
@click.option("--jobs", type=click.IntRange(1), help="Experiments at once.  [default: one, or one per GPU]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("report") / "tables",
              show_default=True)  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(10), default=1000, show_default=True, help="Resamples per interval.")
def command(
    tables: tuple[str, ...],
    only_plan: bool,
    seeds: str,
    budget: str | None,
    full: bool,
    jobs: int | None,
    out: Path,
    bootstrap: int,
) -> None:
    """Run a table of the paper here: table3 to table18, III to XVIII, or all.

    Every row is an experiment: this project with other parameters, in a folder of its own under .work/ablate, run by
    DVC on the project's cache, so that nothing runs twice. Writes OUT/tableN.csv, .md and .html, with the paper's
    numbers beside ours. Stopped, the same command goes on.
    """
    from hpnet.ablate import plan as planning
    from hpnet.ablate import running
    from hpnet.ablate.paper import parse_name
    from hpnet.ablate.tables import TABLES
    from hpnet.params import load_params

    try:
        numbers = list(TABLES) if "all" in tables else sorted({parse_name(table) for table in tables})
        seconds = None if budget is None else planning.duration(budget)
        wanted_seeds = [int(part) for part in seeds.split(",") if part.strip()]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    bench = running.open_bench(PROJECT.root)
    defaults = load_params(bench.root / "params.yaml").model_dump(mode="json")
    chosen_seeds = wanted_seeds or [int(defaults["train"]["seed"])]
    known, times = running.known_signatures(bench), running.seconds_known(bench)

    def plan_for(asked: Sequence[PaperTable]) -> list[Planned]:
        todo = [
            experiment
            for experiment in planning.experiments(asked, defaults, chosen_seeds, full)
            if set(running.finished(bench, experiment)) < set(experiment.streams)
        ]
        return planning.plan(todo, bench.stages, bench.params, bench.digests, known, times)

    asked = [TABLES[number] for number in numbers]
    if len(asked) > 1:
        cost = {table.number: sum(item.total for item in plan_for([table])) for table in asked}
        asked = planning.by_value(asked, cost)
    planned = plan_for(asked)
    show_plan(asked, planned, lambda table: plan_for([table]))

    def write() -> None:
        def scores_of(setting: Overrides, seed: int) -> Mapping[str, Scores]:
            overrides = planning.normal(setting, defaults, seed)
            return running.load_scores(bench, planning.Experiment(overrides, STREAMS))

        write_tables(bench, asked, scores_of, chosen_seeds, out, bootstrap, full)

    from hpnet.params import STREAMS

    if only_plan:
        return
    failed: list[str] = []
    try:
        left = run_planned(bench, planned, seconds, jobs, failed)
    finally:
        write()
    if left:
        click.echo(f"{len(left)} experiments did not fit into the budget: the same command goes on with them")
    if failed:
        raise click.ClickException("\n".join([f"{len(failed)} experiments failed:", *failed[:3]]))


def run_planned(
    bench: Bench, planned: Sequence[Planned], budget: float | None, jobs: int | None, failed: list[str]
) -> list[Planned]:
    """Run them, telling what goes on; those that the budget left out. Messages of failures go to ``failed``."""
    from hpnet.ablate import running
    from hpnet.shards import visible_gpus

    if not planned:
        return []
    gpus = visible_gpus()[:jobs]
    if jobs and len(gpus) < jobs and not gpus:
        gpus = [""] * jobs  # on CPU, as many at once as asked for

    def on_done(item: Planned, result: dict[str, Any]) -> None:
        ran = ", ".join(result["ran"]) or "nothing, all of it was cached"
        click.echo(f"done in {minutes(result['wall_seconds'])}: {item.experiment.text}: ran {ran}")

    def on_failure(item: Planned, why: str) -> None:
        failed.append(why)
        click.echo(f"failed: {why}", err=True)

    return running.run_all(
        bench,
        planned,
        budget=budget,
        gpus=gpus,
        on_start=lambda item: click.echo(f"running ({minutes(item.total)} expected): {item.experiment.text}"),
        on_stage=lambda name: click.echo(f"  {name}"),
        on_done=on_done,
        on_failure=on_failure,
    )


def write_tables(
    bench: Bench,
    asked: Sequence[PaperTable],
    scores_of: Any,
    seeds: Sequence[int],
    out: Path,
    bootstrap: int,
    full: bool,
) -> None:
    """Write every table that has a row, and claims.md of all that were asked for."""
    from hpnet.ablate import writing

    for table in sorted(asked, key=lambda one: one.number):
        written = make_table(bench, table, scores_of, seeds, bootstrap, full)
        if written is None or not written.done:
            continue
        files = writing.write_table(written, out)
        click.echo(f"table {table.roman}: {written.done} of {written.wanted} rows: {files[1]}")
        for text, word, numbers in written.verdicts:
            click.echo(f"  {text}: {word}{f' ({numbers})' if numbers else ''}")


def make_table(
    bench: Bench, table: PaperTable, scores_of: Any, seeds: Sequence[int], bootstrap: int, full: bool
) -> Written | None:
    """One table from what has been run."""
    from hpnet.ablate import writing

    if table.kind == "cost":
        return writing.cost_table(table)
    if table.kind == "accuracy":
        return writing.accuracy_table(table, scores_of, seeds, bootstrap, 0, full)
    names = class_names(bench)
    make = writing.classes_table if table.kind == "classes" else writing.extremes_table
    return make(table, scores_of, seeds, names)


def class_names(bench: Bench) -> list[str]:
    """The classes, of the project or of the benchmark."""
    from hpnet.artifacts import Clips
    from hpnet.data.mannequin.actions import NAMES

    folder = bench.root / "artifacts" / "data"
    return Clips.load(folder).class_names if (folder / "clips.csv").is_file() else list(NAMES)


def show_plan(asked: Sequence[PaperTable], planned: Sequence[Planned], plan_for: Any) -> None:
    """What will run, with the time that it took the last time."""
    for table in asked:
        own = plan_for(table)
        left = f"{len(own)} experiments, {minutes(sum(i.total for i in own))}" if own else "nothing to run"
        click.echo(f"Table {table.roman}: {table.title}: {left}")
    for item in planned:
        times = [f"{name} {minutes(value) if value else '?'}" for name, value in item.seconds.items()]
        click.echo(f"  {item.experiment.text}")
        click.echo(f"    runs {', '.join(times) if times else 'nothing: all of it is cached'}")
    if planned:
        total = sum(item.total for item in planned)
        click.echo(f"{len(planned)} experiments, about {minutes(total)} at most, by the last runs' times")


def minutes(seconds: float) -> str:
    """'45 s', '12 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
