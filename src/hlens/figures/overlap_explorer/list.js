// The neurons of the selection: what each promotes, its AUROC in each domain, its answers there.
hlens.ox.list = function (at, table, state, change) {
  const { make, ox } = hlens;
  const AT_ONCE = 60;
  const head = at.appendChild(make("div", "ox-head"));
  head.setAttribute("aria-live", "polite");
  if (table.alone) {
    const over = at.appendChild(make("div", "ox-over"));
    over.setAttribute("aria-hidden", "true"); // each neuron's button says it all
    over.append(make("span", "", "neuron"), make("span", "", "sets"),
      make("span", "", Object.keys(table.pages).length ? "promotes" : ""),
      make("span", "", "AUROC alone (┆ chance)"));
  }
  const list = at.appendChild(make("div", "ox-list"));
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "Neurons of the selection: arrow keys go from neuron to neuron");
  const steady = ox.rove(list, (key, now, all) =>
    ({ ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 })[key]);
  let members = [], upTo = AT_ONCE, key = "";

  function title() {
    const { bits, exact } = state.selection, sets = table.bits(bits), row = exact
      ? table.group(state.among, bits) : table.group(bits, bits);
    const others = table.bits(state.among).length > sets.length;
    const name = exact ? `In ${table.joined(bits)}${others ? " only" : ""}`
      : sets.length > 1 ? `In both ${table.joined(bits)}` : `In ${table.joined(bits)}`;
    const n = sets.length === 1 && !exact ? table.sizes[sets[0]] : row.neurons;
    head.replaceChildren(make("h4", "ox-title", name), make("p", "ox-big", ox.neurons(n)));
    const p = exact ? row.p : row.p_pairs;
    if (exact || sets.length > 1) {
      const beside = make("p", "ox-beside");
      const beyond = make("b", p <= 0.05 ? "beyond" : "", `${ox.fold(row.fold)} chance`);
      beside.append(`${ox.number(row.expected)} expected by chance · `, beyond,
        ` · corrected ${ox.p(p)}`);
      head.append(beside);
    } else head.append(make("p", "ox-beside", "A set's own size has no chance beside it."));
    if (table.left_out) head.append(make("p", "ox-beside",
      `${ox.neurons(table.left_out)} of fewest sets are counted, and not on the map or here.`));
  }

  const value = (name, i, set) => {
    const shares = table.alone[name][i * table.n + set];
    return shares === 65535 ? NaN : shares / 10000;
  };
  const place = (auroc) => Math.max(0, Math.min(1, (auroc - 0.3) / 0.6)) * 100;

  // AUROC alone in each chosen set, as dots on a line of which the middle is chance.
  function scale(i) {
    const line = make("span", "ox-scale");
    line.append(make("i", "ox-half"));
    table.bits(state.among).forEach((set) => {
      const auroc = value("auroc", i, set);
      if (Number.isNaN(auroc)) return;
      const dot = make("i", (table.held[i] >> set) & 1 ? "ox-spot in" : "ox-spot");
      dot.style.left = place(auroc).toFixed(1) + "%";
      line.append(dot);
    });
    return line;
  }

  function row(i) {
    const item = make("div", "ox-item"), button = make("button", "ox-neuron");
    button.type = "button";
    button.dataset.rove = "";
    button.tabIndex = -1;
    const page = table.pages[i], sets = table.held[i] & state.among;
    const dots = make("span", "ox-sets");
    table.bits(state.among).forEach((set) =>
      dots.append(make("i", (table.held[i] >> set) & 1 ? "in" : "")));
    const words = page ? page.promotes.slice(0, 3).map(([word]) => word.trim()).join(" · ") : "";
    button.append(make("b", "", table.address(i)), dots, make("span", "ox-words", words));
    if (table.alone) button.append(scale(i));
    const range = table.alone && table.bits(state.among).map((set) => value("auroc", i, set))
      .filter((auroc) => !Number.isNaN(auroc));
    const auroc = range && range.length
      ? `, AUROC alone ${Math.min(...range).toFixed(2)} to ${Math.max(...range).toFixed(2)}` : "";
    button.setAttribute("aria-label", `${table.address(i)}, in ${table.joined(sets)}${auroc}`
      + (words ? `, promotes ${words.replaceAll(" · ", ", ")}` : ""));
    button.setAttribute("aria-expanded", String(state.open === i));
    button.addEventListener("click", () => change({ open: state.open === i ? -1 : i }));
    item.append(button);
    if (state.open === i) item.append(detail(i));
    return item;
  }

  function detail(i) {
    const box = make("div", "ox-detail"), page = table.pages[i];
    const facts = make("div", "ox-facts");
    facts.setAttribute("role", "table");
    facts.setAttribute("aria-label", "In each set");
    const line = (kind, parts) => {
      const own = make("div", "ox-line " + kind);
      own.setAttribute("role", "row");
      parts.forEach(([text, name]) => {
        const cell = make("span", name || "", text);
        cell.setAttribute("role", kind === "top" ? "columnheader" : "cell");
        own.append(cell);
      });
      return own;
    };
    facts.append(line("top", [["set"], ["weight", "num"], ["AUROC alone (chance .5)", "num"], ["corrected p"]]));
    table.bits(state.among).forEach((set) => {
      const inside = (table.held[i] >> set) & 1;
      const weight = table.weights ? table.weights[i * table.n + set] : NaN;
      const mark = weight > 0 ? "● +" : weight < 0 ? "◆ −" : "";
      const held = Number.isNaN(weight) ? (inside ? "selected" : "–")
        : mark + Math.abs(weight).toPrecision(2);
      const sign = weight > 0 ? "num positive" : weight < 0 ? "num negative" : "num";
      let auroc = "–", p = "–";
      if (table.alone && !Number.isNaN(value("auroc", i, set))) {
        const [middle, low, high] = ["auroc", "low", "high"].map((name) => value(name, i, set).toFixed(2));
        auroc = `${middle} [${low}, ${high}]`;
        p = inside ? "selected here" : ox.p(value("p_corrected", i, set));
      }
      facts.append(line(inside ? "in" : "", [[table.names[set], "ox-name"], [held, sign], [auroc, "num"], [p]]));
    });
    box.append(facts);
    if (page) {
      box.append(...hlens.words("Promotes", page.promotes, "hx-up"),
        ...hlens.words("Suppresses", page.suppresses, "hx-down"));
      table.bits(state.among).forEach((set) => {
        const answers = page.answers[set];
        if (answers) box.append(make("h4", "", `Strongest in ${table.names[set]}`), ...answers.map(hlens.strip));
      });
    } else if (Object.keys(table.pages).length) {
      box.append(make("p", "ox-beside", "Words and answers are kept of the most shared neurons only."));
    }
    return box;
  }

  function show(count) {
    const order = members.slice(0, count);
    if (state.open >= 0 && !order.includes(state.open) && table.holds(state.selection, state.among, state.open)) {
      order.unshift(state.open);
    }
    const items = order.map(row);
    if (members.length > count) {
      const more = make("button", "ox-more", `Show more (${(members.length - count).toLocaleString("en")} left)`);
      more.type = "button";
      more.addEventListener("click", () => { upTo += AT_ONCE; show(upTo); });
      items.push(more);
    }
    const focused = list.contains(document.activeElement);
    list.replaceChildren(...items);
    steady();
    const opened = list.querySelector("[aria-expanded=true]");
    if (focused) (opened || list.querySelector("[data-rove]"))?.focus({ preventScroll: true });
    if (!opened) return;
    // The list alone scrolls: the page stays where the reader is.
    const top = opened.parentElement.offsetTop, end = top + opened.offsetHeight;
    if (top < list.scrollTop || end > list.scrollTop + list.clientHeight) list.scrollTop = top - 4;
  }

  return () => {
    const now = `${state.among} ${state.selection.bits} ${state.selection.exact}`;
    if (now !== key) {
      key = now;
      upTo = AT_ONCE;
      members = [];
      for (let i = 0; i < table.size; i += 1) {
        if (table.holds(state.selection, state.among, i)) members.push(i);
      }
      title();
      list.scrollTop = 0;
    }
    show(upTo);
  };
};
