// Every pair: below the diagonal how many neurons both have, above it how many times chance.
hlens.ox.matrix = function (at, table, state, change) {
  const { make, ox } = hlens;
  const grid = at.appendChild(make("div", "ox-matrix"));
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", "Pairs of sets: arrow keys go from cell to cell");
  let names = [], cells = [];
  const steady = ox.rove(grid, (key, now, list) => {
    const width = names.length;
    return { ArrowRight: now + 1, ArrowLeft: now - 1, ArrowDown: now + width < list.length ? now + width : now,
      ArrowUp: now >= width ? now - width : now, Home: now - (now % width), End: now - (now % width) + width - 1 }[key];
  });

  function cell(row, column) {
    const bits = (1 << row) | (1 << column), button = make("button", "ox-cell");
    button.type = "button";
    button.dataset.rove = "";
    button.tabIndex = -1;
    const pair = table.group(bits, bits), name = table.joined(bits);
    if (row === column) {
      button.classList.add("own");
      button.append(make("b", "", table.sizes[row].toLocaleString("en")), make("small", "", "neurons"));
      button.setAttribute("aria-label", `${name}: ${ox.neurons(table.sizes[row])}`);
    } else {
      const told = `${name} share ${ox.neurons(pair.neurons)}: ${ox.beside(pair, pair.p_pairs)}`;
      const beyond = pair.p_pairs <= 0.05 && pair.fold > 1;
      const union = table.sizes[row] + table.sizes[column] - pair.neurons;
      const jaccard = union ? pair.neurons / union : 0;
      if (column < row) {
        button.append(make("b", "", pair.neurons.toLocaleString("en")),
          make("small", "", "J " + jaccard.toFixed(2).replace(/^0/, "")));
        button.style.setProperty("--share", Math.min(1, Math.sqrt(jaccard)).toFixed(3));
        button.classList.add("count");
      } else {
        button.append(make("b", "", ox.fold(pair.fold)), make("small", "", ox.stars(pair.p_pairs)));
        const depth = beyond ? Math.min(1, 0.25 + Math.log10(Math.max(pair.fold, 1)) / 4) : 0;
        button.style.setProperty("--share", depth.toFixed(3));
        button.classList.add("fold");
      }
      button.setAttribute("aria-label", told);
      button.title = told;
    }
    button.addEventListener("click", () => change({ selection: { bits, exact: false } }));
    cells.push({ button, bits });
    return button;
  }

  function build() {
    names = table.bits(state.among);
    cells = [];
    grid.style.setProperty("--n", names.length);
    const head = names.map((i) => make("span", "ox-top", table.names[i]));
    const body = names.flatMap((row) => [make("span", "ox-side", table.names[row]),
      ...names.map((column) => cell(row, column))]);
    [...head, ...body].filter((one) => one.tagName === "SPAN").forEach((one) => {
      one.title = one.textContent;
      one.setAttribute("aria-hidden", "true"); // each cell names its sets
    });
    grid.replaceChildren(make("span"), ...head, ...body);
    steady();
  }

  let built = 0;
  return () => {
    if (built !== state.among) { built = state.among; build(); }
    const { bits, exact } = state.selection;
    cells.forEach((one) => {
      one.button.setAttribute("aria-pressed", String(!exact && one.bits === bits));
      one.button.classList.toggle("part", exact && (one.bits & bits) === one.bits);
    });
  };
};
