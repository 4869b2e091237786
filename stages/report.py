"""``hpnet report``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from hpnet.params import Params

from .common import PROJECT, device_option, section_options


@click.command("report")
@section_options("report")
@click.option("--input", "project", type=click.Path(file_okay=False, path_type=Path), help="Project folder.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the page.  [default: report]")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), help="[metrics/report.json]")
@click.option("--compare", "against", metavar="REV_OR_DIR", help="Show a git revision or another project side by side.")
@device_option
def command(
    params: Params, project: Path | None, out: Path | None, metrics: Path | None, against: str | None, device: str
) -> None:
    """Write the report: one self-contained page, and its figures and tables as files."""
    from hpnet.estimate.maps import load_full_maps
    from hpnet.report.step import run

    root = project or PROJECT.root
    written = run(
        params,
        root,
        out or root / "report",
        metrics or root / "metrics" / "report.json",
        partial(load_full_maps, params.estimate, device),
        against,
    )
    if "fused" in written.numbers:
        fused = written.numbers["fused"]
        ends = "no interval" if fused["low"] is None else f"{100 * fused['low']:.1f}–{100 * fused['high']:.1f}"
        click.echo(f"fused accuracy {100 * fused['value']:.1f} % ({ends}, {fused['over']}) on {fused['n']} test clips")
    click.echo(f"report: {written.page}")
