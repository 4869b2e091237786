"""A training run: its inputs, the machine that computes it, its identity and its model card.

The name of a run's checkpoint folder is a hash of everything that affects its result: the digests of its inputs, the
values of its parameters, the identity of its code, its seed and its precision.
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
"""A run gets one CPU thread up to this number of values in the first feature map of a batch: two
threads are not twice as fast, and with one the result does not depend on the number of cores."""
SCORES_ALONE = frozenset({"test_draws"})
"""Parameters that do not affect the weights."""


@dataclass(frozen=True)
class Folders:
    """Paths of a stream's inputs: the clip table, the pooled features, and person frames for streams that read them."""

    data: Path
    pool: Path
    frames: Path

    def load(self, *, frames: bool) -> Inputs:
        """Open them.

        Args:
            frames: whether the stream reads person frames.

        Raises:
            FileNotFoundError: an earlier stage has not run; names it.
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
    """The training data of a stream."""

    clips: Clips
    features: Features
    frames: PersonFrames | None = None

    def person_frames(self) -> PersonFrames:
        """The person frames.

        Raises:
            ValueError: they were not loaded.
        """
        if self.frames is None:
            raise ValueError("this stream reads person frames, but there are none: run `hpnet detect` first")
        return self.frames


@dataclass(frozen=True)
class Machine:
    """How a run is computed. These are not parameters in params.yaml.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        precision: float32, bfloat16, float16 or auto (:func:`hpnet.core.device.training_precision`), the arithmetic;
            weights are float32.
        threads: on CPU; None: one for small steps, see :data:`SMALL_STEP`, else torch's own number.
        deterministic: refuse GPU operations with results that vary between runs.
        cuda_graphs: topology streams on a GPU: use CUDA graphs if every clip fills every person slot.
        compiled: topology streams: use ``torch.compile``.
        start_from: folder of an earlier training whose weights a graph network starts from (:mod:`hpnet.train.warm`).
    """

    device: str = "auto"
    precision: str = "float32"
    threads: int | None = None
    deterministic: bool = False
    cuda_graphs: bool = True
    compiled: bool = False
    start_from: Path | None = None


def is_first_process() -> bool:
    """Whether this is the process of ``accelerate launch`` that writes files and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def threads(numbers: int, asked: int | None) -> int | None:
    """CPU threads of a run with ``numbers`` values in the first feature map of a batch; None: torch's own number."""
    return asked or (1 if numbers <= SMALL_STEP else None)


def model_card(
    section: TopologyParams | MultimodalParams, digests: Mapping[str, str | None], machine: Machine, device: str
) -> dict[str, Any]:
    """Inputs of a run: digests, code, versions; nothing that differs between equal runs.

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
    """The name of a run's checkpoint folder, made from everything that affects its result.

    Args:
        card: of :func:`model_card`.
        started_from: digest of the weights that it starts from.
    """
    deciding = {name: value for name, value in card.items() if name != "versions"}
    values = section.model_dump(mode="json", exclude=set(SCORES_ALONE))
    return f"{stream}-{_key(deciding, values, seed, processes, started_from)}"


def seed_folder(seed: int, seeds: tuple[int, ...], out: Path, work: Path) -> Path:
    """Output folder of a seed's run: ``out`` for the first seed; for others a folder in ``work/seeds``, separate for
    each ``out``.

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
