"""``hpnet train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.params import STREAMS, Params

from .common import PROJECT, device_option, progress, section_options

if TYPE_CHECKING:
    from hpnet.training import Epoch

CODE = ("hpnet.training", "hpnet.datasets", "hpnet.topology", "hpnet.multimodal", "hpnet.streams", "hpnet.skeleton")
"""What decides a training run, with every module of hpnet.models: checkpoints of other code are not gone on from."""

precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of training; weights are float32.",
)


@click.command("train")
@click.argument("stream")
@section_options("train")
@click.option("--input", "pool", type=click.Path(path_type=Path), help="Pooled features; artifacts/pool by default.")
@click.option("--data", type=click.Path(path_type=Path), help="Clip table; artifacts/data by default.")
@click.option("--frames", "frames", type=click.Path(path_type=Path), help="Person frames; artifacts/detect/frames.")
@click.option("--out", type=click.Path(path_type=Path), help="artifacts/train/STREAM by default.")
@click.option("--metrics", type=click.Path(path_type=Path), help="metrics/train/STREAM.json by default.")
@device_option
@precision_option
def command(
    params: Params,
    stream: str,
    pool: Path | None,
    data: Path | None,
    frames: Path | None,
    out: Path | None,
    metrics: Path | None,
    device: str,
    precision: str,
) -> None:
    """Train STREAM (hpj, hpb, hpjm, hpbm or hpnet), choose its epoch on validation, score validation and test.

    A run that was stopped goes on after its last finished epoch. Several GPUs: accelerate launch -m hpnet.stages.cli
    train STREAM.
    """
    if stream not in STREAMS:
        raise click.BadParameter(f"{stream!r} is unknown; choose from {', '.join(STREAMS)}", param_hint="STREAM")
    train_stream(
        stream,
        params,
        data=data or PROJECT.artifacts / "data",
        pool=pool or PROJECT.artifacts / "pool",
        frames=frames or PROJECT.artifacts / "detect" / "frames",
        out=out or PROJECT.artifacts / "train" / stream,
        metrics=metrics or PROJECT.metrics / "train" / f"{stream}.json",
        device=device,
        precision=precision,
    )


def train_stream(
    stream: str,
    params: Params,
    *,
    data: Path,
    pool: Path,
    frames: Path,
    out: Path,
    metrics: Path,
    device: str = "auto",
    precision: str = "float32",
) -> dict[str, Any]:
    """Load what a stream reads, train it, and write its artifacts and metrics; the metrics."""
    from hpnet.artifacts import Clips, Features, write_json
    from hpnet.device import resolve_device, tune_allocator
    from hpnet.topology import train_topology
    from hpnet.training import make_accelerator, run_key

    clips, features = Clips.load(data), Features.load(pool)
    target = resolve_device(device)
    if target.type == "cpu":
        tune_allocator()
    accelerator = make_accelerator(target, precision)
    multimodal = stream == "hpnet"
    section = params.train.hpnet if multimodal else params.train.topology
    card = model_card(pool, data, frames if multimodal else None)
    deciding = {k: card[k] for k in ("features_digest", "clips_digest", "frames_digest", "code_version")}
    if multimodal:
        from hpnet.videotext import xclip_digest

        deciding["video_digest"] = xclip_digest(params.train.hpnet.video)
    key = run_key(
        stream=stream,
        params=section.model_dump(mode="json"),
        seed=params.train.seed,
        precision=precision,
        device=target.type,
        processes=accelerator.num_processes,
        **deciding,
    )
    card |= {"device": target.type, "precision": precision}
    untrained = untrained_classes(clips)
    if untrained:
        click.echo(f"no training clip shows {', '.join(untrained)}: the network cannot learn them", err=True)
    common: dict[str, Any] = {
        "seed": params.train.seed,
        "out": out,
        "work": PROJECT.work / "train" / f"{stream}-{key}",
        "accelerator": accelerator,
        "card": card,
    }
    main = accelerator.is_main_process
    with epoch_log(out / "history" if main else None, stream, section.epochs) as on_epoch:
        if multimodal:
            from hpnet.artifacts import PersonFrames
            from hpnet.multimodal import train_multimodal

            found = train_multimodal(
                clips,
                features,
                PersonFrames(frames),
                params.train.hpnet,
                on_epoch=on_epoch,
                text_cache=PROJECT.work / "text",
                **common,
            )
        else:
            found = train_topology(stream, clips, features, params.train.topology, on_epoch=on_epoch, **common)
    if main:
        write_json(metrics, found)
        click.echo(summary(stream, found, validated="val" in found))
    return found


@contextmanager
def epoch_log(history: Path | None, stream: str, epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Epochs to dvclive's ``history`` (None: nowhere) and to the progress bar."""
    if history is None:
        yield lambda epoch: None
        return
    from dvclive import Live

    with (
        Live(str(history), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False) as live,
        progress(f"train {stream}", epochs) as advance,
    ):

        def on_epoch(epoch: Epoch) -> None:
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
            note = f"loss {epoch.train_loss:.3f}"
            advance(note=note if epoch.val_accuracy is None else f"{note}, val {epoch.val_accuracy:.1%}")

        yield on_epoch


def model_card(pool: Path, data: Path, frames: Path | None) -> dict[str, Any]:
    """What a run was made from: digests of its inputs, versions, git revision."""
    import pkgutil
    import platform
    from importlib.metadata import version

    import hpnet.models
    from hpnet.shards import code_version

    networks = [f"hpnet.models.{module.name}" for module in pkgutil.iter_modules(hpnet.models.__path__)]
    return {
        "features_digest": _digest([pool / name for name in ("features.npy", "index.parquet", "meta.json")]),
        "clips_digest": _digest([data / name for name in ("clips.csv", "classes.csv")]),
        "frames_digest": None if frames is None else _digest(sorted(frames.glob("frames-*.parquet"))),
        "code_version": code_version(*CODE, *networks),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("hpnet", "torch", "accelerate", "numpy")},
        },
        "git_revision": _git_revision(),
    }


def untrained_classes(clips: Any) -> list[str]:
    """Names of the classes without a training clip."""
    from hpnet.datasets import labelled_clips

    return [clips.class_names[k] for k in labelled_clips(clips).untrained_classes()]


def summary(stream: str, found: dict[str, Any], *, validated: bool) -> str:
    """One line for the terminal."""
    scored = [split for split in ("val", "test") if split in found]
    parts = [f"{split} {found[split]['top1']:.1%} of {found[split]['clips']} clips" for split in scored]
    chosen = "chosen on validation" if validated else "the last one: there are no validation clips"
    return f"{stream}: {', '.join(parts) or 'no labelled clip to score'}; epoch {found['epoch']} ({chosen})"


def _digest(files: list[Path]) -> str:
    from hpnet.shards import file_digest
    from hpnet.training import run_key

    return run_key(files=[(file.name, file_digest(file)) for file in files])


def _git_revision() -> str | None:
    """HEAD of the project's git repository, or None outside one."""
    import subprocess

    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10)
    except FileNotFoundError:  # git is not installed
        return None
    return found.stdout.strip() if found.returncode == 0 else None
