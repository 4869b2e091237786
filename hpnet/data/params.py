"""Section ``data`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..core.choices import OneOf, entry
from ..core.section import Section, Seed
from ..mannequin import CORRUPTIONS
from ..work.identity import Code
from .sets import SETS
from .sources import SOURCES


class DataParams(Section):
    """What the clips are, and which protocol labels and splits them."""

    source: Annotated[str, OneOf("hpnet.data.sources:SOURCES")] = Field(
        "mannequin", description="where the clips come from: rendered mannequins, or a folder of videos"
    )
    videos: str = Field("videos", description="folder of videos, used if source is 'folder'")
    table: str = Field(
        "",
        description="CSV of video, action, source and split, used instead of sub-folders; with start_s and end_s: of "
        "events in untrimmed videos; empty: none",
    )
    background: float = Field(
        3.0,
        ge=0,
        description="untrimmed videos: clips of the time between events, as a multiple of the clips of one action",
    )
    protocol: Annotated[str, OneOf("hpnet.data.sets:SETS")] = Field(
        "mannequin-xsub", description="labels and splits, see `hpnet protocol --help`"
    )
    val_fraction: float = Field(
        0.15, ge=0, lt=1, description="share of the training clips held out for validation, by subject"
    )
    keep_missing: bool = Field(False, description="NTU: keep the clips that the published lists leave out")
    max_failed: float = Field(0.05, ge=0, le=1, description="a stage fails if a larger share of its clips fails")
    seed: Seed = 7
    subjects: int = Field(10, ge=2, le=40, description="mannequins: number of people")
    cameras: int = Field(3, ge=1, le=3, description="mannequins: number of cameras")
    setups: int = Field(2, ge=1, le=4, description="mannequins: number of rooms and camera set-ups")
    repetitions: int = Field(1, ge=1, description="mannequins: number of times each subject does each action")
    frames: int = Field(24, ge=1, description="mannequins: frames per clip")
    fps: int = Field(12, ge=1, description="mannequins: frames per second")
    width: int = Field(320, ge=64, description="mannequins: frame width, pixels")
    height: int = Field(240, ge=64, description="mannequins: frame height, pixels")
    takes: int = Field(
        0, ge=0, description="mannequins: number of long takes of test subjects, several actions in each"
    )
    training_takes: int = Field(
        0, ge=0, description="mannequins: number of long takes of the other subjects; clips are cut from all takes"
    )
    take_seconds: float = Field(60.0, ge=10, le=600, description="mannequins: length of a take, seconds")
    corruption: Annotated[str, OneOf("hpnet.mannequin:CORRUPTIONS")] = Field(
        "none", description="mannequins: corruption of the test clips (only)"
    )

    def code(self) -> Code:
        """What the stage runs under these parameters."""
        data_set = entry(SETS, self.protocol, "data.protocol")
        corruption = (CORRUPTIONS[self.corruption],) if self.source == "mannequin" else ()
        return Code(
            "hpnet.data.step",
            (entry(SOURCES, self.source, "data.source"), data_set, *corruption),
            (f"data/sets/{data_set.rpartition('.')[2]}_*",),
            type(self)().model_dump(mode="json"),
        )
