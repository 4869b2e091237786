"""``hpnet ablate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import PROJECT

if TYPE_CHECKING:
    from hpnet.ablate.paper import PaperTable
    from hpnet.ablate.plan import Planned
    from hpnet.ablate.session import Session


@click.command("ablate")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would run, and stop.")
@click.option("--seeds", default="", help="Training seeds, such as 1,2,3.  [default: train.seed]")
@click.option(
    "--budget",
    help="Start only what ends within this time: 2h, 90m. A stage that was never timed counts as 0 s "
    "until it has run once.",
)
@click.option("--full", is_flag=True, help="Also the data set's other protocols, and variants; these need whole runs.")
@click.option("--jobs", type=click.IntRange(1), help="Experiments at once.  [default: one, or one per GPU]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("report") / "tables",
              show_default=True)  # fmt: skip
@click.option(
    "--bootstrap", type=click.IntRange(10), default=1000, show_default=True, help="Bootstrap resamples per interval."
)
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
    """Run a table of the paper in this project: table3 to table18, III to XVIII, or all.

    Every row is an experiment: this project and its data, with other parameters. It runs in a folder under
    .work/ablate. DVC runs it with the project's cache, so nothing runs twice. A row that the project cannot run is
    listed with the reason. Writes OUT/tableN.csv, .md and .html, with the paper's numbers beside ours. After a stop the
    same command resumes.
    """
    from hpnet.ablate import plan, running
    from hpnet.ablate.fit import Setup, fit
    from hpnet.ablate.paper import parse_name
    from hpnet.ablate.session import Session
    from hpnet.ablate.tables import TABLES

    try:
        numbers = list(TABLES) if "all" in tables else sorted({parse_name(table) for table in tables})
        seconds = None if budget is None else plan.duration(budget)
        wanted = tuple(int(part) for part in seeds.split(",") if part.strip())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    study = running.open_study(PROJECT)
    params = PROJECT.read_params()
    defaults = params.model_dump(mode="json")
    session = Session(
        study,
        defaults,
        wanted or params.train.seeds,
        full,
        frozenset(running.known_signatures(study)),
        running.seconds_known(study),
    )
    setup = Setup(defaults, study.stages)
    asked = session.ordered([fit(TABLES[number], setup) for number in numbers])
    planned = session.plan(asked)
    show_plan(session, asked, planned)
    if only_plan:
        return
    failed: list[str] = []
    try:
        left = run_planned(session, planned, seconds, jobs, failed)
    finally:
        write_tables(session, asked, out, bootstrap)
    if left:
        click.echo(f"{len(left)} experiments did not fit into the budget: the same command runs them")
    if failed:
        raise click.ClickException("\n".join([f"{len(failed)} experiments failed:", *failed[:3]]))


def show_plan(session: Session, asked: Sequence[PaperTable], planned: Sequence[Planned]) -> None:
    """What will run, with the time of the last run."""
    for table in asked:
        own = session.plan([table])
        left = f"{len(own)} experiments, {expected(own)}" if own else "nothing to run"
        click.echo(f"Table {table.roman}: {table.title}: {left}")
        reasons = Counter(row.unavailable for row in table.rows if row.unavailable)
        for reason, rows in reasons.items():
            click.echo(f"  {rows} of {len(table.rows)} rows cannot run here: {reason}")
    for item in planned:
        times = [f"{name} {'?' if value is None else duration(value)}" for name, value in item.seconds.items()]
        click.echo(f"  {item.experiment.text}")
        click.echo(f"    runs {', '.join(times) if times else 'nothing: all is cached'}")
    if planned:
        timed = any(len(item.untimed) < len(item.seconds) for item in planned)
        by = ", from the last runs' times" if timed else ""
        click.echo(f"{len(planned)} experiments, {expected(planned)}{by}")


def run_planned(
    session: Session, planned: Sequence[Planned], budget: float | None, jobs: int | None, failed: list[str]
) -> list[Planned]:
    """Run experiments and print their progress; returns those that the budget left out. Errors go to ``failed``."""
    from hpnet.ablate import running
    from hpnet.work.processes import visible_gpus

    if not planned:
        return []

    def on_done(item: Planned, result: dict[str, Any]) -> None:
        ran = ", ".join(result["ran"]) or "nothing, all was cached"
        click.echo(f"done in {duration(result['wall_seconds'])}: {item.experiment.text}: ran {ran}")

    def on_failure(item: Planned, why: str) -> None:
        failed.append(why)
        click.echo(f"failed: {why}", err=True)

    untimed = sum(bool(item.untimed) for item in planned)
    if budget is not None and untimed:
        click.echo(
            f"--budget: {untimed} of {len(planned)} experiments have stages that were never timed: they start "
            "if time is left, and may end later"
        )

    return running.run_all(
        session.study,
        planned,
        budget=budget,
        gpus=visible_gpus()[:jobs] or [None] * (jobs or 1),
        on_start=lambda item: click.echo(f"running ({expected([item])}): {item.experiment.text}"),
        on_stage=lambda name: click.echo(f"  {name}"),
        on_done=on_done,
        on_failure=on_failure,
    )


def write_tables(session: Session, asked: Sequence[PaperTable], out: Path, bootstrap: int) -> None:
    """Write every table that has a result, and the verdicts on their claims."""
    from hpnet.ablate import writing

    verdicts = {}
    for table in sorted(asked, key=lambda one: one.number):
        written = session.make(table, bootstrap)
        if written is None:
            continue
        files = writing.write_table(written, out)
        verdicts[table.roman] = written.verdicts
        click.echo(f"table {table.roman}: {written.done} of {written.wanted} rows: {files[1]}")
    if verdicts:
        claims = writing.write_claims(verdicts, out)
        click.echo(f"claims, corrected for all {sum(bool(row['q']) for row in claims)} tests of {out / 'claims.md'}:")
        for row in claims:
            if row["table"] in verdicts:
                numbers = f" ({row['numbers']})" if row["numbers"] else ""
                click.echo(f"  {row['table']}: {row['claim']}: {row['here']}{numbers}")


def expected(planned: Sequence[Planned]) -> str:
    """'about 12 min'; where stages were never timed 'at least 5 min, 2 stages never timed' or 'time unknown, ...'."""
    untimed = {name for item in planned for name in item.untimed}
    timed = any(value is not None for item in planned for value in item.seconds.values())
    total = duration(sum(item.total for item in planned))
    if not untimed:
        return f"about {total}"
    stages = f"{len(untimed)} stage{'s' if len(untimed) > 1 else ''} never timed"
    return f"at least {total}, {stages}" if timed else f"time unknown, {stages}"


def duration(seconds: float) -> str:
    """'45 s', '12 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
