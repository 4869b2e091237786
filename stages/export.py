"""``hpnet export``: features or a network for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.work.console import progress

from .common import PROJECT

FORMATS = ("features-hpnet", "onnx", "bundle")


@click.command("export")
@click.argument("layout", metavar="FORMAT", type=click.Choice(FORMATS))
@click.option(
    "--input",
    "source",
    type=click.Path(file_okay=False, path_type=Path),
    help="features-hpnet: a pool folder [artifacts/pool]; onnx: a trained stream [artifacts/train/hpj].",
)
@click.argument("folder", metavar="[OUT]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write, instead of OUT.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="bundle: folder of the trained project.  [default: this folder]")  # fmt: skip
@click.option("--streams", metavar="NAMES", help="bundle: only these streams, such as hpj,hpb.")
@click.option("--clips", type=click.IntRange(1), default=10, show_default=True,
              help="bundle: clips on which it is compared with torch.")  # fmt: skip
@click.option("--verify", is_flag=True, help="bundle: check OUT again, without torch; nothing is written.")
def command(
    layout: str,
    source: Path | None,
    folder: Path | None,
    out: Path | None,
    project: Path,
    streams: str | None,
    clips: int,
    verify: bool,
) -> None:
    """Export features or a network for other programs, or a whole project as a bundle.

    FORMAT is features-hpnet, onnx or bundle. features-hpnet writes one (T, 2, V, C) float32 .npy per clip, as the
    authors' trainer reads them; one person fills both slots. onnx writes model.onnx of a stream trained by
    `hpnet train`: features (N, C, T, V, M) and mask (N, M) -> logits, with its config.json. bundle writes the whole
    chain, from the detector to the fusion, which `hpnet predict --project OUT` runs where torch is not installed, and a
    certificate: by how much its answers differ from those of torch.
    """
    out = out or folder
    if out is None:
        raise click.UsageError("give OUT, the folder to write")
    if layout == "bundle":
        _bundle(project, out, streams, clips, verify)
        return
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


def _bundle(project: Path, out: Path, streams: str | None, clips: int, again: bool) -> None:
    from hpnet.predict.bundling import verify, write_bundle

    chosen = None if streams is None else [name.strip() for name in streams.split(",") if name.strip()]
    found = verify(out) if again else write_bundle(project, out, chosen, clips)
    size_mb = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    click.echo(f"{out} ({size_mb:.1f} MB): on {len(found.clips)} clips it differs from torch by {found.difference}")


def _export_features(source: Path, out: Path) -> None:
    from hpnet.artifacts.features import Features
    from hpnet.data.released import export_features

    features = Features.load(source)
    with progress("exporting", features.index.clip_id.nunique()) as advance:
        files = export_features(features, out, advance)
    _, frames, joints, channels = features.array.shape
    click.echo(f"{len(files)} files ({frames}, 2, {joints}, {channels}) -> {out}")
