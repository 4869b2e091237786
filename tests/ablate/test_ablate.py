"""hpnet.ablate: planning on paper, running on a graph of three-line stages, tables from scores."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from hpnet.ablate import plan, running, writing
from hpnet.ablate.fit import Setup, fit
from hpnet.ablate.paper import Claim, PaperTable, Row, parse_name
from hpnet.ablate.session import Session
from hpnet.ablate.tables import TABLE5, TABLES, in_ntu120
from hpnet.ablate.writing import Verdict
from hpnet.artifacts.scores import Scores
from hpnet.core.streams import STREAMS
from hpnet.core.units import UNKNOWN, Units
from hpnet.data.protocols import class_table
from hpnet.params import Params, validate
from hpnet.project import dvc_yaml
from hpnet.project.folder import Project
from hpnet.project.graph import needed
from hpnet.work.identity import Code

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = Params().model_dump(mode="json")
REAL = dvc_yaml.read(yaml.safe_load((ROOT / "dvc.yaml").read_text()))
HERE = {number: fit(table, Setup(DEFAULTS, REAL)) for number, table in TABLES.items()}
"""The tables in a project of the mannequins with every parameter at its default."""

AS_IT_IS = plan.Experiment((), STREAMS)


def study_of(folder: Path) -> running.Study:
    """The project of the mannequins with every parameter at its default, in a folder where nothing has run."""
    return running.Study(Project(folder), DEFAULTS, REAL, {}, folder)


def stages_run(table: int, **first: Any) -> dict[str, tuple[str, ...]]:
    """What each experiment of a table runs, after the project itself has been run."""
    study = study_of(Path())
    wanted = plan.experiments([HERE[table]], DEFAULTS, [DEFAULTS["train"]["seed"]], **first)
    known = study.signatures(AS_IT_IS).values()
    return {item.experiment.text: item.runs for item in plan.plan(wanted, REAL, study.signatures, known, {})}


# --- the tables as data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", HERE.values(), ids=lambda table: table.name)
def test_every_row_fits_its_table_and_every_override_is_a_valid_parameter(table: PaperTable) -> None:
    assert table.rows
    for row in table.rows:
        assert len(row.labels) == len(table.columns)
        assert set(row.streams) <= set(STREAMS)
        for setting in row.settings:
            validate(plan.apply(DEFAULTS, setting))
    for claim in table.claims:
        assert claim.worse != claim.better
        assert max(claim.worse, claim.better) < len(table.rows)
        worse, better = table.rows[claim.worse], table.rows[claim.better]
        assert (worse.paper or 0) <= (better.paper or 0), "the claim contradicts the paper's own numbers"
    assert len({(row.labels, row.measure) for row in table.rows}) == len(table.rows)


def test_all_actions_of_the_papers_table_5_are_found_by_their_names_in_ntu120() -> None:
    assert len(TABLE5) == 35
    names = class_table("ntu120-xsub").name
    for label, numbers in TABLE5.items():
        assert in_ntu120(names.iloc[label - 1]) == (f"{label} {names.iloc[label - 1]}", *numbers)
    assert in_ntu120("use tablet") == ("29 play with phone/tablet", 53.1, 73.5)
    assert in_ntu120("high five") is None


def test_names_of_tables() -> None:
    assert [parse_name(text) for text in ("table9", "9", "IX", "xviii", "Table-4")] == [9, 9, 9, 18, 4]
    for wrong in ("table2", "XX", "", "tables"):
        with pytest.raises(ValueError, match="expected table3 to table18"):
            parse_name(wrong)


# --- planning -------------------------------------------------------------------------------------------------------


def test_a_region_runs_what_follows_pooling_and_the_standard_row_runs_nothing() -> None:
    found = stages_run(9)
    assert found == {
        "as in params.yaml": (),
        "pool.region=3": ("pool", "train@hpj", "train@multimodal"),
        "pool.region=5": ("pool", "train@hpj", "train@multimodal"),
    }


def test_the_pose_network_runs_once_for_all_maps() -> None:
    found = stages_run(7)
    runs = [stage for stages in found.values() for stage in stages]
    assert runs.count("estimate") == 1
    assert runs.count("train@hpj") == 2
    assert "detect" not in runs


def test_fusion_modules_train_one_stream_only() -> None:
    for stages in stages_run(12).values():
        assert set(stages) <= {"train@multimodal"}


def test_seeds_multiply_experiments_and_the_projects_own_seed_is_the_project() -> None:
    wanted = plan.experiments([HERE[14]], DEFAULTS, [1, 2])
    assert len(wanted) == 8
    assert [one.key for one in wanted].count("base") == 1
    assert len({one.key for one in wanted}) == 8


def test_extra_rows_wait_for_full() -> None:
    assert len(plan.experiments([HERE[17]], DEFAULTS, [1])) == 1
    assert len(plan.experiments([HERE[17]], DEFAULTS, [1], everything=True)) == 3


def test_a_row_states_what_its_table_is_about_and_the_rest_is_the_projects() -> None:
    other = plan.apply(DEFAULTS, {"pool.kind": "pose2d", "pool.operator": "max", "detect.enabled": False})
    wanted = plan.experiments([fit(TABLES[4], Setup(other, REAL))], other, [1])
    texts = [one.text for one in wanted]
    assert "pool.kind=pooled" in texts
    assert "as in params.yaml" in texts
    assert not [text for text in texts if "operator" in text or "detect" in text]


def test_signatures_follow_code_parameters_and_what_lies_upstream() -> None:
    codes = dict.fromkeys((stage.code for stage in REAL.values()), "1")
    before = plan.signatures(REAL, DEFAULTS, {}, codes)
    after = plan.signatures(REAL, DEFAULTS, {}, codes | {"pool": "2"})
    assert {name for name in REAL if before[name] != after[name]} == {
        "pool", *(f"train@{stream}" for stream in STREAMS), "fuse", "events", "report",
    }  # fmt: skip
    other = plan.signatures(REAL, plan.apply(DEFAULTS, {"train.topology.graph.model": "gcn"}), {}, codes)
    assert before["code"] != other["code"]
    assert before["train@multimodal"] == other["train@multimodal"], (
        "what `code` reads is no part of another's signature"
    )


def test_the_lock_counts_only_while_it_is_true() -> None:
    stages = dvc_yaml.read({"stages": {
        "a": {"cmd": "a", "deps": ["code.py"], "params": ["x"], "outs": ["artifacts/a"]},
        "b": {"cmd": "b", "deps": ["artifacts/a"], "outs": ["artifacts/b"]},
    }})  # fmt: skip
    lock = {"stages": {
        "a": {"deps": [{"path": "code.py", "md5": "1"}], "params": {"params.yaml": {"x": 1}},
              "outs": [{"path": "artifacts/a", "md5": "aa.dir"}]},
        "b": {"deps": [{"path": "artifacts/a", "md5": "aa.dir"}], "outs": [{"path": "artifacts/b", "md5": "bb"}]},
    }}  # fmt: skip
    whole = frozenset({"aa.dir", "bb"})
    assert plan.locked(lock, stages, {"x": 1}, {"code.py": "1"}, {}, whole) == {"a", "b"}
    assert plan.locked(lock, stages, {"x": 2}, {"code.py": "1"}, {}, whole) == set()
    assert plan.locked(lock, stages, {"x": 1}, {"code.py": "2"}, {}, whole) == set()
    assert plan.locked(lock, stages, {"x": 1}, {"code.py": "1"}, {}, frozenset({"aa.dir"})) == {"a"}


def test_the_lock_counts_only_while_the_code_is_the_same() -> None:
    stages = dvc_yaml.read({"stages": {"a": {"deps": ["code/a.txt"], "outs": ["artifacts/a"]}}})
    md5 = hashlib.md5(b"1234\n").hexdigest()
    lock = {"stages": {"a": {"deps": [{"path": "code/a.txt", "md5": md5}], "outs": []}}}
    assert plan.locked(lock, stages, {}, {}, {"a": "1234"}) == {"a"}
    assert plan.locked(lock, stages, {}, {}, {"a": "5678"}) == set()


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="depend on each other"):
        dvc_yaml.read({"stages": {"a": {"deps": ["y"], "outs": ["x"]}, "b": {"deps": ["x"], "outs": ["y"]}}})


def test_order_by_value_and_durations() -> None:
    cheap, dear, free = TABLES[9], TABLES[15], TABLES[10]
    assert plan.by_value([dear, cheap, free], {9: 60, 15: 6000, 10: 0}) == [free, cheap, dear]
    assert [plan.duration(text) for text in ("2h", "90m", "1h30m", "45", "30s")] == [7200, 5400, 5400, 2700, 30]
    for wrong in ("", "soon", "2 days"):
        with pytest.raises(ValueError, match="not a duration"):
            plan.duration(wrong)


# --- tables from scores ---------------------------------------------------------------------------------------------


def scored(accuracy: float, seed: int = 0, clips: int = 200) -> Scores:
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 4
    logits = rng.random((clips, 4)).astype(np.float32)
    logits[np.arange(clips), np.where(np.arange(clips) < accuracy * clips, labels, (labels + 1) % 4)] += 2
    return Scores(tuple(f"c{i:03d}" for i in range(clips)), ("test",) * clips, labels, logits)


def test_a_table_has_our_numbers_beside_the_papers_and_judges_the_claims(tmp_path: Path) -> None:
    rows = (
        Row(("a",), 80.0, ("hpj",), ({"pool.region": 3},)),
        Row(("b",), 90.0, ("hpj",)),
        Row(("c",), 91.0, ("hpj",), ({"pool.region": 5},)),
        Row(("d",), 92.0, ("hpj",), unavailable="no camera here"),
    )
    claims = (Claim("b > a", 0, 1), Claim("c > b", 1, 2), Claim("d > a", 0, 3))
    table = PaperTable(9, "title", ("What",), rows, claims)

    def scores_of(setting: Any, seed: int) -> dict[str, Scores]:
        accuracy = {3: 0.5, 5: 0.8}.get(setting.get("pool.region"), 0.8)
        return {"hpj": scored(accuracy - (0.02 if seed == 2 else 0))}

    written = writing.accuracy_table(table, scores_of, [1, 2], 200, 0, False)
    ours = [row["ours"] for row in written.table.rows]
    assert ours[0].value == pytest.approx(0.49)
    assert ours[1].value == pytest.approx(0.79)
    assert ours[1].low < ours[1].value < ours[1].high
    assert ours[3] is None
    assert [row["seeds"] for row in written.table.rows] == [2, 2, 2, None]
    assert [row["here"] for row in writing.write_claims({"IX": written.verdicts}, tmp_path)] == [
        "held", "not significant", "not run",
    ]  # fmt: skip
    assert (written.done, written.wanted) == (3, 3)
    text = writing.markdown(written)
    assert "| d | 92.0 | – |" in text
    assert "no camera here" in text
    assert "<script" not in writing.page(written)


def test_streams_of_a_row_are_fused_by_the_released_weights_of_its_protocol() -> None:
    """Without validation clips. One stream is always right with little to say for it, the other always wrong."""
    labels = np.arange(20) % 2
    sure, weak = np.eye(2)[1 - labels] * 8.0, np.eye(2)[labels] * 4.0
    names = tuple(f"c{n}" for n in range(20))
    parts = {
        s: Scores(names, ("test",) * 20, labels, v.astype(np.float32)) for s, v in (("hpj", sure), ("multimodal", weak))
    }
    row = Row(("a",), 80.0, ("hpj", "multimodal"), ({}, {"data.protocol": "folder"}))
    found = writing.outcome(row, lambda setting, seed: parts, [1], "smarthome-cs")
    assert found is not None
    assert found.share[:20].all()  # 11 of the multimodal stream's probabilities outweigh 0.1 of the others' logits
    assert not found.share[20:].any()


def test_a_gain_that_seeds_do_not_agree_on_is_not_significant() -> None:
    rows = (Row(("a",), 80.0, ("hpj",), ({"pool.region": 3},)), Row(("b",), 90.0, ("hpj",)))
    table = PaperTable(9, "title", ("What",), rows, (Claim("b > a", 0, 1), Claim("a > a", 0, 0)))

    def verdicts(spread: float) -> list[Verdict]:
        def scores_of(setting: Any, seed: int) -> dict[str, Scores]:
            return {"hpj": scored((0.5 if setting else 0.65) + spread * (seed - 2), seed)}

        return list(writing.accuracy_table(table, scores_of, [1, 2, 3], 200, 0, False).verdicts)

    close, _ = verdicts(0.01)
    assert close.p_value == pytest.approx(0, abs=0.01)
    apart, same = verdicts(0.2)
    assert apart.p_value is not None
    assert apart.p_value > 0.05
    assert "200 clips), p < 0.001, Welch's t between seeds p = 0." in apart.numbers
    assert same.p_value == 1.0


def test_a_row_of_one_seed_is_compared_with_the_same_seed_of_the_other() -> None:
    """Alone, the three seeds' better mean would hold by its interval over clips."""
    rows = (Row(("a",), 80.0, ("hpj",), ({"pool.region": 3},)), Row(("b",), 90.0, ("hpj",)))
    table = PaperTable(9, "title", ("What",), rows, (Claim("b > a", 0, 1),))

    def verdict(first: float, of: int) -> Verdict:
        def scores_of(setting: Any, seed: int) -> dict[str, Scores]:
            if setting:
                return {"hpj": scored(0.5, 1)} if seed == of else {}
            return {"hpj": scored(first if seed == of else 0.9, 1)}

        (found,) = writing.accuracy_table(table, scores_of, [1, 2, 3], 200, 0, False).verdicts
        return found

    assert verdict(0.51, 2).p_value == pytest.approx(0.5)  # two clips, both won
    found = verdict(0.8, 1)
    assert found.p_value == pytest.approx(0, abs=1e-6)
    assert "of seed 1 only, p < 0.001" in found.numbers

    def apart(setting: Any, seed: int) -> dict[str, Scores]:
        return {"hpj": scored(0.5)} if seed == (1 if setting else 2) else {}

    (found,) = writing.accuracy_table(table, apart, [1, 2], 200, 0, False).verdicts
    assert (found.word, found.numbers) == ("not comparable", "the two rows have no seed in common")


def test_a_row_of_several_settings_is_over_the_clips_of_all_and_waits_for_all() -> None:
    row = Row(("x",), None, ("hpj",), ({"data.corruption": "night"}, {"data.corruption": "blur"}))
    parts = {"night": {"hpj": scored(0.5)}, "blur": {"hpj": scored(1.0)}}
    found = writing.outcome(row, lambda setting, seed: parts[setting["data.corruption"]], [1])
    assert found is not None
    assert len(found.clip_ids) == len(set(found.clip_ids)) == 400
    assert found.share.mean() == pytest.approx(0.75)
    parts["blur"] = {}
    assert writing.outcome(row, lambda setting, seed: parts[setting["data.corruption"]], [1]) is None


def test_extremes_and_classes() -> None:
    streams = {name: scored(0.6, seed) for seed, name in enumerate(STREAMS)}
    names = ["eat", "read", "jump", "wave"]
    extremes = writing.extremes_table(TABLES[16], lambda setting, seed: streams, [1], names)
    assert extremes is not None
    assert [row["part"] for row in extremes.table.rows] == ["accurate", "accurate", "confused", "confused"]
    classes = writing.classes_table(TABLES[5], lambda setting, seed: streams, [1], names)
    assert classes is not None
    row = next(row for row in classes.table.rows if row["name"] == "eat")
    assert (row["paper_first"], row["paper_second"]) == pytest.approx((0.807, 0.829))
    forms = {"xy": 0.5, "pose2d": 0.7, "pooled": 0.9}
    by_kind = {kind: {name: scored(share, seed) for seed, name in enumerate(STREAMS)} for kind, share in forms.items()}
    both = writing.classes_table(TABLES[5], lambda setting, seed: by_kind[setting["pool.kind"]], [1], names)
    assert both is not None
    for row in both.table.rows:
        assert row["first"] <= row["with_score"] <= row["second"]
        assert row["change"] == pytest.approx(row["second"] - row["first"])
    assert [verdict.claim for verdict in both.verdicts] == [
        "most actions gain from pooling", "most actions gain from pooling, over 2-D pose with score",
    ]  # fmt: skip


def test_costs_are_counted() -> None:
    rows = writing.cost_table(TABLES[10]).table.rows
    assert [round(row["parameters"], 1) for row in rows] == [140.1, 2.0, 1.5]
    assert 2 < rows[2]["flops"] < 3 < rows[1]["flops"] / 5


def test_claims_of_earlier_tables_stay_in_the_papers_order(tmp_path: Path) -> None:
    writing.write_claims({"IX": [Verdict("a > b", "+1.0 points", "", 0.01, 0.001)]}, tmp_path)
    writing.write_claims({"III": [Verdict("c > d", "", "not run"), Verdict("e > f", "8 of 9", "held")]}, tmp_path)
    last = Verdict("a > b", "−1.0 points", "", -0.01, 0.001, "108 performances")
    writing.write_claims({"IX": [last]}, tmp_path)
    table = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert table.claim.tolist() == ["c > d", "e > f", "a > b"]
    assert table.here.tolist() == ["not run", "held", "the opposite"]
    text = (tmp_path / "claims.md").read_text()
    assert "| IX | a > b | the opposite | −1.0 points | 0.001 |" in text
    assert "Resampled: 108 performances in 1." in text


def test_the_claims_of_all_tables_are_corrected_together(tmp_path: Path) -> None:
    """A claim that holds alone no longer does beside many that say nothing; its own table is not made again."""
    alone = Verdict("a > b", "", "", 0.1, 0.03)
    assert [row["here"] for row in writing.write_claims({"IX": [alone]}, tmp_path)] == ["held"]
    others = [Verdict(f"{n}", "", "", 0.1, p) for n, p in enumerate((0.01, 0.6, 0.7))]
    rows = writing.write_claims({"XI": others}, tmp_path)
    assert [float(row["q"]) for row in rows] == pytest.approx([0.06, 0.04, 0.7, 0.7])
    assert [row["here"] for row in rows] == ["not significant", "held", "not significant", "not significant"]
    assert "for the 4 tests" in (tmp_path / "claims.md").read_text()


def test_claims_of_an_earlier_hpnet_are_left_out_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "claims.csv").write_text("table,claim,here,numbers\nIII,a > b,held,+1.0 points\n")
    rows = writing.write_claims({"IX": [Verdict("c > d", "", "", 0.1, 0.03)]}, tmp_path)
    assert [row["table"] for row in rows] == ["IX"]
    assert "earlier hpnet" in capsys.readouterr().err


def test_a_table_resamples_units_and_names_them() -> None:
    """Four cameras show one performance: their agreement is one vote, not four."""
    rows = (Row(("a",), 80.0, ("hpj",), ({"pool.region": 3},)), Row(("b",), 90.0, ("hpj",)))
    table = PaperTable(9, "title", ("What",), rows, (Claim("b > a", 0, 1),))
    units = Units("performance", "", {f"c{n:03d}": n // 4 for n in range(200)})

    def scores_of(setting: Any, seed: int) -> dict[str, Scores]:
        return {"hpj": scored(0.5 if setting else 0.54, 1)}

    def written(units: Units) -> writing.Written:
        return writing.accuracy_table(table, scores_of, [1], 400, 0, False, units_of=lambda setting, seed: units)

    by_clip, by_performance = written(UNKNOWN), written(units)
    assert by_performance.table.rows[0]["over"] == "50 performances"
    assert "over 50 performances" in by_performance.verdicts[0].numbers
    assert "| 50 performances |" in writing.markdown(by_performance)
    widths = [one.table.rows[0]["ours"].high - one.table.rows[0]["ours"].low for one in (by_clip, by_performance)]
    assert widths[1] > 1.7 * widths[0]
    assert by_clip.verdicts[0].p_value == pytest.approx(2 / 2**8)
    assert by_performance.verdicts[0].p_value == pytest.approx(2 / 2**2)


def test_a_clip_under_several_conditions_is_one_unit() -> None:
    row = Row(("x",), None, ("hpj",), ({"data.corruption": "night"}, {"data.corruption": "blur"}))
    found = writing.outcome(row, lambda setting, seed: {"hpj": scored(0.5)}, [1])
    assert found is not None
    assert found.groups.tolist() == [*range(200), *range(200)]
    assert writing.measured(row, found, 50, 0).over == "200 clips"


# --- through DVC ----------------------------------------------------------------------------------------------------

WRITES_CODE = """
import os, pathlib, shutil, sys
if sys.argv[1] == "code":
    pathlib.Path("code").mkdir(exist_ok=True)
    pathlib.Path("code/pool.txt").write_text(pathlib.Path(os.environ["HPNET_TEST_DIGEST"]).read_text() + "\\n")
    sys.exit()
"""
STEP = """
import pathlib, shutil, sys, yaml
name = sys.argv[1]
root = pathlib.Path("{root}")
region = yaml.safe_load(open("params.yaml"))["pool"].get("region", 1)
with open(root / "calls.txt", "a") as calls:
    print(name, region, file=calls)
out = pathlib.Path("artifacts") / name
out.mkdir(parents=True, exist_ok=True)
if name.startswith("train"):
    if region == 5 and "{broken}":
        sys.exit("no room for region 5")
    shutil.copyfile(root / "made" / f"{{region}}.parquet", out / "scores.parquet")
else:
    (out / "x.txt").write_text(name + str(region) * (name == "pool"))
"""


def make_graph(folder: Path, broken: str = "") -> None:
    (folder / "step.py").write_text(STEP.format(root=folder, broken=broken))
    for region, accuracy in ((1, 0.9), (3, 0.6), (5, 0.5)):
        scored(accuracy, clips=60).save(folder / "made" / f"{region}.parquet")
    step = f"{sys.executable} step.py"
    stages: dict[str, Any] = {
        "data": {"cmd": f"{step} data", "deps": ["step.py"], "params": ["data"], "outs": ["artifacts/data"]},
        "pool": {"cmd": f"{step} pool", "deps": ["artifacts/data"], "params": ["pool"], "outs": ["artifacts/pool"]},
        "train": {
            "foreach": {"hpj": {}, "multimodal": {}},
            "do": {
                "cmd": f"{step} train/${{key}}",
                "deps": ["artifacts/pool"],
                "params": ["train.seed"],
                "outs": ["artifacts/train/${key}"],
            },
        },
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    own = {"data": {"seed": 1}, "pool": {"region": 1}, "train": {"seed": 1}}
    (folder / "params.yaml").write_text(yaml.safe_dump(own))
    dvc(folder, "init", "--no-scm", "-q")


def dvc(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def ablate(folder: Path, *arguments: str) -> Any:
    from hpnet.stages.ablate import command

    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(command, list(arguments))
    finally:
        os.chdir(before)


def calls(folder: Path) -> list[str]:
    file = folder / "calls.txt"
    return file.read_text().split("\n")[:-1] if file.is_file() else []


@pytest.mark.long
def test_table_9_end_to_end_reuses_what_ran_and_runs_nothing_twice(tmp_path: Path) -> None:
    make_graph(tmp_path)
    dvc(tmp_path, "repro", "-q")
    assert len(calls(tmp_path)) == 4
    result = ablate(tmp_path, "table9", "--plan")
    assert result.exit_code == 0, result.output
    assert "pool.region=3\n    runs pool ?, train@hpj ?, train@multimodal ?" in result.output
    assert "3 experiments, time unknown, 3 stages never timed" in result.output
    assert len(calls(tmp_path)) == 4

    result = ablate(tmp_path, "table9", "--bootstrap", "50", "--budget", "2h")
    assert result.exit_code == 0, result.output
    assert "--budget: 2 of 3 experiments have stages that were never timed" in result.output
    ran = calls(tmp_path)[4:]
    assert sorted(ran) == sorted(f"{name} {r}" for r in (3, 5) for name in ("pool", "train/hpj", "train/multimodal"))
    table = pd.read_csv(tmp_path / "report" / "tables" / "table9.csv")
    assert table["ours"].tolist() == pytest.approx([0.9, 0.6, 0.5] * 2)
    assert table["paper"].tolist() == pytest.approx([0.862, 0.82, 0.819, 0.963, 0.962, 0.961])
    assert "region 1 > region 3 (CTR-GCN): held" in result.output
    claims = pd.read_csv(tmp_path / "report" / "tables" / "claims.csv")
    assert claims.table.tolist() == ["IX"] * 4
    assert {"table9.md", "table9.html"} <= {f.name for f in (tmp_path / "report" / "tables").iterdir()}
    assert not (tmp_path / ".work" / "ablate" / "base" / "artifacts").exists()

    again = ablate(tmp_path, "9")
    assert "nothing to run" in again.output
    assert len(calls(tmp_path)) == 10
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert params["pool"]["region"] == 1, "the project's own parameters must stay"


@pytest.mark.long
def test_after_an_upgrade_the_tables_of_the_old_code_are_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a project of `hpnet init`: DVC cannot see the package, and the files in code/ are outputs of a stage."""
    make_graph(tmp_path)
    graph = yaml.safe_load((tmp_path / "dvc.yaml").read_text())
    code = f"{sys.executable} step.py code"
    graph["stages"]["code"] = {"cmd": code, "always_changed": True, "outs": [{"code/pool.txt": {"cache": False}}]}
    graph["stages"]["pool"]["deps"].append("code/pool.txt")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(graph))
    (tmp_path / "step.py").write_text(f"{WRITES_CODE}{(tmp_path / 'step.py').read_text()}")
    upgraded = ["1" * 32]
    monkeypatch.setattr(Code, "digest", lambda self: upgraded[0])

    def upgrade(digest: str) -> None:
        upgraded[0] = digest
        (tmp_path / "digest.txt").write_text(digest)

    upgrade("1" * 32)
    monkeypatch.setenv("HPNET_TEST_DIGEST", str(tmp_path / "digest.txt"))
    dvc(tmp_path, "repro", "-q")
    assert ablate(tmp_path, "table9", "--bootstrap", "50").exit_code == 0
    assert "nothing to run" in ablate(tmp_path, "table9", "--plan").output
    ran = len(calls(tmp_path))
    upgrade("2" * 32)
    planned = ablate(tmp_path, "table9", "--plan").output
    assert "runs pool" in planned
    assert "3 experiments" in planned
    assert ablate(tmp_path, "table9", "--bootstrap", "50").exit_code == 0
    assert sorted(calls(tmp_path)[ran:]) == ["pool 1", "pool 3", "pool 5"]  # which write what they wrote before
    assert "nothing to run" in ablate(tmp_path, "table9", "--plan").output


@pytest.mark.long
def test_a_failure_keeps_the_rest_and_the_same_command_goes_on(tmp_path: Path) -> None:
    make_graph(tmp_path, broken="yes")
    result = ablate(tmp_path, "table9", "--bootstrap", "50")
    assert result.exit_code == 1
    assert "1 experiments failed" in result.output
    assert "repro.log" in result.output
    table = pd.read_csv(tmp_path / "report" / "tables" / "table9.csv")
    assert table["ours"].notna().tolist() == [True, True, False] * 2
    assert table["differs"][2] == "not run yet"
    text = (tmp_path / "step.py").read_text().replace('and "yes"', 'and ""')
    (tmp_path / "step.py").write_text(text)
    done = ablate(tmp_path, "table9", "--bootstrap", "50")
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "report" / "tables" / "table9.csv")["ours"].notna().all()


def test_a_budget_that_is_too_small_starts_nothing(tmp_path: Path) -> None:
    make_graph(tmp_path)
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "seconds.json").write_text(
        '{"data": 100, "pool": 100, "train hpj": 100, "train multimodal": 100}'
    )
    result = ablate(tmp_path, "table9", "--budget", "1m")
    assert result.exit_code == 0, result.output
    assert "3 experiments did not fit into the budget" in result.output
    assert calls(tmp_path) == []


def test_unknown_times_are_said_to_be_unknown(tmp_path: Path) -> None:
    make_graph(tmp_path)
    nothing = ablate(tmp_path, "table9", "--plan").output
    assert "Region of the pooling: 3 experiments, time unknown, 4 stages never timed" in nothing
    assert "about" not in nothing
    assert "last runs" not in nothing
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "seconds.json").write_text('{"data": 10, "pool": 100, "train hpj": 0.0}')
    partly = ablate(tmp_path, "table9", "--plan").output
    assert "3 experiments, at least 5 min, 1 stage never timed" in partly
    assert "train@hpj 0 s, train@multimodal ?" in partly
    (tmp_path / ".work" / "seconds.json").write_text(
        '{"data": 10, "pool": 100, "train hpj": 20, "train multimodal": 20}'
    )
    assert "3 experiments, about 7 min" in ablate(tmp_path, "table9", "--plan").output


def test_a_budget_lets_an_untimed_experiment_start_and_learns_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path)
    wanted = plan.experiments([HERE[9]], DEFAULTS, [1])
    started: list[str] = []

    def run(study: running.Study, experiment: plan.Experiment, *rest: Any) -> dict[str, Any]:
        started.append(experiment.text)
        return {"seconds": {"train hpj": 40.0, "train multimodal": 40.0} if experiment.overrides else {}}

    monkeypatch.setattr(running, "run_experiment", run)
    known = study.signatures(AS_IT_IS).values()
    planned = plan.plan(wanted, REAL, study.signatures, known, {"pool": 1.0})
    left = running.run_all(study, planned, budget=60)
    assert started == ["as in params.yaml", "pool.region=3"]
    assert [item.experiment.text for item in left] == ["pool.region=5"]
    started.clear()
    assert len(running.run_all(study, planned[1:], budget=0)) == 2
    assert not started


def test_times_of_experiments_are_known_times(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    (study.folder / "abc").mkdir(parents=True)
    (study.folder / "abc" / "result.json").write_text('{"seconds": {"pool": 5, "train hpj": 6}}')
    (tmp_path / ".work" / "seconds.json").write_text('{"train hpj": 7}')
    assert running.seconds_known(study) == {"pool": 5, "train hpj": 7}


def test_tables_whose_times_are_unknown_are_not_taken_for_free() -> None:
    def order(seconds: dict[str, float]) -> list[int]:
        study = study_of(Path())
        known = frozenset(study.signatures(AS_IT_IS).values())
        session = Session(study, DEFAULTS, (1,), False, known, seconds)
        return [table.number for table in session.ordered([HERE[15], HERE[9], HERE[10]])]

    assert order({}) == order({"pool": 2.0}) == [10, 9, 15]


def test_wrong_usage(tmp_path: Path) -> None:
    assert "expected table3 to table18" in ablate(tmp_path, "table99").output
    missing = ablate(tmp_path, "table9")
    assert isinstance(missing.exception, FileNotFoundError)
    assert "dvc.yaml is missing" in str(missing.exception)
    with pytest.raises(ValueError, match="no stage 'train@x'"):
        needed(["train@x"], REAL)
    assert running.SHARED_WORK
