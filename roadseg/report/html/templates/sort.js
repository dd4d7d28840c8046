"use strict";
// Sorting: a click on a heading sorts by it, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = heading.classList.contains("n");
    const key = (row) => {
      const cell = row.cells[column];
      return numeric ? parseFloat(cell.dataset.value ?? "NaN") : cell.textContent.trim();
    };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (!numeric) return (up ? 1 : -1) * x.localeCompare(y, undefined, {numeric: true});
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);  // what has no number is last, either way
      return up ? x - y : y - x;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(order));
  }));
}
