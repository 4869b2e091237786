"""How the numbers were made."""

from __future__ import annotations

from dataclasses import dataclass

from ..section import Given

TITLE = "Method"


@dataclass(frozen=True)
class Method:
    """What the template shows."""

    paragraphs: tuple[str, ...]


def build(given: Given) -> Method:
    """How the numbers were made."""
    collected, units = given.collected, given.judge.units
    paragraphs = [
        "Every accuracy is measured on the test split. Its 95 % interval comes from "
        f"{collected.params.report.bootstrap:,} bootstrap resamples of {units.plural}, each with all of its clips: "
        f"{units.reason}. With few of them it is wider than the middle 95 % of the resamples, as Student's t is. Where "
        "every clip is right, or every one wrong, it has no width, which is not certainty.",
        f"Differences are paired: both classifiers see the same resampled {units.plural}. The p-value is a permutation "
        f"test: were both equally good, the difference of every {units.name} could as well have had the other sign. "
        "q-values are p-values corrected for all tests of their table (Benjamini and Hochberg); a difference is called "
        "significant where q is below 0.05.",
        f"Nothing is chosen on the test split. {_chosen(given)} Scores are joined by clip name.",
    ]
    if collected.clips is not None and collected.clips.pairs():
        paragraphs.append(
            "“Which of the two” asks only whether a clip's own action scores above its look-alike partner's; guessing "
            "gives 50 %."
        )
    return Method(tuple(paragraphs))


def _chosen(given: Given) -> str:
    """On which clips settings were chosen."""
    runs = given.collected.runs.values()
    if runs and all(run.config.get("out_of_fold") for run in runs):
        return (
            "The settings of the networks and the fusion weights come from clips that were scored by networks not "
            "fitted to them."
        )
    return (
        "The epoch and the fusion weights come from the validation split. If there is none, the last epoch is kept and "
        "the weights are the released ones of the paper's protocol, or equal."
    )
