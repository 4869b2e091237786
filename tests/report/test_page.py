"""The report's page in a real browser: with 2, 18 and 120 classes, or the one that ``HPNET_PAGE`` names.

``HPNET_PAGE=report/index.html python -m pytest tests/report/test_page.py`` checks a project's own report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from hpnet.artifacts.files import write_json
from hpnet.core.events import Event
from hpnet.core.suitability import score_figures
from hpnet.core.video import write_video
from hpnet.mannequin import actions
from hpnet.report import page as page_module
from hpnet.report.collect import collect
from hpnet.report.page import write_report
from hpnet.report.sections import embedding, events
from hpnet.weights.cards import usual_score
from tests.browser import PAPER_PX, WIDTHS_PX, Watched, browser, chromium
from tests.report.test_events import given_events
from tests.report.test_report import full_maps, make_params, make_project

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "put on an ankle-length coat with a belt while walking backwards through a narrow corridor, then take it off",
    "x" * 90,
    "走る、歩く、跳ぶ、投げる、座る、立つ、飲む、食べる、読む、書く、笑う、泣く、歌う、踊る",
    "\u202eturned round \u05e9\u05dc\u05d5\u05dd\u202e & 'quoted' \"twice\" `ticked`",
    "family 👩‍👩‍👧‍👦 {{ braces }} {%tags%} &amp; &lt;",
    "zalgo o\u0301\u0302\u0303\u0308 -- <!-- comment --> ]]>",
)
PAGES = {
    "2 classes": HOSTILE[:2],
    "18 classes": actions.NAMES,
    "120 classes": HOSTILE + tuple(f"action {number} of a longer kind" for number in range(len(HOSTILE), 120)),
}
CLAIMS = "table,claim,here,numbers,p,q,over\nIX,a > b,held,+2.0 points over clips,0.01,0.02,37 clips\n"
GIVEN = os.environ.get("HPNET_PAGE")


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module", params=[GIVEN] if GIVEN else list(PAGES))
def opened(request: pytest.FixtureRequest, running: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if GIVEN:
        file = Path(GIVEN)
        assert file.is_file(), f"HPNET_PAGE names {GIVEN}, which is not there"
    else:
        root, params = tmp_path_factory.mktemp("page"), make_params()
        make_project(root, params, PAGES[request.param], per_class=3, skill=1.2)
        (root / "report" / "tables").mkdir(parents=True)
        (root / "report" / "tables" / "claims.csv").write_text(CLAIMS, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedding, "MOST_CLIPS", 60)  # the map of 300 takes half of the time
            write_report(collect(root, params), root / "report", full_maps)
        file = root / "report" / "index.html"
    watched = Watched(running, file)
    yield watched
    watched.page.close()


@pytest.fixture
def watched(opened: Watched) -> Iterator[Watched]:
    """The page as it is opened, on a desk; afterwards nothing was asked for and no script failed."""
    opened.show(1440, "light")
    opened.page.reload()
    yield opened
    assert opened.troubles == []


def test_a_missing_browser_skips_with_a_reason_or_fails_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("HPNET_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no browser: none of chromium.*apt-get install chromium"):
        chromium()
    monkeypatch.setenv("HPNET_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        chromium()


def clips(watched: Watched) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(watched.page.locator("#clip-data").text_content())
    return found


def test_everything_is_shown_at_every_width(watched: Watched) -> None:
    watched.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    for medium in ("light", "dark"):
        for width in WIDTHS_PX:
            watched.show(width, medium)
            assert watched.complaints(medium) == [], f"{width} px, {medium}"


def test_charts_take_the_column(watched: Watched) -> None:
    """At each width one drawing of the chart, nearly as wide as its section."""
    for width in WIDTHS_PX:
        watched.show(width, "light")
        shares = watched.page.evaluate("""() => {
          const across = (part) => part.getBoundingClientRect().width;
          return [...document.querySelectorAll(".wide, .middle, .narrow")].filter((part) => part.checkVisibility())
            .map((part) => across(part.querySelector("svg")) / across(part.closest("section")));
        }""")
        charts = watched.page.locator("figure:has(> .wide)").count()
        assert len(shares) == charts > 0, f"{width} px"
        assert min(shares) > 0.9, f"{width} px: {shares}"


def test_commands_are_set_as_code(watched: Watched) -> None:
    names = "".join(clips(watched)["classes"])
    shown = watched.page.evaluate("document.body.innerText")
    assert "`" not in shown or "`" in names, shown[max(0, shown.index("`") - 60) :][:120]


def test_what_to_do_next_comes_first(watched: Watched) -> None:
    names = watched.page.locator("section").evaluate_all("(all) => all.map((section) => section.id)")
    assert names[:3] == ["advice", "accuracy", "confusion"]
    for link in watched.page.locator("#advice a").all():
        assert watched.page.locator(str(link.get_attribute("href"))).count() == 1


def test_paper_shows_everything_in_ink_on_white(watched: Watched) -> None:
    for width in (*WIDTHS_PX, *PAPER_PX):
        watched.show(width, "print")
        assert watched.complaints("print") == [], f"{width} px"
    watched.page.emulate_media(color_scheme="dark")
    colour = watched.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert min(int(part) for part in colour[4:-1].split(",")) > 200


def test_a_click_on_a_cell_shows_its_clips(watched: Watched) -> None:
    page, data = watched.page, clips(watched)
    assert page.locator(".confusion tbody td").count() == len(data["classes"]) ** 2
    for number in (0, -1):
        cell = page.locator(".confusion button").nth(number)
        truth, predicted = (int(cell.get_attribute(f"data-{name}")) for name in ("truth", "predicted"))
        cell.click()
        own = [clip[0] for clip in data["clips"] if clip[1:3] == [truth, predicted]]
        assert page.locator("#confusion-detail li code").all_text_contents() == own
        assert page.locator("#confusion-detail li").first.is_visible()
        assert data["classes"][truth] in page.locator("#confusion-detail h3").text_content()
        assert cell.get_attribute("aria-pressed") == "true"
        assert watched.complaints("light") == []
    page.locator("#confusion-detail a").click()
    assert page.locator("#clip-grid li code").all_text_contents() == own[:24]
    assert page.locator("#clip-count").text_content().startswith(f"{min(24, len(own))} of {len(own)} clip")


def test_tables_sort_by_every_column(watched: Watched) -> None:
    page = watched.page
    wrong = page.evaluate("""() => {
      const wrong = [];
      for (const heading of document.querySelectorAll("table.data th")) {
        const table = heading.closest("table"), rows = table.tBodies[0].rows.length;
        const numeric = heading.classList.contains("num");
        for (const way of numeric ? ["descending", "ascending"] : ["ascending", "descending"]) {
          heading.querySelector("button").click();
          const keys = [...table.tBodies[0].rows].map((row) => row.cells[heading.cellIndex].dataset.sort);
          const told = keys.filter((key) => key !== "");
          const order = (a, b) => numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
          const sign = way === "ascending" ? 1 : -1;
          const sorted = told.every((key, at) => at === 0 || sign * order(told[at - 1], key) <= 0);
          if (heading.getAttribute("aria-sort") !== way || !sorted || keys.length !== rows ||
              table.querySelectorAll("[aria-sort]").length !== 1 || keys.lastIndexOf("") >= 0 && keys.at(-1) !== "")
            wrong.push(`${table.caption.textContent}: ${heading.textContent} ${way}`);
        }
      }
      return wrong;
    }""")
    assert wrong == []
    page.reload()
    page.locator("#accuracy table.data th button").first.click()
    assert page.locator("#accuracy table.data th").first.get_attribute("aria-sort") == "ascending"


FOCUSED = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
  const clamp = (value, most) => Math.min(Math.max(value, 1), most - 1);
  const [left, right] = [clamp(box.left, innerWidth), clamp(box.right, innerWidth)];
  const [top, bottom] = [clamp(box.top, innerHeight), clamp(box.bottom, innerHeight)];
  const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  at.dataset.reached = "";
  return {
    what: `${at.localName} ${at.className} ${at.textContent.slice(0, 30)}`, end: at === document.body,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
    seen: right > left && bottom > top && !!hit && (at.contains(hit) || hit.contains(at)),
    sorts: !!at.closest("table.data th"), cell: !!at.closest(".confusion"),
  };
}"""


def test_the_keyboard_reaches_and_works_everything(watched: Watched) -> None:
    page = watched.page
    sorted_one, cells = False, 0
    for _ in range(2000):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at["end"]:
            break
        assert at["ring"], f"no focus ring: {at['what']}"
        assert at["seen"], f"out of sight or covered: {at['what']}"
        if at["sorts"] and not sorted_one:
            told = "document.activeElement.closest('th').ariaSort"
            page.keyboard.press("Enter")
            first = page.evaluate(told)
            page.keyboard.press("Space")
            assert {first, page.evaluate(told)} == {"ascending", "descending"}
            sorted_one = True
        if at["cell"]:
            cells += 1
            work_the_matrix(watched)
    left = page.evaluate("""() => [...document.querySelectorAll("a, button, select, input, summary, [tabindex]")]
      .filter((part) => part.checkVisibility() && part.tabIndex >= 0)
      .filter((part) => !("reached" in part.dataset) && !part.closest(".confusion"))
      .map((part) => part.outerHTML.slice(0, 80))""")
    assert left == []
    assert sorted_one
    assert cells == 1


def work_the_matrix(watched: Watched) -> None:
    """From its one stop for the Tab key: Enter and Space show clips, arrows reach every cell."""
    page = watched.page
    title = page.locator("#confusion-detail h3")
    assert title.text_content() == "Clips"
    page.keyboard.press("Enter")
    first = title.text_content()
    assert first != "Clips"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert title.text_content() != first
    assert page.locator("#confusion-detail li").count() >= 1
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    cells = page.locator(".confusion button").count()
    for back, key in (("Home", "ArrowRight"), ("End", "ArrowLeft"), ("Home", "ArrowDown"), ("End", "ArrowUp")):
        page.keyboard.press(back)
        reached = page.evaluate(
            """([key, cells]) => {
              const press = () => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key }));
              const seen = new Set([document.activeElement]);
              for (let step = 1; step < cells; step++) press(), seen.add(document.activeElement);
              return seen.size;
            }""",
            [key, cells],
        )
        assert reached == cells
        at = page.evaluate(FOCUSED)
        assert at["cell"]
        assert at["seen"], f"out of sight or covered: {at['what']}"
    assert page.locator(".confusion [tabindex='0']").count() == 1


def test_what_to_check_leads_to_the_videos(watched: Watched) -> None:
    page, section = watched.page, watched.page.locator("#check")
    assert page.locator("nav a[href='#check']").text_content() == "What to check"
    tables = section.locator("table.data").count()
    if not GIVEN:
        assert tables == (1 if len(clips(watched)["classes"]) == 2 else 2)  # with two, no label is contradicted
        assert "Labels were compared" in section.locator(".note").first.text_content()
    links = section.locator("td a")
    for width in (1440, 390):
        watched.show(width, "light")
        for number in range(links.count()):
            box = links.nth(number).bounding_box()
            assert box is not None
            assert box["width"] > 20
            assert box["height"] > 8
    page_file = Path(watched.address.removeprefix("file://"))
    for address in {link.get_attribute("href") for link in links.all()}:
        video = page_file.parent / unquote(address)
        assert not address.startswith(("/", "file:"))
        # the made-up project has videos of its test clips alone
        assert video.is_file() or (not GIVEN and video.parent.is_dir()), address


@pytest.mark.skipif(GIVEN is not None, reason="HPNET_PAGE names another page")
def test_networks_that_do_not_suit_the_people_are_seen_first(running: Any, tmp_path: Path) -> None:
    params = make_params()
    make_project(tmp_path, params, HOSTILE[:2], per_class=3)
    seen: dict[float, list[str]] = {}
    for share in (0.6, 0.9):
        for stage, model in (("detect", "mannequin-yolo"), ("estimate", "mannequin-simcc")):
            usual = usual_score(model)
            assert usual is not None
            write_json(tmp_path / "metrics" / f"{stage}.json", score_figures([share * usual], usual))
        write_report(collect(tmp_path, params), tmp_path / "report", full_maps)
        watched = Watched(running, tmp_path / "report" / "index.html")
        banners = watched.page.locator("header .warning")
        seen[share] = banners.all_text_contents()
        for width in (1440, 390):
            for medium in ("light", "dark", "print"):
                watched.show(width, medium)
                assert watched.complaints(medium) == [], f"{width} px, {medium}"
                if share < 0.75 and medium != "print":
                    boxes = [banners.nth(number).bounding_box() for number in range(2)]
                    assert all(box["y"] + box["height"] <= 900 and box["width"] >= 340 for box in boxes), boxes
        assert watched.troubles == []
        watched.page.close()
    assert seen[0.9] == []
    assert ["mannequin-yolo" in text for text in seen[0.6]] == [True, False]
    assert all("it does not suit these people" in text for text in seen[0.6])


@pytest.mark.skipif(GIVEN is not None, reason="HPNET_PAGE names another page")
def test_a_bar_of_a_timeline_shows_the_frames_of_its_time(running: Any, tmp_path: Path) -> None:
    """20 seconds that get lighter: of an event every half second, eight frames at most."""
    frames = np.repeat(np.arange(20, 220, 5, dtype=np.uint8), 4)[:, None, None, None]
    write_video(tmp_path / "a.mp4", np.broadcast_to(frames, (160, 48, 64, 3)), fps=8)
    given = given_events(tmp_path, {"a": [Event(1.0, 3.0, "wave", person=0), Event(4.0, 19.5, "<b>", person=0)]})
    file = tmp_path / "index.html"
    file.write_text(page_module.render(given, (events,)), encoding="utf-8")
    assert file.stat().st_size < 200_000
    watched = Watched(running, file)
    page, shown = watched.page, watched.page.locator(".course .detail")
    bars = page.locator(".course .wide .bar")
    bars.first.click()
    assert shown.locator("h4").text_content() == "wave, 1.00 to 3.00 s"
    assert shown.locator("li").all_text_contents() == ["1.0 s", "1.5 s", "2.0 s", "2.5 s", "3.0 s"]
    assert bars.first.get_attribute("aria-pressed") == "true"
    lights = []
    for tile in shown.locator(".tile").all():
        picture = cv2.imdecode(np.frombuffer(tile.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        lights.append(float(picture[10:-10, 10:-10].mean()))
    assert lights == pytest.approx([20 + 5 * 2 * seconds for seconds in (1.0, 1.5, 2.0, 2.5, 3.0)], abs=3)
    bars.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert shown.locator("h4").text_content() == "<b>, 4.00 to 19.50 s"
    assert shown.locator("li").count() == 8
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert shown.locator("li").count() == 5
    assert page.locator(".course .wide .bar[tabindex='0']").count() == 1
    for width in WIDTHS_PX:
        watched.show(width, "light")
        assert watched.complaints("light") == [], f"{width} px"
    watched.show(390, "dark")
    page.locator(".course .narrow .bar").nth(1).click()
    assert shown.locator("li").count() == 8
    assert watched.complaints("dark") == []
    assert watched.troubles == []
    page.close()


@pytest.mark.skipif(GIVEN is not None, reason="HPNET_PAGE names another page")
def test_names_stand_on_the_page_as_they_are(watched: Watched) -> None:
    names = clips(watched)["classes"]
    assert tuple(names) in PAGES.values()
    page = watched.page
    assert page.locator(".confusion th[scope=row] bdi").all_text_contents() == names
    assert page.locator("select[name=truth] option").all_text_contents()[1:] == names
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 2
    page.locator(".confusion button").first.click()
    assert names[0] in page.locator("#confusion-detail h3").text_content()
    shown = page.locator(".confusion button").first.bounding_box()
    number = page.locator(".confusion th[scope=row] i").first.bounding_box()
    assert number["x"] + number["width"] <= shown["x"] + 1  # a name that turns the writing round keeps it to itself
