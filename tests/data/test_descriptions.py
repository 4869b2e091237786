"""The descriptions of the classes that ship with hpnet: complete, short, and of one class each."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from hpnet.artifacts.clips import SEPARATOR
from hpnet.data import grammar
from hpnet.data.grammar import shipped_classes
from hpnet.data.protocols import class_table
from hpnet.data.sets import SETS
from hpnet.train.text import tokenize, words
from hpnet.train.xclip import TOKENIZER, find_xclip
from stages.cli import cli

FOLDER = Path(grammar.__file__).parent / "sets"
PROTOCOLS = [name for name in SETS if name != "folder"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_class_has_descriptions_of_its_own(protocol: str) -> None:
    table = class_table(protocol)
    names = {str(name): words(str(name)) for name in table.name}
    seen: dict[str, str] = {}
    for name, own in zip(table.name, table.descriptions, strict=True):
        sentences = own.split(SEPARATOR)
        assert len(sentences) in (2, 3), name
        for sentence in sentences:
            assert re.fullmatch(r"(A person|Two people|[A-Z]\w*) .*[^ .]\.", sentence), sentence
            assert len(sentence.split()) <= 22, sentence  # CLIP reads 77 tokens
            assert sentence not in seen, (sentence, name, seen[sentence])
            seen[sentence] = name
            others = [words for other, words in names.items() if other != name and words not in names[name]]
            told = [other for other in others if re.search(rf"\b{re.escape(other)}\b", sentence.lower())]
            assert not told, f"{name}: {sentence!r} names {told}"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*_descriptions.csv")), ids=lambda file: file.stem)
def test_the_files_have_no_other_class(file: Path) -> None:
    rows = pd.read_csv(file, keep_default_na=False)
    protocol = next(name for name, module in SETS.items() if module.endswith(f".{file.stem[: -len('_descriptions')]}"))
    if file.stem != "mannequin_descriptions":
        classes = list(shipped_classes(file.name.replace("_descriptions", "_classes")).name)
    else:
        classes = list(class_table(protocol).name)
    assert list(dict.fromkeys(rows.name)) == classes


def test_the_packaged_text_encoder_reads_those_of_the_mannequins() -> None:
    texts = [text for own in class_table("mannequin-xsub").descriptions for text in own.split(SEPARATOR)]
    ids, _ = tokenize(Tokenizer.from_file(str(find_xclip("mannequin-xclip") / TOKENIZER)), texts, 77)
    assert len(ids) == 36


def test_the_command_writes_them(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("S001C001P001R001A001\n")
    done = CliRunner().invoke(cli, ["protocol", "ntu60-xsub", "--names", str(tmp_path / "names.txt"), "--classes"])
    assert done.output.splitlines()[0] == "label,name,prompt,descriptions"
