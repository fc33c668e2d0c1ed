// One state, of which every part is a view: which sets, which selection, which neuron.
hlens.overlap = async function (root, tell = () => {}) {
  const { make, ox } = hlens;
  const table = ox.read(JSON.parse(await hlens.unpack("overlap-json")));
  const state = { among: table.everything, selection: first(), open: -1 };

  // What is farthest beyond chance in most sets; else the first column.
  function first(among = table.everything) {
    const size = (row) => table.bits(row.members).length;
    const found = table.groupsAmong(among).filter((row) => row.neurons)
      .sort((a, b) => size(b) - size(a) || b.neurons - a.neurons);
    const beyond = found.find((row) => size(row) > 1 && row.p <= 0.05);
    const row = beyond || found[0];
    return row ? { bits: row.members, exact: true } : { bits: among & -among, exact: false };
  }

  function change(what) {
    Object.assign(state, what);
    if (what.among) {
      // A selection of sets that are no longer compared makes way for the first one.
      const { bits, exact } = state.selection, row = table.group(state.among, bits);
      const there = (bits & state.among) === bits && (!exact || (row && row.neurons));
      if (!there) state.selection = first(state.among);
    }
    if (state.open >= 0 && !table.holds(state.selection, state.among, state.open)) state.open = -1;
    views.forEach((view) => view());
    tell(state, table);
  }

  root.textContent = "";
  root.classList.remove("wait");
  const part = (name, heading) => {
    const own = make("div", name);
    if (heading) own.append(make("h4", "ox-heading", heading));
    return own;
  };
  const chips = part("ox-chips"), matrix = part("ox-part ox-of-matrix", "Pairs");
  const upset = part("ox-part ox-of-upset", "In exactly these sets");
  const map = part("ox-part ox-of-map", "Where they are"), list = part("ox-part ox-of-list");
  chips.setAttribute("role", "group");
  chips.setAttribute("aria-label", "Sets to compare");
  matrix.append(make("p", "ox-note", "Below: shared, Jaccard · above: times chance, * p ≤ .05"));
  map.append(legend());
  const body = part("ox-body");
  body.append(map, list);
  root.append(chips, matrix, upset, body);

  function legend() {
    const line = make("p", "ox-note ox-legend");
    [["one", "in one set"], ["some", "in several"], ["all", "in most"], ["chosen", "selected"]].forEach(([kind, text]) => {
      const own = make("span", "", text);
      own.prepend(make("i", "ox-key " + kind));
      line.append(own);
    });
    return line;
  }

  const views = [
    ox.chips(chips, table, state, change), ox.matrix(matrix, table, state, change),
    ox.upset(upset, table, state, change), ox.map(map, table, state, change),
    ox.list(list, table, state, change),
  ];
  views.forEach((view) => view());
  const recolour = () => {
    views[3]();
    root.dataset.ready = hlens.theme();
  };
  hlens.system.addEventListener("change", recolour);
  new MutationObserver(recolour).observe(hlens.root, { attributeFilter: ["data-theme"] });
  recolour();
  return { state, table, change };
};
