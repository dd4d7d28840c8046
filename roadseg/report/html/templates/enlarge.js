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
