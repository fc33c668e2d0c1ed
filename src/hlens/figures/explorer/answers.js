// What every explorer shows of one neuron: its words and its answers.
hlens.make = function (kind, name, text) {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};

hlens.strip = function (one) {
  const figure = hlens.make("div", "hx-strip");
  figure.append(hlens.make("p", "hx-cap", one.caption));
  const line = hlens.make("p", "hx-line");
  line.dir = "auto";
  one.tokens.forEach((token, i) => {
    const value = one.values[i];
    const piece = hlens.make("span", one.special[i] ? "hx-t hx-special" : "hx-t", token);
    if (value !== null) {
      piece.style.setProperty("--r", value);
      piece.title = one.told[i];
    } else piece.classList.add("hx-mute");
    line.append(piece);
  });
  figure.append(line);
  return figure;
};

hlens.words = function (title, list, kind) {
  if (!list.length) return [];
  const row = hlens.make("ul", "hx-words " + kind);
  row.setAttribute("aria-label", title);
  list.forEach(([word, value]) => {
    const item = hlens.make("li", "", word);
    item.title = value;
    row.append(item);
  });
  return [hlens.make("h4", "", title), row];
};
