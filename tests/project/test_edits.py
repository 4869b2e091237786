"""What an edit makes stale: a table of edits and exactly the stages whose code is another one after each.

The source tree is copied and edited, and a process that imports the copy computes the identities: those of the files in
``code/``, on which DVC's stages depend, and those of the sections of the parameters, which are in the keys of shards
and of training runs.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpnet.params import Params
from hpnet.project import dvc_yaml
from hpnet.project.code import codes
from hpnet.project.graph import Kind, graph, touches, upstream

ROOT = Path(__file__).resolve().parents[2]
TRAINED = frozenset({"train-topology", "train-multimodal", "compare"})


def of(names: str) -> frozenset[str]:
    """Names of codes."""
    return frozenset(names.split())


@dataclass(frozen=True)
class Edit:
    """An edit of the source tree.

    Attributes:
        what: in words.
        stale: names of the codes that it changes.
        old: text that stands somewhere in the package; empty: ``new`` is appended to ``file``.
        new: what takes its place, everywhere.
        file: relative to the package, where ``old`` is empty.
    """

    what: str
    stale: frozenset[str]
    old: str = ""
    new: str = ""
    file: str = ""


ROOT_OF_COCO17 = "COCO_JOINTS, (0, 0, 0, 1, 2, 0, 0, 5, 6,"
REGISTERED = '    "gcn": "hpnet.models.gcn:GCN",\n'
EDITS = [
    Edit("a skeleton", of("data estimate pool events report") | TRAINED, ROOT_OF_COCO17,
         "COCO_JOINTS, (0, 0, 0, 1, 2, 0, 5, 5, 6,"),
    Edit("a prompt", of("train-multimodal events"), "action {words(name)}", "act {words(name)}"),
    Edit("a choreography", of("data"), "shared.uniform(0.085, 0.115)", "shared.uniform(0.075, 0.115)"),
    Edit("a fusion rule", of("fuse events"), "RELEASED_TOPOLOGY_WEIGHT = 0.1", "RELEASED_TOPOLOGY_WEIGHT = 1"),
    Edit("a colour of the report", of("report"), new="a{color:red}", file="report/style.css"),
    Edit("a pooling operator", of("pool compare events"), "reduce(centre, axis=(3, 4))",
         "reduce(centre, axis=(3, 4)) + 1"),
    Edit("the chosen network", TRAINED, "reduced = max(8, in_channels // 8)", "reduced = max(4, in_channels // 8)"),
    Edit("a network that nobody chose", of(""), new="WIDTH = 3", file="models/mixformer.py"),
    Edit("the detector's weights", of("detect"), new="x", file="assets/mannequin-yolo.safetensors"),
    Edit("the pose network's weights", of("estimate"), new="x", file="assets/mannequin-simcc.safetensors"),
    Edit("X-CLIP's weights", of("train-multimodal"), new="x", file="assets/mannequin-xclip/model.safetensors"),
    Edit("the classes of another data set", of(""), new="99,x,y", file="data/sets/nw_ucla_classes.csv"),
    Edit("a default of data", of("data"), "cameras: int = Field(3,", "cameras: int = Field(2,"),
    Edit("a default of data, read by others", of("data detect estimate pool"), "max_failed: float = Field(0.05,",
         "max_failed: float = Field(0.5,"),
    Edit("a default of detect", of("detect events"), "iou: float = Field(0.45,", "iou: float = Field(0.5,"),
    Edit("a default of detect, read by others", of("detect estimate events"), "persons: int = Field(2,",
         "persons: int = Field(3,"),
    Edit("a default of estimate", of("estimate events"), "scale: float = Field(1.25,", "scale: float = Field(1.5,"),
    Edit("a default of pool", of("pool compare events"), "region: int = Field(1,", "region: int = Field(3,"),
    Edit("a default of train, read by others", TRAINED, '1, description="a list t', '2, description="a list t'),
    Edit("a default of train.topology", of("train-topology compare"), "lr: float = Field(0.1,", "lr: float = Field(1,"),
    Edit("a default of train.multimodal", of("train-multimodal"), "lr: float = Field(8e-6,", "lr: float = Field(9e-6,"),
    Edit("a default of fuse", of("fuse"), "tau: float = Field(1.0,", "tau: float = Field(2.0,"),
    Edit("a default of report, and of events", of("report events"), "bootstrap: int = Field(1000,",
         "bootstrap: int = Field(500,"),
    Edit("a comment", of(""), ROOT_OF_COCO17, ROOT_OF_COCO17.replace("(", "(  # the nose\n    ")),
    Edit("a docstring", of(""), "Pool the central ``region``", "Pool the innermost ``region``"),
    Edit("the help of an option", of(""), '"Clips per shard."', '"How many clips a shard holds."'),
    Edit("a description of a parameter", of(""), "odd; R of Eq. (3), in cells", "odd; R of Eq. (3) in cells"),
    Edit("a network that is registered, not chosen", of(""), REGISTERED,
         REGISTERED + '    "novel": "hpnet.models.novel:Novel",\n'),
]  # fmt: skip

PROGRAM = """
import functools, json, os, sys
sys.dont_write_bytecode = True
import pydantic, yaml
from pathlib import Path
root = Path(sys.argv[1])
sys.path.insert(0, str(root))
package = root / "hpnet"
import hpnet.work.identity as identity
assert Path(identity.__file__).is_relative_to(root)
# Both are pure functions of a text: what no edit touches is parsed once for all processes.
identity.meaning, identity.imports = functools.cache(identity.meaning), functools.cache(identity.imports)
texts = {file: file.read_text("utf-8") for file in sorted(package.rglob("*.py"))}
for file, text in texts.items():
    parts = file.relative_to(root).with_suffix("").parts
    whole = file.name == "__init__.py"
    identity.imports(text, ".".join(parts[:-1] if whole else parts), whole)
    identity.meaning(text)


def digests():
    from hpnet.params import Params
    from hpnet.project.code import codes
    params = Params()
    sections = {"data": params.data, "detect": params.detect, "estimate": params.estimate, "pool": params.pool,
                "train-topology": params.train.topology, "train-multimodal": params.train.multimodal}
    return {
        "torch": "torch" in sys.modules,
        "files": {name: code.digest() for name, code in codes(params).items() if name != "import"},
        "keys": {name: section.code().digest() for name, section in sections.items()},
    }


for edit in [None, *json.load(sys.stdin)]:
    before = {}
    if edit and edit["old"]:
        before = {file: text.encode() for file, text in texts.items() if edit["old"] in text}
        assert before, edit
        for file in before:
            file.write_text(texts[file].replace(edit["old"], edit["new"]), "utf-8")
    elif edit:
        file = package / edit["file"]
        before = {file: file.read_bytes()}
        file.write_bytes(before[file] + edit["new"].encode())
    child = os.fork()
    if not child:
        print(json.dumps(digests()), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, edit
    for file, content in before.items():
        file.write_bytes(content)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    """What was edited -> the identities after it; "" is the tree as it is. The commands lie where a wheel has them."""
    root = tmp_path_factory.mktemp("tree")
    for folder, inside in (("hpnet", "hpnet"), ("stages", "hpnet/stages")):
        shutil.copytree(ROOT / folder, root / inside, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, root],
        input=json.dumps([{"old": edit.old, "new": edit.new, "file": edit.file} for edit in EDITS]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(["", *(edit.what for edit in EDITS)], map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.long
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.what)
def test_an_edit_makes_its_stages_stale_and_no_other(edit: Edit, found: dict[str, dict[str, dict[str, str]]]) -> None:
    before, after = found[""], found[edit.what]
    assert {name for name, digest in before["files"].items() if after["files"][name] != digest} == edit.stale
    keys = {name for name, digest in before["keys"].items() if after["keys"][name] != digest}
    assert keys <= edit.stale
    if not edit.what.endswith("read by others"):  # a value of another section is in the key itself
        assert keys == edit.stale & set(before["keys"])


@pytest.mark.parametrize("kind", [dvc_yaml.REPOSITORY, Kind(videos=True, table=True, variants=("region3",))])
def test_another_label_or_split_reruns_training_and_what_follows_alone(kind: Kind) -> None:
    """They are in clips.csv; which videos there are is in videos.csv."""
    stages = graph(kind).each()

    def readers(file: str) -> set[str]:
        return {name for name, stage in stages.items() if any(touches(dep, file) for dep in stage.deps)}

    stale = readers("artifacts/data/clips.csv")
    for name, stage in stages.items():  # upstream first
        stale |= {name} if stale & set(upstream(stage, stages)) else set()
    events = {"events"} & set(stages)  # where there are takes
    assert {name.partition("@")[0] for name in stale} == {"train", "compare", "fuse", "report"} | events
    assert {"detect", "estimate"} <= readers("artifacts/data/videos.csv")


@pytest.mark.long
def test_no_stage_runs_the_commands_and_nothing_heavy_is_imported_for_a_digest(
    found: dict[str, dict[str, dict[str, str]]],
) -> None:
    assert found[""]["files"] == {name: code.digest() for name, code in codes(Params()).items() if name != "import"}
    assert not any(one["torch"] for one in found.values())
