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

  // Confusion matrix: a cell lists its clips.
  const source = document.getElementById("confusion-data");
  const detail = document.getElementById("confusion-detail");
  if (source && detail) {
    const { classes, clips } = JSON.parse(source.textContent);
    const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    for (const button of document.querySelectorAll(".confusion button")) {
      button.addEventListener("click", () => {
        for (const other of document.querySelectorAll(".confusion button[aria-pressed=true]")) {
          other.setAttribute("aria-pressed", "false");
        }
        button.setAttribute("aria-pressed", "true");
        const truth = Number(button.dataset.truth), predicted = Number(button.dataset.predicted);
        const found = clips.filter((clip) => clip[1] === truth && clip[2] === predicted);
        const title = truth === predicted
          ? `${classes[truth]}, recognised`
          : `${classes[truth]}, taken for ${classes[predicted]}`;
        const list = document.createElement("ul");
        for (const [id, , , confidence, where] of found) {
          const item = document.createElement("li");
          item.append(Object.assign(element("code", id)), element("span", `${where} ${Math.round(100 * confidence)} % sure`));
          list.append(item);
        }
        detail.replaceChildren(element("h3", title), element("p", `${found.length} clip${found.length === 1 ? "" : "s"}`), list);
      });
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
