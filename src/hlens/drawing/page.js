const hlens = {
  root: document.documentElement,
  system: matchMedia("(prefers-color-scheme: dark)"),
  theme() {
    return this.root.dataset.theme || (this.system.matches ? "dark" : "light");
  },
  bytes(id) {
    const text = document.getElementById(id).textContent.trim();
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
    return bytes;
  },
  async unpack(id) {
    const stream = new Blob([this.bytes(id)]).stream();
    return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
  },
  async load() {
    if (!("DecompressionStream" in window)) throw new Error("it needs a browser of 2023 or later");
    const [script, data] = await Promise.all([this.unpack("plotly-js"), this.unpack("figures-json")]);
    const element = document.createElement("script");
    element.textContent = script;
    document.head.append(element);
    return JSON.parse(data);
  },
  async draw(at, figure, config) {
    const theme = this.theme(), drawn = figure[theme] || figure.light;
    if (!at.dataset.drawn) at.textContent = "";
    at.dataset.drawn = theme;
    // plotly writes into the layout that it is given, and this one is drawn again.
    await Plotly.react(at, drawn.data, structuredClone(drawn.layout), config);
    at.classList.remove("wait");
    if (at.hlensRedraw) await at.hlensRedraw();
  },
  // A document that is still written to holds the load event: who prints as soon as a page has
  // loaded (chromium --print-to-pdf) then finds everything drawn. Returns what lets go of it.
  holdLoad() {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    frame.contentDocument.open();
    return () => { if (frame.isConnected) { frame.contentDocument.close(); frame.remove(); } };
  },
  // On paper every figure is drawn, light and at the width of the paper; at once, as printing does
  // not wait. `drawAll` is called then, and when the page is shown again.
  onPaper(drawAll) {
    let shown;
    addEventListener("beforeprint", () => {
      shown = this.root.dataset.theme;
      this.root.dataset.theme = "light";
      this.root.classList.add("paper");
      drawAll();
    });
    addEventListener("afterprint", () => {
      this.root.classList.remove("paper");
      if (shown) this.root.dataset.theme = shown;
      else delete this.root.dataset.theme;
      drawAll();
    });
  },
  failed(error, plots = document.querySelectorAll(".plot.wait")) {
    plots.forEach((at) => {
      at.classList.remove("wait");
      at.textContent = "This figure could not be drawn: " + error.message;
    });
  },
};
