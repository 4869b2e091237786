"""Prompts, the small tokenizer and cached label features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import XCLIPModel

from hpnet.models.xclip import reduced_config
from hpnet.train.text import END_TOKEN, START_TOKEN, label_features, prompt, prompts, tokenize, train_tokenizer

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


def test_given_prompts_come_first() -> None:
    assert prompts(["a1", "wave"], ["a person waves", " "]) == ["a person waves", "a person performing the action wave"]
    with pytest.raises(ValueError, match="no letter"):
        prompt("--")


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
