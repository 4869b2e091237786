"""A hook of mkdocs: pages of the repository that are not in docs/, and the demo's report, become part of the site.

Links are written for readers of the repository. Here they are turned into links of the site; a link to a file that the
site does not have becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "benchmarks/*.md", "benchmarks/*.csv")
REPORT = ROOT / "report" / "index.html"
DEMO = """# An example of a report

`hpnet report` writes one page: what to do next, accuracies with intervals, confusions, every clip, and how it was made.
{link}
"""
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def place(path: str) -> str:
    """Where a file of the repository is on the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of :data:`OUTSIDE`, the report, and a page about it."""
    for pattern in OUTSIDE:
        for file in sorted(ROOT.glob(pattern)):
            name = place(file.relative_to(ROOT).as_posix())
            files.append(File.generated(config, name, content=file.read_text(encoding="utf-8")))
    link = "It is not part of this copy of the site: `make demo` writes it."
    if REPORT.is_file():
        files.append(File.generated(config, "report/index.html", abs_src_path=str(REPORT)))
        link = "**[The report of the demo](report/index.html)**, made by `make demo`."
    files.append(File.generated(config, "demo-report.md", content=DEMO.format(link=link)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links between files of the repository into links of the site."""
    name = page.file.src_uri
    source = {"index.md": "README.md"}.get(name, name if (ROOT / name).is_file() else f"docs/{name}")

    def turned(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        if re.match(r"[a-z]+:", target) or source == "docs/demo-report.md":
            return match[0]
        there = place(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        if files.get_file_from_path(there) is None:
            return match["text"]
        return f"{match['image']}[{match['text']}]({posixpath.relpath(there, posixpath.dirname(name) or '.')}{anchor})"

    return LINK.sub(turned, markdown)
