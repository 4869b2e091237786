"""Values as DVC reads them."""

from pathlib import Path

from hpnet.artifacts.yaml_text import parse_yaml
from hpnet.project.folder import Project


def test_a_number_without_a_point_is_a_number() -> None:
    text = "{a: 1e-08, b: 1.0e-8, c: -2E3, hash: 12e3.dir, quoted: '1e-08', word: e3}"
    found = parse_yaml(text, "params.yaml")
    assert found == {"a": 1e-8, "b": 1e-8, "c": -2000.0, "hash": "12e3.dir", "quoted": "1e-08", "word": "e3"}


def test_the_lock_holds_the_number_of_params_yaml(tmp_path: Path) -> None:
    """DVC writes 1.0e-8 as 1e-08. Read as text, it would differ, and `hpnet ablate` would plan a finished stage."""
    (tmp_path / "dvc.lock").write_text("stages: {a: {cmd: x, params: {params.yaml: {adam_epsilon: 1e-08}}}}\n")
    (tmp_path / "params.yaml").write_text("adam_epsilon: 1.0e-8\n")
    project = Project(tmp_path)
    stored = project.read_lock()["stages"]["a"]["params"]["params.yaml"]
    assert stored == project.read_values()
