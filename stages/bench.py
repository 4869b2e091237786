"""``hpnet bench``: the speed of this package compared with a plain implementation, in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.params import whole_flag

from .common import backend_option, device_option, read_params, value_options

if TYPE_CHECKING:
    from hpnet.bench.commands import Comparison

LINEAR = ("parts", "classifiers", "components", "people", "mirrored", "distances")
"""Parameters of ``train.topology.linear`` that ``bench unknown`` takes."""


@click.group("bench")
def command() -> None:
    """Compare speeds in one run; write JSON and markdown with a description of the machine."""


@command.command("extract")
@click.option("--model", default="mannequin-simcc", show_default=True, help="Pose network.")
@click.option("--weights", help="Checkpoint of the network, or `random`.  [default: the packaged or fetched file]")
@click.option(
    "--videos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of videos.  [default: a few rendered mannequin clips]",
)
@click.option("--clips", type=click.IntRange(1), default=8, show_default=True, help="Number of clips.")
@click.option("--max-frames", type=click.IntRange(1), default=32, show_default=True, help="Frames read per clip.")
@click.option(
    "--plain-frames", type=click.IntRange(1), default=64, show_default=True, help="Frames per round of the plain loop."
)
@click.option(
    "--batch", type=click.IntRange(1), help="Crops per call of the network.  [default: 16 on CPU, 256 on a GPU]"
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes of hpnet.  [default: one per thread on CPU, up to four for a GPU]",
)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["float32", "bfloat16", "float16"]),
              help="Only this precision; can be repeated.  [default: all that suit the device]")  # fmt: skip
@click.option("--backend", "backends", multiple=True, type=click.Choice(["onnxruntime", "openvino"]),
              help="Also measure this backend, in all that it computes in; can be repeated. CPU alone.")  # fmt: skip
@click.option("--on-device", multiple=True, type=click.Choice(["none", "crops", "decode"]), default=("none",),
              show_default=True, help="See `hpnet estimate`; can be repeated.")  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Number of rounds; medians are over them."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File without suffix.  [default: benchmarks/extract-MODEL-DEVICE]"
)
def extract_command(
    model: str,
    videos: Path | None,
    clips: int,
    precisions: tuple[str, ...],
    backends: tuple[str, ...],
    on_device: tuple[str, ...],
    rounds: int,
    note: str,
    out: Path | None,
    **options: Any,
) -> None:
    """Extract features with a plain loop (one frame, one crop, float32) and with hpnet, on the same clips and weights.

    Prints frames/s, processor time, time waiting for data, memory, and the speed as a share of the network's own best
    speed. Also writes them as JSON and markdown. `--weights random` needs no checkpoint.
    """
    import tempfile

    import torch

    from hpnet.bench import extract
    from hpnet.core.device import resolve_device
    from hpnet.estimate.backends import Running, require_gpu

    weights, kind = options["weights"], resolve_device(options["device"]).type
    for each in on_device:
        require_gpu(Running(options["device"], on_device=each))
    options["workers"] = options["workers"] or extract.default_workers(kind, torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        files = extract.find_clips(videos, clips, options["max_frames"], Path(folder))
        given = extract.random_weights(model, Path(folder)) if weights == "random" else weights
        made = {"tap": extract.default_tap(model), "clips": tuple(files), "graphs": Path(folder) / "graphs"}
        task = extract.Task(model, **made, **options | {"weights": given})
        if "openvino" in backends:
            task = replace(task, calibration=extract.write_calibration(task, Path(folder) / "crops.safetensors"))
        ours = extract.ways_on_gpu(precisions or extract.precisions(kind), on_device)
        ways = [*ours, *extract.backend_ways(backends)]
        described = {"random": "random", None: "packaged or fetched"}.get(weights, "given")
        result = extract.run(task, rounds, described, ways)
    typed = {"clips": clips, "videos": "DIR" if videos else None, **options, "rounds": rounds}
    shown = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in typed.items() if value is not None)
    shown += "".join(f" --precision {name}" for name in precisions)
    shown += "".join(f" --backend {name}" for name in backends)
    shown += "".join(f" --on-device {name}" for name in on_device if on_device != ("none",))
    page = extract.markdown(result, f"hpnet bench extract --model {model} {shown}", note)
    _write(out or Path("benchmarks") / f"extract-{model}-{kind}", result, page)


@command.command("scale")
@click.option("--clips", type=click.IntRange(10), default=20_000, show_default=True, help="Number of tiny clips.")
@click.option(
    "--added", type=click.IntRange(1), default=10, show_default=True, help="Number of clips added afterwards."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/scale.md"), show_default=True)
def scale_command(clips: int, added: int, workers: int, out: Path) -> None:
    """Measure time and peak memory of index, shards, pooling and DVC over many tiny clips, without networks.

    Runs once with a tenth of the clips and once with all, to show that memory stays constant.
    """
    import tempfile

    from hpnet.bench import scale
    from hpnet.bench.machine import describe_machine, machine_line

    machine = machine_line(describe_machine())
    command_line = f"hpnet bench scale --clips {clips} --added {added} --workers {workers}"
    lines = ["# Bookkeeping for many clips", "", f"`{command_line}`", "", f"Machine: {machine}.", ""]
    lines += ["Detect and estimate write fake shards (no network runs); everything else is the code of the stages.", ""]
    for count in (clips // 10, clips):
        with tempfile.TemporaryDirectory() as folder:
            steps = scale.measure(Path(folder), count, added, workers)
        lines += [f"## {count:,} clips", "", *scale.table(steps), ""]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines), encoding="utf-8")
    click.echo("\n".join(lines))


@command.command("soak")
@click.option(
    "--minutes", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Of the stream's own time."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what goes wrong when.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/soak"), show_default=True,
              help="File without ending.")  # fmt: skip
def soak_command(minutes: float, seed: int, out: Path) -> None:
    """Watch a stream that stalls, drops and sends garbage, for half an hour of its own time.

    Nothing is waited for, so it takes a minute or two. Fails if memory grows, the stream is not opened again, or it
    does not end in time. No network is run.
    """
    from hpnet.bench import soak
    from hpnet.bench.machine import describe_machine, machine_line

    machine = describe_machine()
    told = soak.run(60 * minutes, seed)
    called = f"hpnet bench soak --minutes {minutes:g} --seed {seed}"
    _write(out, {"machine": machine, **told.to_json()}, soak.markdown(told, called, machine_line(machine)))
    if faults := told.faults():
        raise RuntimeError("; ".join(faults))


@command.command("live")
@click.option("--project", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
              help="Folder of the trained project.  [default: this folder]")  # fmt: skip
@click.option("--video", "videos", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Play this video; can be repeated.  [default: rendered mannequins]")  # fmt: skip
@click.option("--people", "numbers", multiple=True, type=click.IntRange(1, 8), default=(1, 3), show_default=True,
              help="People in a rendered video, and kept of each --video in turn; can be repeated.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(10), default=30.0, show_default=True, help="Of a rendered video.")
@click.option("--detect-every", type=click.IntRange(1), default=10, show_default=True, help="As of hpnet predict.")
@backend_option
@device_option
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), help="File without suffix.  [default: benchmarks/live-DEVICE]")
def live_command(
    project: Path, videos: tuple[Path, ...], numbers: tuple[int, ...], seconds: float, note: str, out: Path | None,
    **options: Any,
) -> None:  # fmt: skip
    """Play videos like a camera: frames a second, dropped frames, latency of answers, memory.

    Each is played at its own rate, and then as fast as frames can be looked at. Without --video, videos of 1280 x 720
    with one and with three mannequins are rendered, which takes minutes.
    """
    import itertools
    import tempfile

    from hpnet.bench import live
    from hpnet.core.device import resolve_device

    given = list(zip(videos, itertools.cycle(numbers), strict=False))
    shown = "".join(f" --video {video.name} --people {people}" for video, people in given)
    shown = shown or f"{''.join(f' --people {people}' for people in numbers)} --seconds {seconds:g}"
    with tempfile.TemporaryDirectory() as folder:
        cases = [live.Case(video.stem, video, people) for video, people in given] or [
            live.Case(f"{people} rendered", live.rendered(Path(folder), people, seconds), people) for people in numbers
        ]
        result = live.run(project, cases, options["detect_every"], options["device"], options["backend"])
    called = f"hpnet bench live{shown} --detect-every {options['detect_every']}"
    called += f" --backend {options['backend']}" if options["backend"] else ""
    place = out or Path("benchmarks") / f"live-{resolve_device(options['device']).type}"
    _write(place, result, live.markdown(result, called, note))


@command.group("train", invoke_without_command=True)
@click.option("--clips", type=click.IntRange(1), help="Clips per batch.  [default: 16 on CPU, 64 on a GPU]")
@click.option("--channels", type=click.IntRange(1), default=96, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True)
@click.option("--joints", type=click.IntRange(2), default=17, show_default=True)
@click.option("--persons", type=click.IntRange(1), default=2, show_default=True)
@click.option("--against", type=click.Path(exists=True, dir_okay=False),
              help="File model/ctrgcn.py of CTR-GCN's authors, which is run: compare with it.")  # fmt: skip
@click.option("--inference", is_flag=True, help="Measure the forward pass alone, in evaluation.")
@click.option(
    "--rounds", type=click.IntRange(1), default=5, show_default=True, help="Number of rounds; medians are over them."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: torch's own number]")
@click.option("--compile", "compiled", is_flag=True, help="Also measure with torch.compile.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), help="File without suffix.  [default: benchmarks/train-DEVICE]")
@click.pass_context
def train_command(
    context: click.Context,
    clips: int | None,
    inference: bool,
    rounds: int,
    compiled: bool,
    device: str,
    note: str,
    out: Path | None,
    **size: Any,
) -> None:
    """Compare training steps of hpnet's CTR-GCN and of a layer-by-layer version of its paper, which give equal numbers.

    With --against the other one is the authors' own network. Prints clips/s, the ratio, memory and the share of a
    matrix product's FLOP/s. Also writes JSON and markdown.
    """
    if context.invoked_subcommand:
        return
    from hpnet.bench import train
    from hpnet.core.device import resolve_device

    kind = resolve_device(device).type
    clips = clips or (16 if kind == "cpu" else 64)
    step = train.Step(clips, device=kind if device == "auto" else device, training=not inference, **size)
    first = "authors" if step.against else "transcription"
    result = train.run(step, rounds, train.variants(compiled, kind, first))
    shown = f"--clips {clips} --channels {step.channels} --frames {step.frames} --joints {step.joints}"
    shown += f" --persons {step.persons} --rounds {rounds} --device {device}"
    shown += f" --threads {step.threads}" if step.threads else ""
    shown += f" --against {Path(step.against).name}" if step.against else ""
    shown += "".join(f" --{name}" for name, on in (("inference", inference), ("compile", compiled)) if on)
    page = train.markdown(result, f"hpnet bench train {shown}", note)
    name = ("forward" if inference else "train") + ("-against-authors" if step.against else "") + f"-{kind}"
    _write(out or Path("benchmarks") / name, result, page)


@command.command("events")
@click.option(
    "--ut",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of UT-Interaction, with segmented_set1 and background_set1.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the sequences.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the order of the clips.")
@click.option("--apart", is_flag=True, help="Single clips, for bench unknown.")
def events_command(ut: Path, out: Path, seed: int, apart: bool) -> None:
    """Join the clips of UT-Interaction into a sequence of about a minute for each of its ten recordings.

    All have 10 frames per second and one canvas, and the time between actions is made of clips of no action with the
    sizes and lengths of the actions. Writes the videos and events.csv, for `hpnet init --preset folder --table`. Prints
    how well size, rate and length alone tell actions and background apart, before and after. With --apart it writes
    the parts of the sequences as single clips, with table.csv and folds.csv (each recording is tested once).
    """
    from hpnet.bench import sequences

    clips = sequences.ut_clips(ut / "segmented_set1", ut / "background_set1")
    planned = sequences.plan_sequences(clips, seed)
    if apart:
        table = sequences.write_pieces(planned, out)
        click.echo(f"{len(table)} clips: {out / 'table.csv'}, {out / 'folds.csv'}")
    else:
        table = sequences.write_sequences(planned, out)
        click.echo(f"{len(planned)} sequences, {len(table)} events: {out / 'events.csv'}")
    for when, found in (("before", sequences.control_of_clips(clips)), ("after", sequences.control_of_pieces(planned))):
        said = f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
        click.echo(f"size, rate and length alone tell actions from background, {when}: {said}, chance 50 %")


@train_command.command("multimodal")
@click.option("--clips", type=click.IntRange(1), default=16, show_default=True, help="Clips per batch.")
@click.option("--channels", type=click.IntRange(1), default=96, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True, help="T of the pooled features.")
@click.option("--persons", type=click.IntRange(1), default=2, show_default=True)
@click.option("--classes", type=click.IntRange(2), default=120, show_default=True)
@click.option("--video-frames", type=click.IntRange(1), default=8, show_default=True, help="RGB frames per clip.")
@click.option("--image-size", type=click.IntRange(16), default=224, show_default=True, help="Side of a frame, pixels.")
@click.option("--width", type=click.IntRange(192), default=768, show_default=True,
              help="Channels of the vision transformer, a multiple of 192.")  # fmt: skip
@click.option("--layers", type=click.IntRange(1), default=12, show_default=True, help="Of the vision transformer.")
@click.option("--base-channels", type=click.IntRange(4), default=64, show_default=True, help="Of the graph networks.")
@click.option("--blocks", type=click.IntRange(1, 10), default=10, show_default=True, help="Of the graph networks.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["float32", "bfloat16"]),
              help="Only this precision.  [default: both]")  # fmt: skip
@click.option("--checkpointing", is_flag=True, help="Also measure with train.multimodal.checkpointing.")
@click.option("--texts", is_flag=True, help="Also measure with the label texts encoded in every step.")
@click.option("--compile", "compiled", is_flag=True, help="Also measure with the vision network compiled.")
@click.option("--more-clips", type=click.IntRange(1), multiple=True, help="Also measure this batch; can be repeated.")
@click.option("--count", "only_counted", is_flag=True, help="Only count FLOPs and activations, which computes nothing.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Number of rounds; medians are over them."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: torch's own number]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File without suffix.  [default: benchmarks/train-multimodal-DEVICE]"
)
def train_multimodal_command(
    precisions: tuple[str, ...],
    only_counted: bool,
    checkpointing: bool,
    texts: bool,
    compiled: bool,
    more_clips: tuple[int, ...],
    rounds: int,
    note: str,
    out: Path | None,
    **size: Any,
) -> None:
    """Measure a training step of the multimodal stream: time, memory, and FLOPs and activations of a clip.

    By default at the paper's size, with new weights and random numbers. Writes JSON and markdown.
    """
    from hpnet.bench import multimodal
    from hpnet.core.device import resolve_device

    kind = resolve_device(size["device"]).type
    called = "hpnet bench train multimodal"
    if only_counted:
        given = {name: value for name, value in size.items() if name not in ("device", "threads")}
        shown = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        shown = f"{called} --count {shown}{' --checkpointing' if checkpointing else ''}"
        result = multimodal.counted(multimodal.Size(**given), checkpointing)
        place = out or Path("benchmarks") / "train-multimodal-count"
        _write(place, result, multimodal.counted_markdown(result, shown, note))
        return
    shown = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in size.items() if value is not None)
    shown += f" --rounds {rounds}" + "".join(f" --precision {name}" for name in precisions)
    extra = multimodal.Extra(checkpointing, texts, compiled, more_clips)
    named = {"checkpointing": checkpointing, "texts": texts, "compile": compiled}
    shown += "".join(f" --{name}" for name, on in named.items() if on)
    shown += "".join(f" --more-clips {count}" for count in more_clips)
    size["device"] = kind if size["device"] == "auto" else size["device"]
    chosen = multimodal.ways(precisions or ("float32", "bfloat16"), extra)
    result = multimodal.run(multimodal.Size(**size), rounds, chosen)
    page = multimodal.markdown(result, f"{called} {shown}", note)
    _write(out or Path("benchmarks") / f"train-multimodal-{kind}", result, page)


@command.command("roofline")
@click.option("--clips", type=click.IntRange(1), default=8, show_default=True, help="Clips per batch.")
@click.option("--channels", type=click.IntRange(1), default=3, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True)
@click.option("--joints", type=click.IntRange(2), default=25, show_default=True)
@click.option("--persons", type=click.IntRange(1), default=2, show_default=True)
@click.option("--against", type=click.Path(exists=True, dir_okay=False),
              help="File model/ctrgcn.py of CTR-GCN's authors, which is run: measure it too.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Medians are of so many steps.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: torch's own number]")
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/roofline-cpu"), show_default=True,
              help="File without suffix.")  # fmt: skip
def roofline_command(rounds: int, note: str, out: Path, **size: Any) -> None:
    """Say how long a training step of CTR-GCN must take on this CPU, and where its time goes.

    Counts multiply-adds and bytes of every operation, and measures the CPU's peak, its bandwidth and the seconds of
    each. Writes JSON and markdown.
    """
    from hpnet.bench import roofline, train

    step = train.Step(**size)
    ways = train.variants(False, "cpu", "authors" if step.against else "transcription")
    result = roofline.run(step, rounds, ways)
    given = {**size, "against": step.against and Path(step.against).name, "rounds": rounds}
    shown = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    _write(out, result, roofline.markdown(result, f"hpnet bench roofline{shown}", note))


@command.command("gradients")
@click.option("--clips", type=click.IntRange(1), default=16, show_default=True, help="Clips per batch.")
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Medians are of so many steps.")
@click.option("--threads", type=click.IntRange(1), multiple=True,
              help="CPU threads, and these.  [default: one, and one per core]")  # fmt: skip
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/train-own-gradients"),
              show_default=True, help="File without ending.")  # fmt: skip
def gradients_command(clips: int, rounds: int, threads: tuple[int, ...], note: str, out: Path) -> None:
    """Compare training steps of CTR-GCN with own gradients and in plain torch operations, on a CPU.

    For the demo's and for the paper's size, in float32 and bfloat16. The ways give the same numbers.
    """
    from dataclasses import replace

    from hpnet.bench import gradients
    from hpnet.work.processes import cores

    sizes = {
        f"{name}, {count}": replace(step, clips=clips, threads=count)
        for name, step in gradients.SIZES.items()
        for count in threads or sorted({1, cores()})
    }
    result = gradients.measure(sizes, rounds)
    shown = f"--clips {clips} --rounds {rounds}" + "".join(f" --threads {count}" for count in threads)
    _write(out, result, gradients.markdown(result, f"hpnet bench gradients {shown}", note))


def _comparison_options(run: Callable[..., None]) -> Callable[..., None]:
    """The options that the benchmarks of whole commands share."""
    for option in (
        click.option("--project", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
                     help="Folder of the trained project.  [default: this folder]"),
        click.option("--rounds", type=click.IntRange(1), default=3, show_default=True,
                     help="Number of rounds; medians are over them."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--note", default="", help="A sentence for the page."),
        click.option("--out", type=click.Path(path_type=Path), help="File without suffix.  [default: in benchmarks/]"),
    ):  # fmt: skip
        run = option(run)
    return run


@command.command("predict")
@click.option(
    "--clips",
    type=click.IntRange(1),
    default=160,
    show_default=True,
    help="Number of clips of the project, test clips first.",
)
@click.option("--events", is_flag=True, help="Compare `hpnet predict --events` with windows, on long videos.")
@click.option("--video", "videos", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="With --events: this video; can be repeated.  [default: untrimmed test videos]")  # fmt: skip
@_comparison_options
def predict_command(
    clips: int, events: bool, videos: tuple[Path, ...], project: Path, rounds: int, device: str, **options: Any
) -> None:
    """Compare `hpnet predict` on files with making features of the same files (detect, estimate, pool).

    Commands run whole, in processes of their own; start-up counts.
    """
    import tempfile

    from hpnet.bench import commands
    from hpnet.core.device import resolve_device

    note, out, kind = options["note"], options["out"], resolve_device(device).type
    if events:
        shown = "hpnet bench predict --events" + "".join(f" --video {video.name}" for video in videos)
        comparison = commands.watching(project, videos, device)
        _compare(comparison, project, rounds, shown, device, note, out or Path("benchmarks") / f"predict-events-{kind}")
        return
    with tempfile.TemporaryDirectory() as folder:
        comparison = commands.predicting(project, clips, Path(folder), device)
        out = out or Path("benchmarks") / f"predict-{kind}"
        _compare(comparison, project, rounds, f"hpnet bench predict --clips {clips}", device, note, out)


@command.command("streams")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Epochs of each stream.")
@_comparison_options
def streams_command(epochs: int, project: Path, rounds: int, device: str, note: str, out: Path | None) -> None:
    """Compare `hpnet train all` with four runs of `hpnet train`, for the four topology streams.

    Commands run whole, in processes of their own; start-up counts.
    """
    from hpnet.bench import commands
    from hpnet.core.device import resolve_device

    comparison = commands.streams(project, epochs, device)
    out = out or Path("benchmarks") / f"streams-{resolve_device(device).type}"
    _compare(comparison, project, rounds, f"hpnet bench streams --epochs {epochs}", device, note, out)


@command.command("teach")
@click.option("--project", "projects", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              help="Folder of a project with pooled features; can be repeated.  [default: this folder]")  # fmt: skip
@click.option("--streams", default="hpj", show_default=True, help="Streams that are trained and read.")
@click.option("--group", type=click.IntRange(2), default=6, show_default=True, help="Actions left out at a time.")
@click.option("--ways", type=click.IntRange(2), default=5, show_default=True, help="New actions told from each other.")
@click.option("--shots", type=click.IntRange(1), default=5, show_default=True, help="Clips that teach an action.")
@click.option("--draws", type=click.IntRange(1), default=20, show_default=True, help="Draws of clips for each group.")
@click.option("--time/--no-time", "timed", default=True, show_default=True, help="Also time `hpnet teach`.")
@click.option("--only-time", is_flag=True, help="Only time `hpnet teach`; the other figures of the page stay.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--note", default="", help="A sentence for the page.  [default: as before]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/teach"), show_default=True,
              help="File without suffix; results of other projects in it stay.")  # fmt: skip
def teach_command(
    projects: tuple[Path, ...],
    streams: str,
    timed: bool,
    only_time: bool,
    device: str,
    note: str,
    out: Path,
    **numbers: int,
) -> None:
    """Measure how well actions that trained networks never saw are taught by a few clips, and what it costs the others.

    Trains the streams without each group of actions in turn; actions are cut into groups at random.
    """
    from hpnet.bench import teach

    plan = teach.Plan(tuple(name.strip() for name in streams.split(",")), **numbers)
    names = [project.absolute().name for project in projects or (Path(),)]
    whose = "hpnet bench teach" + "".join(f" --project {name}" for name in names)
    found: dict[str, dict[str, Any]] = {}
    for name, project in zip(names, projects or (Path(),), strict=True):
        found[name] = {}
        if not only_time:
            shown = f"{whose} --streams {streams}" + "".join(f" --{key} {value}" for key, value in numbers.items())
            found[name] = {**teach.run(project, plan, device), "command": shown + ("" if timed else " --no-time")}
        if timed:
            found[name]["teaching"] = teach.seconds(project, plan.shots)
        if only_time:
            found[name]["time_command"] = f"{whose} --shots {plan.shots} --only-time"
    click.echo(teach.keep(out, found, note))


@command.command("unknown")
@click.option("--project", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
              help="Folder of a project with features.  [default: this folder]")  # fmt: skip
@click.option("--folds", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="CSV of folds, as for hpnet crossval.  [default: the project's own split]")  # fmt: skip
@click.option("--network", "networks", multiple=True, type=click.Choice(["linear", "project"]), default=("linear",),
              show_default=True, help="linear, or the project's own at half its epochs; can be repeated.")  # fmt: skip
@click.option("--name", help="Title of the project on the page.  [default: report.title]")
@click.option("--note", default="", help="A sentence for the page.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/unknown"), show_default=True,
              help="File without suffix; results of other names in it stay.")  # fmt: skip
@value_options(*(f"train.topology.linear.{key}" for key in LINEAR))
def unknown_command(
    project: Path,
    folds: Path | None,
    networks: tuple[str, ...],
    name: str | None,
    note: str,
    device: str,
    out: Path,
    values: dict[str, Any],
) -> None:
    """Leave each action out of training in turn, and measure how well it is recognised as unknown (AUROC).

    In a project with a class called background, that class alone is left out, and then learnt. Features must be up to
    date. Trainings are of the joint stream; one that is finished is not done again.
    """
    from hpnet.bench import unknown
    from hpnet.crossval.folds import Folding
    from hpnet.project.folder import Project
    from hpnet.train.run import Machine

    opened = Project(project)
    params = read_params(str(project / "params.yaml"), values, whole_flag)
    folding = None if folds is None else Folding(file=folds)
    result = unknown.run(opened, params, folding, networks, Machine(device=device, threads=1))
    shown = "hpnet bench unknown" + ("" if folds is None else f" --folds {folds.name}")
    shown += "".join(f" --network {network}" for network in networks)
    shown += "".join(f" {whole_flag(key)}{_said(value)}" for key, value in values.items())
    click.echo(unknown.write(out, name or params.report.title, result, shown, note))


def _said(value: Any) -> str:
    """A parameter as it stands behind its option; nothing where the option alone says it."""
    if value is True:
        return ""
    return " " + ",".join(str(part).lower() for part in (value if isinstance(value, list) else [value]))


def _compare(
    comparison: Comparison, project: Path, rounds: int, called: str, device: str, note: str, out: Path
) -> None:
    """Time whole commands and write the page; ``called`` is the command line that the page shows."""
    from hpnet.bench import commands

    result = commands.run(comparison, project, rounds)
    shown = f"{called} --rounds {rounds} --device {device}"
    _write(out, result, commands.markdown(comparison, result, shown, note))


def _write(out: Path, result: dict[str, Any], page: str) -> None:
    """Write ``out``.json and ``out``.md, and print the page."""
    from hpnet.artifacts.files import write_json

    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_name(f"{out.name}.json"), result)
    out.with_name(f"{out.name}.md").write_text(page, encoding="utf-8")
    click.echo(page)
