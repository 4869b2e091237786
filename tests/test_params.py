"""params.yaml: refused by dotted name, with the nearest valid one."""

from pathlib import Path

import pytest
import yaml

from hpnet.params import STREAMS, Params, dotted_names, load_params, validate

ROOT = Path(__file__).resolve().parents[1]


def test_the_projects_own_file_is_valid_and_names_only_known_parameters() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.data.source == "mannequin"
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(raw) == set(Params.model_fields)


@pytest.mark.parametrize(
    ("typo", "suggestion"),
    [("pool.regoin", "pool.region"), ("train.topology.epoch", "train.topology.epochs"), ("detekt", "detect")],
)
def test_a_typo_is_refused_with_the_nearest_name(typo: str, suggestion: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}")
    with pytest.raises(ValueError, match=f"unknown parameter '{typo}'; did you mean '{suggestion}'"):
        load_params(tmp_path / "params.yaml", {typo: 1})


@pytest.mark.parametrize(
    ("name", "value"), [("pool.region", 0), ("detect.confidence", 2), ("data.max_failed", -0.1), ("fuse.rule", "best")]
)
def test_a_value_out_of_range_names_parameter_and_value(name: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}")
    with pytest.raises(ValueError, match=rf"{name} = {value!r}"):
        load_params(tmp_path / "params.yaml", {name: value})


def test_missing_file_broken_yaml_and_a_bare_list_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hpnet init"):
        load_params(tmp_path / "none.yaml")
    for text, message in (("a: [1", "not valid YAML"), ("- 1", "must hold sections")):
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            load_params(tmp_path / "params.yaml")
        assert "\n" not in str(caught.value)


def test_overrides_reach_nested_sections() -> None:
    assert validate({"train": {"topology": {"epochs": 3}}}).train.topology.epochs == 3
    assert "train.topology.graph.blocks" in dotted_names()


def test_streams() -> None:
    assert STREAMS == ("hpj", "hpb", "hpjm", "hpbm", "hpnet")


def test_variant_has_its_own_region() -> None:
    raw = {"pool": {"region": 3, "frames": 8}, "compare": {"variants": {"plain": {}, "wide": {"region": 5}}}}
    params = validate(raw)
    assert (params.variant("plain").region, params.variant("wide").region) == (1, 5)
    assert params.variant("plain").frames == 8


@pytest.mark.parametrize("weights", ["hpj", "", {"hpj": "much"}, {}, [1, 2], None])
def test_fusion_weights_that_cannot_be_are_one_line(weights: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 'validation', or a number per stream such as hpj=0.1,hpnet=11") as e:
        validate({"fuse": {"weights": weights}})
    assert len(str(e.value).splitlines()) == 1


def test_an_option_without_a_value_is_no_default() -> None:
    from click.testing import CliRunner

    from hpnet.stages.fuse import command

    for option in ("--weights", "--tau"):
        done = CliRunner().invoke(command, [option, ""])
        assert done.exit_code == 2
        assert f"fuse.{option.removeprefix('--')} = ''" in done.output
