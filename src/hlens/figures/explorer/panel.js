hlens.explore = function (plot, panel, neurons, chose = () => {}) {
  const select = panel.querySelector("select");
  const body = panel.querySelector(".hx-body");
  const keys = Object.keys(neurons);
  let chosen = keys[0];

  const { make, strip, words } = hlens;

  function show(key) {
    chosen = key;
    const one = neurons[key];
    select.value = key;
    const parts = [make("h3", "", key)];
    const sign = make("p", "hx-sign " + one.kind);
    sign.textContent = { positive: "● hallucination-associated", negative: "◆ truth-associated",
      none: "selected" }[one.kind];
    parts.push(sign);
    const facts = make("dl", "hx-facts");
    one.facts.forEach(([name, value]) => facts.append(make("dt", "", name), make("dd", "", value)));
    parts.push(facts);
    parts.push(...words("Selected in", one.domains.map((d) => [d, d]), "hx-domains"));
    parts.push(...words("Promotes", one.promotes, "hx-up"));
    parts.push(...words("Suppresses", one.suppresses, "hx-down"));
    for (const [title, list] of [["Strongest answers", one.strongest], ["Weakest answers", one.weakest]])
      if (list.length) parts.push(make("h4", "", title), ...list.map(strip));
    body.replaceChildren(...parts);
    return ring();
  }

  function choose(key) {
    const shown = show(key);
    chose(key);
    return shown;
  }

  // A shape and no trace: a new trace would draw all marks again.
  function ring() {
    const [layer, x] = neurons[chosen].at;
    const color = getComputedStyle(panel).getPropertyValue("--hx-ink").trim();
    const shapes = plot.layout.shapes || [];
    const own = shapes.findIndex((shape) => shape.name === "chosen neuron");
    const place = { xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel",
      xanchor: x, yanchor: layer, x0: -13, x1: 13, y0: -13, y1: 13 };
    const shape = { type: "circle", name: "chosen neuron", line: { color, width: 2.5 }, ...place };
    if (own < 0) return Plotly.relayout(plot, { [`shapes[${shapes.length}]`]: shape });
    // A whole shape would be put in beside the one that is there.
    const at = `shapes[${own}]`;
    return Plotly.relayout(plot,
      { [at + ".xanchor"]: x, [at + ".yanchor"]: layer, [at + ".line.color"]: color });
  }

  function step(by) {
    choose(keys[(keys.indexOf(chosen) + by + keys.length) % keys.length]);
  }

  keys.forEach((key) => select.append(new Option(key, key)));
  select.addEventListener("change", () => choose(select.value));
  panel.querySelector(".hx-prev").addEventListener("click", () => step(-1));
  panel.querySelector(".hx-next").addEventListener("click", () => step(1));
  plot.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.data.type === "scatter");
    // A mixture's marks carry their address, since they stand at their expert.
    const key = point && (point.hovertext || "L" + point.y + "N" + point.x);
    if (key in neurons) choose(key);
  });
  plot.hlensRedraw = ring;
  return {
    shown: show(chosen),
    choose(key) { if (key in neurons && key !== chosen) show(key); },
    learn(key, told) {
      Object.assign(neurons[key], told);
      if (key === chosen) show(key);
    },
  };
};
