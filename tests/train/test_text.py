"""Prompts, the small tokenizer and cached label features."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from transformers import XCLIPModel

from hpnet.artifacts.clips import CLIP_COLUMNS, Clips
from hpnet.models.xclip import reduced_config
from hpnet.train.text import (
    END_TOKEN,
    START_TOKEN,
    averaged,
    class_texts,
    label_features,
    prompt,
    tokenize,
    train_tokenizer,
)

CAPTIONS = ["a person is lifting a red box", "a person is bowing", "two people are dancing together"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CAPTIONS, 320)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> XCLIPModel:
    torch.manual_seed(0)
    config = reduced_config(
        vocab_size=tokenizer.get_vocab_size(), image_size=32, patch_size=16, frames=2, width=32, layers=1,
        text_width=32, text_layers=2, text_length=24,
    )  # fmt: skip
    return XCLIPModel(config).eval()


@pytest.mark.parametrize(
    ("name", "words"),
    [("Drink.Frombottle", "drink frombottle"), ("brush_teeth", "brush teeth"), ("takeOffHat", "take off hat")],
)
def test_prompt_undoes_separators_and_capitals(name: str, words: str) -> None:
    assert prompt(name) == f"a person performing the action {words}"


def clips(**columns: list[str]) -> Clips:
    table = pd.DataFrame(columns=list(CLIP_COLUMNS))
    given = {"name": ["take_off", "wave"], "prompt": ["", "a person waves"], **columns}
    return Clips(table, pd.DataFrame({"label": range(len(given["name"])), **given}))


def test_texts_of_classes(tmp_path: Path) -> None:
    assert class_texts(clips(), "names") == [("take off",), ("wave",)]
    assert class_texts(clips(), "sentences") == [("a person performing the action take off",), ("a person waves",)]
    described = clips(descriptions=["An arm sinks. | It is empty.", "A hand swings."])
    assert class_texts(described, "descriptions") == [("An arm sinks.", "It is empty."), ("A hand swings.",)]
    file = tmp_path / "own.csv"
    file.write_text("class,description\nwave,A hand swings.\ntake_off,An arm sinks.\nwave, The arm  is up. \n")
    assert class_texts(clips(), str(file)) == [("An arm sinks.",), ("A hand swings.", "The arm is up.")]
    with pytest.raises(ValueError, match="no letter"):
        prompt("--")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class,description\nwave,A hand swings.\n", r"own\.csv has no description of 'take_off'\ngive every class"),
        ("class,description\nwave,a\ntake_off,b\nfly,c\n", r"describes 'fly', which classes\.csv does not have\ngive"),
        ("class,description\nwaves,a\n", r"no description of 'take_off', 'wave' and describes 'waves', which"),
        ("class,description\nwave,\n", "a description of class 'wave' is empty"),
        ("class,description\nwave,Up.\ntake_off,up.\n", "'wave' and 'take_off' have the same description 'up.'"),
        ("name,text\nwave,a\n", "column 'class' is missing"),
    ],
)
def test_a_file_with_other_classes_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        class_texts(clips(), str(tmp_path / "own.csv"))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"text: .*own\.json is missing\nexpected a CSV of class,description"):
        class_texts(clips(), str(tmp_path / "own.json"))
    for content, message in (("[1]", "is list, expected a CSV"), ('{"wave": 3}', "class 'wave' has 3, expected")):
        (tmp_path / "own.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            class_texts(clips(), str(tmp_path / "own.json"))
    with pytest.raises(ValueError, match=r"classes\.csv has no description of 'take_off', 'wave'\n.* again"):
        class_texts(clips(), "descriptions")


def test_several_texts_of_a_class_are_averaged() -> None:
    features = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert averaged(features, [1, 1, 1]) is features
    found = averaged(features, [2, 1])
    torch.testing.assert_close(found, 2 * torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))  # the lengths' mean is 2


def test_end_token_has_the_highest_id_and_any_text_can_be_spelled(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_to_id(END_TOKEN) == tokenizer.get_vocab_size() - 1
    unseen = "Überraschung: 7 ☕!"
    ids, _ = tokenize(tokenizer, [unseen], 77)
    assert tokenizer.decode(ids[0].tolist()).strip() == unseen.lower()
    assert ids[0, 0] == tokenizer.token_to_id(START_TOKEN)


def test_tokens_do_not_depend_on_the_order_of_captions() -> None:
    assert train_tokenizer(CAPTIONS, 320).to_str() == train_tokenizer(CAPTIONS[::-1], 320).to_str()


def test_padding_is_masked(tokenizer: Tokenizer) -> None:
    ids, mask = tokenize(tokenizer, ["a person is bowing", "a person is lifting a red box"], 40)
    length = int(mask[0].sum())
    assert mask[1].all()
    assert not mask[0, length:].any()
    assert (ids[0, length - 1 :] == tokenizer.token_to_id(END_TOKEN)).all()


def test_long_and_missing_texts_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"'a person is bowing' has \d+ tokens, the text encoder reads 4"):
        tokenize(tokenizer, ["a person is bowing"], 4)
    with pytest.raises(ValueError, match="no text"):
        tokenize(tokenizer, [], 4)
    with pytest.raises(ValueError, match="vocab_size is 10"):
        train_tokenizer(CAPTIONS, 10)


def test_features_do_not_depend_on_the_other_texts(tokenizer: Tokenizer, model: XCLIPModel) -> None:
    texts = ["a person is bowing", "two people are dancing together", "a person is lifting a red box"]
    together = label_features(model, tokenizer, texts)
    alone = torch.cat([label_features(model, tokenizer, [text]) for text in texts])
    assert together.shape == (3, 32)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_features_are_cached_by_content(tokenizer: Tokenizer, model: XCLIPModel, tmp_path: Path) -> None:
    texts = ["a person is bowing", "a person is lifting a red box"]
    first = label_features(model, tokenizer, texts, tmp_path)
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = label_features(model, tokenizer, texts, tmp_path)
    assert torch.equal(first, again)
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(file.read_bytes()[:-1] + b"\x55")
    with pytest.warns(UserWarning, match="is damaged"):
        assert torch.equal(label_features(model, tokenizer, texts, tmp_path), first)
    label_features(model, tokenizer, texts[::-1], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with torch.no_grad():
        model.text_projection.weight.mul_(2)
    try:
        changed = label_features(model, tokenizer, texts, tmp_path)
    finally:
        with torch.no_grad():
            model.text_projection.weight.div_(2)
    assert len(list(tmp_path.iterdir())) == 3
    torch.testing.assert_close(changed, 2 * first)
