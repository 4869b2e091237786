"""A page of the report in a real browser: Chromium from the system's packages, and what every page has to show.

Nothing here downloads a browser. Without one the tests are skipped; ``HPNET_BROWSER=required`` makes them fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
WIDTHS_PX = (390, 768, 1440, 2560)
PAPER_PX = (718, 1047)  # A4 and its other side, without margins

# Complaints about what the page shows now, as text; empty where all is well.
COMPLAINTS = """
(paper) => {
  const found = [];
  const say = (element, what) => found.push(`${element.closest("section")?.id ?? "page"}: <${element.localName} ` +
    `class="${element.getAttribute("class") ?? ""}"> ${what}: ${element.textContent.trim().slice(0, 40)}`);
  const drawn = (element) => element.checkVisibility();
  const folded = (element) => element.closest("details:not([open]) > :not(summary)");
  const width = document.documentElement.clientWidth;
  const whole = document.documentElement.scrollWidth;
  if (whole > width) found.push(`the page is ${whole} px wide in a window of ${width}`);

  // What holds something has a size, unless this medium leaves it out.
  const unprinted = "nav, nav *, .skip, .detail, .detail *, .filters, .filters *, .more";
  const solid = "section, header, .scroll, table, caption, thead, tbody, tr, th, td, figure, svg, img, pre, dl, ol, " +
    "ul, li, article, button, select, summary, h1, h2, h3, p, .multiples > div, .curves > div";
  const least = (element) => (element.matches(".confusion tbody td") ? (paper ? 1 : 4) : 0);
  for (const element of document.querySelectorAll(solid)) {
    if (element.matches(".skip, [hidden]") || (paper ? element.matches(unprinted) : folded(element))) continue;
    const twin = element.closest(".wide, .middle, .narrow");
    if (twin && !drawn(twin)) {
      if (![...twin.parentElement.children].some(drawn)) say(element, "is drawn in no width");
      continue;
    }
    if (!element.hasChildNodes() && !element.matches("img, td, .votes i")) continue;
    const { width: across, height } = element.getBoundingClientRect();
    if (!drawn(element)) say(element, "is not drawn");
    else if (!(across > least(element) && height > least(element))) say(element, `is ${across} x ${height}`);
  }
  for (const image of document.images) if (!image.complete || !image.naturalWidth) say(image, "has no picture");

  // The names of the joints stand beside their rows of the picture.
  for (const strip of document.querySelectorAll(".strip")) {
    const [names, picture] = ["ol", "img"].map((part) => strip.querySelector(part).getBoundingClientRect());
    const apart = Math.max(Math.abs(names.top - picture.top), Math.abs(names.bottom - picture.bottom));
    if (apart > 1) say(strip, `has its names ${apart.toFixed(1)} px away`);
  }

  // Nothing leaves the page or is cut off; on a screen some areas scroll, on paper nothing can.
  const scrolls = (element) => !paper && element.closest(".scroll, pre, .detail ul, nav");
  for (const element of document.body.querySelectorAll("*:not(td:empty)")) {
    if (!drawn(element) || element.closest(".skip, .strip-view, .tile, [hidden]")) continue;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (!scrolls(element) && box.width && (box.right > width + 1 || box.left < -1))
      say(element, `spans ${Math.round(box.left)} to ${Math.round(box.right)} of ${width}`);
    if (element.closest("svg") || style.overflowX === "visible" || scrolls(element)) continue;
    const cut = element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1;
    const told = style.textOverflow === "ellipsis" && element.closest("[title]")?.title === element.textContent;
    if (cut && !told && element.localName !== "select") say(element, "is cut off");
  }

  // Texts of a figure stay inside it, and those of one row apart.
  for (const figure of document.querySelectorAll("svg.fig")) {
    if (!drawn(figure)) continue;
    const edge = figure.getBoundingClientRect();
    const texts = [...figure.querySelectorAll("text:not([style])")].map((text) => [text, text.getBoundingClientRect()]);
    for (const [text, box] of texts) {
      if (box.left < edge.left - 3 || box.right > edge.right + 3) say(text, "leaves its figure");
      for (const [other, beside] of texts)
        if (other !== text && other.getAttribute("y") === text.getAttribute("y") && box.left <= beside.left &&
            box.right > beside.left + 1) say(text, `runs into ${other.textContent}`);
    }
  }

  // Texts can be read on what lies behind them.
  const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const parts = (colour) => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      known.set(colour, [...brush.getImageData(0, 0, 1, 1).data].map((n) => n / 255));
    }
    return known.get(colour);
  };
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] > 0.5) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const read = new Map();
  for (const element of document.body.querySelectorAll("*:not(td:empty)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !drawn(element)) continue;
    if (element.matches("title, script, option, select")) continue;
    const style = getComputedStyle(element);
    if (parseFloat(style.fontSize) === 0) continue;
    const text = element.closest("svg") ? style.fill : style.color, paper = behind(element);
    const pair = `${text} on ${paper}`;
    if (!read.has(pair)) read.set(pair, [light(text), light(paper)].sort((a, b) => b - a));
    const [high, low] = read.get(pair);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (element.matches("svg [style]") ? 3 : 4.5)) say(element, `has contrast ${ratio.toFixed(1)} (${pair})`);
  }
  return [...new Set(found)];
}
"""


def chromium() -> str:
    """The program; skips the test where there is none, or fails it where one is required."""
    why = ""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        why = "playwright is not installed: pip install -e '.[dev]'"
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        why = why or f"no browser: none of {', '.join(NAMES)} is on the PATH (Debian: apt-get install chromium)"
    if why and os.environ.get("HPNET_BROWSER") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    assert program is not None
    return program


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser (playwright's Browser)."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page that notes every console error, every failed request and every request to another place than its file."""

    def __init__(self, running: Any, file: Path) -> None:
        self.troubles: list[str] = []
        self.address = file.resolve().as_uri()
        self.page = running.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url[:80]}"))
        self.page.on("request", self._request)
        self.page.goto(self.address)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith("data:") and request.url.partition("#")[0] != self.address:
            self.troubles.append(f"asks for {request.url[:80]}")

    def show(self, width_px: int, medium: str) -> None:
        """Lay the page out again; ``medium`` is light, dark or print."""
        self.page.set_viewport_size({"width": width_px, "height": 900})
        self.page.emulate_media(
            media="print" if medium == "print" else "screen", color_scheme="dark" if medium == "dark" else "light"
        )

    def complaints(self, medium: str) -> list[str]:
        """What is invisible, cut off, overlapping or unreadable as the page is shown now."""
        found: list[str] = self.page.evaluate(COMPLAINTS, medium == "print")
        return found
