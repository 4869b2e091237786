"""params.yaml: refused by dotted name, with the nearest valid one."""

import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from hpnet.core.section import LARGEST_SEED
from hpnet.core.streams import STREAMS
from hpnet.fuse.applied import given_weights
from hpnet.params import Params, dotted_names, load_params, validate

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
    assert STREAMS == ("hpj", "hpb", "hpjm", "hpbm", "multimodal")


def test_variant_has_its_own_region() -> None:
    raw = {"pool": {"region": 3, "frames": 8}, "compare": {"variants": {"plain": {}, "wide": {"region": 5}}}}
    params = validate(raw)
    assert (params.variant("plain").region, params.variant("wide").region) == (1, 5)
    assert params.variant("plain").frames == 8


@pytest.mark.parametrize("weights", ["hpj", "", {"hpj": "much"}, {}, [1, 2], None])
def test_fusion_weights_that_cannot_be_are_one_line(weights: object, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected 'validation', or a number per stream such as hpj=0.1,multimodal=11"
    ) as e:
        validate({"fuse": {"weights": weights}})
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["train:", "train:\n  topology:", "train: {topology: {graph: }}", ""])
def test_an_empty_section_has_the_defaults_and_takes_overrides(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml") == Params()
    changed = load_params(tmp_path / "params.yaml", {"train.topology.graph.blocks": 2, "train.topology.epochs": 3})
    assert (changed.train.topology.graph.blocks, changed.train.topology.epochs) == (2, 3)
    assert changed.train.multimodal == Params().train.multimodal


@pytest.mark.parametrize(
    ("text", "section"),
    [("train: 5", "train = 5"), ("train: [1]", r"train = \[1\]"), ("train: {topology: a}", "topology")],
)
@pytest.mark.parametrize("overrides", [{}, {"train.topology.epochs": 3}])
def test_what_is_no_section_is_named(text: str, section: str, overrides: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"params\.yaml: .*{section}.*: expected a section") as caught:
        load_params(tmp_path / "params.yaml", overrides)
    assert len(str(caught.value).splitlines()) == 1


def test_an_override_changes_one_of_two_sections_that_share_an_anchor(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {topology: {graph: &g {blocks: 3}}, multimodal: {graph: *g}}")
    train = load_params(tmp_path / "params.yaml", {"train.topology.graph.blocks": 2}).train
    assert (train.topology.graph.blocks, train.multimodal.graph.blocks) == (2, 3)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train:\n  topology:\n    lr: 0.1\n    epochs: 3\n    'lr': 0.2\n")
    with pytest.raises(ValueError, match=r"params\.yaml .*line 5 gives 'lr' again, after line 3"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train:\n  topology: {lr: 0.1}\n  multimodal: {lr: 0.2}\n")
    assert load_params(tmp_path / "params.yaml").train.multimodal.lr == 0.2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train.topology.lr", float("inf"), "finite"),
        ("train.topology.lr", "nan", "finite"),
        ("train.multimodal.lambdas", [1, float("nan"), 1], "finite"),
        ("fuse.weights", {"hpj": float("inf")}, "a number per stream"),
        ("train.topology.epochs", True, "expected a number, not true or false"),
        ("train.topology.lr", True, "expected a number, not true or false"),
        ("train.topology.steps", [True], "expected a number, not true or false"),
        ("train.multimodal.fusion_scale", True, "expected a number, not true or false"),
        ("fuse.weights", {"hpj": True}, "expected a number, not true or false"),
    ],
)
def test_numbers_are_finite_and_no_booleans(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        validate({}, "somewhere", {name: value})
    assert len(str(caught.value).splitlines()) == 1
    assert "value error" not in str(caught.value).lower()


def test_booleans_are_booleans_and_numbers_may_be_text() -> None:
    params = validate(
        {"detect": {"enabled": False}, "train": {"topology": {"lr": "1e-3"}, "multimodal": {"smclm": True}}}
    )
    assert (params.detect.enabled, params.train.topology.lr, params.train.multimodal.smclm) == (False, 1e-3, True)


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 10**23, "abc", True, 1.5, [1, -1], [2, 2], [], [1, "x"]])
def test_a_seed_that_cannot_be_is_one_line(seed: object) -> None:
    with pytest.raises(
        ValueError, match=r"train\.seed = .*expected a whole number from 0 to 4294967295, or a list"
    ) as e:
        validate({"train": {"seed": seed}})
    assert len(str(e.value).splitlines()) == 1
    for other in ("data.seed", "report.seed"):
        with pytest.raises(ValueError, match=rf"{other} = "):
            validate({}, overrides={other: seed})


def test_seeds_as_options() -> None:
    from hpnet.stages.train import command

    (option,) = [each for each in command.params if each.name == "seed"]
    context = command.make_context("train", ["hpj"])
    for text, value in (("1,2,3", [1, 2, 3]), ("[1, 2]", [1, 2]), ("[5]", [5]), ("5", 5)):
        assert option.process_value(context, text) == value
    assert validate({}, overrides={"train.seed": [0, LARGEST_SEED]}).train.seeds == (0, LARGEST_SEED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--topology-steps", "{"], "Invalid value for '--topology-steps': '{' cannot be read"),
        (["--topology-steps", "3,2020-13-45"], "Invalid value for '--topology-steps': '3,2020-13-45' cannot be read"),
        (["--topology-lr", "a={"], "Invalid value for '--topology-lr': 'a={' cannot be read"),
        (["--topology-steps", "abc"], "--topology-steps: train.topology.steps.0 = 'abc': "),
        (
            ["--multimodal-graph-base-channels", "1"],
            "--multimodal-graph-base-channels: train.multimodal.graph.base_channels = 1: ",
        ),
        (["--seed", "-1"], "--seed: train.seed = -1: expected a whole number"),
    ],
)
@pytest.mark.parametrize("file", ["{}", None])
def test_a_wrong_option_is_named_and_not_the_file(
    options: list[str], message: str, file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpnet.stages.train import command

    monkeypatch.chdir(tmp_path)
    if file is not None:
        (tmp_path / "params.yaml").write_text(file)
    done = CliRunner().invoke(command, ["hpj", *options])
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "params.yaml:" not in done.output
    assert "Traceback" not in done.output


def test_wrong_values_of_a_file_and_of_an_option_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {topology: {noise: -1}}")
    with pytest.raises(ValueError) as caught:
        load_params(tmp_path / "params.yaml", {"train.topology.label_smoothing": 2})
    option, place = str(caught.value).splitlines()  # in the order of the parameters
    assert option.startswith("--topology-label-smoothing: train.topology.label_smoothing = 2: ")
    assert place.startswith(f"{tmp_path / 'params.yaml'}: train.topology.noise = -1: ")


def test_an_option_without_a_value_is_no_default() -> None:
    from hpnet.stages.fuse import command

    for option in ("--weights", "--tau"):
        done = CliRunner().invoke(command, [option, ""])
        assert done.exit_code == 2
        assert f"fuse.{option.removeprefix('--')} = ''" in done.output


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{','.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 9))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + "data: {videos: *a8}", "more than 10000 values"),
        (MERGES, "more than 10000 values"),
        ("data: {videos: &v [&w [*w]]}", r"\*w contains itself"),
        ("data: &d {videos: x, <<: *d}", r"\*d contains itself"),
        ("data: {videos: *v}", "undefined alias"),
        (f"data: {{videos: &v {'x' * 100_000}, table: [{','.join(['*v'] * 5000)}]}}", "more than 10000 values"),
        ("data: " + "[" * 5000, "nested deeper"),
        ("data: " + "{a: " * 5000, "nested deeper"),
        ("data: [" + "1," * 200_000 + "]", "more than 10000 values"),
        ("data: 1" + ":1" * 300_000, "a number or date of 600001 characters"),
    ],
    ids=["bomb", "merges", "self", "merged_self", "undefined", "text", "lists", "dicts", "wide", "number"],
)
def test_files_that_are_cheap_to_read_and_endless_to_use_are_refused_soon(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(ValueError, match=rf"params\.yaml is not valid YAML: .*{message}"):
        load_params(tmp_path / "params.yaml")
    assert time.process_time() - start < 10


def test_aliases_that_a_person_writes_are_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "train:\n  topology: {graph: &g {blocks: 3}}\n  multimodal: {graph: {<<: *g}}\n"
    )
    assert load_params(tmp_path / "params.yaml").train.multimodal.graph.blocks == 3


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"pool: {{operator: {'x' * 9000}}}")
    with pytest.raises(ValueError, match=r"pool\.operator = 'xxx") as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 500


def test_the_former_name_of_the_multimodal_stream_is_refused_with_the_new_word(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {hpnet: {epochs: 3}}")
    with pytest.raises(ValueError, match=r"'train\.hpnet' is called 'train\.multimodal' now"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(ValueError, match=r"'train\.hpnet' is called 'train\.multimodal' now"):
        validate({}, "params.yaml", {"train.hpnet.lr": 0.1})
    with pytest.raises(ValueError, match="fusion weights: the stream 'hpnet' is called 'multimodal' now"):
        given_weights(("hpj", "multimodal"), {"hpj": 0.1, "hpnet": 11.0})
