// The sets, their groups beside chance, and their neurons as typed arrays.
hlens.ox = {};

hlens.ox.read = function (data) {
  const typed = (text, Kind) => {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
    return new Kind(bytes.buffer);
  };
  const n = data.names.length, { marks, groups } = data;
  const table = {
    ...data, n, everything: 2 ** n - 1,
    layer: typed(marks.layer, Uint16Array), neuron: typed(marks.neuron, Uint32Array),
    x: typed(marks.x, Uint16Array), held: typed(marks.held, Uint16Array),
    weights: data.weights ? typed(data.weights, Float32Array) : null,
    alone: data.alone && Object.fromEntries(
      Object.entries(data.alone).map(([name, text]) => [name, typed(text, Uint16Array)])),
    pages: data.pages || {},
  };
  table.size = table.held.length;

  // Rows of the table of groups by what they are among, then by members.
  const rows = new Map();
  groups.members.forEach((members, i) => {
    const among = groups.among[i];
    if (!rows.has(among)) rows.set(among, new Map());
    const expected = groups.expected[i], neurons = groups.neurons[i];
    rows.get(among).set(members, { members, neurons, expected, p: groups.p[i],
      p_pairs: groups.p_pairs[i], fold: expected ? neurons / expected : NaN });
  });
  table.group = (among, members) => rows.get(among).get(members);
  table.groupsAmong = (among) => [...rows.get(among).values()];

  table.bits = (mask) => data.names.map((_, i) => i).filter((i) => (mask >> i) & 1);
  table.joined = (mask, and = " and ") => {
    const names = table.bits(mask).map((i) => data.names[i]);
    return names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + and + names.at(-1);
  };
  table.address = (i) =>
    data.addresses ? data.addresses[i] : "L" + table.layer[i] + "N" + table.neuron[i];

  // What a selection holds: exactly these of the chosen sets, or all of these and perhaps others.
  table.holds = (selection, among, i) => {
    const held = table.held[i] & among;
    return selection.exact ? held === selection.bits : (held & selection.bits) === selection.bits;
  };
  return table;
};

hlens.ox.number = (value) => value >= 100 ? Math.round(value).toLocaleString("en")
  : value === 0 ? "0" : value < 0.001 ? "<.001" : String(+value.toPrecision(2));
hlens.ox.fold = function (value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞×";
  if (value < 1000) return hlens.ox.number(value) + "×";
  const power = Math.floor(Math.log10(value));
  return `>10${[...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}×`;
};
hlens.ox.p = (p) => p < 0.001 ? "p\u00a0<\u00a0.001" : p > 0.9995 ? "p\u00a0=\u00a01" : "p\u00a0=\u00a0" + p.toFixed(3).slice(1);
hlens.ox.stars = (p) => p < 0.001 ? "***" : p < 0.01 ? "**" : p <= 0.05 ? "*" : "n.s.";
hlens.ox.neurons = (n) => n.toLocaleString("en") + (n === 1 ? " neuron" : " neurons");
hlens.ox.beside = (row, p = row.p) => `${hlens.ox.number(row.expected)} expected by chance, `
  + `${hlens.ox.fold(row.fold).replace("×", "")}-fold, corrected ${hlens.ox.p(p)}`;

// One of several buttons is reached by Tab, the others by arrows: `move` gives the next index.
hlens.ox.rove = function (at, move) {
  const all = () => [...at.querySelectorAll("[data-rove]")];
  const hold = (element) => all().forEach((one) => { one.tabIndex = one === element ? 0 : -1; });
  at.addEventListener("focusin", (event) => {
    const own = event.target.closest("[data-rove]");
    if (own) hold(own);
  });
  at.addEventListener("keydown", (event) => {
    const list = all(), now = list.indexOf(event.target.closest("[data-rove]"));
    if (now < 0) return;
    const next = move(event.key, now, list);
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    list[Math.max(0, Math.min(list.length - 1, next))].focus();
  });
  return () => { // what was made again keeps one stop
    const list = all();
    if (list.length && !list.some((one) => one.tabIndex === 0)) list[0].tabIndex = 0;
  };
};
