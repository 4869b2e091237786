"""Example clips: a frame with boxes and skeletons, the maps of the pose network, and the pooled features drawn."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses
from ..artifacts.videos import stretches
from ..core.stretch import Stretch
from ..core.video import VideoError, read_frames
from .collect import Collected
from .figures import Image, data_uri, feature_picture, map_picture, motion_picture, people_picture

FullMaps = Callable[[Image], Mapping[str, NDArray[np.floating]]]
"""A person crop (H, W, 3) RGB at the pose network's input size -> tap name -> map (C, h, w)."""

LARGEST_SIDE_PX = 480
SCALES = {"h1s3": "H1", "h2s3": "H2", "h3s3": "H3"}


@dataclass(frozen=True)
class Picture:
    """A small picture with its name and a line of text."""

    name: str
    text: str
    uri: str


@dataclass(frozen=True)
class Vote:
    """A class and its probability."""

    name: str
    probability: float
    true: bool


@dataclass(frozen=True)
class Example:
    """One drawn clip. ``notes`` say what could not be drawn."""

    clip_id: str
    truth: str
    picture: str
    votes: tuple[Vote, ...]
    verdict: str
    right: bool
    maps: tuple[Picture, ...]
    features: tuple[Picture, ...]
    joints: tuple[str, ...]
    notes: tuple[str, ...]
    frame_rgb: Image | None
    pictures: dict[str, Image]


def telling_frame(poses: ClipPoses) -> int:
    """The valid frame in which person 0 is farthest from their own mean pose; 0 if there is no person."""
    valid = poses.valid[:, 0] if poses.valid.shape[1] else np.zeros(0, bool)
    if not valid.any():
        return 0
    joints = poses.keypoints_px[:, 0]  # (T, V, 2)
    distance = np.linalg.norm(joints - joints[valid].mean(0), axis=2).mean(1)
    return int(np.where(valid, distance, -1).argmax())


def read_frame(path: Path, frame: int, stretch: Stretch | None = None) -> Image:
    """One frame of a video, or of a part of it; the last one if it has fewer frames.

    Raises:
        VideoError: the video cannot be read.
    """
    frames = deque(read_frames(path, frame + 1, stretch=stretch), maxlen=1)
    if not frames:
        raise VideoError("has no frame")
    return frames[0]


def draw_example(
    collected: Collected, clip_id: str, votes: tuple[Vote, ...], verdict: str, right: bool, full_maps: FullMaps | None
) -> Example:
    """Draw one clip of the clip table; ``notes`` say what is missing."""
    assert collected.clips is not None
    row = collected.clips.table.set_index("clip_id").loc[clip_id]
    truth = collected.clips.class_names[int(row.label)] if int(row.label) >= 0 else "no label"
    notes: list[str] = []
    poses = None
    if collected.poses is not None and clip_id in collected.poses.index.index:
        poses = collected.poses.load(clip_id, taps=[])
    else:
        notes.append("The pose network has no result for this clip.")
    frame = telling_frame(poses) if poses is not None else 0
    pictures: dict[str, Image] = {}
    picture, image = "", None
    try:
        stretch = stretches(collected.clips.table).get(clip_id)
        image = read_frame(collected.folder / str(row.path), frame, stretch)
    except VideoError as error:
        notes.append(f"The video cannot be shown: {error}.")
    if image is not None:
        picture = _people(collected, clip_id, frame, poses, image, truth)

    maps = _person_frame(collected, clip_id, frame)
    if image is not None and poses is not None and poses.valid.shape[1] and poses.valid[frame, 0]:
        assert collected.poses is not None
        crop = np.asarray(
            cv2.warpAffine(
                image, poses.frame_to_crop[frame, 0], collected.poses.meta.input_size_px, flags=cv2.INTER_LINEAR
            ),
            dtype=np.uint8,
        )
        pictures["crop"] = crop
        maps.append(Picture("Crop", f"{crop.shape[1]} × {crop.shape[0]}", data_uri(crop)))
        for tap, tapped in (full_maps(crop) if full_maps is not None else {}).items():
            channels, height, width = tapped.shape
            pictures[f"map_{tap}"] = map_picture(tapped, crop)
            text = f"{channels} × {height} × {width}"
            maps.append(Picture(SCALES.get(tap, tap), text, data_uri(map_picture(tapped), quality=None)))

    features, joints = _features(collected, clip_id, frame, poses, pictures)
    if not features:
        notes.append("No features: no person was found in this clip.")
    return Example(
        clip_id, truth, picture, votes, verdict, right, tuple(maps), features, joints, tuple(notes), image, pictures
    )


def _person_frame(collected: Collected, clip_id: str, frame: int) -> list[Picture]:
    """The input of the RGB stream (Fig. 8): the person frame nearest to ``frame``."""
    stored = collected.frames.load(clip_id) if collected.frames is not None else []
    if not stored:
        return []
    at, jpeg = min(stored, key=lambda entry: abs(entry[0] - frame))
    uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
    return [Picture("Person frame", f"frame {at}, the input of the RGB stream", uri)]


def _people(collected: Collected, clip_id: str, frame: int, poses: ClipPoses | None, image: Image, truth: str) -> str:
    factor = min(1.0, LARGEST_SIDE_PX / max(image.shape[:2]))
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    boxes = np.zeros((0, 4))
    if collected.boxes is not None:
        table = collected.boxes.table
        here = table[(table.clip_id == clip_id) & (table.frame == frame)].sort_values("track")
        count = 1 + int(here.track.max()) if len(here) else 0
        boxes = np.full((count, 4), np.nan)
        boxes[here.track.to_numpy(int)] = here[["x1", "y1", "x2", "y2"]].to_numpy(float) * factor
    joints, scores, bones = np.zeros((0, 1, 2)), np.zeros((0, 1)), []
    if poses is not None and collected.poses is not None:
        joints = np.where(poses.valid[frame, :, None, None], poses.keypoints_px[frame] * factor, np.nan)
        scores = poses.scores[frame]
        bones = list(collected.poses.meta.skeleton.edges)
    title = f"{clip_id}, frame {frame}: {truth}"
    return people_picture(image, boxes, joints, scores, bones, title)


def _features(
    collected: Collected, clip_id: str, frame: int, poses: ClipPoses | None, pictures: dict[str, Image]
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    if collected.features is None:
        return (), ()
    index = collected.features.index
    rows = index[(index.clip_id == clip_id) & (index.person == 0) & index.valid.astype(bool)]
    if not len(rows):
        return (), ()
    values = np.asarray(collected.features.array[int(rows.row.iloc[0])], dtype=np.float32)  # (T, V, C)
    length = poses.valid.shape[0] if poses is not None else 1
    at = round(frame * (len(values) - 1) / max(length - 1, 1))
    pictures["features"], pictures["motion"] = feature_picture(values[at]), motion_picture(values)
    kind = collected.features.meta
    pooled = f"{kind.tap}, region {kind.region}"
    name = {"pooled": pooled, "both": f"pooled, region {kind.region}, and 2-D pose"}.get(kind.kind, kind.kind)
    drawn = (
        Picture(
            "features",
            f"Features ({name}): joints × {values.shape[2]} channels at this frame",
            data_uri(pictures["features"], quality=None),
        ),
        Picture(
            "motion", f"Change over time: joints × {len(values)} frames", data_uri(pictures["motion"], quality=None)
        ),
    )
    return drawn, tuple(joint.replace("_", " ") for joint in kind.skeleton.joints)
