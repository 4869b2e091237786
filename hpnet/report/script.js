"use strict";
(() => {
  // Tables: a click on a heading sorts by that column; numbers start with the largest.
  for (const button of document.querySelectorAll("table.data th button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const table = heading.closest("table");
      const column = heading.cellIndex;
      const numeric = heading.classList.contains("num");
      const before = heading.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort;
      const sign = descending ? -1 : 1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true }));
      });
      table.tBodies[0].append(...rows);
    });
  }

  const element = (tag, text, properties) => Object.assign(document.createElement(tag), { textContent: text ?? "" }, properties);
  const source = document.getElementById("clip-data");
  const data = source ? JSON.parse(source.textContent) : { classes: [], clips: [], frames: 1, size: [1, 1] };
  const { classes, clips } = data;

  // A clip as a list item: its preview, names, and how sure the result was.
  const card = ([id, truth, predicted, confidence, where, strip]) => {
    const item = element("li");
    if (strip) {
      const view = element("div", "", { className: "strip-view" });
      view.style.setProperty("--ratio", data.size[0] / data.size[1]);
      view.style.setProperty("--frames", data.frames);
      view.append(element("img", "", { src: `data:image/jpeg;base64,${strip}`, alt: `preview of ${id}`, decoding: "sync" }));
      item.append(view);
    }
    const verdict = element("p", truth === predicted ? classes[truth] : `${classes[truth]} → ${classes[predicted]}`,
      { className: truth === predicted ? "yes" : "no" });
    item.append(verdict, element("code", id), element("span", `${where} ${Math.round(100 * confidence)} % sure`));
    return item;
  };

  // The clip browser: filters and as many cards as were asked for.
  const filters = document.getElementById("clip-filters");
  const grid = document.getElementById("clip-grid");
  const more = document.getElementById("clip-more");
  const PAGE = 24;
  let shown = PAGE;
  const draw = () => {
    const truth = filters.elements.truth.value, predicted = filters.elements.predicted.value;
    const found = clips.filter((clip) => (truth === "" || clip[1] === Number(truth)) &&
      (predicted === "" || clip[2] === Number(predicted)) && (!filters.elements.mistakes.checked || clip[1] !== clip[2]));
    grid.classList.toggle("still", !filters.elements.moving.checked);
    grid.replaceChildren(...found.slice(0, shown).map(card));
    document.getElementById("clip-count").textContent =
      `${Math.min(shown, found.length)} of ${found.length} clip${found.length === 1 ? "" : "s"}`;
    more.hidden = found.length <= shown;
  };
  if (filters) {
    filters.addEventListener("input", () => { shown = PAGE; draw(); });
    filters.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => { shown += PAGE; draw(); });
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) filters.elements.moving.checked = false;
    draw();
  }

  // Confusion matrix: a cell lists its clips, and leads to them in the browser. It is one stop for the Tab key; arrow
  // keys move between cells, left and right in reading order, up and down column by column, so that each is reached.
  const detail = document.getElementById("confusion-detail");
  const cells = [...document.querySelectorAll(".confusion button")];
  const row = (cell) => Number(cell.dataset.truth), column = (cell) => Number(cell.dataset.predicted);
  const byRow = [...cells].sort((a, b) => row(a) - row(b) || column(a) - column(b));
  const byColumn = [...cells].sort((a, b) => column(a) - column(b) || row(a) - row(b));
  for (const cell of cells) cell.tabIndex = cell === byRow[0] ? 0 : -1;
  for (const button of detail ? cells : []) {
    button.addEventListener("focus", () => {
      for (const other of cells) other.tabIndex = other === button ? 0 : -1;
    });
    button.addEventListener("click", () => {
      for (const other of cells) other.setAttribute("aria-pressed", String(other === button));
      const truth = Number(button.dataset.truth), predicted = Number(button.dataset.predicted);
      const found = clips.filter((clip) => clip[1] === truth && clip[2] === predicted);
      const title = truth === predicted
        ? `${classes[truth]}, recognised`
        : `${classes[truth]}, predicted as ${classes[predicted]}`;
      const list = element("ul", "", { className: "clip-grid" });
      list.append(...found.map(card));
      const link = element("a", `${found.length} clip${found.length === 1 ? "" : "s"}, in the browser below`, { href: "#clips" });
      link.addEventListener("click", () => {
        Object.assign(filters.elements.truth, { value: String(truth) });
        Object.assign(filters.elements.predicted, { value: String(predicted) });
        filters.elements.mistakes.checked = false;
        shown = PAGE;
        draw();
      });
      const line = element("p");
      line.append(link);
      detail.replaceChildren(element("h3", title), line, list);
    });
    button.addEventListener("keydown", (event) => {
      const near = (order, by) => order[order.indexOf(button) + by];
      const next = {
        ArrowRight: () => near(byRow, 1), ArrowLeft: () => near(byRow, -1),
        ArrowDown: () => near(byColumn, 1), ArrowUp: () => near(byColumn, -1),
        Home: () => byRow[0], End: () => byRow.at(-1),
      }[event.key];
      if (!next) return;
      event.preventDefault();
      next()?.focus();
    });
  }

  // Timelines: a bar shows the frames of its time. Each chart is one stop for the Tab key; arrow keys move between bars.
  for (const course of document.querySelectorAll(".course")) {
    const shown = course.querySelector(".detail");
    if (!shown) continue;
    const across = Number(course.dataset.across), count = Number(course.dataset.frames), every = Number(course.dataset.every);
    const rows = Math.ceil(count / across), sheet = `data:image/jpeg;base64,${shown.dataset.sheet}`;
    const tile = (number) => {
      const when = `${(number * every).toFixed(1)} s`;
      const item = element("li"), view = element("div", "", { className: "tile" });
      const picture = element("img", "", { src: sheet, alt: `frame at ${when}`, decoding: "sync" });
      const left = (100 * (number % across)) / across, top = (100 * Math.floor(number / across)) / rows;
      Object.assign(picture.style, { width: `${100 * across}%`, transform: `translate(-${left}%, -${top}%)` });
      view.append(picture);
      item.append(view, element("span", when));
      return item;
    };
    const within = (bar) => {
      const inside = (seconds) => Math.min(Math.max(Math.round(seconds / every), 0), count - 1);
      const [first, last] = [inside(Number(bar.dataset.start)), inside(Number(bar.dataset.end))];
      const most = Math.min(8, last - first + 1);
      return Array.from({ length: most }, (_, n) => first + (most > 1 ? Math.round((n * (last - first)) / (most - 1)) : 0));
    };
    for (const chart of course.querySelectorAll("svg.fig")) {
      const bars = [...chart.querySelectorAll(".bar")];
      chart.setAttribute("role", "group");
      for (const bar of bars) {
        const name = bar.querySelector("title").textContent;
        bar.setAttribute("role", "button");
        bar.setAttribute("aria-label", name);
        bar.setAttribute("tabindex", bar === bars[0] ? "0" : "-1");
        bar.addEventListener("focus", () => {
          for (const other of bars) other.setAttribute("tabindex", other === bar ? "0" : "-1");
        });
        const show = () => {
          for (const other of course.querySelectorAll(".bar")) other.setAttribute("aria-pressed", String(other === bar));
          const list = element("ul", "", { className: "clip-grid" });
          list.append(...within(bar).map(tile));
          shown.replaceChildren(element("h4", name), list);
        };
        bar.addEventListener("click", show);
        bar.addEventListener("keydown", (event) => {
          const at = bars.indexOf(bar);
          const next = {
            ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: bars.length - 1,
          }[event.key];
          if (next === undefined && event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          if (next === undefined) show();
          else bars[next]?.focus();
        });
      }
    }
  }

  // The section in view is marked in the contents.
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  if ("IntersectionObserver" in window) {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }, { rootMargin: "-10% 0px -70% 0px" });
    for (const section of document.querySelectorAll("section[id]")) observer.observe(section);
  }
})();
