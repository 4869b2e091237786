"""The paper's tables in a project of every preset: its own data, its own networks, or a reason."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from hpnet.ablate import plan, running
from hpnet.ablate.fit import Setup, fit
from hpnet.ablate.paper import PaperTable
from hpnet.ablate.tables import TABLES
from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json
from hpnet.bench.extract import random_weights
from hpnet.core.streams import STREAMS
from hpnet.data.protocols import class_table
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.params import validate
from hpnet.project import presets
from hpnet.project.folder import Project
from hpnet.project.make import make_project
from hpnet.stages.cli import cli
from tests.project.test_init import needed, videos
from tests.project.test_walk import small_xclip
from tests.trained import SIZES, five_folders, hpnet, inside, know_mannequins, shrink

ROOT = Path(__file__).resolve().parents[2]
LONG = bool(os.environ.get("HPNET_LONG_TESTS"))
RECORDED = json.loads((ROOT / "tests" / "files" / "ablate_mannequin_plan.json").read_text())
"""The plan of this repository's project, recorded before rows were fitted to projects; rows were added since."""
SIBLINGS = (
    {"ntu60-xsub", "ntu60-xview"},
    {"ntu120-xsub", "ntu120-xset"},
    {"smarthome-cs", "smarthome-cv1", "smarthome-cv2"},
    {"uav-human-v1", "uav-human-v2"},
    {"mannequin-xsub", "mannequin-xview", "mannequin-xset"},
)
STAGES = ("data", "detect", "estimate", "pool")


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Weights are looked for in the test's own folder alone."""
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def project_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Preset -> its project, with stand-ins for the data."""

    @cache
    def make(name: str) -> Setup:
        root = tmp_path_factory.mktemp(name)
        make_project(root / "p", name, **needed(name, root))
        if name == "folder":
            know_mannequins(root / "p")
        return read_project(root / "p")

    return make


def read_project(folder: Path) -> Setup:
    project = Project(folder)
    return Setup(project.read_params().model_dump(mode="json"), project.read_stages())


def changed(project: Setup, **values: Any) -> Setup:
    """The project with other parameters; '__' stands for a dot."""
    overrides = {name.replace("__", "."): value for name, value in values.items()}
    return Setup(plan.apply(project.params, overrides), project.stages)


def own_overrides(table: PaperTable, project: Setup) -> list[list[dict[str, Any]]]:
    """Of every row that can be run, what its settings change of the project."""
    return [
        [{name: json.loads(text) for name, text in plan.normal(one, project.params, 1)} for one in row.settings]
        for row in table.rows
        if not row.unavailable
    ]


def row_named(table: PaperTable, *labels: str) -> Any:
    (row,) = [row for row in table.rows if set(labels) <= set(row.labels)]
    return row


# --- every preset, every table --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", TABLES)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_row_is_planned_on_the_projects_own_data_or_has_a_reason(
    preset: str, number: int, project_of: Any
) -> None:
    project = project_of(preset)
    table = fit(TABLES[number], project)
    own = presets.get(preset).values.get("data", {}).get("protocol", "mannequin-xsub")
    allowed = next((names for names in SIBLINGS if own in names), {own}) if "data" in project.stages else set()
    planned = plan.experiments([table], project.params, [1], everything=True)
    for row in table.rows:
        assert row.unavailable or not row.streams or row.settings
    for experiment in planned:
        values = experiment.values
        assert values.get("data.protocol", own) in allowed or "data.protocol" not in values
        assert not {"data.source", "data.videos"} & set(values)
        if not preset.startswith("mannequin"):
            assert "data.corruption" not in values
            assert not [v for v in values.values() if isinstance(v, str) and v.startswith("mannequin")]
        assert all(name.split(".")[0] in project.stages or name.split(".")[0] not in STAGES for name in values)
        assert set(experiment.targets) <= set(project.stages)
        params = validate(plan.apply(project.params, values))
        if params.pool.kind == "pooled" and "pool" in project.stages:
            assert params.pool.tap in params.estimate.taps
            assert params.pool.region <= params.estimate.window
        if "data" in project.stages and own != "folder" and "data.protocol" not in values:
            assert len(class_table(params.data.protocol)) == len(class_table(own))
    study = running.Study(Project(), dict(project.params), dict(project.stages), {}, Path())
    plan.plan(planned, study.stages, study.signatures, set(), {})
    for claim in table.claims:
        assert max(claim.worse, claim.better) < len(table.rows)
    assert len({(row.labels, row.measure) for row in table.rows}) == len(table.rows)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_standard_row_is_the_project_itself(preset: str, project_of: Any) -> None:
    project = project_of(preset)
    runnable = [number for number, table in TABLES.items() if own_overrides(fit(table, project), project)]
    nothing_new = {
        number
        for number in runnable
        if any({} in settings for settings in own_overrides(fit(TABLES[number], project), project))
    }
    of_videos = set(TABLES) - {15}
    expected = {4, 10, 17, 18} if presets.get(preset).poses else of_videos
    assert nothing_new == expected
    assert set(runnable) - nothing_new <= {15}
    for number in nothing_new - {10}:
        experiments = plan.experiments([fit(TABLES[number], project)], project.params, [1])
        assert "base" in [one.key for one in experiments]


@pytest.mark.parametrize(
    ("preset", "number", "protocols"),
    [
        ("ntu60-xsub", 17, {"ntu60-xview"}),
        ("ntu60-xview", 17, {"ntu60-xsub"}),
        ("ntu120-xsub", 13, {"ntu120-xset"}),
        ("ntu120-xset", 13, {"ntu120-xsub"}),
        ("smarthome-cv1", 18, {"smarthome-cs", "smarthome-cv2"}),
        ("uav-human-v1", 18, {"uav-human-v2"}),
        ("mannequin", 17, {"mannequin-xview", "mannequin-xset"}),
        ("folder", 17, set()),
        ("nw-ucla", 17, set()),
    ],
)
def test_tables_of_benchmarks_take_the_protocols_of_the_same_data_when_all_are_asked_for(
    preset: str, number: int, protocols: set[str], project_of: Any
) -> None:
    project = project_of(preset)
    table = fit(TABLES[number], project)
    named = [
        {one.values["data.protocol"] for one in found if "data.protocol" in one.values}
        for found in (plan.experiments([table], project.params, [1], everything) for everything in (False, True))
    ]
    assert named == [set(), protocols]


PAPER = [name for name, preset in presets.PRESETS.items() if preset.paper]
OF_THE_TABLES = {
    "data.protocol", "detect.enabled", "estimate.model", "estimate.taps", "estimate.vectors", "estimate.weights",
    "estimate.window", "pool.kind", "pool.region", "pool.tap", "train.multimodal.fusion", "train.multimodal.lambdas",
    "train.multimodal.pooled", "train.multimodal.refine", "train.multimodal.smclm", "train.topology.graph.model",
}  # fmt: skip
"""All that a row of the paper may change of a project."""


@pytest.mark.parametrize("recipe", ["paper", "released"])
@pytest.mark.parametrize("preset", PAPER)
def test_every_table_is_planned_under_every_recipe_and_keeps_what_it_is_not_about(
    preset: str, recipe: str, tmp_path: Path
) -> None:
    make_project(tmp_path / "p", preset, videos=videos(tmp_path / "videos"), recipe=recipe)
    project = read_project(tmp_path / "p")
    study = running.Study(Project(), dict(project.params), dict(project.stages), {}, Path())
    for number, table in TABLES.items():
        fitted = fit(table, project)
        planned = plan.experiments([fitted], project.params, [1], everything=True)
        for experiment in planned:
            assert set(experiment.values) <= OF_THE_TABLES
            assert experiment.values.get("train.multimodal.refine", "text") == "text"
            validate(plan.apply(project.params, experiment.values))
        plan.plan(planned, study.stages, study.signatures, set(), {})
        assert ("base" in [one.key for one in planned]) is (number not in (10, 15))
    differs = fit(TABLES[12], project).differs
    assert ("Eq. (9) of the text features" in differs) is (recipe == "released")


def test_papers_numbers_stand_beside_the_same_benchmark_alone(project_of: Any) -> None:
    table = fit(TABLES[17], project_of("ntu60-xview"))
    for row in table.rows:
        if not row.unavailable and row.paper is not None:
            assert row.benchmark.startswith("ntu60")
        if row.unavailable:
            assert "NTU RGB+D 120" in row.unavailable
    one_camera = [row for row in fit(TABLES[18], project_of("smarthome-cv1")).rows if not row.unavailable]
    assert [(row.labels[1], row.paper, row.extra) for row in one_camera if row.streams == STREAMS] == [
        ("Toyota-Smarthome CS", 81.6, True), ("Toyota-Smarthome CV1", 57.9, False),
        ("Toyota-Smarthome CV2", 67.4, True),
    ]  # fmt: skip
    mine = fit(TABLES[13], project_of("folder"))
    assert [row.paper for row in mine.rows if not row.unavailable] == [None, None]
    assert [claim.text for claim in mine.claims] == ["with > without, this project (folder)"]
    smarthome = fit(TABLES[13], project_of("smarthome-cs"))
    assert {row.measure for row in smarthome.rows if not row.unavailable} == {"mean_class"}


def test_mannequins_under_another_protocol_are_the_project_itself(project_of: Any) -> None:
    project = changed(project_of("mannequin"), data__protocol="mannequin-xview")
    for number in set(TABLES) - {10, 15}:
        planned = plan.experiments([fit(TABLES[number], project)], project.params, [1])
        assert "base" in [one.key for one in planned]
        assert not [one for one in planned if "data.protocol" in one.values]
    own = row_named(fit(TABLES[13], project), "this project (mannequin-xview)", "W/ Human Detector")
    assert (own.paper, own.extra) == (None, False)
    views = [row for row in fit(TABLES[17], project).rows if row.benchmark == "ntu60-xview"]
    assert not any(row.extra or row.differs for row in views)


def test_this_repositorys_plan_is_as_it_was() -> None:
    project = read_project(ROOT)
    tables = [fit(table, project) for table in TABLES.values()]
    for table in tables:
        recorded = RECORDED[table.name]
        assert [[c.text, c.worse, c.better] for c in table.claims] == recorded["claims"]
        assert len(table.rows) == len(recorded["rows"])
        for row, before in zip(table.rows, recorded["rows"], strict=True):
            assert list(row.labels) == before["labels"]
            assert (row.paper, row.extra, list(row.streams)) == (before["paper"], before["extra"], before["streams"])
            assert bool(row.unavailable) == before["unavailable"]
            if not row.unavailable:
                assert row.measure == before["measure"]
                (settings,) = own_overrides(PaperTable(3, "", (), (row,)), project)
                assert settings == before["overrides"]
        for everything, key in ((False, "experiments"), (True, "full")):
            assert [e.key for e in plan.experiments([table], project.params, [1], everything)] == recorded[key]
    keys = [e.key for e in plan.experiments(tables, project.params, [1, 2], everything=True)]
    assert keys == RECORDED["all of seeds 1 and 2"]


# --- networks -------------------------------------------------------------------------------------------------------


def test_a_map_that_the_network_lacks_is_a_reason(project_of: Any) -> None:
    project = changed(
        project_of("folder"), estimate__model="vitpose-base", estimate__taps=["tokens"], pool__tap="tokens"
    )
    for number in (7, 8):
        for row in fit(TABLES[number], project).rows:
            assert "vitpose-base has no map h" in row.unavailable
            assert "tokens, layer1" in row.unavailable
    assert own_overrides(fit(TABLES[9], project), project)[0] == [{}]
    assert "no coordinate vectors" in row_named(fit(TABLES[4], project), "Heatmap Coordinate Vector").unavailable
    rgb = row_named(fit(TABLES[11], project), "RGB Regional Sampling")
    assert rgb.settings[0]["estimate.taps"] == ["rgb", "tokens"]
    assert rgb.settings[0]["estimate.vectors"] is False
    heads = fit(TABLES[6], project)
    assert "vitpose-base has no SimCC head" in row_named(heads, "SimCC", "HP-Net").unavailable
    assert own_overrides(heads, project)[0] == [{}]


REAL_TABLES = (3, 4, 7, 8, 9, 11)
"""Those whose claims a folder of real videos can test."""


@pytest.fixture(scope="module")
def real_people(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """A folder project as `hpnet init` makes it: MoveNet, several maps, a linear classifier, no multimodal stream."""
    root = tmp_path_factory.mktemp("real")
    make_project(root / "p", "folder", videos=videos(root / "videos"))
    return read_project(root / "p")


def test_a_folder_of_real_people_plans_the_tables_with_its_linear_classifier(real_people: Setup) -> None:
    assert real_people.fitted == "linear"
    tables = {number: fit(TABLES[number], real_people) for number in REAL_TABLES}
    planned = plan.experiments(list(tables.values()), real_people.params, [1])
    assert planned
    for experiment in planned:
        params = validate(plan.apply(real_people.params, experiment.values))
        assert params.train.topology.graph.model == "linear"
        if params.pool.kind in ("pooled", "both"):
            assert set(params.pool.tap.split("+")) <= set(params.estimate.taps)
            assert params.pool.region <= params.estimate.window
        assert "train@multimodal" not in experiment.targets
    own = own_overrides(tables[9], real_people)
    assert own == [
        [{"pool.kind": "pooled", "pool.region": 1}],
        [{"pool.kind": "pooled"}],
        [{"estimate.window": 5, "pool.kind": "pooled", "pool.region": 5}],
    ]  # the project's own maps are cached: the pose network runs again for the larger window alone
    assert [claim.text for claim in tables[8].claims[:2]] == [
        "stage 3 > stage 1 (linear)",
        "stage 3 > stage 2 (linear)",
    ]
    assert tables[9].rows[0].differs == "ours: linear, the project's classifier, in place of CTR-GCN"


def test_what_a_linear_classifier_or_no_multimodal_stream_cannot_do_is_said(real_people: Setup) -> None:
    mixformer = row_named(fit(TABLES[3], real_people), "Skeleton-MixFormer", "Ensemble", "Pooled Feature")
    assert "classifier is linear, for few clips, and the row compares graph networks" in mixformer.unavailable
    with_rgb = row_named(fit(TABLES[9], real_people), "3 × 3", "HP-Net")
    assert with_rgb.unavailable == "this project trains no multimodal stream, which needs an X-CLIP of real people"
    second = row_named(fit(TABLES[8], real_people), "H2, stage 2", "CTR-GCN")
    network = real_people.value("estimate.model")
    assert second.unavailable == f"{network} has no map h2s2; it has h1s1, h2s1, h3s1, h3s2, h1s3, h2s3, h3s3"
    graph = changed(real_people, train__topology__graph__model="ctrgcn")
    assert not row_named(fit(TABLES[3], graph), "Skeleton-MixFormer", "Ensemble", "Pooled Feature").unavailable


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_tables_of_a_folder_of_real_people_run(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "folder", videos=five_folders(tmp_path / "videos", subjects=5))
    names = [f"table{number}" for number in REAL_TABLES]
    with inside(tmp_path / "p"):
        done = CliRunner().invoke(cli, ["ablate", *names, "--bootstrap", "50"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        ours = {name: pd.read_csv(f"report/tables/{name}.csv")["ours"].notna().tolist() for name in names}
        again = CliRunner().invoke(cli, ["ablate", *names, "--plan"], catch_exceptions=False).output
    assert ours["table9"] == [True] * 3 + [False] * 3
    assert ours["table8"] == [True, False, True] + [False] * 3
    assert all(ours["table7"] + ours["table11"])
    assert sum(ours["table3"]) == 15
    assert again.count("nothing to run") == len(names)


def test_the_other_head_of_the_projects_own_network_where_its_weights_are(project_of: Any, tmp_path: Path) -> None:
    project = changed(project_of("ntu120-xsub"), estimate__weights="mine.pth")
    lacking = row_named(fit(TABLES[6], project), "HR-Net", "HP-Net")
    assert "weights of hrnet-w48 are missing: `hpnet weights fetch hrnet-w48`" in lacking.unavailable
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth").touch()
    found = own_overrides(fit(TABLES[6], project), project)
    assert found[0] == [{"estimate.model": "hrnet-w48", "estimate.weights": None}]
    assert found[1] == [{}]


def test_rows_of_a_larger_region_or_another_map_cache_it(project_of: Any) -> None:
    project = changed(project_of("ntu120-xsub"), pool__region=3, estimate__window=3)
    regions = own_overrides(fit(TABLES[9], project), project)
    assert regions[:3] == [[{"pool.region": 1}], [{}], [{"estimate.window": 5, "pool.region": 5}]]
    assert own_overrides(fit(TABLES[7], project), project)[0][0]["estimate.taps"][0] == "h1s3"
    assert "estimate.window" not in own_overrides(fit(TABLES[7], project), project)[0][0]
    has_it = changed(project, estimate__taps=["h1s3", "h2s3"])
    assert own_overrides(fit(TABLES[7], has_it), has_it)[0] == [{"pool.tap": "h1s3"}]


def test_imported_poses_are_the_row_of_3d_poses(project_of: Any) -> None:
    project = project_of("nw-ucla")
    table = fit(TABLES[4], project)
    assert [bool(row.unavailable) for row in table.rows] == [True, True, False, True, True]
    assert "imports its features (`hpnet import nw-ucla`) and has no stage pool" in table.rows[0].unavailable
    ensembles = fit(TABLES[17], project)
    assert [row.labels[0] for row in ensembles.rows if not row.unavailable] == [
        "l1: HPJ", "l2: HPB", "l3: HPJM", "l4: HPBM", "l1+l2",
    ]  # fmt: skip


# --- through the command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["ntu120-xsub", "nw-ucla"])
def test_the_command_plans_all_and_says_why_rows_are_left_out(preset: str, tmp_path: Path) -> None:
    make_project(tmp_path / "p", preset, **needed(preset, tmp_path))
    with inside(tmp_path / "p"):
        done = CliRunner().invoke(cli, ["ablate", "all", "--plan", "--full"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "never timed" in done.output
    assert "about 0 s" not in done.output
    assert "mannequin-" not in done.output
    reason = "needs the videos of Toyota-Smarthome (`hpnet init DIR --preset smarthome-cs`)"
    assert f"rows cannot run here: {reason}" in done.output


def test_an_experiment_in_a_folder_project_keeps_the_folders_actions(tmp_path: Path) -> None:
    names = tuple(f"{action}/{n}.mp4" for action in ("clap", "wave") for n in range(4))
    make_project(tmp_path / "p", "folder", videos=videos(tmp_path / "p" / "videos", names))
    know_mannequins(tmp_path / "p")
    with inside(tmp_path / "p"):
        study = running.open_study(Project())
        project = read_project(Path())
        wanted = plan.experiments([fit(TABLES[5], project)], project.params, [1])
        assert [one.text for one in wanted] == ["pool.kind=xy", "pool.kind=pose2d", "as in params.yaml"]
        place = running.prepare(study, wanted[0])
    with inside(place):
        hpnet("data", "--workers", "1")
    assert Clips.load(place / "artifacts" / "data").class_names == ["clap", "wave"]


def test_new_videos_make_old_results_old(tmp_path: Path) -> None:
    folder = videos(tmp_path / "videos")
    make_project(tmp_path / "p", "folder", videos=folder)
    signed = []
    for extra in ("wave/a.mp4", "wave/new.mp4"):
        videos(folder, (extra,))
        study = running.open_study(Project(tmp_path / "p"))
        signed.append(study.signatures(plan.Experiment((), ("hpj",)))["data"])
    assert signed[0] != signed[1]


def test_a_workspace_reads_the_projects_table_and_refuses_paths_that_lead_out(tmp_path: Path) -> None:
    names = tuple(f"{n}.mp4" for n in range(4))
    folder = videos(tmp_path / "p" / "clips", names)
    table = tmp_path / "p" / "t.csv"
    table.write_text("\n".join(["video,action", *(f"{name},{'ab'[n % 2]}" for n, name in enumerate(names))]))
    make_project(tmp_path / "p", "folder", videos=folder, table=table)
    base = plan.Experiment((), ("hpj",))
    place = running.prepare(running.open_study(Project(tmp_path / "p")), base)
    assert (place / "t.csv").read_text() == table.read_text()
    assert (place / "clips" / "0.mp4").is_file()
    shrink(tmp_path / "p", {"data": {"videos": "../clips"}})
    with pytest.raises(ValueError, match=r"\.\./clips leads out of the project .*: give it as an absolute path"):
        running.prepare(running.open_study(Project(tmp_path / "p")), base)


@pytest.mark.long
def test_table_4_of_imported_poses(tmp_path: Path) -> None:
    make_project(tmp_path / "p", "nw-ucla", **needed("nw-ucla", tmp_path))
    small = {"graph": {"base_channels": 8, "blocks": 1}, "epochs": 1, "warmup_epochs": 0}
    shrink(tmp_path / "p", {"train": {"topology": small}})
    with inside(tmp_path / "p"):
        done = CliRunner().invoke(cli, ["ablate", "table4", "--bootstrap", "50"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        table = pd.read_csv("report/tables/table4.csv")
        again = CliRunner().invoke(cli, ["ablate", "table4"], catch_exceptions=False)
    assert table["label0"][table["ours"].notna()].tolist() == ["3D Pose Data"]
    assert table["differs"].str.contains("imports its features").sum() == len(table) - 1
    assert "nothing to run" in again.output


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_table_9_of_the_papers_recipe_on_rendered_stand_ins_with_random_weights(tmp_path: Path) -> None:
    for subject in (1, 2, 4, 3):  # the last one is a test subject
        for action in (0, 1):
            write_clip(ClipSpec(1, 2, subject, 1, action), SIZES, tmp_path)
    make_project(tmp_path / "p", "ntu60-xsub", videos=tmp_path / "videos", recipe="paper")
    small_xclip(tmp_path / "p" / "weights" / "xclip-base-patch16-kinetics-600")
    model = "hrnet-w32-simcc"
    Path(random_weights(model, tmp_path)).rename(tmp_path / "p" / "weights" / "random.pth")
    once = {"graph": {"base_channels": 8, "blocks": 2}, "epochs": 1, "warmup_epochs": 0}
    small = {
        "detect": {"model": "mannequin-yolo", "image_size": 160},
        "estimate": {"model": model, "weights": "weights/random.pth", "frames": 2},
        "pool": {"frames": 8},
        "train": {"topology": once, "multimodal": {**once, "frames": 2}},
    }
    shrink(tmp_path / "p", small)
    with inside(tmp_path / "p"):
        done = CliRunner().invoke(cli, ["ablate", "table9", "--bootstrap", "50"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        table = pd.read_csv("report/tables/table9.csv")
        again = CliRunner().invoke(cli, ["ablate", "table9", "--plan"], catch_exceptions=False).output
    assert table["ours"].notna().tolist() == [True] * 6
    assert table["paper"].tolist() == [0.862, 0.82, 0.819, 0.963, 0.962, 0.961]
    assert "nothing to run" in again


@pytest.mark.skipif(not LONG, reason="minutes: set HPNET_LONG_TESTS=1")
@pytest.mark.timeout(1200)
def test_table_5_of_a_folder_of_videos(tmp_path: Path) -> None:
    clips = five_folders(tmp_path / "videos", subjects=5)
    make_project(tmp_path / "p", "folder", videos=clips)
    know_mannequins(tmp_path / "p")
    shrink(tmp_path / "p")
    with inside(tmp_path / "p"):
        done = CliRunner().invoke(cli, ["ablate", "table5", "--bootstrap", "50"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        table = pd.read_csv("report/tables/table5.csv")
        assert set(table["name"]) == {"stand up", "wave", "push", "clap", "jump"}
        assert "this project (folder)" in Path("report/tables/table5.md").read_text()
        assert read_json(Path(".work/ablate/base/result.json"))["classes"] == sorted(table["name"])
        again = CliRunner().invoke(cli, ["ablate", "table5", "table9", "--plan"], catch_exceptions=False).output
        assert "pooled features: nothing to run" in again
        assert "at least" in again
