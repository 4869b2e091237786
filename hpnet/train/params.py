"""Sections ``train`` and ``compare`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from ..core.choices import OneOf
from ..core.section import LARGEST_SEED, Section, Seed
from ..core.streams import MULTIMODAL
from ..models import AUTO, FITTED_NETWORKS, FUSIONS, HEATMAP_NETWORKS, TOPOLOGY_NETWORKS
from ..work.identity import Code
from . import FITTERS, TEXT_FILES, TEXTS


class GraphParams(Section):
    """Size of a topology network."""

    model: str = "ctrgcn"
    base_channels: int = Field(64, ge=4)
    blocks: int = Field(10, ge=1, le=10)
    skeleton: Literal["model", "released"] = Field("model", description="graph of the pose model, or the released one")
    dropout: float = Field(0.0, ge=0, lt=1)

    def chosen(self) -> tuple[str, ...]:
        """The modules of the network and its fitting; empty for an unknown name, which is refused elsewhere."""
        networks = {**TOPOLOGY_NETWORKS, **FITTED_NETWORKS, **HEATMAP_NETWORKS}
        names = (self.model, *AUTO) if self.model == "auto" else (self.model,)
        return tuple(choices[name] for name in names for choices in (networks, FITTERS) if name in choices)


class LinearParams(Section):
    """Fitting of ``graph.model: linear``: what it reads of a clip, and what cross-validation chooses from."""

    components: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (50, 100, 200), description="numbers of principal components"
    )
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (3.0, 10.0, 30.0, 100.0, 300.0),
        description="inverse strengths of regularisation, of components with a total variance of 1",
    )

    people: tuple[Literal["all", "first"], ...] = Field(
        ("all",),
        description="whose statistics: all people, in any order; first: only the one that tracking ranks first",
    )
    classifiers: tuple[Literal["logistic", "discriminant"], ...] = Field(
        ("logistic",), description="of the components: multinomial logistic regression, a shrunk linear discriminant"
    )
    parts: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        (1,), description="numbers of equal parts of a clip, each with statistics of its own; 1: the whole clip"
    )
    clocks: tuple[Literal["time", "motion"], ...] = Field(
        ("time",),
        description="parts are equally long, or the joints move equally far in them; both: one after the other",
    )
    areas: bool = Field(False, description="poses: also the signed areas that joints circle")
    distances: bool = Field(False, description="poses: also how far the joints of a person are from each other")

    mirrored: tuple[bool, ...] = Field(
        (False,),
        description="whether statistics are the mean over a clip and its mirror image; maps need pool.mirrored. Not "
        "tried where an action names a side",
    )

    @field_validator("components", "strengths", "people", "classifiers", "parts", "clocks", "mirrored")
    @classmethod
    def _some(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("expected at least one value")
        return values


class TopologyParams(Section):
    """Training of hpj, hpb, hpjm and hpbm."""

    graph: GraphParams = GraphParams()
    linear: LinearParams = LinearParams()
    bottleneck: int = Field(
        0, ge=0, description="principal components of the channels that a graph network sees; 0: the channels"
    )
    epochs: int = Field(65, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(4e-4, ge=0)
    warmup_epochs: int = Field(5, ge=0)
    schedule: Literal["step", "cosine"] = "step"
    steps: tuple[int, ...] = (35, 55)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    flip: float = Field(0.0, ge=0, le=1, description="probability of mirroring the pose of a training sample")
    mirror_pooled: bool = Field(
        False, description="flip also swaps left and right joints of pooled features, whose channels are not mirrored"
    )
    noise: float = Field(0.0, ge=0, description="sd of Gaussian noise on normalised training features")
    standardise: bool = Field(True, description="subtract mean and divide by sd per channel, measured on training")
    rotation: float = Field(
        0.0, ge=0, le=180, description="3-D poses: largest random rotation about each axis, degrees"
    )
    scale: float = Field(0.0, ge=0, lt=1, description="3-D poses: largest random change of scale, as a share")
    behind: float = Field(
        0.0,
        ge=0,
        le=1,
        description="3-D poses: probability of a half turn with left and right swapped (a person seen from behind)",
    )
    crop: float = Field(1.0, gt=0, le=1, description="shortest random span of a training clip, as a share of it")
    places: Literal["even", "random"] = Field(
        "even", description="frames of a training clip: evenly spaced in the span, or at random times in order"
    )
    test_draws: int = Field(
        1, ge=1, description="number of random draws that the scores of a clip are averaged over; 1: no draws"
    )
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution; 0: off")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution, over time; 0: off")
    accumulate: int = Field(1, ge=1, description="batches per step of the optimiser")
    lr_batch: int | None = Field(
        None,
        ge=1,
        description="clips per step for which lr is given; lr scales with batch_size * accumulate / lr_batch",
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, which are validated and kept; 0: off")

    def code(self) -> Code:
        """What a topology stream runs under these parameters."""
        chosen = ("hpnet.train.topology", *self.graph.chosen())
        return Code("hpnet.train.step", chosen, (), type(self)().model_dump(mode="json"))


class MultimodalParams(Section):
    """Training of the multimodal stream."""

    graph: GraphParams = GraphParams()
    video: str = Field("mannequin-xclip", description="packaged X-CLIP, or a transformers hub name or folder")
    frames: int = Field(8, ge=1, description="RGB frames per clip")
    smclm: bool = True
    pooled: bool = Field(True, description="false: RGB and text only, the baseline of Table XII")
    fusion: Annotated[str, OneOf("hpnet.models:FUSIONS")] = "trmm"
    refine: Literal["pooled", "text"] = Field("pooled", description="Eq. (9) as printed, or as released")
    text: str = Field(
        "sentences",
        description="label texts: names, sentences (one per class), descriptions (several, averaged), or the path of a "
        ".csv or .json of descriptions",
    )
    prompts: bool = Field(True, description="X-CLIP's video-specific prompts of the texts; HP-Net has none")
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
        1e-3, gt=0, description="AdamW's epsilon; the released value limits the steps, a small network needs less"
    )
    warmup_epochs: int = Field(5, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    clip_norm: float | None = Field(5.0, gt=0, description="largest norm of the gradient of a step; empty: any")
    standardise: bool = Field(
        True, description="pooled features: subtract mean and divide by sd per channel, measured on training"
    )
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution; 0: off; see augmented")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution; 0: off; see augmented")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring a training sample; see augmented")
    augmented: Literal["all", "frames"] = Field(
        "all",
        description="what flip, mixup and cutmix change: all, CutMix over time; frames alone, CutMix by rectangles",
    )
    mirror_pooled: bool = Field(
        False, description="flip also swaps left and right joints of pooled features, whose channels are not mirrored"
    )
    jitter: float = Field(
        0.2, ge=0, lt=1, description="strength of the change of crop, brightness and contrast of training frames"
    )
    colour: float = Field(
        0.0, ge=0, le=1, description="probability of X-CLIP's stronger colour jitter, each frame by itself"
    )
    grey: float = Field(0.0, ge=0, le=1, description="probability that a training clip is shown in grey")
    frozen_layers: int = Field(0, ge=0, description="number of first layers of the vision network that are not trained")
    drop_path: float = Field(0.0, ge=0, lt=1, description="probability of skipping the message path of a vision layer")
    checkpointing: bool = Field(
        False, description="compute the vision layers again in the backward pass, to save memory"
    )
    accumulate: int = Field(1, ge=1, description="batches per step of the optimiser")
    lr_batch: int | None = Field(
        None,
        ge=1,
        description="clips per step for which lr is given; lr scales with batch_size * accumulate / lr_batch",
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, which are validated and kept; 0: off")

    @field_validator("text")
    @classmethod
    def _known_text(cls, text: str) -> str:
        if text not in TEXTS and not text.endswith(TEXT_FILES):
            raise ValueError(f"expected {', '.join(TEXTS)}, or the path of a file ({' or '.join(TEXT_FILES)})")
        return text

    @field_validator("graph")
    @classmethod
    def _trained_by_steps(cls, graph: GraphParams) -> GraphParams:
        if graph.model in FITTERS:
            raise ValueError(f"{graph.model!r} is for the topology streams; expected {', '.join(TOPOLOGY_NETWORKS)}")
        return graph

    def code(self) -> Code:
        """What the multimodal stream runs under these parameters."""
        packaged = ("assets/mannequin-xclip/*",) if self.video == "mannequin-xclip" else ()
        chosen = ("hpnet.train.multimodal", *self.graph.chosen(), FUSIONS[self.fusion])
        given = () if self.text in TEXTS else (self.text,)
        return Code("hpnet.train.step", chosen, packaged, type(self)().model_dump(mode="json"), given)


class TrainParams(Section):
    """Training of every stream."""

    seed: Seed | tuple[Seed, ...] = Field(
        1, description="a list trains once per seed, for mean and sd; the artifacts are those of the first seed"
    )
    refit: bool = Field(
        False, description="choose the epoch on folds, then train on all clips of train and val; linear always does"
    )
    validation_folds: int = Field(
        5, ge=1, description="folds by source, for refit, linear and auto; 1: the validation split is the only fold"
    )
    measure: Literal["top1", "mean_class_accuracy"] = Field(
        "top1", description="accuracy by which epochs are chosen, and by which auto compares"
    )
    topology: TopologyParams = TopologyParams()
    multimodal: MultimodalParams = MultimodalParams()

    @property
    def seeds(self) -> tuple[int, ...]:
        """One or more."""
        return (self.seed,) if isinstance(self.seed, int) else self.seed

    def of(self, stream: str) -> TopologyParams | MultimodalParams:
        """The section of a stream."""
        return self.multimodal if stream == MULTIMODAL else self.topology

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


class CompareParams(Section):
    """The joint stream again with other features, for the report's comparison (Tables III and IX)."""

    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> overrides of section pool; region is 1 if a variant does not set it"
    )
