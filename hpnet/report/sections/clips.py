"""The clip browser: every scored clip with its prediction and a short preview."""

from __future__ import annotations

from dataclasses import dataclass

from ..naming import clip_places, json_for_script
from ..previews import FRAMES, SIZE_PX, make_strips
from ..results import softmax
from ..section import Given

TITLE = "Clips"


@dataclass(frozen=True)
class ClipBrowser:
    """Data of the template; without ``clips`` it shows only the notes. ``data`` is JSON for the page's script."""

    lead: str = ""
    clips: int = 0
    names: tuple[str, ...] = ()
    data: str = ""
    notes: tuple[str, ...] = ()


def build(given: Given) -> ClipBrowser:
    """The clips with their predictions and previews."""
    collected, test = given.collected, given.test
    if test is None or collected.clips is None:
        why = "There are no fused scores on labelled test clips, so there are no clips to browse."
        return ClipBrowser(notes=(why,))
    names, probabilities = collected.clips.class_names, softmax(test.logits)
    strips, unreadable = make_strips(collected, test)
    places = clip_places(collected)
    clips = [
        [clip, int(label), int(row.argmax()), round(float(row.max()), 4), places.get(clip, ""), strips.get(clip, "")]
        for clip, label, row in zip(test.clip_ids, test.labels, probabilities, strict=True)
    ]
    notes = []
    if unreadable:
        notes.append(f"{unreadable} videos cannot be read here; their clips are listed without a preview.")
    if len(strips) + unreadable < len(clips):
        notes.append(
            f"Only {len(strips)} clips have previews, mistakes first, so that the page stays small; the others are "
            "listed by name."
        )
    return ClipBrowser(
        lead=(
            f"The {len(clips)} test clips with the joints that were found, and the fused prediction. "
            "Choose an action, a prediction, or only mistakes. A cell of the confusion matrix also shows its clips."
        ),
        clips=len(clips),
        names=tuple(names),
        data=json_for_script({"classes": names, "clips": clips, "frames": FRAMES, "size": SIZE_PX}),
        notes=tuple(notes),
    )
