"""Boxes, skeletons and actions drawn into frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.events import Event
from .people import Person
from .recognise import Answer, Prediction
from .windows import Image

COLOURS_RGB = ((255, 196, 0), (0, 200, 255), (255, 90, 160), (120, 230, 90), (190, 150, 255), (255, 140, 70))
LEAST_SCORE = 0.2
"""Joints with a smaller score are not drawn."""
MOST_BARS = 6
"""People whose course is drawn; the numbers of those who do something first are the lowest."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def drawn(
    prediction: Prediction, index: int, frame: Image, classes: Sequence[str], edges: Sequence[tuple[int, int]]
) -> Image:
    """The window's frame ``index`` with boxes, skeletons and actions, as a new image of the size of ``frame``."""
    own = {answer.people[0].number: answer for answer in prediction.answers if len(answer.people) == 1}
    together = next((answer for answer in prediction.answers if len(answer.people) > 1), None)
    image = np.ascontiguousarray(frame).copy()
    for rank, person in enumerate(prediction.seen.people):
        answer = own.get(person.number)
        label = f"{person.number}" if answer is None else f"{person.number} {_say(answer, classes)}"
        _draw_person(image, prediction, rank, person, index, edges, label)
    if together is not None:
        _text(image, f"together: {_say(together, classes)}", (4, image.shape[0] - 6), (255, 255, 255))
    return image


@dataclass(frozen=True)
class Course:
    """What happens in a video, and where in it a frame is.

    Attributes:
        events: of the whole video.
        seconds: the frame's time.
        end_s: when the video ends.
    """

    events: Sequence[Event]
    seconds: float
    end_s: float

    def now(self, person: int) -> Event | None:
        """What a person does in the frame."""
        return next((e for e in self.events if e.person == person and e.start_s <= self.seconds < e.end_s), None)


def drawn_events(
    prediction: Prediction, index: int, frame: Image, edges: Sequence[tuple[int, int]], course: Course
) -> Image:
    """The window's frame ``index`` with boxes, skeletons and what each person does, and the whole course below.

    The course has a bar for every person who does something, in the person's colour where an event is; a white line is
    the frame's time. It covers the lowest part of the picture, which keeps its size.
    """
    image = np.ascontiguousarray(frame).copy()
    for rank, person in enumerate(prediction.seen.people):
        event = course.now(person.number)
        label = "" if event is None else f" {event.action} {event.probability:.0%}"
        _draw_person(image, prediction, rank, person, index, edges, f"{person.number}{label}")
    _draw_course(image, course)
    return image


def _draw_course(image: Image, course: Course) -> None:
    people = sorted({event.person for event in course.events if event.person is not None})[:MOST_BARS]
    if not people or not course.end_s > 0:
        return
    height, width = image.shape[:2]
    bar = max(3, height // 60)
    top = height - len(people) * (bar + 2) - 4
    image[top:] = image[top:] // 3

    def column(seconds: float) -> int:
        return round(min(max(seconds / course.end_s, 0.0), 1.0) * (width - 1))

    for row, person in enumerate(people):
        y = top + 2 + row * (bar + 2)
        for event in course.events:
            if event.person == person:
                image[y : y + bar, column(event.start_s) : column(event.end_s) + 1] = COLOURS_RGB[
                    person % len(COLOURS_RGB)
                ]
    image[top:, max(0, column(course.seconds) - 1) : column(course.seconds) + 1] = 255


def drawn_by_score(prediction: Prediction, index: int, frame: Image, edges: Sequence[tuple[int, int]]) -> Image:
    """The window's frame ``index`` with boxes and tracks, and every joint and bone by its score, as a new image.

    Red is a score of 0, yellow of a half, green of 1; what has a low score is faint. A bone has the lesser score of its
    two joints. A label gives a person's number and the scores of box and joints here.
    """
    image = np.ascontiguousarray(frame).copy()
    ink, cover = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
    labels = []
    for rank, person in enumerate(prediction.seen.people):
        place = _place(person, index)
        if place is None:
            continue
        colour, thick, corner = _draw_box(image, prediction, person, place)
        label = f"{person.number} box {person.track.scores[place]:.2f}"
        if prediction.poses.valid[index, rank]:
            joints, scores = _joints(image, prediction, index, rank)
            _draw_skeleton_by_score(ink, cover, joints, scores, edges, thick)
            label += f" joints {scores.mean():.2f}"
        labels.append((label, corner, colour))
    share = (cover / np.float32(255))[..., None]
    np.copyto(image, (image * (1 - share) + ink * share).astype(np.uint8), where=cover[..., None] > 0)
    for label, corner, colour in labels:
        _text(image, label, corner, colour)
    return image


def score_colour(score: float) -> tuple[int, int, int]:
    """RGB: red at 0, yellow at 0.5, green at 1."""
    kept = min(max(score, 0.0), 1.0)
    return round(255 * min(1.0, 2 - 2 * kept)), round(220 * min(1.0, 2 * kept)), 40


def _draw_skeleton_by_score(
    ink: Image,
    cover: Image,
    joints_px: NDArray[np.float32],
    scores: NDArray[np.float32],
    edges: Sequence[tuple[int, int]],
    thick: int,
) -> None:
    """Draw bones, then joints, into ``ink`` (H, W, 3), and how much of it covers the picture into ``cover`` (H, W)."""
    shown: NDArray[np.bool_] = np.asarray(np.isfinite(joints_px).all(1))
    points = np.where(shown[:, None], joints_px, 0).clip(-1e4, 1e4).round().astype(int)
    bones = [(float(min(scores[a], scores[b])), a, b) for a, b in edges if shown[a] and shown[b]]
    for score, a, b in sorted(bones):  # what is sure lies on top
        ends = points[a].tolist(), points[b].tolist()
        cv2.line(ink, *ends, score_colour(score), thick, cv2.LINE_8)
        cv2.line(cover, *ends, _opacity(score), thick, cv2.LINE_8)
    for joint in sorted(np.flatnonzero(shown), key=lambda v: float(scores[v])):
        point, score = points[joint].tolist(), float(scores[joint])
        cv2.circle(ink, point, thick + 1, score_colour(score), -1, cv2.LINE_8)
        cv2.circle(cover, point, thick + 1, _opacity(score), -1, cv2.LINE_8)


def _opacity(score: float) -> int:
    """0..255; what has no score can still be seen."""
    return round(255 * (0.35 + 0.65 * min(max(score, 0.0), 1.0)))


def _place(person: Person, index: int) -> int | None:
    """Where the person's track holds the window's frame ``index``; None where it does not."""
    place = int(np.searchsorted(person.track.frames, index))
    return None if place == len(person.track.frames) or person.track.frames[place] != index else place


def _draw_box(
    image: Image, prediction: Prediction, person: Person, place: int
) -> tuple[tuple[int, int, int], int, tuple[int, int]]:
    """Draw a person's box; the person's colour, the width of lines, and where a label goes."""
    colour = COLOURS_RGB[person.number % len(COLOURS_RGB)]
    thick = max(1, round(max(image.shape[:2]) / 400))
    factor = image.shape[1] / prediction.seen.size_px[0]
    x1, y1, x2, y2 = (round(float(v) * factor) for v in person.track.boxes_xyxy_px[place])
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
    return colour, thick, (x1, max(12, y1 - 4))


def _joints(
    image: Image, prediction: Prediction, index: int, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A person's joints (V, 2) in pixels of the image, and their scores (V,)."""
    factor = np.float32(image.shape[1] / prediction.seen.size_px[0])
    return prediction.poses.keypoints_px[index, rank] * factor, prediction.poses.scores[index, rank]


def _draw_person(
    image: Image,
    prediction: Prediction,
    rank: int,
    person: Person,
    index: int,
    edges: Sequence[tuple[int, int]],
    label: str,
) -> None:
    place = _place(person, index)
    if place is None:
        return
    colour, thick, corner = _draw_box(image, prediction, person, place)
    if prediction.poses.valid[index, rank]:
        joints, scores = _joints(image, prediction, index, rank)
        shown: NDArray[np.bool_] = np.asarray((scores >= LEAST_SCORE) & np.isfinite(joints).all(1))
        points = np.where(shown[:, None], joints, 0).clip(-1e4, 1e4).round().astype(int)
        for a, b in edges:
            if shown[a] and shown[b]:
                cv2.line(image, points[a].tolist(), points[b].tolist(), colour, thick, cv2.LINE_AA)
        for point in points[shown]:
            cv2.circle(image, point.tolist(), thick + 1, colour, -1, cv2.LINE_AA)
    _text(image, label, corner, colour)


def _say(answer: Answer, classes: Sequence[str]) -> str:
    if answer.unknown is not None and answer.unknown > 0.5:
        return f"unknown {answer.unknown:.0%}"
    label, probability = answer.top(1)[0]
    return f"{classes[label]} {probability:.0%}"


def _text(image: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Text whose lower left corner is ``corner``, moved into the picture, with a dark edge."""
    size = max(0.35, max(image.shape[:2]) / 900)
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    (width, _), _ = cv2.getTextSize(plain, _FONT, size, 1)
    x = max(0, min(corner[0], image.shape[1] - width - 2))
    for tint, thick in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(image, plain, (x, corner[1]), _FONT, size, tint, thick, cv2.LINE_AA)
