"""The paper's claims and their verdicts from `hpnet ablate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..section import Given
from ..tables import Column, Table

TITLE = "The paper's claims"


HELD = "held"
"""The verdict of `hpnet ablate` on a claim that is true here."""


@dataclass(frozen=True)
class Claims:
    """What the template shows."""

    lead: str
    table: Table


def build(given: Given) -> Claims | None:
    """None if `hpnet ablate` was not run."""
    claims = given.collected.claims
    if not claims:
        return None
    rows = [{**row, "p": number(row, "p"), "q": number(row, "q"), "over": row.get("over", "")} for row in claims]
    counts = Counter(row["here"] for row in claims)
    rest = ", ".join(f"{count} {word}" for word, count in counts.most_common() if word != HELD)
    columns = (
        Column("table", "Table"),
        Column("claim", "The paper's claim", "prose"),
        Column("here", "Here"),
        Column("numbers", "Difference", "prose"),
        Column("p", "p", "p", "permutation test; with several seeds the larger of that and Welch's t between seeds"),
        Column("q", "q", "p", "Benjamini-Hochberg over the claims of all tables"),
        Column("over", "Resampled", "text", "what the interval and the test resample as one"),
    )
    caption = "The paper's claims, as far as `hpnet ablate` has run; the tables are in report/tables"
    held = f"{counts[HELD]} of {len(claims)} claims of the paper's tables held on this project"
    lead = f"{held}; {rest}." if rest else f"{held}."
    units = given.judge.units
    narrow = sum(str(row["over"]).endswith("clips") for row in rows) if units.name != "clip" else 0
    if narrow:
        lead += (
            f" {narrow} of the tests resample clips, although the clips of a {units.name} are not independent: their "
            f"intervals are too narrow and their p too small. `hpnet ablate` makes the tables again, over "
            f"{units.plural}."
        )
    return Claims(lead, Table("claims", caption, columns, rows))


def number(row: Mapping[str, str], key: str) -> float | None:
    """A cell of claims.csv; None where a claim has no test."""
    return float(row[key]) if row.get(key) else None
