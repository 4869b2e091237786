"""Boxes, skeletons and actions drawn into frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .people import Person
from .recognise import Answer, Prediction
from .windows import Image

COLOURS_RGB = ((255, 196, 0), (0, 200, 255), (255, 90, 160), (120, 230, 90), (190, 150, 255), (255, 140, 70))
LEAST_SCORE = 0.2
"""Joints with a smaller score are not drawn."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def drawn(
    prediction: Prediction, index: int, frame: Image, classes: Sequence[str], edges: Sequence[tuple[int, int]]
) -> Image:
    """The window's frame ``index`` with what is known of it, as a new image; ``frame`` may be of another size."""
    own = {answer.people[0].number: answer for answer in prediction.answers if len(answer.people) == 1}
    together = next((answer for answer in prediction.answers if len(answer.people) > 1), None)
    image = np.ascontiguousarray(frame).copy()
    for rank, person in enumerate(prediction.seen.people):
        _draw_person(image, prediction, rank, person, index, edges, own.get(person.number), classes)
    if together is not None:
        _text(image, f"together: {_say(together, classes)}", (4, image.shape[0] - 6), (255, 255, 255))
    return image


def _draw_person(
    image: Image,
    prediction: Prediction,
    rank: int,
    person: Person,
    index: int,
    edges: Sequence[tuple[int, int]],
    answer: Answer | None,
    classes: Sequence[str],
) -> None:
    place = int(np.searchsorted(person.track.frames, index))
    if place == len(person.track.frames) or person.track.frames[place] != index:
        return
    colour = COLOURS_RGB[person.number % len(COLOURS_RGB)]
    thick = max(1, round(max(image.shape[:2]) / 400))
    factor = image.shape[1] / prediction.seen.size_px[0]
    x1, y1, x2, y2 = (round(float(v) * factor) for v in person.track.boxes_xyxy_px[place])
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
    poses = prediction.poses
    if poses.valid[index, rank]:
        joints, scores = poses.keypoints_px[index, rank] * factor, poses.scores[index, rank]
        shown = (scores >= LEAST_SCORE) & np.isfinite(joints).all(1)
        points = np.where(shown[:, None], joints, 0).clip(-1e4, 1e4).round().astype(int)
        for a, b in edges:
            if shown[a] and shown[b]:
                cv2.line(image, points[a].tolist(), points[b].tolist(), colour, thick, cv2.LINE_AA)
        for point in points[shown]:
            cv2.circle(image, point.tolist(), thick + 1, colour, -1, cv2.LINE_AA)
    label = f"{person.number}" if answer is None else f"{person.number} {_say(answer, classes)}"
    _text(image, label, (x1, max(12, y1 - 4)), colour)


def _say(answer: Answer, classes: Sequence[str]) -> str:
    label, probability = answer.top(1)[0]
    return f"{classes[label]} {probability:.0%}"


def _text(image: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Text whose lower left corner is ``corner``, moved into the picture, dark-edged so that it reads on anything."""
    size = max(0.35, max(image.shape[:2]) / 900)
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    (width, _), _ = cv2.getTextSize(plain, _FONT, size, 1)
    x = max(0, min(corner[0], image.shape[1] - width - 2))
    for tint, thick in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(image, plain, (x, corner[1]), _FONT, size, tint, thick, cv2.LINE_AA)
