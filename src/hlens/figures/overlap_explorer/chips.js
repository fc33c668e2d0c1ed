// Which sets are compared: a button each, pressed or not; two stay.
hlens.ox.chips = function (at, table, state, change) {
  const { make } = hlens;
  at.append(make("span", "ox-label", "Compare"));
  const buttons = table.names.map((name, i) => {
    const button = make("button", "ox-chip");
    button.type = "button";
    button.append(make("span", "ox-name", name), make("span", "ox-n", table.sizes[i].toLocaleString("en")));
    button.setAttribute("aria-label", `${name}, ${hlens.ox.neurons(table.sizes[i])}`);
    button.addEventListener("click", () => {
      const among = state.among ^ (1 << i);
      if (table.bits(among).length >= 2) change({ among });
    });
    at.append(button);
    return button;
  });
  return () => {
    const few = table.bits(state.among).length <= 2;
    buttons.forEach((button, i) => {
      const on = (state.among >> i) & 1;
      button.setAttribute("aria-pressed", String(Boolean(on)));
      button.setAttribute("aria-disabled", String(Boolean(on && few)));
      button.title = on && few ? "A comparison takes two sets" : "";
    });
  };
};
