"""The rendered benchmark. Its clips have names and splits like those of NTU RGB+D."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ...mannequin.actions import ACTIONS, PAIRS
from ..grammar import Protocol, described, train_subjects
from ..preset import SMALL, Preset, Values, merged
from .ntu import CROSS_SET, CROSS_VIEW, NTU60_TRAIN_SUBJECTS, PATTERN, parser


def _classes() -> pd.DataFrame:
    rows = [(label, action.name, action.prompt, PAIRS.get(label, "")) for label, action in enumerate(ACTIONS.values())]
    return described(pd.DataFrame(rows, columns=["label", "name", "prompt", "pair"]), "mannequin_descriptions.csv")


_XSUB = Protocol("the mannequins", _classes, PATTERN, parser(len(ACTIONS)), train_subjects(NTU60_TRAIN_SUBJECTS))
PROTOCOLS: dict[str, Protocol] = {
    "mannequin-xsub": _XSUB,
    "mannequin-xview": replace(_XSUB, split=CROSS_VIEW),
    "mannequin-xset": replace(_XSUB, split=CROSS_SET),
}

_RENDERED: Values = merged(
    SMALL,
    {
        "data": {"subjects": 18, "frames": 16, "fps": 8},
        # the channels have no mirror image; what it costs or gains here was not measured
        "train": {"topology": {"mirror_pooled": True}, "multimodal": {"mirror_pooled": True}},
    },
)
PRESETS: dict[str, Preset] = {
    "mannequin": Preset(
        "mannequins",
        merged(_RENDERED, {"data": {"takes": 2, "take_seconds": 20.0}, "report": {"title": "mannequins"}}),
        "nothing: the clips are rendered",
    ),
    "mannequin-takes": Preset(
        "mannequins in long takes",
        merged(
            _RENDERED,
            {
                "data": {"cameras": 2, "takes": 10, "training_takes": 14, "take_seconds": 60.0},
                "report": {"title": "mannequins in long takes"},
            },
        ),
        "nothing: clips and long takes are rendered, and training learns from both",
    ),
}
