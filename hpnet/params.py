"""The parameters of a project: one pydantic model per section of ``params.yaml``.

Unknown keys are refused by their dotted name, with the nearest valid name as a suggestion, so that a typo never
silently runs with a default. Device, precision, workers and engine are deliberately absent: they are options of the
commands, and moving to another machine must invalidate nothing.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

Stream = Literal["hpj", "hpb", "hpjm", "hpbm", "hpnet"]
STREAMS: tuple[str, ...] = get_args(Stream)
TOPOLOGY_STREAMS: tuple[str, ...] = STREAMS[:4]
LARGEST_SEED = 2**32 - 1
MOST_VALUES = 10_000
"""Values in a parameter file with its aliases written out; a project of every parameter has a hundred."""
DEEPEST_YAML = 32
LONGEST_VALUE = 200
"""Characters of a value in a message, and of a number in a file."""
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""What numpy, torch and scikit-learn all take."""


class Section(BaseModel):
    """A section of params.yaml: immutable, and closed to unknown keys. Its numbers are finite, and no booleans."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, raw: Any) -> Any:
        return {} if raw is None else raw

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if {int, float} & kinds and any(isinstance(one, bool) for one in inner):
            raise ValueError("expected a number, not true or false")
        return value


class DataParams(Section):
    """What the clips are, and which protocol labels and splits them."""

    source: Literal["mannequin", "folder"] = "mannequin"
    videos: str = Field("videos", description="folder of videos, read when source is 'folder'")
    table: str = Field("", description="CSV of video, action, source and split, instead of sub-folders; empty: none")
    protocol: str = "mannequin-xsub"
    val_fraction: float = Field(0.15, ge=0, lt=1, description="share of the training subjects held out for validation")
    keep_missing: bool = Field(False, description="NTU: keep the clips that the published lists leave out")
    max_failed: float = Field(0.05, ge=0, le=1, description="share of clips that may fail before a stage fails")
    seed: Seed = 7
    subjects: int = Field(10, ge=2, le=40, description="mannequins: people")
    cameras: int = Field(3, ge=1, le=3, description="mannequins: cameras")
    setups: int = Field(2, ge=1, le=4, description="mannequins: rooms and camera set-ups")
    repetitions: int = Field(1, ge=1, description="mannequins: times each subject does each action")
    frames: int = Field(24, ge=1, description="mannequins: frames per clip")
    fps: int = Field(12, ge=1, description="mannequins: frames per second")
    width: int = Field(320, ge=64, description="mannequins: frame width, pixels")
    height: int = Field(240, ge=64, description="mannequins: frame height, pixels")
    corruption: Literal["none", "night", "overexposure", "occlusion", "blur", "noise"] = Field(
        "none", description="mannequins: corruption of the test clips alone"
    )


class DetectParams(Section):
    """Frames -> person boxes and tracks."""

    enabled: bool = Field(True, description="false: the whole frame is the only box (Table XIII)")
    model: str = Field("mannequin-yolo", description="packaged detector, or an ultralytics model name or .pt path")
    image_size: int = Field(320, ge=32)
    confidence: float = Field(0.25, ge=0, le=1)
    iou: float = Field(0.45, ge=0, le=1)
    stride: int = Field(1, ge=1, description="detect every n-th frame and interpolate tracks between")
    persons: int = Field(2, ge=1, le=8, description="people kept per clip, best-ranked first")
    frames: int = Field(8, ge=0, description="person frames kept per clip for the RGB stream; 0: all of them")
    frame_size: int = Field(224, ge=32, description="side of a person frame, pixels")


class EstimateParams(Section):
    """Person crops -> keypoints and windows of the tapped feature maps."""

    model: str = Field("mannequin-simcc", description="pose network, see hpnet.estimate.NETWORKS")
    weights: str | None = Field(None, description="checkpoint path; empty: the packaged or fetched one of this model")
    taps: tuple[str, ...] = Field(("h2s3",), description="maps to cache: h1s1 to h3s3, rgb, module paths")
    window: int = Field(5, ge=1, description="odd; the largest region that can be pooled later")
    vectors: bool = Field(False, description="also cache the SimCC coordinate vectors, for pool.kind: simcc")
    box_scale: float = Field(1.25, gt=0, description="crop padding around a box")
    frames: int = Field(0, ge=0, description="frames estimated per clip, uniform in time; 0: all of them")
    parity: Literal["none", "released-trainbn", "released-eval"] = "none"


class PoolParams(Section):
    """Windows -> features of one length."""

    kind: Literal["pooled", "pose2d", "simcc"] = "pooled"
    tap: str = "h2s3"
    region: int = Field(1, ge=1, description="odd; R of Eq. (3), in cells of the tapped map")
    operator: Literal["mean", "max"] = "mean"
    frames: int = Field(24, ge=1, description="T after linear resampling")


class GraphParams(Section):
    """Size of a topology network."""

    model: str = "ctrgcn"
    base_channels: int = Field(64, ge=4)
    blocks: int = Field(10, ge=1, le=10)
    skeleton: Literal["model", "released"] = Field("model", description="graph of the pose model, or the released one")
    dropout: float = Field(0.0, ge=0, lt=1)


class TopologyParams(Section):
    """Training of hpj, hpb, hpjm and hpbm."""

    graph: GraphParams = GraphParams()
    epochs: int = Field(65, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(4e-4, ge=0)
    warmup_epochs: int = Field(5, ge=0)
    schedule: Literal["step", "cosine"] = "step"
    steps: tuple[int, ...] = (35, 55)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    flip: float = Field(0.0, ge=0, le=1, description="probability of mirroring the joints of a training sample")
    noise: float = Field(0.0, ge=0, description="sd of Gaussian noise on normalised training features")
    standardise: bool = Field(True, description="subtract mean and divide by sd per channel, measured on training")
    rotation: float = Field(0.0, ge=0, le=180, description="3-D poses: largest random turn about each axis, degrees")
    scale: float = Field(0.0, ge=0, lt=1, description="3-D poses: largest random change of size, as a share")
    behind: float = Field(
        0.0, ge=0, le=1, description="3-D poses: probability of a half turn with left and right swapped, as from behind"
    )
    crop: float = Field(1.0, gt=0, le=1, description="shortest random span of a training clip, as a share of it")
    places: Literal["even", "random"] = Field(
        "even", description="frames of a training clip: evenly spaced in the span, or at random places in order"
    )
    test_draws: int = Field(
        1, ge=1, description="a clip's scores: mean over so many draws of what moves training clips; 1: as it is"
    )
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution; 0: never")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution, over time; 0: never")
    accumulate: int = Field(1, ge=1, description="batches per step of the optimiser")
    lr_batch: int | None = Field(
        None, ge=1, description="clips per step that lr is for; lr scales linearly with batch_size * accumulate / it"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, which are validated and kept; 0: off")


class MultimodalParams(Section):
    """Training of the hpnet stream."""

    graph: GraphParams = GraphParams()
    video: str = Field("mannequin-xclip", description="packaged X-CLIP, or a transformers hub name or folder")
    frames: int = Field(8, ge=1, description="RGB frames per clip")
    smclm: bool = True
    pooled: bool = Field(True, description="false: RGB and text alone, the baseline of Table XII")
    fusion: Literal["trmm", "film", "cross_attention", "none"] = "trmm"
    refine: Literal["pooled", "text"] = Field("pooled", description="Eq. (9) as printed, or as released")
    lambdas: tuple[float, float, float] = Field(
        (1.0, 1.0, 1.0), description="weights of the auxiliary losses, Eq. (14)"
    )
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16, ge=1)
    lr: float = Field(8e-6, gt=0)
    message_scale: float = Field(10.0, gt=0, description="learning-rate factor of message and MIT parts")
    graph_scale: float = Field(1e4, gt=0, description="learning-rate factor of the graph networks")
    fusion_scale: float | None = Field(
        None, gt=0, description="learning-rate factor of the fusion module; graph_scale by default, as released"
    )
    weight_decay: float = Field(1e-3, ge=0)
    adam_epsilon: float = Field(
        1e-3, gt=0, description="AdamW's epsilon; as released it bounds the steps, a small network needs less"
    )
    warmup_epochs: int = Field(5, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0, description="alpha of the Beta distribution; applied to every modality alike")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution, over time, all modalities alike")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring frames and joints of a training sample")
    jitter: float = Field(0.2, ge=0, lt=1, description="strength of crop and colour jitter of training frames")
    frozen_layers: int = Field(0, ge=0, description="first layers of the vision network that are not trained")
    drop_path: float = Field(0.0, ge=0, lt=1, description="probability of skipping a vision layer's message path")
    checkpointing: bool = Field(False, description="compute the vision layers again in the backward pass, for memory")
    accumulate: int = Field(1, ge=1, description="batches per step of the optimiser")
    lr_batch: int | None = Field(
        None, ge=1, description="clips per step that lr is for; lr scales linearly with batch_size * accumulate / it"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, which are validated and kept; 0: off")


class TrainParams(Section):
    """Training of every stream."""

    seed: Seed | tuple[Seed, ...] = Field(1, description="a list: a run per seed, mean and sd; the first one is kept")
    topology: TopologyParams = TopologyParams()
    hpnet: MultimodalParams = MultimodalParams()

    @property
    def seeds(self) -> tuple[int, ...]:
        """One or more."""
        return (self.seed,) if isinstance(self.seed, int) else self.seed

    @field_validator("seed", mode="wrap")
    @classmethod
    def _distinct(cls, seed: Any, check: ValidatorFunctionWrapHandler) -> int | tuple[int, ...]:
        try:
            found: int | tuple[int, ...] = check(seed)
        except ValidationError:  # one per kind that it could have been
            found = ()
        if not isinstance(found, int) and (not found or len(set(found)) < len(found)):
            raise ValueError(f"expected a whole number from 0 to {LARGEST_SEED}, or a list of different ones")
        return found


class FuseParams(Section):
    """Scores of the streams -> one score."""

    rule: Literal["weighted", "balanced"] = "weighted"
    weights: dict[str, float] | Literal["validation"] = Field(
        "validation", description="weight per stream, or 'validation' to fit them on the validation split"
    )
    tau: float = Field(1.0, ge=0, description="balanced: strength of the logit adjustment")

    @field_validator("weights", mode="before")
    @classmethod
    def _readable(cls, weights: Any) -> Any:
        numbers = isinstance(weights, dict) and all(
            isinstance(w, int | float) and abs(w) < math.inf for w in weights.values()
        )
        if weights != "validation" and not (numbers and weights):
            raise ValueError("expected 'validation', or a number per stream such as hpj=0.1,hpnet=11")
        return weights


class CompareParams(Section):
    """The joint stream again with other features, for the report's comparison (Tables III and IX)."""

    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> overrides of section pool; region is 1 where a variant names none"
    )


class ReportParams(Section):
    """The page."""

    title: str = "hpnet"
    examples: int = Field(6, ge=0, description="clips drawn with boxes, skeletons, maps and pooled features")
    bootstrap: int = Field(1000, ge=10, description="resamples behind every interval")
    seed: Seed = 0


class Params(Section):
    """All of params.yaml."""

    data: DataParams = DataParams()
    detect: DetectParams = DetectParams()
    estimate: EstimateParams = EstimateParams()
    pool: PoolParams = PoolParams()
    train: TrainParams = TrainParams()
    fuse: FuseParams = FuseParams()
    compare: CompareParams = CompareParams()
    report: ReportParams = ReportParams()

    def variant(self, name: str) -> PoolParams:
        """Section pool as a variant of the comparison has it.

        Its region is its own, not pool.region: what differs between variants stays what their names say, and another
        pool.region trains no variant again.
        """
        shared = self.pool.model_dump(exclude={"region"})
        return PoolParams.model_validate({**shared, **self.compare.variants[name]})


def validate(raw: dict[str, Any], source: str = "params.yaml", overrides: Mapping[str, Any] | None = None) -> Params:
    """Check a nested dict of parameters with ``overrides`` (dotted name -> value), which came from the command line.

    Args:
        source: what a message names as the place of a value that is none of the overrides.

    Raises:
        ValueError: one line per problem, each with its place, the dotted name, the value and, for an unknown name, the
            nearest valid one.
    """
    given = overrides or {}
    for name, value in given.items():
        raw = _assigned(raw, name.split("."), value)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(item, source, given) for item in error.errors())) from None


def load_params(path: str | Path = "params.yaml", overrides: Mapping[str, Any] | None = None) -> Params:
    """Read params.yaml and apply ``overrides``, as :func:`validate` does.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML, gives a key twice, holds more than :data:`MOST_VALUES` values, or a parameter
            is unknown or out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run in a project folder, or make one with `hpnet init DIR`")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2020-13-45
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold sections (data:, detect:, ...), not a {type(raw).__name__}")
    return validate(raw, str(path), overrides)


def dotted_names(model: type[BaseModel] = Params, prefix: str = "") -> list[str]:
    """Every valid dotted parameter name, sections included."""
    names: list[str] = []
    for key, field in model.model_fields.items():
        names.append(prefix + key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += dotted_names(field.annotation, f"{prefix}{key}.")
    return names


def option_flag(name: str) -> str:
    """The option of a parameter: ``train.topology.lr`` is ``--topology-lr`` of its section's commands."""
    return "--" + "-".join(name.split(".")[1:]).replace("_", "-")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a section, where PyYAML silently takes the last.

    And refuses a file whose aliases (``*name``) would make of a few lines more values than any project has: each is
    cheap to read, but checking or printing them never ends.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.depth = 0
        self.composed = 0
        self.weights: dict[yaml.Node, int] = {}  # values in a finished node with its aliases written out

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            anchor = self.peek_event().anchor  # type: ignore[no-untyped-call]
            if anchor in self.anchors and self.anchors[anchor] not in self.weights:
                raise yaml.YAMLError(f"*{anchor} stands within itself")
        self.depth += 1
        self.composed += 1
        if self.depth > DEEPEST_YAML:
            raise yaml.YAMLError(f"it is nested deeper than {DEEPEST_YAML} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node not in self.weights:
            self.weights[node] = self._weight(node)
        if self.composed > MOST_VALUES or (node is not None and self.weights[node] > MOST_VALUES):
            raise yaml.YAMLError(f"with its aliases written out it holds more than {MOST_VALUES} values")
        return node

    def _weight(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            if node.tag != "tag:yaml.org,2002:str" and len(node.value) > LONGEST_VALUE:
                raise yaml.YAMLError(f"it holds a number or date of {len(node.value)} characters")
            return 1 + len(node.value) // LONGEST_VALUE
        parts = itertools.chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        return 1 + sum(self.weights[part] for part in parts)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise yaml.YAMLError(
                        f"line {line} gives {key.value!r} again, after line {lines[key.value]}: leave one of them out"
                    )
                lines[key.value] = line
        return node


def _kinds(annotation: Any) -> set[Any]:
    """The types in an annotation: int, float and None for ``tuple[int, ...] | float | None``."""
    inner = get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation}


def _assigned(raw: dict[str, Any], name: list[str], value: Any) -> dict[str, Any]:
    """``raw`` with a value at a path; as it is where a section of the path is no section, which is refused later."""
    key, *rest = name
    if not rest:
        return {**raw, key: value}
    section = {} if raw.get(key) is None else raw[key]
    return {**raw, key: _assigned(section, rest, value)} if isinstance(section, dict) else raw


def _explain(item: Any, source: str, overrides: Collection[str]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, dotted_names(), n=1, cutoff=0.5)
        return f"{source}: unknown parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "model_type":
        message = "expected a section, a line `name: value` for each of its parameters"
    place = next((option_flag(given) for given in overrides if f"{name}.".startswith(f"{given}.")), source)
    value = repr(item["input"])
    if len(value) > LONGEST_VALUE:
        value = f"{value[:LONGEST_VALUE]}..."
    return f"{place}: {name} = {value}: {message[0].lower()}{message[1:]}"
