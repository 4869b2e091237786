"""Choices by name: what a dict lists is what a parameter takes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from hpnet import pool
from hpnet.core.choices import OneOf
from hpnet.params import validate

CHOICES = {
    "fuse.rule": "hpnet.fuse:RULES",
    "pool.operator": "hpnet.pool:OPERATORS",
    "data.source": "hpnet.data.sources:SOURCES",
    "data.protocol": "hpnet.data.sets:SETS",
    "data.corruption": "hpnet.mannequin:CORRUPTIONS",
    "train.multimodal.fusion": "hpnet.models:FUSIONS",
}


def params_with(name: str, value: object) -> object:
    return validate({}, "params.yaml", {name: value})


@pytest.mark.parametrize(("name", "where"), CHOICES.items())
@pytest.mark.parametrize("value", ["nonsense", 3, None, ["mean"]])
def test_another_value_is_refused_with_the_choices(name: str, where: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*: expected ") as said:
        params_with(name, value)
    assert all(repr(choice) in str(said.value) for choice in OneOf(where).names)


@pytest.mark.parametrize(("name", "where"), CHOICES.items())
def test_every_entry_is_accepted(name: str, where: str) -> None:
    for choice in OneOf(where).names:
        params_with(name, choice)


def test_an_entry_is_all_that_a_new_choice_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.stages.common import section_options

    monkeypatch.setitem(pool.OPERATORS, "median", "numpy:median")
    assert validate({"pool": {"operator": "median"}}).pool.operator == "median"
    command = click.command("pool")(section_options("pool")(lambda params: None))
    assert "[mean|max|median]" in CliRunner().invoke(command, ["--help"]).output


def test_parameters_are_checked_without_torch_and_scipy() -> None:
    code = "import sys, hpnet.params; hpnet.params.validate({}); print({'torch', 'scipy', 'cv2'} & set(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"
