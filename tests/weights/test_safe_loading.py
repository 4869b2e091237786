"""Weights of strangers: nothing is called, asked or written while they are read, and the file named is the file read.

Hostile files are read in a process of their own, one for all, whose audit hook (PEP 578) notes every file that is
opened for writing, every socket, program and removed file.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hpnet.artifacts.files import writing
from hpnet.detect.detector import build_detector, weights_digest
from hpnet.detect.families.mannequin import build_network, packaged_config, save_network
from hpnet.detect.families.rtdetr import load_rtdetr
from hpnet.detect.families.ultralytics import description, load_checkpoint
from hpnet.detect.library import ultralytics
from hpnet.detect.yolo import UltralyticsDetector
from hpnet.detect.yolo_checkpoint import KINDS
from hpnet.estimate import networks
from hpnet.estimate.specs import SPECS
from hpnet.params import load_params
from hpnet.project.weights import CATALOGUE, lookup, needed
from hpnet.train.xclip import find_xclip, load_xclip, save_xclip, xclip_digest
from hpnet.weights import places
from hpnet.weights.files import where

AUDITED = """
import json, os, sys
EVENTS, armed = [], False
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTS = ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto", "subprocess.", "os.system", "os.exec",
          "os.posix_spawn", "os.fork", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
          "os.chmod", "os.truncate", "shutil.", "urllib.", "http.", "ftplib.", "webbrowser.", "pickle.find_class")
def note(event, arguments):
    if armed and (event.startswith(STARTS) or (event == "open" and isinstance(arguments[2], int)
                  and arguments[2] & WRITES and str(arguments[0]) != "/dev/null")):
        EVENTS.append(f"{event} {arguments[:2]}"[:300])
sys.addaudithook(note)
import numpy as np, torch
torch.set_num_threads(1)
from hpnet.detect.detector import build_detector
from hpnet.detect.library import ultralytics
from hpnet.train.xclip import load_xclip
import transformers
from transformers import RTDetrForObjectDetection, XCLIPModel
from hpnet.weights.checkpoint import load_state
ultralytics()
found = {}
for name, action in json.load(sys.stdin).items():
    os.chdir(os.path.join(sys.argv[1], name))
    EVENTS.clear()
    said = []
    armed = True
    try:
        exec(action, {**globals(), "print": lambda word: said.append(str(word))})
        said.append("done")
    except (ValueError, OSError) as error:
        said.append(f"refused: {error}")
    armed = False
    found[name] = " ".join(said), list(EVENTS)
print(json.dumps(found))
"""
CASES: dict[str, Callable[[Path], str]] = {}
"""Name -> writes what is read into an empty folder; returns what the process does there."""


def case(write: Callable[[Path], str]) -> Callable[[Path], str]:
    """An entry of :data:`CASES`, by the function's name."""
    CASES[write.__name__] = write
    return write


Told = dict[str, tuple[str, list[str]]]
"""Name of a case -> what was printed, and what was done besides reading."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What became of every case, in one process with an empty home folder."""
    folder = tmp_path_factory.mktemp("cases")
    actions = {}
    for name, write in CASES.items():
        (folder / name).mkdir()
        actions[name] = write(folder / name)
    home = folder / "home"
    home.mkdir()
    before = set(folder.rglob("*"))
    hidden = ("YOLO_", "HF_", "TRANSFORMERS_", "HPNET_", "XDG_", "ULTRALYTICS_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    env |= {"HOME": str(home), "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run([sys.executable, "-c", AUDITED, folder], cwd=folder, env=env, check=False,
                          input=json.dumps(actions), capture_output=True, text=True, timeout=230)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(folder.rglob("*")) == before, "something was written"
    return {name: (said, events) for name, (said, events) in json.loads(done.stdout.splitlines()[-1]).items()}


# --- ultralytics' checkpoints -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    ultralytics()


def yolo(kind: str = "yolov5nu", **changes: Any) -> nn.Module:
    """A network of ultralytics with random weights and three classes."""
    torch.manual_seed(0)
    config = description(kind) | changes
    network: nn.Module = ultralytics().DetectionModel(config, nc=3, verbose=False)
    network.names = {0: "cat", 1: "person", 2: "dog"}  # type: ignore[assignment]
    return network


class Calls:
    """Pickled as a call of something that exists."""

    def __init__(self, place: str, name: str, *arguments: Any) -> None:
        self.call = getattr(importlib.import_module(place), name), arguments

    def __reduce__(self) -> Any:
        return self.call


@case
def a_checkpoint_full_of_calls(folder: Path) -> str:
    network = yolo()
    network.teacher = Calls("ultralytics.nn.distill_model", "DistillationModel", "http://127.0.0.1:9/mannequin-yolo.pt")  # type: ignore[assignment]
    network.other = Calls("ultralytics.nn.modules.block", "TorchVision", "resnet18", "DEFAULT")  # type: ignore[assignment]
    network.file = Calls("torch", "load", str(folder / "weights.pt"))  # type: ignore[assignment]
    network.hub = Calls("torch.hub", "download_url_to_file", "http://127.0.0.1:9/x", str(folder / "x"))  # type: ignore[assignment]
    torch.save({"model": network, "extra": Calls("numpy", "save", str(folder / "saved.npy"), np.zeros(1))},
               folder / "kind.pt")  # fmt: skip
    return "build_detector('kind.pt').detect(np.zeros((1, 64, 64, 3), np.uint8))"


def test_a_checkpoint_calls_no_constructor_asks_nothing_and_writes_nothing(told: Told) -> None:
    assert told["a_checkpoint_full_of_calls"] == ("done", [])


@case
def a_layer_that_is_a_call(folder: Path) -> str:
    network = yolo()
    network.model._modules["3"] = Calls("ultralytics.nn.modules.block", "TorchVision", "resnet18", "DEFAULT")  # type: ignore[union-attr, assignment]
    torch.save({"model": network}, folder / "kind.pt")
    return "build_detector('kind.pt')"


def test_a_layer_that_is_a_call_is_refused(told: Told) -> None:
    said, events = told["a_layer_that_is_a_call"]
    assert said.startswith("refused: detect.model: kind.pt is of a network that hpnet does not know")
    assert events == []


@case
def a_description_in_the_file(folder: Path) -> str:
    network = yolo("yolo11n")
    network.yaml["activation"] = "open('evaluated', 'w')"  # type: ignore[index, operator]
    network.yaml["backbone"] = [[-1, 1, "TorchVision", ["resnet18"]]]  # type: ignore[index, operator]
    torch.save({"ema": network.half(), "model": None}, folder / "kind.pt")
    return "build_detector('kind.pt')"


def test_a_description_in_the_file_is_not_used(told: Told) -> None:
    assert told["a_description_in_the_file"] == ("done", [])


@pytest.mark.parametrize(
    "kind",
    ["yolov3-tinyu", "yolov5nu", "yolov6n", "yolov8n", "yolov8n-p2", "yolov9t", "yolov10n", "yolo11n", "yolo12n",
     "yolo26n"],
)  # fmt: skip
def test_the_network_is_the_one_that_was_saved(tmp_path: Path, kind: str) -> None:
    network = yolo(kind)
    torch.save({"model": network.half()}, tmp_path / "kind.pt")
    again = load_checkpoint(tmp_path / "kind.pt")
    expected, read = network.float().state_dict(), again.state_dict()
    assert expected.keys() == read.keys()
    assert all(torch.equal(expected[name], read[name]) for name in expected)
    assert again.names == {0: "cat", 1: "person", 2: "dog"}
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        ours, theirs = again.eval()(picture)[0], network.eval()(picture)[0]
    assert torch.equal(ours, theirs)


def test_no_two_kinds_look_alike() -> None:
    looks = [(kind.last_layer, kind.channels, kind.tensors) for kind in KINDS.values()]
    assert len(set(looks)) == len(looks)


def test_another_activation_is_another_network(tmp_path: Path) -> None:
    torch.save({"model": yolo("yolo11n", activation="torch.nn.ReLU()")}, tmp_path / "kind.pt")
    with pytest.raises(ValueError, match=r"layer model\.0\.act is ReLU, hpnet builds SiLU"):
        load_checkpoint(tmp_path / "kind.pt")
    network = yolo("yolo11n")
    network.model[0].conv.stride = (1, 1)  # type: ignore[index, union-attr]
    torch.save({"model": network}, tmp_path / "kind.pt")
    with pytest.raises(ValueError, match=r"layer model\.0\.conv has stride \(1, 1\), hpnet builds \(2, 2\)"):
        load_checkpoint(tmp_path / "kind.pt")


def test_keys_that_are_missing_or_unexpected_are_named(tmp_path: Path) -> None:
    network = yolo("yolov8n")
    convolution = network.model[0].conv  # type: ignore[index, union-attr]
    network.model[1].conv.more = nn.Parameter(torch.zeros(1))  # type: ignore[index, union-attr]
    del network.model[2].cv1.bn.weight  # type: ignore[index, union-attr]
    assert convolution is not None
    torch.save({"model": network}, tmp_path / "kind.pt")
    with pytest.raises(ValueError, match=r"missing \(model\.2\.cv1\.bn\.weight\).*unexpected \(model\.1\.conv\.more\)"):
        load_checkpoint(tmp_path / "kind.pt")


def test_the_first_yolov5_and_other_networks_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = types.ModuleType("models.yolo")
    monkeypatch.setitem(sys.modules, "models", types.ModuleType("models"))
    monkeypatch.setitem(sys.modules, "models.yolo", place)
    place.Model = type("Model", (nn.Module,), {"__module__": "models.yolo"})  # type: ignore[attr-defined]
    torch.save({"model": place.Model()}, tmp_path / "yolov5n.pt")
    with pytest.raises(ValueError, match="first YOLOv5, with anchors, which is not supported.*yolov5mu"):
        load_checkpoint(tmp_path / "yolov5n.pt")
    tasks = importlib.import_module("ultralytics.nn.tasks")
    torch.save({"model": tasks.SegmentationModel("yolo11n-seg.yaml", verbose=False)}, tmp_path / "seg.pt")
    with pytest.raises(ValueError, match=r"SegmentationModel, expected an .* DetectionModel: supported are YOLOv3u"):
        load_checkpoint(tmp_path / "seg.pt")
    torch.save(
        {"model": yolo("yolo11n", depth_multiple=1.0, scales={"z": [0.5, 0.5, 128]}, scale="z")}, tmp_path / "x.pt"
    )
    with pytest.raises(ValueError, match="rtdetr:FOLDER|does not fit this network"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "names", [{0: "person", 2: "x", 3: "y"}, {0: 1, 1: "a", 2: "b"}, dict.fromkeys(range(3), "x" * 1000), "person", []]
)
def test_class_names_are_bounded_text(tmp_path: Path, names: Any) -> None:
    network = yolo()
    network.names = names
    torch.save({"model": network}, tmp_path / "kind.pt")
    with pytest.raises(ValueError, match=r"class names by number|has no name of at most"):
        load_checkpoint(tmp_path / "kind.pt")


def test_layers_inside_each_other_end(tmp_path: Path) -> None:
    network = yolo()
    inner = network.model[0]  # type: ignore[index]
    inner._modules["again"] = inner  # type: ignore[index]
    torch.save({"model": network}, tmp_path / "loop.pt")
    with pytest.raises(ValueError, match="layers, or 50 inside each other"):
        load_checkpoint(tmp_path / "loop.pt")
    pair = nn.ModuleList()
    for _ in range(40):  # 2 ** 40 paths
        pair = nn.ModuleList([pair, pair])
    network = yolo()
    network.model.append(pair)  # type: ignore[operator, union-attr]
    torch.save({"model": network}, tmp_path / "pairs.pt")
    with pytest.raises(ValueError, match="more than 20,000 layers"):
        load_checkpoint(tmp_path / "pairs.pt")


# --- which file -------------------------------------------------------------------------------------------------------


@case
def a_name_that_ultralytics_renames(folder: Path) -> str:
    """It renames yolov5n to yolov5nu and fetches that. Prints the file's own digest, too."""
    (folder / "weights").mkdir()
    torch.save({"model": yolo("yolov5nu")}, folder / "weights/yolov5n.pt")
    return (
        f"print('{places.digest(folder / 'weights/yolov5n.pt')}'); build_detector('yolov5n')\n"
        "from hpnet.detect.detector import weights_digest; print(weights_digest('yolov5n'))"
    )


def test_the_file_of_a_name_is_digested_and_read_and_none_is_fetched(told: Told) -> None:
    said, events = told["a_name_that_ultralytics_renames"]
    own, digest, end = said.split()
    assert (digest, end) == (own, "done")
    assert events == []


@pytest.mark.parametrize("folder", ["weights", "HPNET_WEIGHTS"])
def test_packaged_names_are_the_packages_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    if folder != "weights":
        monkeypatch.setenv("HPNET_WEIGHTS", str(tmp_path / folder))
    Path(folder).mkdir()
    names = ("mannequin-yolo", "mannequin-simcc", "mannequin-xclip")
    digests = weights_digest("mannequin-yolo"), places.digest(networks.weights_file(SPECS["mannequin-simcc"]))
    assert digests == tuple(places.digest(places.ASSETS / f"{name}.safetensors") for name in names[:2])
    assert find_xclip("mannequin-xclip") == places.ASSETS / "mannequin-xclip"
    # the same bytes do no harm
    own = (places.ASSETS / "mannequin-yolo.safetensors").read_bytes()
    (Path(folder) / "mannequin-yolo.safetensors").write_bytes(own)
    assert weights_digest("mannequin-yolo") == digests[0]
    (Path(folder) / "mannequin-xclip").mkdir()
    for part in ("mannequin-yolo.safetensors", "mannequin-simcc.safetensors", "mannequin-xclip/model.safetensors"):
        save_file({"a": torch.ones(1)}, Path(folder) / part)
    (Path(folder) / "mannequin-xclip/config.json").write_text("{}")
    for read in (
        lambda: build_detector("mannequin-yolo"),
        lambda: weights_digest("mannequin-yolo"),
        lambda: networks.load(SPECS["mannequin-simcc"]),
        lambda: networks.load(SPECS["mannequin-heatmap"]),
        lambda: load_xclip("mannequin-xclip"),
        lambda: xclip_digest("mannequin-xclip"),
        lambda: where(CATALOGUE["mannequin-yolo"].files[0]),
    ):
        with pytest.raises(
            ValueError, match=rf"{folder}/mannequin-.* is not read: mannequin-.* always the package's own"
        ):
            read()


def test_a_folder_here_called_like_the_packaged_xclip_is_not_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mannequin-xclip").mkdir()
    Path("mannequin-xclip/config.json").write_text("{}")
    assert find_xclip("mannequin-xclip") == places.ASSETS / "mannequin-xclip"


def test_a_detector_of_ones_own_is_given_by_its_path(tmp_path: Path) -> None:
    network = build_network(packaged_config())
    save_network(network, tmp_path / "mine.safetensors")
    assert isinstance(build_detector(str(tmp_path / "mine.safetensors")), UltralyticsDetector)
    assert weights_digest(str(tmp_path / "mine.safetensors")) == places.digest(tmp_path / "mine.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors is missing"):
        weights_digest(str(tmp_path / "no.safetensors"))


@case
def an_xclip_of_the_hub(folder: Path) -> str:
    return "load_xclip('someone/nowhere')"


@case
def an_rtdetr_of_the_hub(folder: Path) -> str:
    return "build_detector('rtdetr:someone/nowhere')"


def test_names_of_the_hub_are_fetched_by_hpnet_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    entry = lookup("rtdetr:PekingU/rtdetr_r18vd")
    assert entry.files[1].path == "rtdetr_r18vd/model.safetensors"
    assert entry.files[1].url == "https://huggingface.co/PekingU/rtdetr_r18vd/resolve/main/model.safetensors"
    assert lookup("someone/my-xclip").role == "video"
    with pytest.raises(ValueError, match="no weights are known"):
        lookup("../x")
    (tmp_path / "params.yaml").write_text("detect: {model: 'rtdetr:PekingU/nowhere'}\n")
    monkeypatch.chdir(tmp_path)
    assert "rtdetr:PekingU/nowhere" in [e.name for e in needed(load_params(Path("params.yaml")))]
    said, events = told["an_xclip_of_the_hub"]
    assert said.startswith("refused: X-CLIP 'someone/nowhere' is not here: `hpnet weights fetch someone/nowhere`")
    assert events == []
    said, events = told["an_rtdetr_of_the_hub"]
    assert said.startswith("refused: detect.model: RT-DETR 'someone/nowhere' is not here")
    assert events == []


# --- transformers' folders --------------------------------------------------------------------------------------------


def rtdetr(folder: Path) -> Path:
    """A small RT-DETR as ``save_pretrained`` writes it."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], encoder_ffn_dim=16,
        encoder_attention_heads=2, d_model=16, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, num_queries=12,
        decoder_attention_heads=2, decoder_layers=2, num_denoising=0, id2label={0: "cat", 1: "person"},
        label2id={"cat": 0, "person": 1},
    )  # fmt: skip
    RTDetrForObjectDetection(config).save_pretrained(folder)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        part = config
        *parents, last = key.split("__")
        for parent in parents:
            part = part[parent]
        part[last] = value
    (folder / "config.json").write_text(json.dumps(config))


DETECT = "build_detector('rtdetr:net', image_size=64).detect(np.zeros((1, 64, 64, 3), np.uint8))"
ASKS = [
    {"backbone": "resnet50"},
    {"backbone": "resnet50", "use_pretrained_backbone": True},
    {"backbone": "microsoft/resnet-50", "backbone_config": None, "use_pretrained_backbone": True},
    {"backbone": "resnet18d", "use_timm_backbone": True, "backbone_config": None},
    {"auto_map": {"AutoModel": "someone/code--model.Net"}},
    {"quantization_config": {"quant_method": "bitsandbytes"}},
    {"backbone_config__model_type": "timm_backbone"},
    {"backbone_config__auto_map": {"AutoConfig": "code.Net"}},
]


@case
def an_rtdetr_folder(folder: Path) -> str:
    rtdetr(folder / "net")
    harmless = {"_name_or_path": "someone/elsewhere", "attn_implementation": "someone/kernel", "use_kernels": True}
    edit(folder / "net", **harmless, _attn_implementation="someone/kernel", transformers_weights="../x.safetensors")
    adapter = {"base_model_name_or_path": "someone/base", "peft_type": "LORA"}
    (folder / "net/adapter_config.json").write_text(json.dumps(adapter))
    return DETECT


def test_an_rtdetr_folder_is_read_and_nothing_else(told: Told) -> None:
    assert told["an_rtdetr_folder"] == ("done", [])


@pytest.mark.parametrize("changes", ASKS, ids=lambda c: "+".join(c))
def test_a_config_that_names_something_elsewhere_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    edit(rtdetr(tmp_path / "net"), **changes)
    with pytest.raises(ValueError, match=r"config\.json.*(never fetched or run|is built here)"):
        build_detector(f"rtdetr:{tmp_path / 'net'}")


@case
def a_config_that_names_a_backbone(folder: Path) -> str:
    edit(rtdetr(folder / "net"), **ASKS[1])
    return DETECT


def test_a_config_that_names_a_backbone_asks_nothing(told: Told) -> None:
    said, events = told["a_config_that_names_a_backbone"]
    assert said.startswith("refused: net/config.json: backbone 'resnet50'") or "use_pretrained_backbone" in said
    assert events == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder_layers": 1_000_000}, "decoder_layers is 1000000"),
        ({"backbone_config__depths": [1, 1, 1, 500]}, "depths is 500"),
        ({"d_model": 100_000}, "no network can be made|describes a network of|bytes"),
        ({"num_queries": 10**12}, "num_queries is 1000000000000"),
        ({"anchor_image_size": [1_000_000, 1_000_000]}, "anchor_image_size"),
        ({"id2label": {str(i): "person" for i in range(6000)}}, "id2label has"),
        ({"decoder_attention_heads": 0}, "no network can be made"),
        ({"activation_function": "eval"}, "no network can be made"),
        ({"d_model": [[16]]}, "d_model"),
        ({"model_type": "bert"}, "is of 'bert', expected 'rt_detr'"),
        ({"encoder_ffn_dim": 32}, "does not fit this network|describes a network of"),
    ],
    ids=lambda c: "+".join(c) if isinstance(c, dict) else "",
)
def test_sizes_are_bounded_before_anything_is_made(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    edit(rtdetr(tmp_path / "net"), **changes)
    with pytest.raises(ValueError, match=words):
        load_rtdetr(tmp_path / "net")


def test_rtdetr_keys_that_are_missing_or_unexpected_are_named(tmp_path: Path) -> None:
    file = rtdetr(tmp_path / "net") / "model.safetensors"
    state = load_file(file)
    state["more"] = state.pop("model.enc_output.0.weight")
    save_file(state, file)
    with pytest.raises(ValueError, match=r"missing \(model\.enc_output\.0\.weight\).*unexpected \(more\)"):
        load_rtdetr(tmp_path / "net")


def test_an_rtdetr_is_the_one_that_was_saved_and_its_digest_covers_what_is_read(tmp_path: Path) -> None:
    from transformers import RTDetrForObjectDetection

    folder = rtdetr(tmp_path / "net")
    ours = load_rtdetr(folder).state_dict()
    theirs = RTDetrForObjectDetection.from_pretrained(folder, local_files_only=True).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    before = weights_digest(f"rtdetr:{folder}")
    edit(folder, num_queries=11)
    assert weights_digest(f"rtdetr:{folder}") != before


def xclip(folder: Path) -> Path:
    """The packaged X-CLIP, as a folder of one's own."""
    packaged = load_xclip("mannequin-xclip")
    save_xclip(folder, packaged.model, packaged.tokenizer)
    return folder


KERNELS = {"_name_or_path": "someone/x", "attn_implementation": "someone/kernel", "text_config__use_kernels": True}


@case
def an_xclip_folder(folder: Path) -> str:
    edit(xclip(folder / "net"), **KERNELS)
    return "load_xclip('net', frames=2); load_xclip('mannequin-xclip')"


def test_an_xclip_folder_is_read_and_nothing_else(tmp_path: Path, told: Told) -> None:
    assert told["an_xclip_folder"] == ("done", [])
    folder = xclip(tmp_path / "net")
    edit(folder, **KERNELS)
    # weights as torch writes them, by the same reader
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    again, packaged = load_xclip(str(folder)).model.state_dict(), load_xclip("mannequin-xclip").model.state_dict()
    assert all(torch.equal(again[name], packaged[name]) for name in packaged)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auto_map": {"AutoModel": "code.Net"}}, "auto_map .* never fetched or run"),
        ({"vision_config__model_type": "siglip_vision_model"}, "only 'xclip_vision_model' is built here"),
        ({"text_config__num_hidden_layers": 10_000}, "num_hidden_layers is 10000"),
        ({"text_config__vocab_size": 900_000}, "describes a network of"),
        ({"text_config": "someone/text"}, "text_config is no object"),
    ],
    ids=lambda c: "+".join(c) if isinstance(c, dict) else "",
)
def test_an_xclip_config_is_bounded_too(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = xclip(tmp_path / "net")
    edit(folder, **changes)
    with pytest.raises(ValueError, match=words):
        load_xclip(str(folder))


def test_other_files_of_an_xclip_are_checked(tmp_path: Path) -> None:
    folder = xclip(tmp_path / "net")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 100_000, "image_std": [1, 1, 1]})
    )
    with pytest.raises(ValueError, match="image_mean is .* expected a number per RGB channel") as caught:
        load_xclip(str(folder))
    assert len(str(caught.value)) < 500
    (folder / "preprocessor_config.json").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer"):
        load_xclip(str(folder))
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        load_xclip(str(folder))
    (folder / "config.json").write_bytes(b" " * (5 << 20))
    with pytest.raises(ValueError, match="expected at most 4,194,304"):
        load_xclip(str(folder))


# --- files that are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_weights_are_as_readable_as_their_neighbours(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "neighbour").write_text("x")
        with writing(tmp_path / "a.safetensors") as file:
            save_file({"a": torch.ones(1)}, file)
        save_network(build_network(packaged_config()), tmp_path / "b.safetensors")
        xclip(tmp_path / "net")
    finally:
        os.umask(before)
    expected = (tmp_path / "neighbour").stat().st_mode
    for name in ("a.safetensors", "b.safetensors", "net/model.safetensors", "net/config.json"):
        assert (tmp_path / name).stat().st_mode == expected, name


def test_a_failed_write_leaves_no_empty_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written"), writing(tmp_path / "x.safetensors"):
        raise RuntimeError("no room")
    assert not (tmp_path / "x.safetensors").exists()
