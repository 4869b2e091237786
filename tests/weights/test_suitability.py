"""Networks that suit the people of a run, and those that do not: what the cards say, and the words."""

import json

import pytest

from hpnet.core.suitability import LEAST_RATIO, score_figures
from hpnet.weights.cards import RENDERED, own_people, usual_score
from hpnet.weights.places import ASSETS
from hpnet.weights.suitability import compare, mannequins_alone

STAGES = {"detect": "mannequin-yolo", "estimate": "mannequin-simcc"}


@pytest.mark.parametrize("model", STAGES.values())
def test_a_card_says_whom_its_network_knows_and_how_that_was_measured(model: str) -> None:
    own = own_people(model)
    assert own is not None
    assert own.what == RENDERED
    assert 0.5 < own.median_score < 1
    assert "hpnet" in own.measured
    card = json.loads((ASSETS / f"{model}.json").read_text())
    assert card["own_people"]["median_score"] == own.median_score == usual_score(model)


@pytest.mark.parametrize(("model", "stage"), [("movenet-multipose", "detect"), ("movenet-thunder", "estimate")])
def test_movenets_cards_name_the_command_behind_their_figure(model: str, stage: str) -> None:
    own = own_people(model)
    assert own is not None
    assert own.what != RENDERED
    assert f"`hpnet {stage}`" in own.measured
    assert f"metrics/{stage}.json" in own.measured


@pytest.mark.parametrize("model", ["", "yolo11m", "hrnet-w48-simcc", "mannequin-xclip", "weights/own.pt", "../x"])
def test_nothing_is_expected_of_networks_whose_card_says_nothing(model: str) -> None:
    assert own_people(model) is None
    assert compare("detect", model, score_figures([0.1], 0.9)) is None


@pytest.mark.parametrize(("stage", "what"), [("detect", "boxes"), ("estimate", "joints")])
def test_a_run_suits_from_three_quarters_of_the_usual_score_on(stage: str, what: str) -> None:
    model = STAGES[stage]
    usual = usual_score(model)
    assert usual is not None
    for share, suits in ((1.0, True), (LEAST_RATIO + 0.01, True), (LEAST_RATIO - 0.01, False), (0.0, False)):
        found = compare(stage, model, score_figures([share * usual] * 3, usual))
        assert found is not None
        assert found.suits is suits
        for word in (what, model, RENDERED, f"{share * usual:.2f}", f"{usual:.2f}", f"{stage}.model", "weights list"):
            assert word in found.warning


def test_metrics_of_another_network_are_not_compared() -> None:
    """params.yaml names mannequin-yolo again, and the metrics are still those of what it named before."""
    assert compare("detect", "mannequin-yolo", {"median_score": 0.3}) is None
    assert compare("detect", "mannequin-yolo", {"median_score": 0.3, "expected_score": 0.9}) is None
    assert compare("detect", "mannequin-yolo", {}) is None


def test_mannequin_networks_are_told_before_work() -> None:
    both = " ".join(mannequins_alone(STAGES))
    assert "mannequin-yolo and mannequin-simcc know rendered mannequins alone" in both
    assert "detect.model" in both
    assert "estimate.model" in both
    one = " ".join(mannequins_alone({"detect": "yolo11m", "estimate": "mannequin-simcc"}))
    assert "mannequin-simcc" in one
    assert "detect.model" not in one
    assert list(mannequins_alone({"detect": "yolo11m", "estimate": "hrnet-w48-simcc"})) == []
    assert list(mannequins_alone({})) == []


def test_the_remedy_is_another_network() -> None:
    for stage, model, other in (
        ("estimate", "mannequin-simcc", "movenet-thunder"),
        ("estimate", "movenet-thunder", "rtmpose-m"),
        ("detect", "movenet-multipose", "yolo11m"),
    ):
        usual = usual_score(model)
        assert usual is not None
        found = compare(stage, model, score_figures([0.1], usual))
        assert found is not None
        assert f"for real people {other}" in found.remedy
