"""The paper's Tables III to XVIII, row by row: its numbers, and the parameters of each row.

Numbers are copied from the paper's text. Its data set is NTU RGB+D 120 X-Sub unless a row says otherwise.
:mod:`hpnet.ablate.fit` adapts a row to a project and decides whether the project can run it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.streams import STREAMS, TOPOLOGY_STREAMS
from ..data.protocols import class_table
from .paper import Claim, Note, Overrides, PaperTable, Row, measure_of

POOLED = {"pool.kind": "pooled"}
POSE2D = {"pool.kind": "pose2d"}
XY = {"pool.kind": "xy"}
"""The paper's 2-D pose: x and y alone, as the pose network gives them; ours is centred and scaled, and has scores."""
OUR_POSE2D = "2D Pose with score, centred and scaled"
CTRGCN = {"train.topology.graph.model": "ctrgcn"}
MIXFORMER = {"train.topology.graph.model": "mixformer"}
FUSED = {**POOLED, "train.multimodal.pooled": True}
OUR_POSE = Note(
    "estimate.model", "mannequin-", "the packaged pose network, which is small and was trained on rendered people only"
)
SHORT = {"hpj": "J", "hpb": "B", "hpjm": "JM", "hpbm": "BM"}
ENSEMBLES: dict[str, tuple[str, ...]] = {
    "l1: HPJ": ("hpj",),
    "l2: HPB": ("hpb",),
    "l3: HPJM": ("hpjm",),
    "l4: HPBM": ("hpbm",),
    "l5: HP+RGB+Text": ("multimodal",),
    "l1+l5": ("hpj", "multimodal"),
    "l2+l5": ("hpb", "multimodal"),
    "l1+l2": ("hpj", "hpb"),
    "l1+l2+l5": ("hpj", "hpb", "multimodal"),
    "l1+l2+l3+l4+l5": STREAMS,
}


BACKBONES: dict[str, tuple[tuple[str, ...], Overrides]] = {
    "CTR-GCN": (("hpj",), {**POOLED, **CTRGCN}),
    "HP-Net": (("multimodal",), FUSED),
}
"""Backbone of Tables VIII and IX -> its streams and what it needs."""


def _table3() -> PaperTable:
    printed = {
        "CTR-GCN": {"J": (83.0, 86.1), "JM": (80.3, 83.2), "B": (83.9, 85.3), "BM": (80.0, 82.0), "all": (86.2, 88.7)},
        "Skeleton-MixFormer": {
            "J": (82.9, 85.9), "JM": (79.2, 82.0), "B": (84.0, 84.3), "BM": (80.1, 81.0), "all": (86.2, 88.4),
        },
    }  # fmt: skip
    stream_of: dict[str, tuple[str, ...]] = {short: (name,) for name, short in SHORT.items()} | {
        "all": TOPOLOGY_STREAMS
    }
    rows = []
    for method, numbers in printed.items():
        graph = MIXFORMER if method != "CTR-GCN" else CTRGCN
        for visual, (pose, pooled) in numbers.items():
            label = "Ensemble" if visual == "all" else visual
            rows += [
                Row((method, label, "2D Pose"), pose, stream_of[visual], ({**XY, **graph},)),
                Row((method, label, OUR_POSE2D), None, stream_of[visual], ({**POSE2D, **graph},)),
                Row((method, label, "Pooled Feature"), pooled, stream_of[visual], ({**POOLED, **graph},)),
            ]
    claims = [
        Claim(f"pooled > {pose} ({row.labels[0]}, {row.labels[1]})", at - back, at)
        for at, row in enumerate(rows)
        for pose, back in (("2-D pose", 2), ("2-D pose with score", 1))
        if at % 3 == 2
    ]
    columns = ("Methods", "Visual", "Modality")
    return PaperTable(3, "2-D pose and pooled features", columns, tuple(rows), tuple(claims), value=6)


def _table4() -> PaperTable:
    rows = (
        Row(("2D Pose Data", "Pose Estimation"), 83.0, ("hpj",), (XY,)),
        Row((OUR_POSE2D, "Pose Estimation"), None, ("hpj",), (POSE2D,)),
        Row(
            ("3D Pose Data", "Kinect Sensor"),
            85.0,
            ("hpj",),
            poses=True,
        ),
        Row(("Heatmap Coordinate Vector", "Pose Estimation"), 83.9, ("hpj",), ({"pool.kind": "simcc"},)),
        Row(("Heatmap Pooled Feature", "Ours"), 86.1, ("hpj",), (POOLED,)),
    )
    claims = (
        Claim("pooled > 2-D pose", 0, 4), Claim("pooled > 2-D pose with score", 1, 4),
        Claim("pooled > SimCC vectors", 3, 4),
    )  # fmt: skip
    return PaperTable(4, "Modalities on one backbone", ("Visual Modality", "Source"), rows, claims, value=3)


def _table5() -> PaperTable:
    rows = (
        Row(("2D Pose data",), None, ("hpj",), (XY,)),
        Row((OUR_POSE2D,), None, ("hpj",), (POSE2D,)),
        Row(("Pooled Feature",), None, ("hpj",), (POOLED,)),
    )
    return PaperTable(
        5, "Accuracy per action, 2-D pose and pooled features", ("Features",), rows, kind="classes", value=3,
        differs="the actions are the project's; the paper's numbers are given if NTU 120 has the same action",
    )  # fmt: skip


TABLE5: dict[int, tuple[float, float]] = {
    2: (80.7, 82.9), 3: (83.5, 90.1), 4: (87.2, 89.4), 5: (85.8, 90.9), 11: (56.4, 70.3),
    12: (64.0, 71.3), 18: (93.8, 96.0), 29: (53.1, 73.5), 30: (78.9, 84.0), 31: (71.4, 80.8),
    37: (86.2, 94.6), 44: (87.7, 92.0), 47: (90.2, 95.7), 50: (86.5, 91.6), 54: (90.6, 93.5),
    56: (89.9, 92.4), 57: (88.0, 95.3), 58: (91.7, 98.9), 61: (89.8, 94.8), 62: (90.3, 92.9),
    67: (71.0, 85.9), 68: (81.9, 85.7), 71: (44.2, 53.9), 75: (67.8, 78.9), 79: (80.3, 86.3),
    86: (76.0, 81.9), 93: (77.8, 82.3), 105: (68.7, 83.3), 106: (60.7, 66.1), 108: (88.5, 94.8),
    110: (72.5, 74.8), 111: (92.5, 96.9), 116: (95.0, 98.6), 117: (90.1, 95.7), 118: (90.3, 97.6),
}  # fmt: skip
"""Label in NTU RGB+D 120, from 1 -> the paper's accuracy with 2-D pose and with pooled features."""
OURS_IN_NTU120 = {"eat": 2, "brush teeth": 3, "read": 11, "use tablet": 29}
"""An action of the mannequins -> the label of the same action."""


def in_ntu120(action: str) -> tuple[str, float, float] | None:
    """'29 play with phone/tablet' and the entry of :data:`TABLE5`, for an action by our name or NTU's; None if the
    paper has no such action."""
    names = class_table("ntu120-xsub").name
    labels = {str(names.iloc[label - 1]): label for label in TABLE5} | OURS_IN_NTU120
    label = labels.get(action)
    return None if label is None else (f"{label} {names.iloc[label - 1]}", *TABLE5[label])


def _table6() -> PaperTable:
    printed: dict[tuple[str, str], tuple[tuple[str, ...], Overrides, float, float]] = {
        ("HP", "CTR-GCN"): (("hpj",), {**POOLED, **CTRGCN}, 85.3, 86.1),
        ("HP", "Skeleton-MixFormer"): (("hpj",), {**POOLED, **MIXFORMER}, 84.0, 85.9),
        ("HP+RGB+Text", "HP-Net"): (("multimodal",), FUSED, 95.8, 96.3),
    }
    rows = []
    for (modality, backbone), (streams, setting, heatmap, simcc) in printed.items():
        rows.append(Row((modality, "HR-Net", backbone), heatmap, streams, (setting,), head="heatmap"))
        rows.append(Row((modality, "SimCC", backbone), simcc, streams, (setting,), head="simcc"))
    heads = "the HR-Net rows read its joints off the heatmaps that its SimCC head starts from"
    return PaperTable(
        6, "Pose networks", ("Modality", "Source", "Backbone"), tuple(rows),
        (Claim("SimCC > HR-Net (CTR-GCN)", 0, 1), Claim("SimCC > HR-Net (HP-Net)", 4, 5)),
        notes=(OUR_POSE, Note("data.protocol", "mannequin-", heads)),
    )  # fmt: skip


def _table7() -> PaperTable:
    rows = tuple(
        Row((scale,), number, ("hpj",), ({**POOLED, "pool.tap": f"{scale.lower()}s3"},))
        for scale, number in (("H1", 81.4), ("H2", 86.2), ("H3", 85.8))
    )
    claims = (Claim("H2 > H1", 0, 1), Claim("H2 > H3", 2, 1))
    return PaperTable(7, "Scale of the heatmaps", ("Heatmap",), rows, claims, notes=(OUR_POSE,), value=5)


def _table8() -> PaperTable:
    printed = {"CTR-GCN": (69.4, 75.8, 86.2), "HP-Net": (95.8, 95.9, 96.3)}
    rows = []
    for backbone, numbers in printed.items():
        streams, needs = BACKBONES[backbone]
        for stage, number in enumerate(numbers, start=1):
            setting = {**needs, "pool.tap": f"h2s{stage}"}
            rows.append(Row((f"H2, stage {stage}", backbone), number, streams, (setting,)))
    claims = (
        Claim("stage 3 > stage 1 (CTR-GCN)", 0, 2), Claim("stage 3 > stage 2 (CTR-GCN)", 1, 2),
        Claim("stage 3 > stage 1 (HP-Net)", 3, 5), Claim("stage 3 > stage 2 (HP-Net)", 4, 5),
    )  # fmt: skip
    columns = ("Heatmap", "Backbone")
    return PaperTable(8, "Stage of the heatmaps", columns, tuple(rows), claims, notes=(OUR_POSE,), value=5)


def _table9() -> PaperTable:
    printed = {"CTR-GCN": (86.2, 82.0, 81.9), "HP-Net": (96.3, 96.2, 96.1)}
    rows = []
    for backbone, numbers in printed.items():
        streams, needs = BACKBONES[backbone]
        for region, number in zip((1, 3, 5), numbers, strict=True):
            rows.append(Row((f"{region} × {region}", backbone), number, streams, ({**needs, "pool.region": region},)))
    claims = (
        Claim("region 1 > region 3 (CTR-GCN)", 1, 0), Claim("region 1 > region 5 (CTR-GCN)", 2, 0),
        Claim("region 1 > region 3 (HP-Net)", 4, 3), Claim("region 1 > region 5 (HP-Net)", 5, 3),
    )  # fmt: skip
    map_read = Note("pool.tap", "h2s3", "H2 of stage 3, as in the paper's text; its table prints H3")
    columns = ("Region", "Backbone")
    return PaperTable(9, "Region of the pooling", columns, tuple(rows), claims, notes=(map_read,), value=6)


def _table11() -> PaperTable:
    rows = (
        Row(("RGB Regional Sampling", "RGB+Pose"), 84.8, ("hpj",), ({**POOLED, "pool.tap": "rgb"},)),
        Row(("Heatmap Regional Sampling", "HP"), 86.1, ("hpj",), (POOLED,)),
    )
    return PaperTable(
        11, "Values sampled at the joints", ("Method", "Modality"), rows, (Claim("heatmaps > RGB", 0, 1),),
        differs="RGB: the colour of the crop at the joint, 3 channels, pooled by the same Eq. (3)", value=4,
    )  # fmt: skip


def _table12() -> PaperTable:
    def modules(fusion: str, smclm: bool, **others: str) -> tuple[Overrides, ...]:
        chosen = {"train.multimodal.fusion": fusion, "train.multimodal.smclm": smclm}
        return ({**FUSED, **chosen, **{f"train.multimodal.{name}": value for name, value in others.items()}},)

    visual = "Text+RGB+HP"
    rows = (
        Row(("Baseline", "Text+RGB"), 95.3, ("multimodal",), ({"train.multimodal.pooled": False},)),
        Row(("w/ FPM+Cross Attention", visual), 95.4, ("multimodal",), modules("cross_attention", False)),
        Row(("w/ FPM+FiLM", visual), 95.6, ("multimodal",), modules("film", False)),
        Row(("w/ FPM+TRMM", visual), 95.7, ("multimodal",), modules("trmm", False)),
        Row(("w/ FPM+TRMM+SMCLM", visual), 96.3, ("multimodal",), modules("trmm", True)),
        Row(
            ("w/ FPM+TRMM+SMCLM, refined by text", visual),
            None,
            ("multimodal",),
            modules("trmm", True, refine="text"),
            differs="TRMM as in the released code, Eq. (9) of the text features",
            extra=True,
        ),
    )
    claims = (
        Claim("cross-attention > none", 0, 1), Claim("FiLM > cross-attention", 1, 2), Claim("TRMM > FiLM", 2, 3),
        Claim("TRMM and SMCLM > TRMM", 3, 4), Claim("all > none", 0, 4),
    )  # fmt: skip
    video = Note(
        "train.multimodal.video",
        "mannequin-",
        "the packaged X-CLIP, trained for minutes, replaces that of Kinetics-600",
    )
    refined = Note("train.multimodal.refine", "text", "TRMM as in the released code, Eq. (9) of the text features")
    columns = ("Method", "Modality")
    return PaperTable(12, "Modules that fuse pooled features", columns, rows, claims, notes=(video, refined), value=5)


def _table13() -> PaperTable:
    printed: dict[str, tuple[str, str, float, float]] = {
        "NTU 120 X-Sub": ("ntu120-xsub", "mannequin-xsub", 87.0, 96.3),
        "NTU 120 X-Set": ("ntu120-xset", "mannequin-xset", 88.0, 96.5),
        "Smarthome CS": ("smarthome-cs", "", 80.7, 81.3),
    }
    rows = tuple(
        Row((label, setting), number, ("multimodal",), ({"detect.enabled": enabled},), measure_of(benchmark),
            benchmark=benchmark, mannequins=mannequins)
        for label, (benchmark, mannequins, without, with_it) in printed.items()
        for setting, enabled, number in (("W/o Human Detector", False, without), ("W/ Human Detector", True, with_it))
    )  # fmt: skip
    return PaperTable(
        13, "With and without the human detector", ("Benchmark", "Setting"), rows,
        (Claim("with > without (X-Sub)", 0, 1), Claim("with > without (X-Set)", 2, 3)),
        differs="without it the crop for the pose network is also the whole frame", value=4,
    )  # fmt: skip


def _table14() -> PaperTable:
    rows = tuple(
        Row((f"{value}", f"{value}", f"{value}"), number, ("multimodal",), ({"train.multimodal.lambdas": [value] * 3},))
        for value, number in ((0.1, 96.1), (0.5, 96.2), (1.0, 96.3), (2.0, 96.1))
    )
    claims = tuple(Claim(f"λ = 1.0 > λ = {rows[at].labels[0]}", at, 2) for at in (0, 1, 3))
    return PaperTable(14, "Weights of the auxiliary losses", ("λ1", "λ2", "λ3"), rows, claims, value=2)


def _table15() -> PaperTable:
    def under(needs: Overrides) -> tuple[Overrides, ...]:
        return tuple({"data.corruption": name, **needs} for name in ("night", "overexposure", "occlusion"))

    rows = (
        Row(("Baseline", "Text+RGB"), 42.3, ("multimodal",), under({"train.multimodal.pooled": False})),
        Row(("w/ FPM+TRMM+SMCLM", "Text+RGB+HP"), 51.5, ("multimodal",), under(FUSED)),
    )
    return PaperTable(
        15, "Extreme conditions", ("Method", "Modality"), rows, (Claim("pooled features help at night", 0, 1),),
        differs="night, over-exposure and occlusion are applied to every test clip, not to training clips. The paper "
        "uses the extreme clips of UAV-Human", value=4,
    )  # fmt: skip


def _table16() -> PaperTable:
    rows = (Row(("HP-Net (1s)",), None, ("multimodal",)), Row(("HP-Net (ms)",), None, STREAMS))
    return PaperTable(
        16, "Most accurate and most confused actions, one stream and all", ("Scores",), rows, kind="extremes", value=3,
        differs="the actions are the project's, so the paper's rows have no counterpart",
    )  # fmt: skip


def _table17() -> PaperTable:
    printed: dict[str, tuple[str, str, tuple[float, ...]]] = {
        "NTU 120 X-Sub": (
            "ntu120-xsub", "mannequin-xsub", (86.1, 85.3, 83.2, 82.0, 96.3, 96.4, 96.4, 87.8, 96.5, 96.8),
        ),
        "NTU 60 X-Sub": (
            "ntu60-xsub", "mannequin-xsub", (93.8, 92.8, 91.5, 90.7, 97.0, 97.3, 97.1, 94.3, 97.5, 97.9),
        ),
        "NTU 60 X-View": (
            "ntu60-xview", "mannequin-xview", (94.5, 92.8, 93.3, 92.8, 99.0, 99.2, 99.1, 95.3, 99.4, 99.7),
        ),
        "NTU 120 X-Set": (
            "ntu120-xset", "mannequin-xset", (88.8, 87.4, 85.7, 84.3, 96.5, 96.8, 96.7, 90.2, 97.0, 97.5),
        ),
    }  # fmt: skip
    claims = (
        Claim("l1+l2 > l1", 0, 7), Claim("l1+l5 > l5", 4, 5), Claim("l1+l2+l5 > l1+l2", 7, 8),
        Claim("all five > l5", 4, 9), Claim("all five > l1+l2+l5", 8, 9),
    )  # fmt: skip
    return PaperTable(
        17, "Ensembles", ("Modality", "Benchmark"), _ensembles(printed), claims, value=8,
        differs="weights are fitted on validation clips; the paper's are constants",
    )  # fmt: skip


def _ensembles(printed: Mapping[str, tuple[str, str, tuple[float, ...]]]) -> tuple[Row, ...]:
    """``printed``: the paper's name of a benchmark -> its protocol, the mannequins' and a number per ensemble."""
    return tuple(
        Row(
            (modality, label),
            number,
            streams,
            measure=measure_of(benchmark),
            benchmark=benchmark,
            mannequins=mannequins,
        )
        for label, (benchmark, mannequins, numbers) in printed.items()
        for (modality, streams), number in zip(ENSEMBLES.items(), numbers, strict=True)
    )


def _table18() -> PaperTable:
    printed: dict[str, tuple[str, str, tuple[float, ...]]] = {
        "Toyota-Smarthome CS": (
            "smarthome-cs", "mannequin-xsub", (51.5, 51.3, 45.2, 43.2, 81.3, 81.4, 81.1, 55.7, 81.7, 81.6),
        ),
        "Toyota-Smarthome CV1": (
            "smarthome-cv1", "mannequin-xview", (30.9, 29.9, 29.5, 28.6, 51.7, 53.0, 53.9, 32.1, 53.6, 57.9),
        ),
        "Toyota-Smarthome CV2": (
            "smarthome-cv2", "mannequin-xview", (37.0, 30.3, 34.5, 33.9, 66.4, 66.5, 66.3, 37.1, 66.8, 67.4),
        ),
        "UAV-Human CSv1": (
            "uav-human-v1", "mannequin-xsub", (33.7, 31.3, 28.2, 25.5, 52.0, 53.2, 52.9, 36.6, 53.4, 53.6),
        ),
        "UAV-Human CSv2": (
            "uav-human-v2", "mannequin-xsub", (56.5, 52.6, 49.3, 44.3, 77.8, 79.2, 78.8, 60.5, 79.5, 80.2),
        ),
    }  # fmt: skip
    return PaperTable(
        18, "Ensembles on other data sets", ("Modality", "Benchmark"), _ensembles(printed), value=2,
        differs="Smarthome rows are mean class accuracy. From the authors' own Smarthome scores `hpnet fuse` gives "
        "the paper's numbers exactly (benchmarks/fusion.md)",
        notes=(Note("data.protocol", "mannequin-", "ours is the built-in benchmark in every row"),),
    )  # fmt: skip


def _table10() -> PaperTable:
    rows = (
        Row(("Heatmap Evolution", "2D CNN"), None, ()),
        Row(("Heatmap Volume", "3D CNN"), None, ()),
        Row(("Heatmap Pooling (Ours)", "GCN"), None, ()),
    )
    return PaperTable(
        10, "Parameters and cost of modelling heatmap features", ("Method", "Backbone"), rows, kind="cost", value=4,
        differs="counted on our networks at the paper's sizes; the paper prints multiply-accumulates of the two CNNs",
    )  # fmt: skip


TABLE10: tuple[tuple[str, int, float, float], ...] = (
    ("heatmap_evolution", 120, 140.1, 19.6),
    ("heatmap_volume", 60, 2.0, 20.6),
    ("ctrgcn", 120, 1.4, 1.8),
)
"""Network, number of classes, the paper's parameters in millions, its FLOPs in 10^9; in the order of the rows."""

TABLES: dict[int, PaperTable] = {
    table.number: table
    for table in (
        _table3(), _table4(), _table5(), _table6(), _table7(), _table8(), _table9(), _table10(), _table11(),
        _table12(), _table13(), _table14(), _table15(), _table16(), _table17(), _table18(),
    )
}  # fmt: skip
