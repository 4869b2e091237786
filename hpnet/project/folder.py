"""A project folder: the paths of its files, and the content of its dvc.yaml and dvc.lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.reading import decoding

if TYPE_CHECKING:
    from ..params import Params
    from .graph import Stage

# Only paths here: `hpnet doctor` must work if pydantic or yaml is missing.


@dataclass(frozen=True)
class Project:
    """A project folder.

    Attributes:
        root: the folder; the working directory by default.
    """

    root: Path = Path()

    @property
    def params_file(self) -> Path:
        """The parameters."""
        return self.root / "params.yaml"

    @property
    def graph_file(self) -> Path:
        """DVC's graph."""
        return self.root / "dvc.yaml"

    @property
    def lock_file(self) -> Path:
        """The record of DVC's runs."""
        return self.root / "dvc.lock"

    @property
    def artifacts(self) -> Path:
        """Outputs of the stages."""
        return self.root / "artifacts"

    @property
    def data(self) -> Path:
        """Output of the stage ``data`` or ``import``: the clip tables."""
        return self.artifacts / "data"

    @property
    def detect(self) -> Path:
        """Boxes and person frames."""
        return self.artifacts / "detect"

    @property
    def estimate(self) -> Path:
        """Poses and windows."""
        return self.artifacts / "estimate"

    @property
    def pool(self) -> Path:
        """Pooled features."""
        return self.artifacts / "pool"

    @property
    def fuse(self) -> Path:
        """Fused scores and their weights."""
        return self.artifacts / "fuse"

    @property
    def fusion_file(self) -> Path:
        """Weights fitted by the stage ``fuse``."""
        return self.fuse / "weights.json"

    @property
    def events(self) -> Path:
        """How events are found in untrimmed videos, and which were found in the takes."""
        return self.artifacts / "events"

    @property
    def taught(self) -> Path:
        """Actions that were taught by a few clips."""
        return self.root / "taught"

    @property
    def unknown_file(self) -> Path:
        """What the stage ``fuse`` fitted for clips of none of the actions; absent in projects of older versions."""
        return self.fuse / "unknown.json"

    def train(self, stream: str = "") -> Path:
        """Network and scores of a stream, or the folder of all streams."""
        return self.artifacts / "train" / stream

    def compare(self, variant: str = "") -> Path:
        """Network and scores of a variant of the comparison, or the folder of all."""
        return self.artifacts / "compare" / variant

    @property
    def metrics(self) -> Path:
        """Small JSON files for ``dvc metrics``."""
        return self.root / "metrics"

    @property
    def report(self) -> Path:
        """The page, its figures and tables."""
        return self.root / "report"

    @property
    def code(self) -> Path:
        """The identity of each stage's code."""
        return self.root / "code"

    @property
    def weights(self) -> Path:
        """Weights that were downloaded or copied there."""
        return self.root / "weights"

    @property
    def work(self) -> Path:
        """Finished shards and checkpoints, ignored by git and DVC."""
        return self.root / ".work"

    @property
    def graphs(self) -> Path:
        """Networks that were written as graphs, for other backends than torch."""
        return self.work / "graphs"

    def read_params(self, overrides: Mapping[str, Any] | None = None) -> Params:
        """params.yaml, checked.

        Raises:
            FileNotFoundError: it is missing.
            ValueError: a name or value in it is wrong.
        """
        from ..params import load_params

        return load_params(self.params_file, overrides)

    def read_values(self) -> dict[str, Any]:
        """params.yaml without checks and defaults, as DVC compares it."""
        return self._read_yaml(self.params_file)

    def read_stages(self) -> dict[str, Stage]:
        """The single stages of dvc.yaml, upstream first.

        Raises:
            FileNotFoundError: there is no dvc.yaml.
            ValueError: it is not YAML, or the stages depend on each other in a circle.
        """
        from .dvc_yaml import read

        if not self.graph_file.is_file():
            raise FileNotFoundError(f"{self.graph_file} is missing: run in a project folder")
        raw, values = self._read_yaml(self.graph_file), self.read_values() if self.params_file.is_file() else {}
        with decoding(self.graph_file, "compare it with that of `hpnet init`", "is no graph that DVC could run"):
            return read(raw, values)

    def read_lock(self) -> dict[str, Any]:
        """dvc.lock; empty before anything has run."""
        from ..artifacts.yaml_text import require_lock

        return require_lock(self._read_yaml(self.lock_file), str(self.lock_file)) if self.lock_file.is_file() else {}

    @staticmethod
    def _read_yaml(file: Path) -> dict[str, Any]:
        from ..artifacts.yaml_text import MOST_DVC_VALUES, read_yaml

        return read_yaml(file, MOST_DVC_VALUES)
