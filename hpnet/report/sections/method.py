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
    report, units = given.collected.params.report, given.judge.units
    paragraphs = (
        "Every accuracy is measured on the test split. Its 95 % interval comes from "
        f"{report.bootstrap:,} bootstrap resamples of {units.plural}, each with all of its clips: {units.reason}. With "
        "few of them it is wider than the middle 95 % of the resamples, as Student's t is. Where every clip is right, "
        "or every one wrong, it has no width, which is not certainty.",
        f"Differences are paired: both classifiers see the same resampled {units.plural}. The p-value is a permutation "
        f"test: were both equally good, the difference of every {units.name} could as well have had the other sign. "
        "q-values are p-values corrected for all tests of their table (Benjamini and Hochberg); a difference is called "
        "significant where q is below 0.05.",
        "Nothing is chosen on the test split. The epoch and the fusion weights come from the validation "
        "split. If "
        "there is none, the last epoch is kept and the weights are the released ones of the paper's protocol, or "
        "equal. Scores are joined by clip name.",
        "“Which of the two” asks only whether a clip's own action scores above its look-alike partner's; "
        "guessing gives 50 %.",
    )
    return Method(paragraphs)
