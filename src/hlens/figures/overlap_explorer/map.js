// Where the neurons are: a mark each on a canvas, which stays fast with tens of thousands.
hlens.ox.map = function (at, table, state, change) {
  const { make, ox } = hlens;
  const LEFT = 44, RIGHT = 14, TOP = 10, BOTTOM = 40, FAR = 12;
  const frame = at.appendChild(make("div", "ox-map"));
  const canvas = frame.appendChild(make("canvas"));
  const tip = frame.appendChild(make("div", "ox-tip"));
  const told = frame.appendChild(make("p", "ox-unseen"));
  told.setAttribute("aria-live", "polite");
  tip.hidden = true;
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", "Map of the neurons: arrow keys go from neuron to neuron, Enter chooses");
  const perLayer = Math.max(7, Math.min(18, 520 / table.layers));
  const high = Math.max(240, Math.round(perLayer * table.layers)) + TOP + BOTTOM;
  frame.style.height = high + "px";
  let wide = 0, at_ = -1; // `at_`: the mark under the mouse or the keyboard

  // Marks of each layer by their place, for the mouse and for arrow keys.
  const inLayer = Array.from({ length: table.layers }, () => []);
  for (let i = 0; i < table.size; i += 1) inLayer[table.layer[i]].push(i);
  inLayer.forEach((own) => own.sort((a, b) => table.x[a] - table.x[b]));

  const placeX = (i) => LEFT + (table.x[i] / 65535) * (wide - LEFT - RIGHT);
  const step = (high - TOP - BOTTOM) / table.layers;
  const placeY = (layer) => TOP + (table.layers - layer - 0.5) * step;
  const shown = (i) => table.held[i] & state.among;
  const radius = table.size > 8000 ? 1.6 : table.size > 1500 ? 2.3 : 3.4;

  function mix(share, from, to) {
    return from.map((value, i) => Math.round(value + (to[i] - value) * share));
  }

  function colours() {
    const style = getComputedStyle(frame);
    const read = (name) => style.getPropertyValue(name).trim();
    const rgb = (name) => read(name).split(" ").map(Number);
    return { ink: read("--hx-ink"), muted: read("--hx-muted"), line: read("--hx-line"),
      one: read("--ox-one"), low: rgb("--ox-low"), deep: rgb("--ox-deep"), chosen: read("--ox-chosen"), faint: read("--ox-band") };
  }

  function draw() {
    wide = frame.clientWidth;
    if (!wide) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
    const pen = canvas.getContext("2d"), ink = colours();
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, wide, high);
    pen.font = "12px " + getComputedStyle(frame).fontFamily;
    axes(pen, ink);
    const most = Math.max(table.bits(state.among).length - 1, 1);
    const kinds = new Map(); // marks by colour, those of few sets first: the others lie on them
    for (let i = table.size - 1; i >= 0; i -= 1) {
      const held = shown(i);
      if (!held) continue;
      const kind = table.holds(state.selection, state.among, i) ? "chosen" : table.bits(held).length;
      if (!kinds.has(kind)) kinds.set(kind, []);
      kinds.get(kind).push(i);
    }
    const order = [...kinds.keys()].sort((a, b) => (a === "chosen") - (b === "chosen") || a - b);
    order.forEach((kind) => {
      const chosen = kind === "chosen", r = chosen ? radius + 0.9 : radius;
      pen.fillStyle = chosen ? ink.chosen : kind === 1 ? ink.one
        : `rgb(${mix((kind - 1) / most, ink.low, ink.deep)})`;
      pen.beginPath();
      kinds.get(kind).forEach((i) => {
        const x = placeX(i), y = placeY(table.layer[i]);
        if (r < 2.6) pen.rect(x - r, y - r, 2 * r, 2 * r);
        else { pen.moveTo(x + r, y); pen.arc(x, y, r, 0, 7); }
      });
      pen.fill();
    });
    if (state.open >= 0 && shown(state.open)) ring(pen, state.open, ink.chosen, 8);
    if (at_ >= 0 && shown(at_)) ring(pen, at_, ink.ink, 6);
  }

  function ring(pen, i, colour, r) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(placeX(i), placeY(table.layer[i]), r, 0, 7);
    pen.stroke();
  }

  function axes(pen, ink) {
    pen.fillStyle = ink.faint;
    pen.fillRect(LEFT, TOP, wide - LEFT - RIGHT, high - TOP - BOTTOM);
    pen.strokeStyle = ink.line;
    pen.fillStyle = ink.muted;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((s) => table.layers / s <= 10) || 2000;
    for (let layer = 0; layer < table.layers; layer += every) {
      pen.fillText(String(layer), LEFT - 8, placeY(layer));
    }
    pen.save();
    pen.translate(10, TOP + (high - TOP - BOTTOM) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("layer", 0, 0);
    pen.restore();
    pen.textBaseline = "top";
    pen.textAlign = "center";
    let end = -Infinity;
    table.axis.ticks.forEach(([share, text]) => {
      const x = LEFT + share * (wide - LEFT - RIGHT), half = pen.measureText(text).width / 2;
      if (x - half < end + 8 || x + half > wide) return;
      end = x + half;
      pen.fillText(text, x, high - BOTTOM + 5);
    });
    let title = table.axis.title;
    if (pen.measureText(title).width > wide - LEFT - RIGHT) title = title.replace(/ \(.*/, "");
    pen.fillText(title, LEFT + (wide - LEFT - RIGHT) / 2, high - 16);
  }

  function nearest(x, y) {
    const reach = Math.ceil(FAR / step), middle = Math.round(table.layers - 0.5 - (y - TOP) / step);
    let best = -1, least = FAR * FAR;
    for (let layer = Math.max(0, middle - reach); layer <= Math.min(table.layers - 1, middle + reach); layer += 1) {
      const own = inLayer[layer], far = (placeY(layer) - y) ** 2;
      let low = 0, end = own.length;
      while (low < end) { const m = (low + end) >> 1; if (placeX(own[m]) < x - FAR) low = m + 1; else end = m; }
      for (; low < own.length && placeX(own[low]) <= x + FAR; low += 1) {
        const d = (placeX(own[low]) - x) ** 2 + far;
        if (d < least && shown(own[low])) { least = d; best = own[low]; }
      }
    }
    return best;
  }

  const words = (i) => `${table.address(i)} · ${table.joined(shown(i))}`;
  function point(i, speak) {
    if (i === at_ && !speak) return;
    at_ = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      tip.textContent = words(i);
      const left = Math.min(placeX(i) + 12, wide - tip.offsetWidth - 4);
      tip.style.transform = `translate(${Math.max(2, left)}px, ${Math.max(2, placeY(table.layer[i]) - 34)}px)`;
      if (speak) told.textContent = words(i);
    }
    draw();
  }
  const choose = (i) => change({ selection: { bits: shown(i), exact: true }, open: i });
  const mouse = (event) => {
    const box = canvas.getBoundingClientRect();
    return nearest(event.clientX - box.left, event.clientY - box.top);
  };
  canvas.addEventListener("mousemove", (event) => {
    const i = mouse(event);
    canvas.style.cursor = i < 0 ? "" : "pointer";
    point(i, false);
  });
  canvas.addEventListener("mouseleave", () => point(-1, false));
  canvas.addEventListener("click", (event) => { const i = mouse(event); if (i >= 0) choose(i); });

  // Along a layer, or to the nearest mark of the next layer that has one.
  function next(key, i) {
    const along = { ArrowRight: 1, ArrowLeft: -1 }[key], across = { ArrowUp: 1, ArrowDown: -1 }[key];
    const there = (list) => list.filter((one) => shown(one));
    if (along) {
      const own = there(inLayer[table.layer[i]]);
      return own[Math.max(0, Math.min(own.length - 1, own.indexOf(i) + along))];
    }
    for (let layer = table.layer[i] + across; layer >= 0 && layer < table.layers; layer += across) {
      const own = there(inLayer[layer]);
      if (own.length) return own.reduce((a, b) =>
        Math.abs(table.x[b] - table.x[i]) < Math.abs(table.x[a] - table.x[i]) ? b : a);
    }
    return i;
  }
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      const first = [...Array(table.size).keys()].find((i) => table.holds(state.selection, state.among, i));
      if (at_ < 0) { if (first !== undefined) point(first, true); } else point(next(event.key, at_), true);
    } else if ((event.key === "Enter" || event.key === " ") && at_ >= 0) {
      event.preventDefault();
      choose(at_);
    } else if (event.key === "Escape") point(-1, false);
  });
  frame.addEventListener("blur", () => point(-1, false));
  new ResizeObserver(() => { if (frame.clientWidth !== wide) draw(); }).observe(frame);
  if (document.fonts) document.fonts.ready.then(draw);
  return draw;
};
