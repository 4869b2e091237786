"""``hpnet export``: features or a network for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.work.console import progress

from .common import PROJECT

FORMATS = ("features-hpnet", "onnx")


@click.command("export")
@click.argument("layout", metavar="FORMAT", type=click.Choice(FORMATS))
@click.option(
    "--input",
    "source",
    type=click.Path(file_okay=False, path_type=Path),
    help="features-hpnet: a pool folder [artifacts/pool]; onnx: a trained stream [artifacts/train/hpj].",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def command(layout: str, source: Path | None, out: Path) -> None:
    """Export features or a network for other programs.

    FORMAT is features-hpnet or onnx. features-hpnet writes one (T, 2, V, C) float32 .npy per clip, as the authors'
    trainer reads them; one person fills both slots. onnx writes model.onnx of a stream trained by `hpnet train`:
    features (N, C, T, V, M) and mask (N, M) -> logits, with its config.json.
    """
    if layout == "features-hpnet":
        _export_features(source or PROJECT.artifacts / "pool", out)
        return
    from hpnet.artifacts.clips import Clips
    from hpnet.artifacts.labelling import check_trained
    from hpnet.project.export import export_onnx

    stream = source or PROJECT.artifacts / "train" / "hpj"
    tables = stream.absolute().parent.parent / "data"
    now = Clips.load(tables).labelling() if (tables / "clips.csv").is_file() else None
    check_trained(stream, now, f"hpnet train {stream.absolute().name}")
    file = export_onnx(stream, out)
    click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _export_features(source: Path, out: Path) -> None:
    from hpnet.artifacts.features import Features
    from hpnet.data.released import export_features

    features = Features.load(source)
    with progress("exporting", features.index.clip_id.nunique()) as advance:
        files = export_features(features, out, advance)
    _, frames, joints, channels = features.array.shape
    click.echo(f"{len(files)} files ({frames}, 2, {joints}, {channels}) -> {out}")
