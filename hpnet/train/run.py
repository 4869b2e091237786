"""What a training run is: what it reads, the machine that computes it, its identity and its model card.

A run's checkpoints are in a folder named after everything that decides its result: the digests of its inputs, the
values of its parameters, the identity of the code that it runs, its seed and its arithmetic.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..artifacts.frames import PersonFrames
from ..work.shards import file_digest
from .params import MultimodalParams, TopologyParams

SMALL_STEP = 2_000_000
"""Numbers in the first feature map of a batch, up to which a run gets one CPU thread: two are not twice as fast, and
then the result is the same on every number of cores."""
SCORES_ALONE = frozenset({"test_draws"})
"""Parameters that no weight depends on."""


@dataclass(frozen=True)
class Folders:
    """Where a stream's inputs are: the clip table, the pooled features, and person frames for those who read them."""

    data: Path
    pool: Path
    frames: Path

    def load(self, *, frames: bool) -> Inputs:
        """Open them.

        Args:
            frames: whether the stream reads person frames.

        Raises:
            FileNotFoundError: a stage before has not run; names it.
        """
        return Inputs(Clips.load(self.data), Features.load(self.pool), PersonFrames(self.frames) if frames else None)

    def digests(self, *, frames: bool) -> dict[str, str | None]:
        """Digests of the files, for the run's identity and its card."""
        pool = [self.pool / name for name in ("features.npy", "index.parquet", "meta.json")]
        return {
            "features_digest": _files_digest(pool),
            "clips_digest": _files_digest([self.data / name for name in ("clips.csv", "classes.csv")]),
            "frames_digest": _files_digest(sorted(self.frames.glob("frames-*.parquet"))) if frames else None,
        }


@dataclass(frozen=True)
class Inputs:
    """What a stream is trained on."""

    clips: Clips
    features: Features
    frames: PersonFrames | None = None

    def person_frames(self) -> PersonFrames:
        """The person frames.

        Raises:
            ValueError: they were not loaded.
        """
        if self.frames is None:
            raise ValueError("this stream reads person frames, and none were given: run `hpnet detect` first")
        return self.frames


@dataclass(frozen=True)
class Machine:
    """How a run is computed. No tracked parameter.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        precision: float32, bfloat16 or float16, the arithmetic; weights are float32.
        threads: on CPU; None: one for small steps, see :data:`SMALL_STEP`, else torch's own number.
        deterministic: refuse GPU operations whose result varies between runs.
        cuda_graphs: topology streams on a GPU: a launch per pass, where every clip fills every person slot.
        compiled: topology streams: train through ``torch.compile``.
    """

    device: str = "auto"
    precision: str = "float32"
    threads: int | None = None
    deterministic: bool = False
    cuda_graphs: bool = True
    compiled: bool = False


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks, of those of ``accelerate launch``."""
    return int(os.environ.get("RANK", "0")) == 0


def threads(numbers: int, asked: int | None) -> int | None:
    """CPU threads of a run whose first feature map of a batch holds ``numbers``; None: torch's own number."""
    return asked or (1 if numbers <= SMALL_STEP else None)


def model_card(
    section: TopologyParams | MultimodalParams, digests: Mapping[str, str | None], machine: Machine, device: str
) -> dict[str, Any]:
    """What a run was made from: digests, code, versions; nothing that another run would not have.

    Args:
        device: its kind, cpu or cuda.
    """
    return {
        **digests,
        "code": section.code().digest(),
        "versions": {"python": platform.python_version(), **package_versions("hpnet", "torch", "accelerate", "numpy")},
        "device": device,
        "precision": machine.precision,
    }


def package_versions(*names: str) -> dict[str, str]:
    """Versions of installed packages, by name."""
    return {name: version(name) for name in names}


def run_name(
    stream: str,
    section: TopologyParams | MultimodalParams,
    card: Mapping[str, Any],
    *,
    seed: int,
    processes: int = 1,
    started_from: str | None = None,
) -> str:
    """The name of a run's checkpoint folder, which everything that decides its result makes.

    Args:
        card: of :func:`model_card`.
        started_from: digest of the weights that it starts from.
    """
    deciding = {name: value for name, value in card.items() if name != "versions"}
    values = section.model_dump(mode="json", exclude=set(SCORES_ALONE))
    return f"{stream}-{_key(deciding, values, seed, processes, started_from)}"


def seed_folder(seed: int, seeds: tuple[int, ...], out: Path, work: Path) -> Path:
    """Where a seed's run goes: the first one's into ``out``, others into ``work/seeds``, each ``out`` has its own.

    Args:
        work: ``.work`` of the project.
    """
    if seed == seeds[0]:
        return out
    whole, root = out.resolve(), work.resolve().parent
    outside = hashlib.blake2b(str(whole).encode(), digest_size=8).hexdigest()
    place = whole.relative_to(root) if whole.is_relative_to(root) else Path(f"{whole.name}-{outside}")
    return work / "seeds" / place / str(seed)


def _files_digest(files: list[Path]) -> str:
    return _key([(file.name, file_digest(file)) for file in files])


def _key(*parts: Any) -> str:
    """A hash of JSON values."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
