"""``hpnet report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpnet.estimate.params import EstimateParams
from hpnet.params import Params

from .common import PROJECT, device_option, section_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpnet.report.examples import FullMaps

SCALES = ("h1s3", "h2s3", "h3s3")


@click.command("report")
@section_options("report")
@click.option("--input", "project", type=click.Path(file_okay=False, path_type=Path), help="Project folder.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the page [report].")
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), help="[metrics/report.json]")
@click.option("--compare", "against", metavar="REV_OR_DIR", help="Show a git revision or another project side by side.")
@device_option
def command(
    params: Params, project: Path | None, out: Path | None, metrics: Path | None, against: str | None, device: str
) -> None:
    """Write the report: one self-contained page, with its figures and tables beside it as files."""
    from hpnet.artifacts.formats import write_json
    from hpnet.report.against import read_other
    from hpnet.report.collect import collect
    from hpnet.report.page import write_report

    root = project or PROJECT.root
    if not (root / "artifacts").is_dir():
        raise FileNotFoundError(f"{root / 'artifacts'} is missing: run `dvc repro`, or the stages, first")
    other = read_other(root, against) if against else None
    found = collect(root, params)
    full_maps, why = None, ""
    if params.report.examples and found.poses is not None:
        full_maps, why = load_full_maps(params.estimate, device)
    folder = out or root / "report"
    numbers = write_report(found, folder, full_maps, why, other)
    write_json(metrics or root / "metrics" / "report.json", numbers)
    if "fused" in numbers:
        fused = numbers["fused"]
        click.echo(
            f"fused accuracy {100 * fused['value']:.1f} % ({100 * fused['low']:.1f}–{100 * fused['high']:.1f}) "
            f"on {fused['n']} test clips"
        )
    click.echo(f"report: {folder / 'index.html'}")


def load_full_maps(params: EstimateParams, device: str) -> tuple[FullMaps | None, str]:
    """The pose network as crop -> its maps at the three scales, or None and the reason why it cannot run here.

    Networks without the paper's aliases give the cached taps instead.
    """
    try:
        from hpnet.estimate import estimator
        from hpnet.estimate.taps import TapReader

        spec = params.spec()
        taps = tuple(tap for tap in SCALES if tap in spec.aliases) or params.taps
        running = estimator.PoseEstimator(params.model_copy(update={"taps": taps, "window": 1}), device)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        return None, str(error)

    def full_maps(crop: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        with TapReader(running.network, taps, spec.aliases) as reader:
            running(crop[None])
            return {tap: tapped[0].float().cpu().numpy() for tap, tapped in reader.maps.items()}

    return full_maps, ""
