"""Classes that name a side, and their mirror images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpnet.core.sides import mirror_partners, names_side, other_side


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("turn left", "turn right"), ("Rear Right Turn", "Rear Left Turn"), ("wave_left", "wave_right"),
        ("turnLeft", "turnRight"), ("LEFT-hand wave", "RIGHT-hand wave"), ("kick(right)", "kick(left)"),
        ("left over right", "right over left"), ("circle clockwise", "circle counter-clockwise"),
        ("stir anticlockwise", "stir clockwise"), ("Clockwise turn", "counterclockwise turn"),
        ("left circle clockwise", "right circle counter clockwise"),
    ],
)  # fmt: skip
def test_classes_that_name_a_side_are_partners(name: str, other: str) -> None:
    assert mirror_partners(["walk", name, other]).tolist() == [0, 2, 1]
    assert mirror_partners(["walk", name]).tolist() == [0, -1]


@pytest.mark.parametrize("name", ["stand upright", "leftover meal", "copyright", "brighten", "LEFTOVERS", "righteous"])
def test_other_words_are_no_sides(name: str) -> None:
    assert mirror_partners([name]).tolist() == [0]
    assert not names_side(name)


def test_a_side_in_the_prompt_alone_counts_too() -> None:
    names = ["signal A", "signal B", "wave", "walk"]
    prompts = ["raises the left hand", "raises the right hand", "waves the right hand", "walks"]
    assert mirror_partners(names, prompts).tolist() == [1, 0, -1, 3]


def test_the_column_decides() -> None:
    names = ["go left", "go right", "hand L", "hand R", "swing left and right"]
    assert mirror_partners(names, declared=["-", "", "hand R", "", names[4]]).tolist() == [-1, -1, 3, 2, 4]
    assert mirror_partners(names).tolist() == [1, 0, 2, 3, -1]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (["b", "c", ""], "says 'b' of 'a' but 'c' of 'b'; expected 'a'"),
        (["b", "-", ""], "says 'b' of 'a' but '-' of 'b'"),
        (["c", "c", ""], "says 'c' of 'b' but 'a' of 'c'"),
        (["d", "", ""], "says 'd' of 'a'; expected the name of a class, '-' for none"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(declared: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"classes.csv: column mirror {message}"):
        mirror_partners(["a", "b", "c"], declared=declared)


WORDS = st.lists(st.sampled_from(["left", "Right", "LEFT", "turn", "clockwise", "anti-clockwise", "up"]), min_size=1)
NAMES = st.lists(WORDS.map(" ".join), max_size=8, unique=True)


@given(NAMES)
def test_mirroring_twice_is_nothing_and_no_mirrored_class_keeps_its_side(names: list[str]) -> None:
    partners = mirror_partners(names).tolist()
    for label, partner in enumerate(partners):
        if partner >= 0:
            assert partners[partner] == label
            assert names_side(names[label]) == (partner != label)
            # other_side spells the sense of rotation in one way, so it is taken twice
            assert other_side(other_side(names[partner])).casefold() == other_side(names[label]).casefold()
