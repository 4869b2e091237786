"""``hpnet train``."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.core.streams import STREAMS
from hpnet.params import Params
from hpnet.work.console import progress
from hpnet.work.locks import locked

from .common import PROJECT, device_option, hold, section_options

if TYPE_CHECKING:
    from hpnet.train.checkpoints import Epoch
    from hpnet.train.loop import Clock

CODE = (
    "hpnet.train.loop", "hpnet.train.checkpoints", "hpnet.core.cuda_graphs", "hpnet.train.datasets",
    "hpnet.train.augmentation", "hpnet.train.topology", "hpnet.train.stacked", "hpnet.train.multimodal",
    "hpnet.models.streams", "hpnet.core.skeleton",
)  # fmt: skip
"""What decides a training run, with every module of hpnet.models: checkpoints of other code are not gone on from."""

precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of training; weights are float32.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads of a run; by default one for small steps, where more give little, else all.",
)
SMALL_STEP = 2_000_000
"""Numbers in the first feature map of a batch, (N M, base channels, T, V), or in its frames, (N, F, 3, S, S), up to
which a run gets one thread: two are not twice as fast, and then the result is the same on every number of cores."""


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
@threads_option
@click.option("--deterministic", is_flag=True, help="Refuse GPU operations whose result varies between runs.")
@click.option(
    "--cuda-graphs/--no-cuda-graphs",
    default=True,
    show_default=True,
    help="Topology streams on a GPU: a launch per pass, where every clip fills every person slot.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Topology streams: train through torch.compile; minutes at the start, then faster on a GPU.",
)
@click.option(
    "--stacked/--one-by-one",
    default=True,
    show_default=True,
    help="`all` on a GPU: train the streams and seeds as one network where that is the same, or one after another.",
)
def command(
    params: Params,
    stream: str,
    pool: Path | None,
    data: Path | None,
    frames: Path | None,
    out: Path | None,
    metrics: Path | None,
    stacked: bool,
    **options: Any,
) -> None:
    """Train STREAM (hpj, hpb, hpjm, hpbm or hpnet), choose its epoch on validation, score validation and test.

    `all` trains hpj, hpb, hpjm and hpbm from one copy of the features, on CPU as many at a time as there are cores for,
    on a GPU as one network; the results are those of four runs, and --out and --metrics are then folders. A run that
    was stopped goes on after its last finished epoch. Several GPUs: accelerate launch -m hpnet.stages.cli train STREAM.
    """
    known = (*STREAMS, "all")
    if stream not in known:
        raise click.BadParameter(f"{stream!r} is unknown; choose from {', '.join(known)}", param_hint="STREAM")
    warn_of_warmup(stream, params)
    options["data"] = data or PROJECT.artifacts / "data"
    options["pool"] = pool or PROJECT.artifacts / "pool"
    options["frames"] = frames or PROJECT.artifacts / "detect" / "frames"
    if stream == "all":
        from .train_all import train_all

        folders = (out or PROJECT.artifacts / "train", metrics or PROJECT.metrics / "train")
        hold(*(folders[0] / each for each in STREAMS if each != "hpnet"))
        train_all(params, out=folders[0], metrics=folders[1], stacked=stacked, **options)
        return
    options["out"] = out or PROJECT.artifacts / "train" / stream
    options["metrics"] = metrics or PROJECT.metrics / "train" / f"{stream}.json"
    hold(options["out"])
    train_stream(stream, params, **options)


def train_stream(stream: str, params: Params, *, out: Path, metrics: Path, **options: Any) -> dict[str, Any]:
    """Load what a stream reads, train it, and write its artifacts and metrics; the metrics.

    With several seeds, ``out`` is the first one's, and the metrics also have ``seeds``: the values of each, mean and
    standard deviation (of the sample). The other runs go where :func:`seed_folder` says.

    Args:
        options: of :func:`train_seed`.
    """
    from hpnet.artifacts.files import write_json

    seeds = params.train.seeds
    runs = [train_seed(stream, params, seed, out=seed_folder(seed, seeds, out), **options) for seed in seeds]
    found = together(runs, seeds)
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(metrics, found)
        if options.get("report") is None:
            click.echo(summary(stream, found, validated="val" in found))
    return found


def seed_folder(seed: int, seeds: tuple[int, ...], out: Path) -> Path:
    """Where a seed's run goes: the first one's into ``out``, others into ``.work/seeds``, each ``out`` has its own."""
    if seed == seeds[0]:
        return out
    whole, root = out.resolve(), PROJECT.root.resolve()
    outside = hashlib.blake2b(str(whole).encode(), digest_size=8).hexdigest()
    place = whole.relative_to(root) if whole.is_relative_to(root) else Path(f"{whole.name}-{outside}")
    return PROJECT.work / "seeds" / place / str(seed)


def training(work: Path) -> AbstractContextManager[None]:
    """Keep other processes from training into this checkpoint folder; wait for one that does now.

    The process that writes there takes it, not the command that started it: it is free once nothing writes any more.
    """
    return locked(work / ".lock", f"another process is training the same configuration ({work}): waiting for it")


def together(runs: list[dict[str, Any]], seeds: tuple[int, ...]) -> dict[str, Any]:
    """The metrics of a stream: the first seed's, with mean and deviation where there are several."""
    return runs[0] if len(runs) == 1 else {**runs[0], "seeds": over_seeds(seeds, runs)}


def train_seed(
    stream: str,
    params: Params,
    seed: int,
    *,
    data: Path,
    pool: Path,
    frames: Path,
    out: Path,
    device: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
    deterministic: bool = False,
    cuda_graphs: bool = True,
    compiled: bool = False,
    report: Callable[[str, Epoch], None] | None = None,
) -> dict[str, Any]:
    """One run of a stream into ``out``; its metrics.

    Args:
        report: is told of every epoch instead of a progress bar.
    """
    import torch

    from hpnet.artifacts.clips import Clips
    from hpnet.artifacts.features import Features
    from hpnet.core.device import resolve_device, tune_allocator
    from hpnet.train.loop import Clock, make_accelerator
    from hpnet.train.topology import train_topology

    clips, features = Clips.load(data), Features.load(pool)
    target = resolve_device(device)
    multimodal = stream == "hpnet"
    if target.type == "cpu":
        tune_allocator()
        default = multimodal_threads(params) if multimodal else topology_threads(params, features.array.shape[1:3])
        threads = threads or default
        if threads is not None:
            torch.set_num_threads(threads)
    accelerator = make_accelerator(target, precision, deterministic)
    section = params.train.hpnet if multimodal else params.train.topology
    card, key = identify(
        stream, params, seed, model_card(pool, data, frames if multimodal else None),
        precision=precision, device=target.type, processes=accelerator.num_processes,
    )  # fmt: skip
    main = accelerator.is_main_process
    if main:
        warn_of_untrained(clips)
    clock = Clock()
    work = PROJECT.work / "train" / key
    common: dict[str, Any] = {
        "seed": seed,
        "out": out,
        "work": work,
        "accelerator": accelerator,
        "card": card,
        "clock": clock,
    }
    with (
        training(work) if main else nullcontext(),
        epoch_log(out / "history" if main else None, stream, section.epochs, clock, report) as on_epoch,
    ):
        if not multimodal:
            common |= {"cuda_graphs": cuda_graphs, "compiled": compiled}
            return train_topology(stream, clips, features, params.train.topology, on_epoch=on_epoch, **common)
        from hpnet.artifacts.frames import PersonFrames
        from hpnet.train.multimodal import train_multimodal

        return train_multimodal(
            clips,
            features,
            PersonFrames(frames),
            params.train.hpnet,
            on_epoch=on_epoch,
            text_cache=PROJECT.work / "text",
            **common,
        )


def identify(
    stream: str, params: Params, seed: int, card: dict[str, Any], *, precision: str, device: str, processes: int
) -> tuple[dict[str, Any], str]:
    """What ``config.json`` says of a run, and the name of its checkpoint folder, which all that decides it makes.

    Args:
        card: of :func:`model_card`.
    """
    from hpnet.train.loop import run_key

    deciding = {k: card[k] for k in ("features_digest", "clips_digest", "frames_digest", "code_version")}
    section = params.train.hpnet if stream == "hpnet" else params.train.topology
    if stream == "hpnet":
        from hpnet.train.xclip import xclip_digest

        deciding["video_digest"] = xclip_digest(params.train.hpnet.video)
    key = run_key(
        stream=stream,
        params=section.model_dump(mode="json", exclude={"test_draws"}),  # scores alone depend on it
        seed=seed,
        precision=precision,
        device=device,
        processes=processes,
        **deciding,
    )
    return {**card, "device": device, "precision": precision}, f"{stream}-{key}"


def over_seeds(seeds: tuple[int, ...], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """``{"seeds": [...], "test": {"top1": {"mean", "sd", "values"}, ...}, "val": ...}``, 0..1."""
    found: dict[str, Any] = {"seeds": list(seeds)}
    for split in ("val", "test"):
        for name in runs[0].get(split, {}):
            if name != "clips":
                values = [run[split][name] for run in runs]
                spread = {"mean": statistics.mean(values), "sd": statistics.stdev(values), "values": values}
                found.setdefault(split, {})[name] = spread
    return found


def topology_threads(params: Params, frames_joints: tuple[int, int]) -> int | None:
    """CPU threads of a topology stream: 1 for small steps, None (torch's own number) for large ones."""
    topology = params.train.topology
    frames, joints = frames_joints
    numbers = topology.batch_size * params.detect.persons * frames * joints * topology.graph.base_channels
    return 1 if numbers <= SMALL_STEP else None


def multimodal_threads(params: Params) -> int | None:
    """CPU threads of the hpnet stream, likewise."""
    from hpnet.train.xclip import xclip_image_size

    section = params.train.hpnet
    numbers = section.batch_size * section.frames * 3 * xclip_image_size(section.video) ** 2
    return 1 if numbers <= SMALL_STEP else None


@contextmanager
def epoch_log(
    history: Path | None,
    stream: str,
    epochs: int,
    clock: Clock,
    report: Callable[[str, Epoch], None] | None,
) -> Iterator[Callable[[Epoch], None]]:
    """Epochs to dvclive's ``history`` (None: nowhere), and to ``report`` or else the progress bar."""
    if history is None:
        yield lambda epoch: None
        return
    with (
        _curves(history) as live,
        nullcontext() if report else progress(f"train {stream}", epochs) as advance,
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
            if report is not None:
                report(stream, epoch)
            elif advance is not None:
                advance(note=f"{epoch_note(epoch)}, waiting for data {clock.waiting:.0%}")

        yield on_epoch


def _curves(history: Path) -> Any:
    """dvclive, for its files alone.

    By itself it makes a DVC repository of any git repository, fails in one without a commit, and hands every epoch to
    a thread that may send it to DVC Studio; to wait for that thread after Ctrl-C may take for ever.
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


def epoch_note(epoch: Epoch) -> str:
    """What stands behind the progress bar."""
    note = f"loss {epoch.train_loss:.3f}"
    return note if epoch.val_accuracy is None else f"{note}, val {epoch.val_accuracy:.1%}"


def model_card(pool: Path, data: Path, frames: Path | None) -> dict[str, Any]:
    """What a run was made from: digests of its inputs, and versions; nothing that another run would not have."""
    import pkgutil
    import platform
    from importlib.metadata import version

    import hpnet.models
    from hpnet.work.shards import code_version

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
    }


def warn_of_warmup(stream: str, params: Params) -> None:
    """Say so where a training ends before its warm-up does; of several processes the first one says it."""
    name = "hpnet" if stream == "hpnet" else "topology"
    section = params.train.hpnet if stream == "hpnet" else params.train.topology
    if section.warmup_epochs >= section.epochs and int(os.environ.get("RANK", "0")) == 0:
        click.echo(
            f"train.{name}.warmup_epochs is {section.warmup_epochs} and epochs {section.epochs}: the learning rate "
            f"never reaches lr = {section.lr:g}; --{name}-warmup-epochs {section.epochs - 1} or less lets it",
            err=True,
        )


def warn_of_untrained(clips: Any) -> None:
    """Name the classes without a training clip, if there are any."""
    from hpnet.train.datasets import labelled_clips

    untrained = [clips.class_names[k] for k in labelled_clips(clips).untrained_classes()]
    if untrained:
        listed = ", ".join(untrained[:5]) + (f" and {len(untrained) - 5} more" if len(untrained) > 5 else "")
        click.echo(
            f"{len(untrained)} of {clips.num_classes} classes have no training clip and cannot be learnt: {listed}",
            err=True,
        )


def summary(stream: str, found: dict[str, Any], *, validated: bool) -> str:
    """One line for the terminal."""
    scored = [split for split in ("val", "test") if split in found]
    parts = [f"{split} {found[split]['top1']:.1%} of {found[split]['clips']} clips" for split in scored]
    chosen = "chosen on validation" if validated else "the last one: there are no validation clips"
    line = f"{stream}: {', '.join(parts) or 'no labelled clip to score'}; epoch {found['epoch']} ({chosen})"
    spread = found.get("seeds", {}).get("test", {}).get("top1")
    seeds = "" if spread is None else f"; {len(spread['values'])} seeds: {spread['mean']:.1%} ± {spread['sd']:.1%}"
    return line + seeds


def _digest(files: list[Path]) -> str:
    from hpnet.train.loop import run_key
    from hpnet.work.shards import file_digest

    return run_key(files=[(file.name, file_digest(file)) for file in files])
