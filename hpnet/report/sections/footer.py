"""The last line of the page."""

from __future__ import annotations

from dataclasses import dataclass

from ..section import Given


@dataclass(frozen=True)
class Footer:
    """What the template shows."""

    text: str


def build(given: Given) -> Footer:
    """The program that wrote the page."""
    version = given.collected.versions.get("hpnet", "")
    return Footer(
        f"Written by hpnet {version} from this project's artifacts. Figures and tables are in files beside this page."
    )
