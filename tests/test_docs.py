"""The pages: every command in them exists with the options that it is given, links lead somewhere, examples run."""

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hpnet import fuse, models, pool
from hpnet.data import sets
from hpnet.detect import families
from hpnet.estimate import specs
from hpnet.stages.cli import cli
from tests.documents import OTHER_PAGES, PAGES, REFERENCE, ROOT, calls, console_lines, fences
from tests.trained import hpnet, inside, shared_project, walk

COMMANDS = sorted(
    {
        tuple(call)
        for page in [*PAGES, *OTHER_PAGES]
        for info, text in fences(page)
        if info.startswith("console")
        for line in console_lines(text)
        for call in calls(line)
    }
)


def test_the_harness_finds_what_pages_show() -> None:
    line = "VAR=1 hpnet detect && for s in hpj; do hpnet train $s; done  # hpnet nope"
    assert list(calls(line)) == [["hpnet", "detect"], ["hpnet", "train", "$s"]]
    assert len(COMMANDS) > 30


def parse(words: Sequence[str]) -> None:
    """Parse an hpnet command without running it. AssertionError or click.UsageError: there is no such command."""
    arguments = [{"$s": "hpj"}.get(word, word) for word in words[1:]]
    if set(arguments) & {"--help", "-h", "--version"}:
        answer = CliRunner().invoke(cli, arguments)
        assert answer.exit_code == 0, answer.output
        return
    if not arguments:
        assert "Usage:" in CliRunner().invoke(cli, []).output  # click's exit status for it is another since 8.2
        return
    command: click.Command = cli
    context = click.Context(cli, info_name="hpnet", **cli.context_settings)
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        context = click.Context(found, info_name=name, parent=context)
        command = found
    try:
        command.parse_args(context, arguments)
    except click.BadParameter as error:  # a folder of the reader's; the options before it were understood
        if "does not exist" not in error.format_message():
            raise


@pytest.mark.parametrize("words", [c for c in COMMANDS if c[0] == "hpnet"], ids=" ".join)
def test_hpnet_commands_parse(words: tuple[str, ...]) -> None:
    parse(words)


@pytest.mark.parametrize(
    "line",
    ["nope", "nope --help", "weights nope --help", "pool --nope", "pool --nope --help", "--nope"],
)
def test_commands_that_there_are_not_do_not_parse(line: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        parse(["hpnet", *line.split()])


def test_dvc_commands_parse() -> None:
    parser = pytest.importorskip("dvc.cli.parser").get_main_parser()
    for words in COMMANDS:
        if words[0] == "dvc":
            parser.parse_args(list(words[1:]))


def test_commands_marked_to_run_do(tmp_path: Path) -> None:
    count = 0
    with inside(tmp_path):
        for page in PAGES:
            for info, text in fences(page):
                if info == "console run":
                    for line in console_lines(text):
                        for call in calls(line):
                            hpnet(*call[1:])
                            count += 1
    assert count >= 3


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda p: p.name)
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
    for name in re.findall(r"`((?:hpnet|stages|tests)/[\w/.-]+\.(?:py|json|csv))`", text):
        assert (ROOT / name).exists() or "NAME" in name, f"{page.name}: {name}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_links_to_headings_lead_to_one(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        there = page.parent / target if target else page
        assert anchor in headings(there), f"{page.name}: {target}#{anchor}"


def test_the_site_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"- {page.name}" in text or f": {page.name}" in text, f"mkdocs.yml: nav has no {page.name}"


def test_every_page_says_first_what_it_is_for() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        _, first, *_ = page.read_text(encoding="utf-8").split("\n\n")
        assert "This page" in " ".join(first.split()), f"{page.name} begins: {first[:100]}"


STUMBLING = (
    "what that says", "told from chance", "which alone, and after fewer", "who is slow", "never older",
    "measure memory", "at its word", "what people do in any", "the plain way",
)  # fmt: skip
"""Phrases that readers stumbled over."""


def test_stumbling_phrases_do_not_come_back() -> None:
    sources = [*(ROOT / "hpnet").rglob("*.py"), *(ROOT / "hpnet").rglob("*.html"), *(ROOT / "stages").glob("*.py")]
    for file in (*PAGES, *OTHER_PAGES, *sources):
        text = " ".join(file.read_text(encoding="utf-8").lower().split())
        assert not (found := [phrase for phrase in STUMBLING if phrase in text]), f"{file.name}: {found}"


PAPER = ROOT.parent / "shared" / "paper" / "hpnet_paper.txt"


@pytest.mark.skipif(not PAPER.is_file(), reason="needs ../shared")
def test_published_figures_are_the_papers() -> None:
    ours = {"HP-Net, one stream": "HP-Net (1s) Ours", "HP-Net, five streams": "HP-Net Ours"}
    paper, page = PAPER.read_text(encoding="utf-8").splitlines(), (ROOT / "docs" / "published.md").read_text("utf-8")
    count = 0
    for line in page.splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [""]
        reference = re.search(r"\[\d+\]", name)
        if reference or name in ours:
            row = " ".join(cell or "-" for cell in cells[2:])
            begin = reference[0] if reference else ours[name]
            assert any(begin in found and found.endswith(f" {row}") for found in paper), line
            count += 1
    assert count == 20 + 19


def test_the_front_page_fits_a_screen_or_two() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_the_reference_is_current() -> None:
    # In a process of its own: click keeps the help option that a command was first asked with, here by other tests.
    code = "from tests.documents import reference; print(reference(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert REFERENCE.read_text(encoding="utf-8") == made, "run `python -m tests.documents`"


def test_examples_of_extending_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choices: tuple[dict[str, Any], ...] = (
        pool.OPERATORS, fuse.RULES, models.TOPOLOGY_NETWORKS, specs.SPECS, families.FAMILIES, sets.SETS,
    )  # fmt: skip
    for choice in choices:  # changed in place, as the page does it, and put back
        for name in ("median", "ranks", "averages", "res50-tiny", "whole:*", "gym-xsub"):
            monkeypatch.setitem(choice, name, None)
            del choice[name]
    names: dict[str, object] = {}
    blocks = [(info, text) for info, text in fences(ROOT / "docs" / "extending.md") if info in ("python", "html")]
    files = [Path(found[1]) for _, text in blocks if (found := re.match(r"\S+ (hpnet/[\w/]+\.\w+)", text))]
    assert files == [Path("hpnet/fuse/ranks.py"), Path("hpnet/report/sections/seeds.py"),
                     Path("hpnet/report/sections/seeds.html")]  # fmt: skip
    for info, text in blocks:
        found = re.match(r"\S+ (hpnet/[\w/]+)\.\w+", text)
        if info == "html":
            (tmp_path / Path(found[1]).name).with_suffix(".html").write_text(text)  # type: ignore[index]
        elif found is None:
            exec(compile(text, "docs/extending.md", "exec"), names)
        else:  # a file of the package, as the page says
            dotted = found[1].replace("/", ".")
            module = ModuleType(dotted)
            module.__file__ = str(tmp_path / f"{Path(found[1]).name}.py")
            monkeypatch.setitem(sys.modules, dotted, module)
            package, _, name = dotted.rpartition(".")
            monkeypatch.setattr(importlib.import_module(package), name, module, raising=False)
            exec(compile(text, "docs/extending.md", "exec"), module.__dict__)


@pytest.mark.timeout(600)
@pytest.mark.long
def test_the_four_commands_of_the_readme(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """50 videos in 5 folders; the first three commands made the project that the tests share, this is the fourth."""
    project = shared_project(tmp_path_factory)
    assert len(list((project.parent / "videos").glob("*/*.mp4"))) == 50
    assert len(list((project.parent / "videos").iterdir())) == 5
    *_, (program, command, video) = walk()
    assert (program, command) == ("hpnet", "predict")
    shutil.copy(project.parent / "videos" / "wave" / "01.mp4", tmp_path / video)
    with inside(tmp_path):
        said = hpnet(command, video, "--project", str(project))
    assert video in said
    assert "%" in said
