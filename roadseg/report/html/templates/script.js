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
// Enlarging: a click or Enter on a picture; arrow keys go on, Escape closes.
const viewer = document.getElementById("viewer");
const shown = viewer.querySelector("img");
let current = null;
function show(shot) {
  current = shot;
  const own = shot.querySelector("img").src;
  const twin = document.querySelector(`.of-gallery .shot[data-name=${CSS.escape(shot.dataset.name)}] img`);
  shown.onerror = () => { shown.onerror = null; shown.src = own; };  // a linked file that is gone
  shown.src = twin?.src ?? shot.dataset.large ?? own;
  shown.alt = shot.dataset.name;
  viewer.querySelector("b").textContent = shot.dataset.name;
  viewer.querySelector("span").textContent = shot.dataset.caption;
  if (!viewer.open) viewer.showModal();
}
function step(by) {
  const group = current.closest("section");
  const shots = [...group.querySelectorAll(".shot")];
  show(shots[(shots.indexOf(current) + by + shots.length) % shots.length]);
}
document.addEventListener("click", (event) => {
  const shot = event.target.closest(".shot");
  if (shot) show(shot);
  else if (event.target.closest(".previous")) step(-1);
  else if (event.target.closest(".next")) step(1);
  else if (event.target === viewer || event.target === shown) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
viewer.addEventListener("close", () => current?.focus());
// On paper everything is open.
addEventListener("beforeprint", () => {
  for (const box of document.querySelectorAll("details")) {
    if (box.querySelectorAll("tr").length <= 100) box.open = true;
  }
});
