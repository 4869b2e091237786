"""The engine under hard conditions: killed, accumulated, averaged, in two processes, over seeds; bad checkpoints."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from hpnet.artifacts.scores import Scores
from hpnet.core.skeleton import COCO17
from hpnet.params import validate
from hpnet.train.averaging import lent, moving_average, warming_up
from hpnet.train.clips import LabelledClips
from hpnet.train.datasets import PersonBatch
from hpnet.train.loop import Clock, Course, Run, fit, make_accelerator
from hpnet.train.params import TopologyParams
from hpnet.train.parts import Parts, part_of
from hpnet.train.schedules import lr_scale, parameter_groups
from hpnet.train.topology import TopologyModel, load_topology
from tests.train.test_loop import PARAMS, SPLITS, make_clips, make_features, train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return make_accelerator(torch.device("cpu"))


# --- killed ----------------------------------------------------------------------------------------------------------

VICTIM = """
import os, signal, sys
from pathlib import Path
import torch
from hpnet.train.loop import make_accelerator
from hpnet.train.topology import TopologyTask
from tests.train.test_loop import train

folder, where, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
owner, name = {"replace": (os, "replace"), "loss": (TopologyTask, "loss")}[where]
whole, calls = getattr(owner, name), 0

def dying(*given, **named):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*given, **named)

setattr(owner, name, dying)
train(folder, make_accelerator(torch.device("cpu")))
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("where", "number"),
    [
        # epoch 1's weights are written, its checkpoint is not
        pytest.param("replace", 4, marks=pytest.mark.long),
        ("loss", 11),  # 25 clips in batches of 8: in the middle of epoch 3
    ],
)
def test_killed_at_any_point_and_run_again_ends_with_the_same_weights(
    tmp_path: Path, accelerator: Accelerator, where: str, number: int
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        killed = subprocess.run(
            [sys.executable, "-c", VICTIM, tmp_path / "broken", where, str(number)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "broken/out").exists()
        assert len(list((tmp_path / "broken/work").glob("last.*.pt"))) == 1
        whole, again = train(tmp_path / "whole", accelerator), train(tmp_path / "broken", accelerator)
    finally:
        torch.set_num_threads(threads)
    assert again == whole
    for name in ("model.safetensors", "scores.parquet", "config.json"):
        assert (tmp_path / "broken/out" / name).read_bytes() == (tmp_path / "whole/out" / name).read_bytes(), name


@pytest.mark.parametrize("stem", ["last", "best"])
@pytest.mark.parametrize("cut", [False, True], ids=["a flipped bit", "cut short"])
def test_a_damaged_checkpoint_is_noticed_and_training_starts_again(
    tmp_path: Path, accelerator: Accelerator, stem: str, cut: bool
) -> None:
    whole = train(tmp_path, accelerator)
    made = {f: (tmp_path / "out" / f).read_bytes() for f in ("model.safetensors", "scores.parquet", "config.json")}
    (bad,) = (tmp_path / "work").glob(f"{stem}*")
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 1
    bad.write_bytes(content[: len(content) // 2] if cut else content)
    epochs: list[int] = []
    with pytest.warns(UserWarning, match=rf"{stem}.*is damaged: it is made again"):
        assert train(tmp_path, accelerator, on_epoch=lambda epoch: epochs.append(epoch.epoch)) == whole
    assert epochs == [0, 1, 2, 3]
    assert {f: (tmp_path / "out" / f).read_bytes() for f in made} == made


@pytest.mark.parametrize("name", ["last.pt", "best.safetensors"])
def test_no_room_for_a_checkpoint(tmp_path: Path, accelerator: Accelerator, name: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = train(tmp_path, accelerator, on_epoch=None)
    sizes = sorted(f.stat().st_size for f in (tmp_path / "work").iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[0] // 2 if "best" in name else sizes[1] - 1, limit[1]))
    try:
        with pytest.raises(OSError, match=rf"{name}\.part cannot be written .* MB are free there: make room"):
            train(tmp_path / "full", accelerator)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert train(tmp_path / "full", accelerator) == before


# --- steps -----------------------------------------------------------------------------------------------------------


class Regression:
    """Twelve clips, a linear network without batch norm: what a step does can be computed by hand."""

    clips = LabelledClips(tuple("abcdefghijkl"), ("train",) * 12, np.arange(12) % 2, 2)

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.steps_per_epoch = 12 // batch_size
        self.x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))

    def train_batches(self, epoch: int) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for start in range(0, 12, self.batch_size):
            indices = np.arange(start, start + self.batch_size)
            yield indices, torch.from_numpy(indices)

    def eval_batches(self, split: str) -> Iterator[Any]:
        yield from ()

    def loss(self, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(self.x[batch]), batch % 2)


def fitted(folder: Path, accelerator: Accelerator, batch_size: int, **options: Any) -> torch.Tensor:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    run = Run(0, folder, accelerator, options.pop("on_epoch", None))
    course = Course(**{"schedule": lambda _: 1.0, "epochs": 3, **options})
    fit(Regression(batch_size), model, optimizer, course, run)
    return model.weight.detach().clone()


def test_accumulated_batches_are_one_large_batch(tmp_path: Path, accelerator: Accelerator) -> None:
    large = fitted(tmp_path / "a", accelerator, 12)
    torch.testing.assert_close(fitted(tmp_path / "b", accelerator, 3, accumulate=4), large)
    # Four batches, three to a step: the last step of an epoch has one batch.
    rates: list[float] = []
    fitted(tmp_path / "c", accelerator, 3, accumulate=3, schedule=lambda at: rates.append(at) or 1.0)
    assert rates[:4] == pytest.approx([1.5 / 4, 3.5 / 4, 1 + 1.5 / 4, 1 + 3.5 / 4])


class Small(torch.nn.Linear):
    """A GPU whose memory holds four clips (or ``room``), in training and in scoring."""

    room = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(12, 1), (6, 1), (6, 2), (4, 3), (3, 2)])
def test_what_does_not_fit_is_computed_in_halves_and_the_step_is_the_same(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, batch_size: int, accumulate: int
) -> None:
    losses: dict[str, list[float]] = {"a": [], "b": []}

    def fitted_in(folder: str) -> torch.Tensor:
        keep = losses[folder].append
        return fitted(
            tmp_path / folder,
            accelerator,
            batch_size,
            accumulate=accumulate,
            on_epoch=lambda epoch: keep(epoch.train_loss),
        )

    whole = fitted_in("a")
    monkeypatch.setattr(torch.nn, "Linear", Small)
    halved = {12: 3, 6: 3}.get(batch_size)
    warned = pytest.warns(UserWarning, match=f"training takes {halved} clips at a time and adds their gradients$")
    with warned if halved else nullcontext():
        found = fitted_in("b")
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)
    assert losses["b"] == pytest.approx(losses["a"], abs=1e-6)


def test_memory_that_is_out_late_in_a_step_does_not_lose_the_batches_before(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = fitted(tmp_path / "a", accelerator, 4, accumulate=3), []
    backward = type(accelerator).backward

    def once(self: Accelerator, loss: torch.Tensor, **given: Any) -> None:
        backward(self, loss, **given)
        calls.append(loss)
        if len(calls) == 5:  # epoch 1, the second of three batches; its gradients have been added
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(accelerator), "backward", once)
    with pytest.warns(UserWarning, match="training takes 2 clips at a time"):
        found = fitted(tmp_path / "b", accelerator, 4, accumulate=3)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)


def test_one_clip_that_does_not_fit_is_an_error(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn, "Linear", Small)
    monkeypatch.setattr(Small, "room", 0)
    refused = pytest.raises(RuntimeError, match=r"no memory for training of 1 clip at once: use")
    with pytest.warns(UserWarning, match="training takes 1 clip at a time"), refused:
        fitted(tmp_path, accelerator, 12)


def test_a_stream_trains_and_scores_in_what_memory_there_is(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, forward, seen = train(tmp_path / "a", accelerator), TopologyModel.forward, []

    def small(self: TopologyModel, features: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        if len(features) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(len(features))
        return forward(self, features, valid)

    monkeypatch.setattr(TopologyModel, "forward", small)
    with pytest.warns(UserWarning, match="clips at a time") as warned:
        metrics = train(tmp_path / "b", accelerator)
    said = [str(w.message) for w in warned if "out of memory" in str(w.message)]
    assert any("training takes 2 clips at a time and adds their gradients; batch norm takes" in text for text in said)
    assert any("scoring takes 2 clips at a time" in text for text in said)
    assert max(seen) <= 3
    assert metrics.keys() == whole.keys()
    scores = [Scores.load(tmp_path / folder / "out" / "scores.parquet") for folder in ("a", "b")]
    assert scores[0].clip_ids == scores[1].clip_ids
    assert np.isfinite(scores[1].logits).all()


@pytest.mark.parametrize(
    ("fewest", "largest", "clips", "sizes"),
    [
        (1, None, 17, [17]),
        (1, 8, 17, [5, 6, 6]),
        (2, 2, 3, [3]),
        (2, 2, 5, [2, 3]),
        (1, 1, 3, [1, 1, 1]),
        (2, 4, 4, [4]),
    ],
)
def test_parts_are_about_equal_and_leave_no_clip_out(
    fewest: int, largest: int | None, clips: int, sizes: list[int]
) -> None:
    parts = Parts(fewest)
    parts.largest = largest
    found = parts.of(torch.arange(clips), clips)
    assert [len(part) for part, _ in found] == sizes
    assert torch.cat([part for part, _ in found]).tolist() == list(range(clips))
    assert sum(share for _, share in found) == pytest.approx(1)


def test_a_part_of_a_batch_has_the_same_clips_of_everything() -> None:
    batch = PersonBatch(torch.arange(4.0), torch.ones(4, 2, dtype=torch.bool), torch.arange(4))
    part = part_of(batch, 1, 3)
    assert part.features.tolist() == part.labels.tolist() == [1, 2]
    assert part.valid.shape == (2, 2)
    assert part.targets is None


def test_the_learning_rate_scales_with_the_clips_of_a_step() -> None:
    assert lr_scale(16, 1, None) == 1
    assert lr_scale(16, 4, None) == 4
    assert lr_scale(16, 1, 64) == 0.25


def test_averaged_weights_lag_behind_and_survive_a_kill(tmp_path: Path, accelerator: Accelerator) -> None:
    own, averaged = fitted(tmp_path / "a", accelerator, 12), fitted(tmp_path / "b", accelerator, 12, ema=0.5)
    torch.manual_seed(0)
    expected = model = torch.nn.Linear(3, 2).weight.detach().clone()
    for epochs in (1, 2, 3):  # of one step each
        model = fitted(tmp_path / f"own{epochs}", accelerator, 12, epochs=epochs)
        decay = (1 + epochs) / (10 + epochs)
        expected = decay * expected + (1 - decay) * model
    torch.testing.assert_close(model, own)
    torch.testing.assert_close(averaged, expected)

    def stop(epoch: Any) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "c", accelerator, 12, ema=0.5, on_epoch=stop)
    assert torch.equal(fitted(tmp_path / "c", accelerator, 12, ema=0.5), averaged)


def test_the_average_is_only_lent_to_the_model() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = moving_average(model, warming_up(0.9))
    torch.nn.init.constant_(model.weight, 11.0)
    average.update_parameters(model)
    with lent(model, average):
        torch.testing.assert_close(model.weight.detach(), torch.full((2,), 1 * 2 / 11 + 11 * 9 / 11))
    assert model.weight.tolist() == [11, 11]


def test_an_average_of_few_updates_has_forgotten_its_start() -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 0.0)
    average = moving_average(model, warming_up(0.999))
    torch.nn.init.constant_(model.weight, 1.0)
    for _ in range(80):
        average.update_parameters(model)
    assert 0.99 < float(average.module.weight.detach()) < 1
    assert warming_up(0.5)(1000) == 0.5  # the decay that was asked for


def test_an_average_takes_statistics_in_or_keeps_the_last_ones() -> None:
    model = torch.nn.BatchNorm1d(2)
    both, weights = moving_average(model, lambda n: 0.75), moving_average(model, lambda n: 0.75, buffers=False)
    with torch.no_grad():
        model.weight.fill_(5.0)
        model.running_mean.fill_(4.0)
        model.num_batches_tracked.fill_(7)
    for average in (both, weights):
        average.update_parameters(model)
        assert average.module.weight.tolist() == [2.0, 2.0]
    assert both.module.running_mean.tolist() == [1.0, 1.0]
    assert weights.module.running_mean.tolist() == [4.0, 4.0]


def test_vectors_do_not_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].bias.requires_grad_(False)
    plain, decaying = parameter_groups(model.parameters(), 0.1, lr=0.5)
    assert [tuple(p.shape) for p in plain["params"]] == [(2,), (2,)]
    assert [tuple(p.shape) for p in decaying["params"]] == [(2, 3)]
    assert (plain["weight_decay"], decaying["weight_decay"], plain["lr"], decaying["lr"]) == (0.0, 0.1, 0.5, 0.5)
    assert len(parameter_groups([model[0].weight], 0.1)) == 1


def test_the_clock_tells_waiting_from_working(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hpnet.train.loop.time.perf_counter", lambda: now[0])

    def batches() -> Iterator[Any]:
        for _ in range(4):
            now[0] += 1
            yield np.zeros(1), None

    clock = Clock()
    for _ in clock.timed(batches()):
        now[0] += 3
    assert (clock.data_s, clock.total_s, clock.waiting) == (4, 16, 0.25)


# --- processes and seeds ---------------------------------------------------------------------------------------------

SMALL = [
    *("--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-epochs", "2"),
    *("--topology-batch-size", "9", "--topology-flip", "0.5", "--topology-mirror-pooled"),
    *("--topology-warmup-epochs", "0", "--topology-lr", "0.02"),
]  # fmt: skip


def project(folder: Path) -> None:
    clips = make_clips(SPLITS)
    clips.save(folder / "artifacts/data")
    make_features(clips).save(folder / "artifacts/pool")


@pytest.mark.timeout(600)
@pytest.mark.long
def test_several_processes_on_a_cpu_are_refused_with_the_reason(tmp_path: Path) -> None:
    project(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "hpnet.stages.cli"]
    done = subprocess.run(
        [*launch, "train", "hpj", *SMALL, "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "several processes train on GPUs only: batch norm cannot be shared between CPU processes" in done.stderr
    assert not (tmp_path / "artifacts/train").exists()


def test_other_test_draws_score_again_and_train_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.stages.train import command

    monkeypatch.chdir(tmp_path)
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "artifacts/data")
    make_features(clips, frames=6, channels=3, kind="pose3d").save(tmp_path / "artifacts/pool")
    drawn = [*SMALL, "--topology-flip", "0", "--topology-crop", "0.5", "--topology-places", "random", "--device", "cpu"]
    scores, weights = {}, {}
    for draws in ("1", "3"):
        done = CliRunner().invoke(command, ["hpj", *drawn, "--topology-test-draws", draws])
        assert done.exit_code == 0, done.output
        scores[draws] = Scores.load(Path("artifacts/train/hpj/scores.parquet")).logits
        weights[draws] = load_file("artifacts/train/hpj/model.safetensors")
        assert len(list(Path(".work/train").iterdir())) == 1  # the same run
        if draws == "1":

            def no_epoch(*_: object, **__: object) -> None:
                raise AssertionError("trained again")

            monkeypatch.setattr("hpnet.train.topology.TopologyTask.train_batches", no_epoch)
    assert not np.allclose(scores["1"], scores["3"])
    for name, value in weights["1"].items():
        assert torch.equal(weights["3"][name], value), name
    assert json.loads(Path("artifacts/train/hpj/config.json").read_text())["params"]["test_draws"] == 3


def test_several_seeds_give_mean_and_sd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.stages.train import command

    monkeypatch.chdir(tmp_path)
    project(tmp_path)
    done = CliRunner().invoke(command, ["hpj", *SMALL, "--device", "cpu", "--seed", "[3, 4]"])
    assert done.exit_code == 0, done.output
    found = json.loads(Path("metrics/train/hpj.json").read_text())
    top1 = found["seeds"]["test"]["top1"]
    assert found["seeds"]["seeds"] == [3, 4]
    assert top1["values"][0] == found["test"]["top1"]
    assert (top1["mean"], top1["sd"]) == pytest.approx((np.mean(top1["values"]), np.std(top1["values"], ddof=1)))
    assert json.loads(Path("artifacts/train/hpj/config.json").read_text())["seed"] == 3
    assert "2 seeds: " in done.output


def test_seeds_are_different_numbers() -> None:
    assert validate({"train": {"seed": 5}}).train.seeds == (5,)
    assert validate({"train": {"seed": [5, 6]}}).train.seeds == (5, 6)
    for wrong in ([], [1, 1]):
        with pytest.raises(ValueError, match="list of different ones"):
            validate({"train": {"seed": wrong}})


# --- bad input -------------------------------------------------------------------------------------------------------


def test_600_classes(tmp_path: Path, accelerator: Accelerator) -> None:
    clips = make_clips(["train"] * 8 + ["val"] * 2 + ["test"] * 2, [0, 599] * 6, classes=600)
    features = make_features(make_clips(["train"] * 12, [0, 1] * 6))
    features = type(features)(features.array, features.index, features.meta)
    metrics = train(tmp_path, accelerator, clips, features=features, params=PARAMS.model_copy(update={"epochs": 1}))
    assert Scores.load(tmp_path / "out/scores.parquet").logits.shape == (4, 600)
    assert metrics["test"]["top5"] >= metrics["test"]["top1"]
    card = json.loads((tmp_path / "out/config.json").read_text())
    assert card["untrained_classes"] == list(range(1, 599))


def test_a_label_outside_the_class_table_names_its_clip() -> None:
    with pytest.raises(ValueError, match=r"clip 'clip002' has label 2, classes\.csv has 2"):
        make_clips(["train"] * 4, [0, 1, 2, 0], classes=2)


def test_a_stream_refuses_another_skeleton_and_another_models_weights(tmp_path: Path, accelerator: Accelerator) -> None:
    train(tmp_path, accelerator, params=PARAMS.model_copy(update={"epochs": 1}))
    model = load_topology(tmp_path / "out")
    with pytest.raises(ValueError, match=r"features are \(1, 5, 4, 21, 2\), expected \(N, C, T, 17, M\)"):
        model(torch.zeros(1, 5, 4, 21, 2), torch.ones(1, 2, dtype=torch.bool))
    file = tmp_path / "out/model.safetensors"
    state = load_file(file)
    save_file({name.replace("temporal", "time"): value for name, value in state.items()}, file)
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit this network: .*missing.*unexpected"):
        load_topology(tmp_path / "out")
    save_file({**state, "network.classifier.weight": torch.zeros(9, 4)}, file)
    with pytest.raises(ValueError, match=r"network\.classifier\.weight \(9, 4\) instead of \(3, 4\)"):
        load_topology(tmp_path / "out")
    (tmp_path / "out/config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"out/config\.json is not what the stage writes \('sizes'\): run that stage"):
        load_topology(tmp_path / "out")
    (tmp_path / "out/config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing: run `hpnet train out` first"):
        load_topology(tmp_path / "out")


def test_turning_is_for_3d_poses(tmp_path: Path, accelerator: Accelerator) -> None:
    params = TopologyParams.model_validate({**PARAMS.model_dump(), "rotation": 10})
    with pytest.raises(ValueError, match="rotation, scale and behind are for 3-D poses, but the features are 'pooled'"):
        train(tmp_path, accelerator, params=params)


@pytest.mark.parametrize("places", ["even", "random"])
def test_3d_poses_are_turned_scaled_cropped_and_mixed_alike_whatever_the_processes(places: str) -> None:
    from hpnet.train.clips import labelled_clips
    from hpnet.train.datasets import PersonFeatures, person_rows
    from hpnet.train.topology import TopologyTask

    clips = make_clips(["train"] * 12)
    features = make_features(clips, frames=6, channels=3, kind="pose3d")
    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    moved = {"rotation": 20.0, "scale": 0.2, "behind": 0.5, "crop": 0.5, "places": places, "flip": 0.5, "batch_size": 6}
    params = PARAMS.model_copy(update=moved)

    def seen(process: int, processes: int) -> dict[int, torch.Tensor]:
        people = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
        task = TopologyTask(table, people, params, features.meta, seed=1, process=process, processes=processes)
        return {int(i): batch.features[n] for indices, batch in task.train_batches(2) for n, i in enumerate(indices)}

    alone, halves = seen(0, 1), [seen(0, 2), seen(1, 2)]
    assert sorted(alone) == sorted([*halves[0], *halves[1]]) == list(range(12))
    for half in halves:
        for clip, value in half.items():
            torch.testing.assert_close(value, alone[clip])


def test_random_places_alone_move_the_frames_of_a_training_clip_and_no_other() -> None:
    from hpnet.train.clips import labelled_clips
    from hpnet.train.datasets import PersonFeatures, person_rows
    from hpnet.train.topology import TopologyTask

    clips = make_clips(["train"] * 4 + ["val"] * 2)
    features = make_features(clips, frames=6, channels=3, kind="pooled")
    table = labelled_clips(clips)
    rows = person_rows(features, table, set(table.clip_ids))
    people = PersonFeatures(features.array, rows, table.labels, torch.device("cpu"))
    still = TopologyTask(table, people, PARAMS.model_copy(update={"flip": 0.0}), features.meta, seed=1)
    drawn = PARAMS.model_copy(update={"flip": 0.0, "places": "random"})
    task = TopologyTask(table, people, drawn, features.meta, seed=1)
    (indices, before), (same, after) = next(still.train_batches(0)), next(task.train_batches(0))
    assert indices.tolist() == same.tolist()
    assert not torch.allclose(before.features, after.features)
    assert after.features.amin() >= before.features.amin()
    assert after.features.amax() <= before.features.amax()
    for (_, a), (_, b) in zip(still.eval_batches("val"), task.eval_batches("val"), strict=True):
        torch.testing.assert_close(a.features, b.features)


def test_test_draws_average_the_logits_of_clips_read_as_training_reads_them(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    from hpnet.train.topology import draw_size, move

    moved = {"epochs": 2, "flip": 0.0, "rotation": 20.0, "scale": 0.2, "behind": 0.5, "crop": 0.5, "places": "random"}
    clips = make_clips(["train"] * 25 + ["val"] * 9 + ["test"] * 9)
    features = make_features(clips, frames=6, channels=3, kind="pose3d")
    scores = {}
    for draws in (1, 3):
        params = PARAMS.model_copy(update={**moved, "test_draws": draws})
        folder = tmp_path / str(draws)
        train(folder, accelerator, clips, features=features, params=params)
        scores[draws] = Scores.load(folder / "out" / "scores.parquet").logits
    once, thrice = (load_topology(tmp_path / str(draws) / "out") for draws in (1, 3))
    for name, value in once.state_dict().items():  # training is the same
        torch.testing.assert_close(thrice.state_dict()[name], value)
    assert not np.allclose(scores[1], scores[3])

    x, valid = torch.randn(4, 3, 6, 17, 2), torch.tensor([[True, True], [True, False], [False, False], [True, True]])
    with torch.inference_mode():
        size = draw_size(thrice.params, 6)
        numbers = [torch.from_numpy(np.random.default_rng([draw, 5]).random(size)).float() for draw in range(3)]
        mirror = COCO17.mirror
        each = [once(move(x, row.expand(4, -1), once.params, mirror), valid) for row in numbers]
        torch.testing.assert_close(thrice(x, valid), torch.stack(each).mean(0))
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(thrice(x[order], valid[order]), thrice(x, valid)[order])
        still = torch.randn(2, 3, 1, 17, 2)  # T = 1
        assert thrice(still, valid[:2]).isfinite().all()


def test_test_draws_of_clips_that_training_does_not_move_are_refused(tmp_path: Path, accelerator: Accelerator) -> None:
    params = PARAMS.model_copy(update={"test_draws": 8})
    with pytest.raises(ValueError, match=r"test_draws is 8, but every draw would be the same: set crop"):
        train(tmp_path, accelerator, params=params)
