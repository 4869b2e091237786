"""A trained project as a folder of ONNX and plain files, which predicts where torch is not installed.

``hpnet export bundle`` writes it (:mod:`hpnet.predict.bundling`). Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.features import FeatureMeta
from ..artifacts.files import load_meta, typed
from ..artifacts.poses import PoseMeta
from ..artifacts.taught import Taught
from ..artifacts.unknown import Unknown
from ..core.choices import require
from ..core.streams import MULTIMODAL
from ..detect.exported import Kind, build_exported
from ..estimate.exported import ExportedEstimator
from ..events.decoding import Decoder
from ..events.finding import Rule
from ..params import Params
from ..weights.graphs import RUNTIMES, open_graph
from .following import STEPS
from .people import PeopleFinder
from .person_pictures import person_pictures
from .seeing import Eyes
from .stored import of_streams
from .trained import WHOLE_WINDOWS, Sample, Trained, stacked

CARD = "bundle.json"
FORMAT = 1
"""Of the card; other numbers are refused."""
DETECTOR, POSE, STREAMS, TAUGHT, UNKNOWN = "detector.onnx", "pose.onnx", "streams", "taught", "unknown.json"
OUTPUTS = ("logits", "embedding", "inputs")
"""Of a stream's graph: scores of the classes, what taught actions are told apart by, what the classifier reads."""
DEFAULT_RUNTIME = "onnxruntime"
"""Runs the graphs of a project of torch."""
BATCH = 16
SAME_S = 1e-3


@dataclass(frozen=True)
class Contents:
    """The card of a bundle.

    Attributes:
        format: :data:`FORMAT`.
        made_by: version of hpnet.
        params: sections detect, estimate, pool and fuse of the parameters.
        fusion: the rule of fusion with its weights.
        streams: in the order of the fusion.
        slots: stream -> how many people its network has room for.
        classes, features, frames: as in :class:`hpnet.predict.trained.Trained`.
        poses: of the pose network, as JSON.
        widths: see :class:`hpnet.estimate.batches.Estimator`.
        detector, person: kind of the detector's graph, and number of its class person; empty: none runs.
        training_s: median and longest duration of the training clips.
        training_fps: their median rate.
        mutual: numbers of the actions that people do with each other.
        pictures: how many person frames the stream multimodal reads, and their side in pixels; zeros: it is not there.
        plain, learnt: rules by which events are found; see :meth:`hpnet.predict.trained.Trained.event_rules`.
    """

    format: int
    made_by: str
    params: dict[str, Any]
    fusion: dict[str, Any]
    streams: tuple[str, ...]
    slots: dict[str, int]
    classes: tuple[str, ...]
    features: dict[str, Any]
    frames: int
    poses: dict[str, Any]
    widths: tuple[float, ...]
    detector: str
    person: int
    training_s: tuple[float, float]
    training_fps: float
    mutual: tuple[int, ...]
    plain: dict[str, Any]
    learnt: dict[str, Any] | None
    pictures: tuple[int, int] = (0, 0)


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle."""
    return (folder / CARD).is_file()


class Bundle(Trained):
    """The networks of a bundle.

    Args:
        folder: the bundle.
        streams: use only these; None: all.
        device: auto or cpu.
        backend: what runs the graphs; None: what the card says.

    Raises:
        FileNotFoundError: a file is missing.
        ModuleNotFoundError: what runs the graphs is not installed.
        ValueError: it is damaged, of another version, or a name is unknown.
    """

    def __init__(
        self,
        folder: Path,
        streams: Sequence[str] | None = None,
        device: str = "auto",
        backend: str | None = None,
    ) -> None:
        if device not in ("auto", "cpu"):
            raise ValueError(f"--device {device}: a bundle runs on the CPU; its project runs on a GPU")
        self.root = folder
        self.contents = read_contents(folder)
        card = self.contents
        self.params = Params.model_validate(card.params)
        said = self.params.estimate.backend  # torch, if an earlier hpnet wrote the bundle
        self.backend = backend or (said if said in RUNTIMES else DEFAULT_RUNTIME)
        require(RUNTIMES, self.backend, "backend of a bundle")
        self.fusion = of_streams(card.fusion, streams, str(folder / CARD))
        self.streams = tuple(stream for stream in card.streams if self.fusion["weights"].get(stream))
        self.classes = list(card.classes)
        self.features = FeatureMeta.from_json(card.features)
        self.frames, self.on_gpu = card.frames, False
        self.wants_frames = card.pictures[0] if MULTIMODAL in self.streams else 0
        self.people = min(card.slots[stream] for stream in self.streams)
        self._graphs = {
            stream: open_graph(folder / STREAMS / f"{stream}.onnx", self.backend) for stream in self.streams
        }
        self.taught = Taught.load(folder / TAUGHT)
        if self.taught is not None and set(self.taught.belongs) - set(self.streams):
            raise ValueError(f"the taught actions of {folder} need all of {', '.join(self.taught.belongs)}")
        unknown = Unknown.load(folder / UNKNOWN)
        self.refusal = None if unknown is None else unknown.of(self.fusion["weights"])
        self.background = None if unknown is None or self.refusal is None else unknown.background

    def eyes(self, *, people: int | None, device: str, precision: str) -> Eyes:
        """See :meth:`Trained.eyes`."""
        card, detect = self.contents, self.params.detect
        kind: Kind = "yolo" if card.detector == "yolo" else "movenet"
        detector = None
        if card.detector:
            seen = open_graph(self.root / DETECTOR, self.backend, precision)
            detector = build_exported(seen, kind, card.person, detect)
        pose = open_graph(self.root / POSE, self.backend, precision)
        estimator = ExportedEstimator(pose, self.params.estimate, card.widths, PoseMeta.from_json(card.poses))
        return Eyes(estimator, PeopleFinder(detect, people or detect.persons, detector))

    def logits(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """See :meth:`Trained.logits`."""
        found = self._outputs(samples, 0)
        if self.wants_frames:
            found[MULTIMODAL] = np.concatenate([self._multimodal(sample) for sample in samples])
        return {stream: found[stream] for stream in self.streams}

    def embeddings(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """See :meth:`Trained.embeddings`."""
        return self._outputs(samples, 1)

    def classifier_inputs(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float32]]:
        """See :meth:`Trained.classifier_inputs`."""
        return self._outputs(samples, 2)

    def _outputs(self, samples: Sequence[Sample], which: int) -> dict[str, NDArray[np.float32]]:
        graphs = {stream: graph for stream, graph in self._graphs.items() if stream != MULTIMODAL}
        found: dict[str, list[NDArray[np.float32]]] = {stream: [] for stream in graphs}
        for start in range(0, len(samples), BATCH):
            for stream, graph in graphs.items():
                people, valid = stacked(samples[start : start + BATCH], self.contents.slots[stream])
                found[stream].append(graph(people, valid)[which])
        return {stream: np.concatenate(parts) for stream, parts in found.items()}

    def _multimodal(self, sample: Sample) -> NDArray[np.float32]:
        """Logits (1, K); its graph is for one clip."""
        people, valid = stacked([sample], self.contents.slots[MULTIMODAL])
        pictures = person_pictures([sample], *self.contents.pictures)
        logits: NDArray[np.float32] = self._graphs[MULTIMODAL](people, valid, pictures)[0]
        return logits

    def training_seconds(self) -> tuple[float, float]:
        """See :meth:`Trained.training_seconds`."""
        return self.contents.training_s

    def training_fps(self) -> float:
        """See :meth:`Trained.training_fps`."""
        return self.contents.training_fps

    @property
    def mutual(self) -> NDArray[np.bool_]:
        """See :attr:`Trained.mutual`."""
        return np.isin(np.arange(len(self.classes)), self.contents.mutual)

    def without_frames(self) -> Bundle:
        """See :meth:`Trained.without_frames`."""
        streams = [stream for stream in self.streams if stream != MULTIMODAL]
        if len(streams) == len(self.streams):
            return self
        if not streams:
            raise ValueError(WHOLE_WINDOWS)
        return Bundle(self.root, streams, backend=self.backend)

    def event_rules(self, window_s: float) -> tuple[Rule, Rule | None]:
        """See :meth:`Trained.event_rules`."""
        plain = Rule.from_json(self.contents.plain)
        decoder = plain.decoder
        steps = Decoder(decoder.durations, window_s / STEPS, decoder.weight, decoder.entry)
        learnt = None if self.contents.learnt is None else Rule.from_json(self.contents.learnt)
        same = learnt is not None and abs(learnt.window_s - window_s) < SAME_S
        return replace(plain, window_s=window_s, decoder=steps), learnt if same else None

    @property
    def imported(self) -> bool:
        """See :attr:`Trained.imported`."""
        return False

    @property
    def without_unknown(self) -> str:
        """See :attr:`Trained.without_unknown`."""
        if self.refusal is not None or self.params.fuse.unknown == "none":
            return ""
        return f"{self.root / UNKNOWN} has none for these streams"

    @property
    def pose_meta(self) -> PoseMeta | None:
        """See :attr:`Trained.pose_meta`."""
        return PoseMeta.from_json(self.contents.poses)


def read_contents(folder: Path) -> Contents:
    """The card of a bundle.

    Raises:
        ValueError: it is damaged, or of another version.
    """

    def build(raw: Mapping[str, Any]) -> Contents:
        if raw.get("format") != FORMAT:
            raise ValueError(f"format {raw.get('format')}, this hpnet reads {FORMAT}: export the project again")
        found = typed(dict(raw), Contents)
        if (MULTIMODAL in found.slots) != (min(found.pictures) > 0):
            raise ValueError(f"pictures {found.pictures} do not agree with the streams: export the project again")
        return found

    return load_meta(folder / CARD, build)
