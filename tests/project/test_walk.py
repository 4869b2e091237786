"""The paper's experiment from end to end, on two clips of NTU RGB+D with random weights of the published shapes.

What is smaller than the paper's: the first 8 frames of two clips under the names of four people, 4 of them for the pose
network, one epoch, a small X-CLIP in the files of the published one, and, because a random detector finds nobody, the
packaged MoveNet in the place of YOLO. HRNet-W48 and CTR-GCN have their full size.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import XCLIPModel

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json
from hpnet.artifacts.scores import Scores
from hpnet.core.streams import STREAMS
from hpnet.core.video import read_frames, write_video
from hpnet.models.xclip import IMAGE_MEAN, IMAGE_SD, reduced_config
from hpnet.train.text import train_tokenizer
from hpnet.train.xclip import save_xclip
from hpnet.weights.published import XCLIP_FILES
from tests.trained import hpnet, inside, shrink

SHARED = Path(__file__).resolve().parents[3] / "shared"
NTU, PARITY = SHARED / "data" / "ntu", SHARED / "data" / "parity"
FRAMES = 8
SMALLER = {
    "detect": {"model": "movenet-multipose", "image_size": 256},
    "estimate": {"frames": 4},
    "train": {
        "topology": {"epochs": 1, "warmup_epochs": 0},
        "multimodal": {"epochs": 1, "warmup_epochs": 0},
    },
}

pytestmark = pytest.mark.skipif(not (NTU.is_dir() and PARITY.is_dir()), reason="needs the shared clips of NTU RGB+D")


def ntu_videos(folder: Path) -> Path:
    """Two actions by three people who train (1, 2, 4) and one who is tested (3); every person shows the same clips."""
    for action in ("A001", "A050"):
        frames = np.stack(list(read_frames(NTU / f"S001C001P001R001{action}_rgb.avi", FRAMES)))
        for person in ("P001", "P002", "P004", "P003"):
            write_video(folder / f"S001C001{person}R001{action}_rgb.mp4", frames, fps=30)
    return folder


def random_hrnet(file: Path) -> None:
    """SimCC on HRNet-W48, every key and shape of the published checkpoint."""
    spec = importlib.util.spec_from_file_location("make_weights", PARITY / "make_weights.py")
    assert spec is not None
    assert spec.loader is not None
    make_weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_weights)
    torch.save(make_weights.state_dict(1, "stats_seed1.npz"), file)


def small_xclip(folder: Path) -> None:
    """The four files of a published X-CLIP with 224² frames, 2 layers of 64 channels."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a person drinks water", "two people punch and slap"] * 3, 320)
    config = reduced_config(
        vocab_size=tokenizer.get_vocab_size(), image_size=224, patch_size=32, frames=8, width=64, layers=2,
        text_width=64, text_layers=1, text_length=77,
    )  # fmt: skip
    model = XCLIPModel(config)
    save_xclip(folder, model, tokenizer).unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    means = {"image_mean": list(IMAGE_MEAN), "image_std": list(IMAGE_SD)}
    (folder / "preprocessor_config.json").write_text(json.dumps(means))
    assert sorted(XCLIP_FILES) == sorted(file.name for file in folder.iterdir())


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_released_recipe_from_init_to_the_plan_of_table_9(tmp_path: Path) -> None:
    videos = ntu_videos(tmp_path / "videos")
    with inside(tmp_path):
        made = hpnet("init", "ntu120", "--preset", "ntu120-xsub", "--recipe", "released", "--videos", str(videos))
    assert "a project of preset ntu120-xsub, recipe released" in made
    project = tmp_path / "ntu120"
    random_hrnet(project / "weights" / "pose_hrnet_w48_256x192_split2_sigma4.pth")
    small_xclip(project / "weights" / "xclip-base-patch16-kinetics-600")
    shrink(project, SMALLER)
    ran = []
    with inside(project):
        for name, stage in yaml.safe_load((project / "dvc.yaml").read_text())["stages"].items():
            for item in stage.get("foreach", [""]):
                command = stage.get("do", stage)["cmd"].replace("${key}", item).replace("${item}", item)
                workers = ["--workers", "1"] if name in ("data", "detect", "estimate", "pool") else []
                hpnet(*shlex.split(command)[1:], *workers)
                ran.append(f"{name}@{item}" if item else name)
        plan = hpnet("ablate", "table9", "--plan")
    trained = [f"train@{stream}" for stream in STREAMS]
    assert ran == ["code", "data", "detect", "estimate", "pool", *trained, "compare@pose2d", "fuse", "report"]

    clips = Clips.load(project / "artifacts" / "data").table
    assert sorted(clips.split.value_counts().to_dict().items()) == [("test", 2), ("train", 4), ("val", 2)]
    assert read_json(project / "metrics" / "estimate.json")["crops"] >= 8 * 4
    for stream in STREAMS:
        card = read_json(project / "artifacts" / "train" / stream / "config.json")
        assert "out_of_fold" in card, "the final weights see all training clips"
        assert card["params"]["graph"]["skeleton"] == "released"
        assert read_json(project / "metrics" / "train" / f"{stream}.json")["test"]["clips"] == 2
    own = read_json(project / "artifacts" / "train" / "multimodal" / "config.json")["params"]
    assert (own["mixup"], own["cutmix"], own["augmented"], own["refine"]) == (0.8, 1.0, "frames", "text")
    fused = Scores.load(project / "artifacts" / "fuse" / "scores.parquet")
    assert fused.logits.shape[1] == 120
    assert np.isfinite(fused.logits).all()
    assert "ntu120-xsub --recipe released" in (project / "README.md").read_text()
    assert (project / "report" / "index.html").stat().st_size > 10_000
    rows = ("as in params.yaml", "estimate.window=5, pool.region=3", "estimate.window=5, pool.region=5")
    assert all(f"  {row}\n" in plan for row in rows)
    assert "3 experiments" in plan
    assert "cannot run here" not in plan
