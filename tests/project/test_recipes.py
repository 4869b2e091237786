"""The recipes of ``hpnet init``: what the pages say they are, for every preset of the paper, and refused elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hpnet.data.preset import merged
from hpnet.data.protocols import get as protocol
from hpnet.params import Params, load_params
from hpnet.project import presets, recipes
from hpnet.project.dvc_yaml import lookup
from hpnet.stages.cli import cli
from tests.project.test_init import needed, videos
from tests.trained import hpnet, inside

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAPER = [name for name, preset in presets.PRESETS.items() if preset.paper]


def values(preset: str, recipe: str) -> dict[str, Any]:
    """All parameters of a preset under a recipe."""
    found = recipes.under(presets.get(preset), recipe).values
    return Params.model_validate(found).model_dump(mode="json")


def leaves(overlay: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in overlay.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    text = (DOCS / page).read_text(encoding="utf-8").split(heading)[1]
    lines = [line for line in re.split(r"\n(?!\|)", text[text.index("\n|") :])[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_recipes_is_what_the_overlays_make() -> None:
    rows = table("reproduce.md", "## Three recipes")
    named = [row[0].strip("`") for row in rows]
    assert len(set(named)) == len(named)
    for recipe, at in (("default", 1), ("paper", 2), ("released", 3)):
        found = values("ntu120-xsub", recipe)
        for name, row in zip(named, rows, strict=True):
            assert lookup(found, name) == yaml.safe_load(row[at]), f"{name}, {recipe}"
            assert row[4], f"{name} has no source"
        assert {name for name, _ in leaves(recipes.RECIPES[recipe])} <= set(named)


def test_a_recipe_holds_only_what_it_changes() -> None:
    own = values("smarthome-cs", "default")
    for recipe in ("paper", "released"):
        same = [name for name, value in leaves(recipes.RECIPES[recipe]) if lookup(own, name) == value]
        assert same in ([], ["train.multimodal.flip"])


def test_statements_of_section_4b_stand_beside_parameters_with_these_values() -> None:
    found = values("ntu120-xsub", "paper")
    text = (DOCS / "paper-recipe.md").read_text(encoding="utf-8")
    assert len(table("paper-recipe.md", "# Section IV-B")) > 12
    given = re.findall(r"`([a-z]+\.[\w.]+): ([^`]+)`", text)
    assert len(given) > 18
    for name, value in given:
        assert lookup(found, name) == yaml.safe_load(value), name


@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("preset", PAPER)
def test_every_preset_of_the_paper_has_every_recipe(preset: str, recipe: str, tmp_path: Path) -> None:
    folder = videos(tmp_path / "videos")
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "p", "--preset", preset, "--recipe", recipe, "--videos", "videos"])
    assert done.exit_code == 0, done.output
    made = load_params(tmp_path / "p" / "params.yaml").model_dump(mode="json")
    wanted = merged(values(preset, recipe), {"data": {"videos": str(folder)}})
    assert made == wanted
    chosen = f"{preset} --recipe {recipe}" if recipe != "default" else f"{preset}`"
    assert chosen in (tmp_path / "p" / "README.md").read_text()
    assert (f"recipe {recipe}" in (tmp_path / "p" / "params.yaml").read_text()) is (recipe != "default")


def test_the_final_weights_see_all_training_clips_of_the_papers_protocols() -> None:
    for name in PAPER:
        cross_view = name in ("smarthome-cv1", "smarthome-cv2")
        for recipe in recipes.RECIPES:
            assert values(name, recipe)["train"]["refit"] is not cross_view
            assert values(name, recipe)["train"]["validation_folds"] == 1
        assert protocol(name).own_validation or not cross_view


@pytest.mark.parametrize("preset", ["mannequin", "nw-ucla"])
def test_other_data_sets_have_no_recipe(preset: str, tmp_path: Path) -> None:
    arguments = [word for key, path in needed(preset, tmp_path).items() for word in (f"--{key}", str(path))]
    with inside(tmp_path):
        done = CliRunner().invoke(cli, ["init", "p", "--preset", preset, "--recipe", "paper", *arguments])
        assert "recipe 'paper' is for the paper's data sets: give --preset ntu60-xsub" in str(done.exception)
        assert not (tmp_path / "p").exists()
        hpnet("init", "p", "--preset", preset, "--recipe", "default", *arguments)
    with pytest.raises(ValueError, match="recipe 'mine' is unknown; choose from default, paper, released"):
        recipes.under(presets.get("ntu60-xsub"), "mine")


def test_a_step_of_the_released_recipe_has_64_clips_at_the_given_rate() -> None:
    for recipe, clips in (("paper", 16), ("released", 64)):
        found = Params.model_validate(values("uav-human-v1", recipe)).train.multimodal
        assert found.batch_size * found.accumulate == found.lr_batch == clips
        assert found.batch_size == 4
