(function () {
  "use strict";
  const button = document.getElementById("theme");
  let packed = null;

  function label() {
    button.textContent = hlens.theme() === "dark" ? "Light" : "Dark";
    const other = button.textContent.toLowerCase();
    button.setAttribute("aria-label", "Switch to the " + other + " theme");
  }

  let letGo = () => {};

  // Only what is near the window is drawn, and only in the theme that is shown.
  const near = new Set();
  let drawing = false;

  const isStale = (at) => at.dataset.drawn !== hlens.theme();
  const distance = (at) => {
    const box = at.getBoundingClientRect();
    return Math.max(box.top - innerHeight, -box.bottom, 0);
  };

  async function drawOne(at) {
    await hlens.draw(at, packed[at.id], packed.config);
    const panel = document.querySelector(`[data-for="${at.id}"] .hx-panel`);
    if (panel && !at.hlensRedraw) await hlens.explore(at, panel, packed.neurons).shown;
  }

  // Drawn again a figure keeps the size that it had.
  async function drawAtNewWidth(at) {
    const again = at.dataset.drawn;
    await drawOne(at);
    if (again) await Plotly.relayout(at, { autosize: true });
  }

  async function drawNear() {
    if (drawing || !packed) return;
    drawing = true;
    delete hlens.root.dataset.ready;
    const next = () => [...near].filter(isStale).sort((a, b) => distance(a) - distance(b))[0];
    for (let at = next(); at; at = next()) {
      await drawOne(at).catch((error) => hlens.failed(error, [at]));
      await new Promise((then) => setTimeout(then, 0)); // the page stays answering
    }
    drawing = false;
    hlens.root.dataset.ready = hlens.theme();
    letGo();
  }

  const watch = new IntersectionObserver((entries) => {
    entries.forEach((entry) => near[entry.isIntersecting ? "add" : "delete"](entry.target));
    drawNear().catch(hlens.failed);
  }, { rootMargin: "500px 0px" });

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, at) => {
      const cell = row.cells[at];
      return cell.dataset.v === undefined ? cell.textContent : parseFloat(cell.dataset.v);
    };
    heads.forEach((head, at) => head.firstElementChild.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const first = head.classList.contains("num") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = before === first ? other : first;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rank = (row) => (row.cells[at].textContent === "–" ? 1 : 0);
      const rows = [...body.rows].sort((a, b) => {
        if (rank(a) || rank(b)) return rank(a) - rank(b);
        const x = value(a, at), y = value(b, at);
        const way = typeof x === "number" && typeof y === "number"
          ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
        return sign * way;
      });
      body.append(...rows);
    }));
  }

  function rethemed() {
    label();
    drawNear().catch(hlens.failed);
  }

  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    hlens.root.dataset.theme = hlens.theme() === "dark" ? "light" : "dark";
    rethemed();
  });
  hlens.system.addEventListener("change", rethemed);
  document.querySelectorAll("table.sortable").forEach(sortable);
  const plots = [...document.querySelectorAll(".plot")];
  hlens.onPaper(() => {
    if (packed) plots.forEach((at) => drawAtNewWidth(at).catch((error) => hlens.failed(error, [at])));
  });

  (async () => {
    if (!plots.length) { hlens.root.dataset.ready = hlens.theme(); return; }
    letGo = hlens.holdLoad();
    packed = await hlens.load().catch((error) => { letGo(); throw error; });
    plots.forEach((at) => watch.observe(at));
  })().catch(hlens.failed);
})();
