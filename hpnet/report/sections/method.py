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
    report = given.collected.params.report
    paragraphs = (
        "Every accuracy is measured on the test split. Its interval holds the middle 95 % of "
        f"{report.bootstrap:,} bootstrap "
        "resamples, of single clips or of whole subjects with all of their clips; where every clip is right, "
        "or every one "
        "wrong, such an interval has no width, which is not certainty.",
        "Differences are paired: both classifiers see the same resampled clips. The p-value is McNemar's "
        "exact test on the "
        "clips that only one of the two gets right. q-values are p-values corrected for testing every action "
        "(Benjamini and Hochberg).",
        "Nothing is chosen on the test split. The epoch and the fusion weights come from the validation "
        "split, or, where "
        "there is none, the epoch is the last one and the weights are the released ones of the paper's protocol, or "
        "equal. Scores are joined by clip name.",
        "“Which of the two” asks only whether a clip's own action scores above its look-alike partner's; "
        "guessing gives 50 %.",
    )
    return Method(paragraphs)
