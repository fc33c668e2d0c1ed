// Exclusive groups, most shared first: a button each, with its bar, its dots, and chance below.
hlens.ox.upset = function (at, table, state, change) {
  const { make, ox } = hlens;
  const MOST = 30, HIGH = 150;
  const frame = at.appendChild(make("div", "ox-upset"));
  const rows = frame.appendChild(make("div", "ox-rows"));
  const strip = frame.appendChild(make("div", "ox-columns"));
  const note = at.appendChild(make("p", "ox-note"));
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", "Exclusive groups: arrow keys go from column to column");
  const steady = ox.rove(strip, (key, now, list) =>
    ({ ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: list.length - 1 })[key]);
  let columns = [];

  function column(row, top, names) {
    const button = make("button", "ox-column");
    button.type = "button";
    button.dataset.rove = "";
    button.tabIndex = -1;
    const several = table.bits(row.members).length;
    button.classList.add(several > 1 ? "shared" : "single");
    button.style.setProperty("--deep", several > 1 ? (several - 1) / Math.max(names.length - 1, 1) : 0);
    const bar = make("span", "ox-bar");
    bar.append(make("span", "ox-count", row.neurons.toLocaleString("en")), make("span", "ox-fill"),
      make("span", "ox-chance"));
    bar.style.setProperty("--high", (HIGH * row.neurons / top).toFixed(1) + "px");
    bar.style.setProperty("--chance", (HIGH * row.expected / top).toFixed(1) + "px");
    const dots = make("span", "ox-dots");
    const inside = names.map((i) => (row.members >> i) & 1);
    const first = inside.indexOf(1), last = inside.lastIndexOf(1);
    inside.forEach((is, i) => {
      const dot = make("span", is ? "ox-dot in" : "ox-dot");
      if (i >= first && i < last) dot.classList.add("joined");
      dots.append(dot);
    });
    const numbers = [ox.number(row.expected), ox.fold(row.fold).replace("×", ""), ox.stars(row.p)]
      .map((text, i) => make("span", "ox-figure" + (i && row.p <= 0.05 ? " beyond" : ""), text));
    button.append(bar, dots, ...numbers);
    const only = names.length > several ? " only" : "";
    const told = `${table.joined(row.members)}${only}: ${ox.neurons(row.neurons)}, ${ox.beside(row)}`;
    button.setAttribute("aria-label", told);
    button.title = told;
    button.addEventListener("click", () => change({ selection: { bits: row.members, exact: true } }));
    columns.push({ button, members: row.members });
    return button;
  }

  function build() {
    const names = table.bits(state.among);
    const found = table.groupsAmong(state.among).filter((row) => row.neurons);
    const large = [...found].sort((a, b) => b.neurons - a.neurons).slice(0, MOST);
    const size = (row) => table.bits(row.members).length;
    large.sort((a, b) => size(b) - size(a) || b.neurons - a.neurons || a.members - b.members);
    const top = Math.max(1, ...large.map((row) => Math.max(row.neurons, row.expected)));
    columns = [];
    strip.replaceChildren(...large.map((row) => column(row, top, names)));
    const label = (i) => {
      const own = make("span", "ox-row");
      own.append(make("span", "ox-name", table.names[i]));
      own.title = table.names[i];
      return own;
    };
    rows.replaceChildren(make("span", "ox-above", "neurons"), ...names.map(label),
      ...["by chance", "times chance", "corrected p"].map((text) => make("span", "ox-figure", text)));
    const empty = 2 ** names.length - 1 - found.length;
    const parts = [];
    if (large.length < found.length) parts.push(`the ${MOST} largest of ${found.length} groups`);
    if (empty) parts.push(empty === 1 ? "1 group holds no neuron" : `${empty} groups hold no neuron`);
    parts.push("– in a bar: expected by chance");
    note.textContent = parts.join(" · ");
    steady();
  }

  let built = 0;
  return () => {
    if (built !== state.among) { built = state.among; build(); }
    const { bits, exact } = state.selection;
    columns.forEach(({ button, members }) => {
      button.setAttribute("aria-pressed", String(exact && members === bits));
      button.classList.toggle("part", !exact && (members & bits) === bits);
    });
  };
};
