"""The stage data as a whole: what a label, a split or a video changes, and what code it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.videos import Videos
from hpnet.core.choices import load
from hpnet.data import protocols
from hpnet.data.params import DataParams
from hpnet.data.sets import SETS
from hpnet.data.sources import IMPORTS, SOURCES
from hpnet.data.step import run
from hpnet.params import validate
from hpnet.project.graph import Kind, graph, touches
from hpnet.work.identity import closure
from tests.data.test_index import video

TABLES = ("artifacts/data/clips.csv", "artifacts/data/classes.csv")


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four videos and a table of them, after `hpnet data`."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        video(tmp_path / "videos" / f"{number}.mp4", seed=number)
    write_table(tmp_path / "table.csv")
    index(tmp_path)
    return tmp_path


def write_table(file: Path, second: str = "1.mp4,wave,anna,train") -> None:
    rows = ("video,action,source,split", "0.mp4,wave,anna,train", second, "2.mp4,clap,ben,test", "3.mp4,wave,ben,test")
    file.write_text("\n".join(rows) + "\n")


def index(folder: Path) -> dict[str, bytes]:
    """Run the step; what the data folder then holds."""
    params = DataParams(
        source="folder", protocol="folder", videos=str(folder / "videos"), table=str(folder / "table.csv")
    )
    run(params, folder / "artifacts" / "data", folder / "metrics" / "data.json", workers=2)
    return {file.name: file.read_bytes() for file in (folder / "artifacts" / "data").iterdir()}


@pytest.mark.parametrize("second", ["1.mp4,clap,anna,train", "1.mp4,wave,anna,val", "1.mp4,wave,cleo,test"])
def test_another_label_split_or_source_changes_nothing_that_the_pose_network_reads(labelled: Path, second: str) -> None:
    before = index(labelled)
    write_table(labelled / "table.csv", second.replace("anna,val", "dan,val"))
    after = index(labelled)
    assert {name for name in after if after[name] != before[name]} == {"clips.csv"}
    for kind in (Kind(videos=True, table=True, variants=("pose2d",)), Kind(here=True, variants=("pose2d",))):
        stages = graph(kind).each()
        readers = {name for name, stage in stages.items() if any(touches(t, dep) for t in TABLES for dep in stage.deps)}
        assert not readers & {"code", "data", "detect", "estimate", "pool"}
        assert readers >= {"train@hpj", "fuse", "compare@pose2d"}


def test_another_video_of_the_same_size_changes_what_detect_and_estimate_read(labelled: Path) -> None:
    before = index(labelled)
    video(labelled / "videos" / "0.mp4", seed=99)
    after = index(labelled)
    assert before["videos.csv"] != after["videos.csv"]
    assert before["clips.csv"] == after["clips.csv"]
    stages = graph(Kind(videos=True)).each()
    assert all("artifacts/data/videos.csv" in stages[name].deps for name in ("detect", "estimate"))


def test_the_source_is_the_tables_and_the_subject_the_data_sets(labelled: Path) -> None:
    table = Clips.load(labelled / "artifacts" / "data").table
    assert table.source.tolist() == ["anna", "anna", "ben", "ben"]
    assert set(table.subject) == {""}
    people = protocols.label_and_split("ntu60-xsub", ["S001C001P007R001A001"])
    assert people[["subject", "source"]].to_numpy().tolist() == [["7", "7"]]
    seen = Videos.load(labelled / "artifacts" / "data").table
    assert (seen.bytes > 0).all()
    assert seen.seconds.tolist() == pytest.approx([0.4] * 4)
    assert seen.digest.nunique() == 4


def test_every_data_set_source_and_format_is_where_the_dicts_say() -> None:
    for protocol in SETS:
        assert load(SETS, protocol, "protocol").PROTOCOLS[protocol] is protocols.get(protocol)
    for source in SOURCES:
        assert callable(load(SOURCES, source, "source").make)
    for layout in IMPORTS:
        assert callable(load(IMPORTS, layout, "format"))
    assert protocols.siblings("ntu60-xview") == ("ntu60-xsub", "ntu60-xview")
    assert protocols.siblings("smarthome-cs") == ("smarthome-cs", "smarthome-cv1", "smarthome-cv2")
    assert protocols.siblings("folder") == ("folder",)


def test_unknown_choices_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"data\.protocol = 'ntu60-xsubs'.*did you mean 'ntu60-xsub'"):
        validate({"data": {"protocol": "ntu60-xsubs"}})
    with pytest.raises(ValueError, match=r"data\.source = 'dolls': expected 'mannequin' or 'folder'"):
        validate({"data": {"source": "dolls"}})


def code_of(**values: str) -> set[str]:
    code = DataParams.model_validate(values).code()
    return set(closure([code.step, *(name.partition(":")[0] for name in code.chosen)]))


def test_the_code_of_the_stage_is_that_of_its_source_and_data_set_alone() -> None:
    rendered, folder = code_of(), code_of(source="folder", protocol="folder")
    smarthome = code_of(source="folder", protocol="smarthome-cs")
    assert {"hpnet.mannequin.benchmark", "hpnet.mannequin.actions", "hpnet.data.sets.mannequin"} <= rendered
    assert not any(name.startswith("hpnet.mannequin") for name in folder | smarthome)
    assert {name for name in smarthome if name.startswith("hpnet.data.sets.")} == {"hpnet.data.sets.smarthome"}
    files = DataParams.model_validate({"source": "folder", "protocol": "nw-ucla"}).code().packaged
    assert files == ("data/sets/nw_ucla_*",)


def test_reading_features_needs_no_pooling_and_rendering_no_data_room() -> None:
    readers = closure(name.partition(":")[0] for name in IMPORTS.values())
    assert not any(name.startswith(("hpnet.pool", "hpnet.mannequin")) for name in readers)
    assert not any(name.startswith("hpnet.data") for name in closure(["hpnet.mannequin.benchmark"]))
