"""``hpnet bench predict`` and ``hpnet bench streams``: compare whole commands.

Every way is a list of commands that run one after another in an empty folder with the project's parameters, so no
finished shard or checkpoint is used. The ways take turns in every round; ratios are computed within a round.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts.clips import Clips
from ..artifacts.files import read_object
from ..artifacts.takes import Takes
from ..core.streams import MULTIMODAL, TOPOLOGY_STREAMS
from ..core.video import probe
from ..project.folder import Project
from .machine import describe_machine, machine_line

Commands = tuple[tuple[str, ...], ...]
"""Arguments of ``hpnet``, per command line."""
_HPNET = "from hpnet.stages.cli import main; main()"


@dataclass(frozen=True)
class Comparison:
    """The commands to time.

    Attributes:
        title, about: of the page.
        baseline: the way that the others are ratios to.
        ways: name -> commands.
        unit, amount: the work of a way, such as 5120 frames.
    """

    title: str
    about: str
    baseline: str
    ways: Mapping[str, Commands]
    unit: str
    amount: int


def predicting(project: Path, clips: int, folder: Path, device: str) -> Comparison:
    """Compare `hpnet predict` on files with the stages that extract features of the same files.

    Args:
        project: a trained project with its clips.
        clips: how many of its clips; the test clips first.
        folder: receives a data folder of those clips.

    Raises:
        ValueError: the project has no usable clip.
    """
    found = Clips.load(project / "artifacts" / "data")
    usable = found.usable().sort_values("split", key=lambda split: split != "test", kind="stable").head(clips)
    if usable.empty:
        raise ValueError(f"{project}: no clip can be used")
    files = [str((project / path).absolute()) for path in usable.path]
    Clips(usable.assign(path=files), found.classes).save(folder)
    extract: Commands = (
        ("detect", "--input", str(folder), "--device", device),
        ("estimate", "--input", str(folder), "--device", device),
        ("pool",),
    )
    predict = ("predict", *files, "--project", str(project.absolute()), "--json", "--device", device)
    return Comparison(
        f"hpnet predict over {len(files)} files",
        "From files to answers with `hpnet predict`, against from files to features with `hpnet detect`, `hpnet "
        "estimate` and `hpnet pool`, which is what training and testing need before any stream is run.",
        "detect, estimate, pool",
        {
            "detect, estimate, pool": extract,
            "predict": (predict,),
            "predict --streams hpj": ((*predict, "--streams", "hpj"),),
        },
        "frames",
        int(usable.frames.sum()),
    )


def watching(project: Path, videos: Sequence[Path], device: str) -> Comparison:
    """Compare `hpnet predict --events` with windows of the same videos by the same streams, in one process each.

    Args:
        project: a trained project.
        videos: long ones; empty: its untrimmed test videos.

    Raises:
        FileNotFoundError: no video is given, and the project has no untrimmed ones.
        ValueError: none of them is of the test split, or only the stream ``multimodal`` has a weight.
    """
    takes = None if videos else Takes.load(project / "artifacts" / "data").of(["test"])
    files = list(videos) if takes is None else [project / path for path in takes.paths.values()]
    if not files:
        raise ValueError(f"{project} has no untrimmed test video: name videos")
    stored = read_object(Project(project).fusion_file)
    weights = stored[stored["chosen"]]["weights"]
    read = [stream for stream, weight in weights.items() if weight and stream != MULTIMODAL]
    if not read:
        raise ValueError(f"{project}: no stream but {MULTIMODAL} has a weight, and it finds no events")
    shown = [str(file.absolute()) for file in files]
    windows = ("predict", *shown, "--project", str(project.absolute()), "--json", "--device", device, "--workers", "1")
    of_streams = (*windows, "--streams", ",".join(read))
    return Comparison(
        f"hpnet predict --events over {len(files)} videos",
        "Who does what when (`hpnet predict --events`), against an answer for every window by the same "
        f"streams ({', '.join(read)}). Windows overlap by half, so the pose network reads most frames twice; with "
        "`--events` it reads each once, and the streams read windows that are an eighth of their length apart.",
        "windows",
        {"windows": (of_streams,), "windows, all streams": (windows,), "events": ((*of_streams, "--events"),)},
        "frames",
        sum(probe(file).frames for file in files),
    )


def streams(project: Path, epochs: int, device: str) -> Comparison:
    """The four topology streams by `hpnet train all` against four runs of `hpnet train`."""
    artifacts = (project / "artifacts").absolute()
    features = ("--data", str(artifacts / "data"), "--input", str(artifacts / "pool"), "--device", device)
    given = (*features, "--topology-epochs", str(epochs), "--topology-warmup-epochs", "0")
    return Comparison(
        "Four streams at once",
        f"Training J, B, JM and BM for {epochs} epochs each by `hpnet train all`, against four runs of `hpnet train` "
        "one after another.",
        "four runs",
        {
            "four runs": tuple(("train", stream, *given) for stream in TOPOLOGY_STREAMS),
            "train all": (("train", "all", *given),),
        },
        "epochs",
        epochs * len(TOPOLOGY_STREAMS),
    )


def run(comparison: Comparison, project: Path, rounds: int) -> dict[str, Any]:
    """Time every way ``rounds`` times, in turn.

    Returns:
        The machine, the rounds, and for each way the medians ``seconds``, ``per_s`` (of the comparison's unit) and
        ``times_baseline`` (speed as a multiple of the baseline's).

    Raises:
        FileNotFoundError: ``project`` has no params.yaml.
        RuntimeError: a command failed; with the end of its output.
    """
    if not (project / "params.yaml").is_file():
        raise FileNotFoundError(
            f"{project / 'params.yaml'} is missing: give the folder of a trained project as --project"
        )
    machine = describe_machine()
    seconds: dict[str, list[float]] = {way: [] for way in comparison.ways}
    for _ in range(rounds):
        for way, commands in comparison.ways.items():
            seconds[way].append(_seconds(commands, project))
    baseline = seconds[comparison.baseline]
    figures = {
        way: {
            "seconds": _median(found),
            "per_s": _median([comparison.amount / s for s in found]),
            "times_baseline": _median([b / s for b, s in zip(baseline, found, strict=True)]),
        }
        for way, found in seconds.items()
    }
    return {"machine": machine, "rounds": rounds, comparison.unit: comparison.amount, "ways": figures}


def markdown(comparison: Comparison, result: Mapping[str, Any], command: str, note: str = "") -> str:
    """The result as a page."""
    unit, baseline = comparison.unit, comparison.baseline
    lines = [
        f"# {comparison.title}", "", comparison.about, "", f"`{command}`", "",
        f"Machine: {machine_line(result['machine'])}.", "",
        f"{comparison.amount} {unit}; start-up is in every figure. Medians over {result['rounds']} rounds, ratios "
        "within a round.", "",
        f"| way | seconds | {unit}/s | times the speed of {baseline} |", "|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {way} | {row['seconds']:.1f} | {row['per_s']:.2f} | {row['times_baseline']:.2f} |"
        for way, row in result["ways"].items()
    ]
    return "\n".join([*lines, *(["", note] if note else []), ""])


def _seconds(commands: Sequence[Sequence[str]], project: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="hpnet-bench-") as name:
        folder = Path(name)
        shutil.copy(project / "params.yaml", folder / "params.yaml")
        started = time.perf_counter()
        for words in commands:
            ran = subprocess.run([sys.executable, "-c", _HPNET, *words], cwd=folder, capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(f"hpnet {words[0]} failed: {(ran.stderr or ran.stdout).strip()[-500:]}")
        return time.perf_counter() - started


def _median(values: Sequence[float]) -> float:
    return float(f"{statistics.median(values):.4g}")
