(async () => {
  const plot = document.querySelector(".plot");
  const packed = await hlens.load();
  const neurons = JSON.parse(await hlens.unpack("neurons-json"));
  const draw = async () => {
    await hlens.draw(plot, packed.map, packed.config);
    if (hlens.root.dataset.ready) hlens.root.dataset.ready = hlens.theme();
  };
  await draw();
  // A notebook's widget listens and answers; any other page hears an address and does nothing.
  const tell = (key) => parent.postMessage({ hlens: "chosen", key }, "*");
  const explorer = hlens.explore(plot, document.querySelector(".hx-panel"), neurons, tell);
  addEventListener("message", (event) => {
    if (event.source !== parent || !event.data) return;
    const { hlens: kind, key, told } = event.data;
    if (kind === "choose") explorer.choose(key);
    if (kind === "learn" && key in neurons) explorer.learn(key, told);
  });
  hlens.system.addEventListener("change", draw);
  hlens.onPaper(async () => {
    await draw();
    await Plotly.relayout(plot, { autosize: true }); // drawn again it keeps the size that it had
  });
  await explorer.shown;
  hlens.root.dataset.ready = hlens.theme();
  parent.postMessage({ hlens: "ready" }, "*");
})().catch((error) => {
  hlens.failed(error);
  parent.postMessage({ hlens: "failed" }, "*");
});
