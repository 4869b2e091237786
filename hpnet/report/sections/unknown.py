"""None of the actions: how well unknown clips are refused, on clips that no network saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..figures import refusal_plot
from ..naming import STREAM_TITLES
from ..section import Given
from ..tables import Column, Table

TITLE = "None of the actions"


@dataclass(frozen=True)
class NoneOfThese:
    """What the template shows: the curve as SVG, the table of streams, and notes."""

    lead: str
    svg: str
    table: Table
    notes: tuple[str, ...]


def build(given: Given) -> NoneOfThese | None:
    """The curve of ``unknown.json`` and the AUROC of each combination of streams; None without the file."""
    found = given.collected.unknown
    if found is None:
        return None
    known, refused = np.asarray(found.curve, dtype=np.float64).T
    at_kept = float(np.interp(found.kept, known, refused))
    rows = [
        {
            "streams": ", ".join(STREAM_TITLES.get(name, name) for name in streams.split("+")),
            "score": refusal.score,
            "auroc": refusal.auroc["chosen"],
        }
        for streams, refusal in found.refusals.items()
    ]
    columns = (
        Column("streams", "Streams"),
        Column("score", "What is read of the scores"),
        Column("auroc", "AUROC, %", "percent", "50: chance"),
    )
    source = {
        "left-out actions": "the same clips with the scores of their own action left out, as stand-ins",
        "background clips": "clips of the action background",
    }.get(found.origin, "background clips, and clips with the scores of their own action left out")
    who = "clips of background" if found.origin == "background clips" else "stand-ins for unknown ones"
    plot = refusal_plot(found.curve, found.kept, "Unknown clips refused")
    return NoneOfThese(
        lead=(
            f"Every answer has a probability of unknown. It is above one half for {100 * (1 - found.kept):.0f} % of "
            f"the known clips and for {100 * at_kept:.0f} % of {who} (AUROC "
            f"{100 * found.whole.auroc['chosen']:.1f} %)."
        ),
        svg=given.files.figure("unknown", plot),
        table=given.files.table(Table("unknown", "Known and unknown clips told apart", columns, rows)),
        notes=(
            f"{found.known} known clips that no network was trained on. Unknown clips: {source}; {found.negatives}.",
            "Real unknown actions are harder to refuse than stand-ins: `hpnet bench unknown` leaves each action out of "
            "training in turn.",
        ),
    )
