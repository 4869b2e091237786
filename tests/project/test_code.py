"""hpnet code: one small file for each stage, which says what code it runs under the parameters of the project."""

from pathlib import Path

from click.testing import CliRunner, Result

from hpnet.params import Params, validate
from hpnet.project.code import digests
from hpnet.project.folder import Project
from hpnet.project.make import make_project
from hpnet.stages.cli import cli
from tests.trained import inside


def run(folder: Path, *arguments: str) -> Result:
    with inside(folder):
        return CliRunner().invoke(cli, ["code", *arguments])


def test_it_writes_a_digest_for_each_stage(tmp_path: Path) -> None:
    make_project(tmp_path, "mannequin")
    assert run(tmp_path).exit_code == 0
    written = {file.stem: file.read_text() for file in Project(tmp_path).code.iterdir()}
    assert written == {name: f"{digest}\n" for name, digest in digests(Params()).items()}
    assert {stage.code for stage in Project(tmp_path).read_stages().values()} - {""} <= set(written)
    assert len(set(written.values())) == len(written)


def test_names_choose_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "import", "fuse", "--out", "here").exit_code == 0
    assert sorted(file.name for file in (tmp_path / "here").iterdir()) == ["fuse.txt", "import.txt"]
    refused = run(tmp_path, "poo")
    assert refused.exit_code == 1
    assert "unknown code of 'poo' (did you mean 'pool'?): choose from data, detect" in str(refused.exception)


def test_what_the_parameters_choose_decides_and_other_values_do_not(tmp_path: Path) -> None:
    before = digests(Params())
    chosen = digests(validate({"train": {"topology": {"graph": {"model": "stgcn"}}}}))
    assert {name for name in before if before[name] != chosen[name]} == {"train-topology", "compare"}
    assert digests(validate({"pool": {"region": 3}, "train": {"topology": {"lr": 3}}})) == before
    (tmp_path / "params.yaml").write_text("train: {topology: {graph: {model: stgcn}}}")
    run(tmp_path)
    assert (tmp_path / "code" / "train-topology.txt").read_text() == f"{chosen['train-topology']}\n"
