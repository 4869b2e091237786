"""hpnet weights: the catalogue, downloads from a server on this machine, conversion and checks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from hpnet.estimate import networks
from hpnet.estimate.specs import SPECS
from hpnet.params import Params
from hpnet.project import presets
from hpnet.project.convert import convert
from hpnet.project.weights import CATALOGUE, needed, of_preset
from hpnet.stages.cli import main
from hpnet.stages.weights import command
from hpnet.weights.fetch import OfflineError, fetch, problem
from hpnet.weights.files import require
from hpnet.weights.places import ASSETS
from tests import golden

CONTENT = bytes(range(256)) * 4000
PAPER = ["yolov5mu", "hrnet-w48-simcc", "microsoft/xclip-base-patch16-kinetics-600"]
PACKAGED = ["mannequin-yolo", "mannequin-simcc", "mannequin-xclip"]
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """Serves CONTENT under every path, with ranges; /gone is 404; breaks off after ``limit`` bytes where set."""

    address: str = ""
    limit: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    accepts_ranges: bool = True


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.paths.append(self.path)
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            if self.path == "/gone":
                self.send_error(404)
                return
            start = int(wanted[6:-1]) if wanted and state.accepts_ranges else 0
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.limit])

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


# --- downloads ------------------------------------------------------------------------------------------------------


def test_a_download_is_whole_and_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(
        f"{server.address}/w.pth", tmp_path / "deep/w.pth", DIGEST[:8], lambda now, total: seen.append((now, total))
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["w.pth"]


def test_a_half_file_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.limit = 300_000
    with pytest.raises(ConnectionError, match=r"broke off.*run the same again"):
        fetch(f"{server.address}/w.pth", tmp_path / "w.pth", DIGEST[:8])
    assert not (tmp_path / "w.pth").exists()
    assert (tmp_path / "w.pth.part").stat().st_size == 300_000
    server.limit = None
    fetch(f"{server.address}/w.pth", tmp_path / "w.pth", DIGEST[:8])
    assert server.ranges == [None, "bytes=300000-"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.accepts_ranges = False
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:1000])
    fetch(f"{server.address}/w.pth", tmp_path / "w.pth", DIGEST[:8])
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_or_too_long(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    fetch(f"{server.address}/w.pth", tmp_path / "w.pth", DIGEST[:8])
    (tmp_path / "v.pth.part").write_bytes(CONTENT + b"more")
    fetch(f"{server.address}/v.pth", tmp_path / "v.pth", DIGEST[:8])
    assert (tmp_path / "w.pth").read_bytes() == (tmp_path / "v.pth").read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"digest {DIGEST[:8]}, expected 0123abcd"):
        fetch(f"{server.address}/w.pth", tmp_path / "w.pth", "0123abcd")
    assert list(tmp_path.iterdir()) == []


def test_offline_and_gone(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OfflineError, match="answers 404"):
        fetch(f"{server.address}/gone", tmp_path / "w.pth")
    with pytest.raises(OfflineError, match="cannot be reached"):
        fetch("http://127.0.0.1:9/w.pth", tmp_path / "w.pth")


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPNET_WEIGHTS", raising=False)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_list_says_file_origin_size_digest_and_place(project: Path) -> None:
    code, text = run("list")
    assert code == 0
    for name, spec in SPECS.items():
        assert f"\n{name}  (pose" in f"\n{text}"
        assert spec.weights_file in text
    code, text = run("list", "hrnet-w48")
    assert "about 255 MB" in text
    assert "https://download.openmmlab.com/mmpose/v1/body_2d_keypoint" in text
    assert "0e67c616..." in text
    assert "weights/td-hm_hrnet-w48_8xb32" in text
    preset = run("list", "--preset", "ntu120-xset")[1].splitlines()
    assert [line.split()[0] for line in preset if not line.startswith(" ")] == PAPER
    assert "no weights are known" in str(CliRunner().invoke(command, ["list", "resnet"]).exception)


RTMPOSE_T = "rtmpose-tiny_simcc-aic-coco_pt-aic-coco_420e-256x192-cfc8f33d_20230126.pth"


@pytest.mark.parametrize(
    ("name", "size", "url", "known"),
    [
        (
            "rtmpose-t",
            "13 MB",
            f"https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/{RTMPOSE_T}",
            "cfc8f33d...",
        ),
        (
            "yolo11n",
            "6 MB",
            "https://github.com/ultralytics/assets/releases/download/v8.3.0/yolo11n.pt",
            "not published",
        ),
        (
            "yolo26x",
            "119 MB",
            "https://github.com/ultralytics/assets/releases/download/v8.4.0/yolo26x.pt",
            "not published",
        ),
    ],
)
def test_networks_that_one_command_fetches(project: Path, name: str, size: str, url: str, known: str) -> None:
    text = run("list", name)[1]
    assert f"about {size})" in text
    assert f"  from    {url}\n" in text
    assert f"  digest  {known}\n" in text
    with pytest.raises(FileNotFoundError) as error:
        require([CATALOGUE[name]])
    file = url.rpartition("/")[2]
    expected = f"weights of {name} are missing: `hpnet weights fetch {name}`, or fetch {url} by hand and save it as "
    assert str(error.value) == f"{expected}weights/{file}"


def test_every_size_of_rtmpose_yolo11_and_yolo26_is_known() -> None:
    rtmpose = {f"rtmpose-{size}{kind}" for size in "tsml" for kind in ("", "-halpe26", "-wholebody")}
    yolo = {f"{family}{size}" for family in ("yolo11", "yolo26") for size in "nsmlx"}
    assert rtmpose | yolo <= set(CATALOGUE)
    assert len({CATALOGUE[name].files[0].digest_start for name in rtmpose}) == 12


def test_list_gives_the_digest_of_what_is_here(project: Path) -> None:
    assert "digest  not published\n" in run("list", "yolov5mu")[1]
    Path("weights").mkdir(exist_ok=True)
    Path("weights/yolov5mu.pt").write_bytes(CONTENT)
    assert f"digest  {DIGEST[:8]}... of the file here; not published" in run("list", "yolov5mu")[1]
    packaged = run("list", "mannequin-simcc")[1]
    digest = hashlib.sha256((ASSETS / "mannequin-simcc.safetensors").read_bytes()).hexdigest()
    assert f"digest  {digest[:8]}...\n" in packaged


def test_fetch_from_a_mirror_and_offline(project: Path, server: Server) -> None:
    code, text = run("fetch", "yolov5mu", "--mirror", server.address)
    assert code == 0
    assert Path("weights/yolov5mu.pt").read_bytes() == CONTENT
    assert server.paths == ["/yolov5mu.pt"]
    assert "already here" in run("fetch", "yolov5mu")[1]
    code, text = run("fetch", "vitpose-base", "--mirror", "http://127.0.0.1:9")
    assert code == 1
    assert "cannot be reached" in text
    assert "by hand and save it as weights/vitpose-base.safetensors" in text
    code, text = run("fetch", "hrnet-w48-simcc")  # has no address of its own
    assert code == 1
    assert "SimCC (its model zoo) by hand and save it as weights/pose_hrnet_w48" in text
    assert "there is no params.yaml here" in run("fetch")[1]


def test_check_tells_whole_from_broken(project: Path) -> None:
    code, text = run("check", "res50-hand")
    assert code == 1
    assert "missing: fetch https://download.openmmlab.com/mmpose/hand" in text
    Path("weights").mkdir()
    file = Path("weights/res50_onehand10k_256x256-739c8639_20210330.pth")
    file.write_bytes(b"half")
    code, text = run("check", "res50-hand")
    assert code == 1
    assert "expected 739c8639" in text
    simcc = Path("weights/pose_hrnet_w48_256x192_split2_sigma4.pth")  # no published digest: it is read
    torch.save({"a": torch.ones(3)}, simcc)
    assert run("check", "hrnet-w48-simcc") == (0, f"hrnet-w48-simcc: {simcc} is whole\n")
    simcc.write_bytes(simcc.read_bytes()[:400])
    assert "half-downloaded" in run("check", "hrnet-w48-simcc")[1]


def test_problems_of_files_without_a_digest(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "x.pt")
    assert problem(tmp_path / "x.pt") == ""
    (tmp_path / "x.pt").write_bytes((tmp_path / "x.pt").read_bytes()[:-100])
    assert "half-downloaded" in problem(tmp_path / "x.pt")
    save_file({"a": torch.ones(1000)}, tmp_path / "x.safetensors")
    assert problem(tmp_path / "x.safetensors") == ""
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-1])
    assert "half-downloaded" in problem(tmp_path / "x.safetensors")
    (tmp_path / "x.json").write_text("{")
    assert "no JSON" in problem(tmp_path / "x.json")
    (tmp_path / "x.bin").write_bytes(b"")
    assert problem(tmp_path / "x.bin") == "is empty"


def test_catalogue_and_parameters(project: Path) -> None:
    assert [w.name for w in needed(Params())] == PACKAGED
    raw = {"detect": {"model": "yolov5mu.pt"}, "estimate": {"model": "hrnet-w32", "weights": "mine.pth"}}
    assert [w.name for w in needed(Params.model_validate(raw))] == ["yolov5mu", "mannequin-xclip"]
    with pytest.raises(FileNotFoundError) as error:
        require(of_preset("ntu60-xsub"))
    lines = str(error.value).splitlines()
    assert lines[0].startswith("weights of yolov5mu are missing: `hpnet weights fetch yolov5mu`, or fetch https://")
    assert "save it as weights/pose_hrnet_w48_256x192_split2_sigma4.pth" in lines[1]
    require(of_preset("nw-ucla"))
    with pytest.raises(ValueError, match="preset 'ntu' is unknown; choose from ntu60-xsub"):
        of_preset("ntu")
    for preset in presets.PRESETS:
        of_preset(preset)
    openmmlab = [f for e in CATALOGUE.values() for f in e.files if "openmmlab" in f.url]
    assert len(openmmlab) >= 5
    assert all(len(f.digest_start) == 8 and f.url.endswith(f.path) for f in openmmlab)


PAPER_SCALE = """
data: {source: folder, videos: videos, protocol: ntu60-xsub}
detect: {model: yolov5mu}
estimate: {model: hrnet-w48-simcc}
train: {multimodal: {video: microsoft/xclip-base-patch16-kinetics-600}}
"""


@pytest.mark.parametrize(
    ("stage", "networks_missing"),
    [
        ("data", ["yolov5mu", "hrnet-w48-simcc", "microsoft/xclip-base-patch16-kinetics-600"]),
        ("detect", ["yolov5mu"]),
        ("estimate", ["hrnet-w48-simcc"]),
    ],
)
def test_paper_scale_without_its_weights_stops_before_any_work(
    project: Path, stage: str, networks_missing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(PAPER_SCALE)
    (project / "videos").mkdir()
    (project / "videos" / "S001C001P001R001A001_rgb.avi").write_bytes(b"never read")
    before = sorted(project.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main([stage])
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[3 if n == 0 else 2] for n, line in enumerate(lines)] == networks_missing
    assert all("save it as weights/" in line for line in lines)
    assert sorted(project.rglob("*")) == before


# --- conversion -----------------------------------------------------------------------------------------------------


def test_convert_pose_weights(project: Path) -> None:
    network = networks.build(SPECS["mannequin-simcc"])
    released = {
        key.removeprefix("backbone.").removeprefix("head."): value for key, value in network.state_dict().items()
    }
    torch.save({"state_dict": {f"module.{key}": value for key, value in released.items()}}, "authors.pth")
    code, text = run("convert", "authors.pth", "--model", "mannequin-simcc", "--out", "ours.safetensors")
    assert code == 0
    state = load_file("ours.safetensors")
    assert set(state) == set(network.state_dict())
    assert f"{len(state)} tensors" in text
    loaded, _ = networks.load(SPECS["mannequin-simcc"], "ours.safetensors")  # a path relative to the working directory
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key])
    with pytest.raises(ValueError, match=r"authors.pth does not fit this network.*instead of"):
        convert(Path("authors.pth"), "hrnet-w32-simcc", Path("x.safetensors"))
    with pytest.raises(ValueError, match=r"give a file name that ends in .safetensors"):
        convert(Path("authors.pth"), "mannequin-simcc", Path("x.pth"))
    with pytest.raises(ValueError, match="model 'resnet' is unknown; choose from ctrgcn, mannequin-simcc"):
        convert(Path("authors.pth"), "resnet", Path("x.safetensors"))
    with pytest.raises(ValueError, match=r"released CTR-GCN checkpoint.*another network"):
        convert(Path("authors.pth"), "ctrgcn", Path("x.safetensors"))


def released_ctrgcn() -> dict[str, torch.Tensor]:
    """The keys and shapes of a released checkpoint: 17 joints, 96 channels, 60 classes, two people."""
    shapes = golden.released_shapes("ctrgcn").items()
    return {key: torch.zeros(shape, dtype=torch.long if "num_batches" in key else None) for key, shape in shapes}


def test_convert_ctrgcn_refuses_what_is_garbled_or_of_other_sizes(project: Path) -> None:
    state = released_ctrgcn()
    torch.save(state, "whole.pth")
    assert run("convert", "whole.pth", "--model", "ctrgcn", "--out", "whole.safetensors")[0] == 0
    norm, first = "l3.gcn1.bn.weight", "l1.gcn1.convs.1.conv1.weight"
    broken = {
        r"tensor classifier.weight has values that are not finite": {"fc.weight": state["fc.weight"] + torch.nan},
        r"classifier.weight \(7, 3\) instead of \(60, 256\)": {"fc.weight": torch.zeros(7, 3)},
        r"blocks.2.spatial.norm.weight \(5,\) instead of \(64,\)": {norm: torch.zeros(5)},
        rf"'{first}' is \(8, 3, 1, 1\), expected 4 dimensions as of .*\(12, 96, 1, 1\)": {
            first: torch.zeros(8, 3, 1, 1)
        },
        r"'data_bn.weight' is \(5,\), expected a multiple of 17 joints times 96 channels": {
            "data_bn.weight": torch.zeros(5)
        },
    }
    for message, change in broken.items():
        torch.save({**state, **change}, "broken.pth")
        with pytest.raises(ValueError, match=message):
            convert(Path("broken.pth"), "ctrgcn", Path("x.safetensors"))
    torch.save({key: value for key, value in state.items() if not key.startswith("l3.")}, "broken.pth")
    with pytest.raises(ValueError, match=r"'l3.gcn1.PA' is missing, but there is a block after it"):
        convert(Path("broken.pth"), "ctrgcn", Path("x.safetensors"))
    torch.save({key: value for key, value in state.items() if not key.startswith("l10.")}, "broken.pth")
    with pytest.raises(ValueError, match=r"broken.pth does not fit this network"):
        convert(Path("broken.pth"), "ctrgcn", Path("x.safetensors"))
    assert not Path("x.safetensors").exists()
