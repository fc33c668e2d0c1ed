// Draws the figures of a page in the theme that its reader has chosen, and again when that changes.
(function () {
  "use strict";
  const plots = [...document.querySelectorAll(".plot")];
  const figures = plots.map((at) =>
    JSON.parse(at.closest("figure").querySelector("script[type='application/json']").textContent));

  // The site keeps the theme on its body ("auto", "light" or "dark"); what hlens makes, token
  // strips too, looks for it on the root.
  function follow() {
    const chosen = document.body.dataset.theme;
    if (chosen === "light" || chosen === "dark") hlens.root.dataset.theme = chosen;
    else delete hlens.root.dataset.theme;
  }

  async function drawOne(at, figure) {
    await hlens.draw(at, figure, figure.config);
    const panel = at.closest("figure").querySelector(".hx-panel");
    if (panel && !at.hlensRedraw) await hlens.explore(at, panel, figure.neurons).shown;
  }

  const draw = (at, figure) =>
    drawOne(at, figure).catch((error) => hlens.failed(error, [at]));

  async function drawAll() {
    delete hlens.root.dataset.ready;
    const theme = hlens.theme();
    await Promise.all(plots.map((at, n) => draw(at, figures[n])));
    if (theme === hlens.theme()) hlens.root.dataset.ready = theme;
  }

  function rethemed() {
    const before = hlens.theme();
    follow();
    if (hlens.theme() !== before) drawAll();
  }

  follow();
  drawAll();
  new MutationObserver(rethemed).observe(document.body, { attributeFilter: ["data-theme"] });
  hlens.system.addEventListener("change", drawAll);
  hlens.onPaper(drawAll);
})();
