// A notebook's widget listens and answers; any other page hears a choice and does nothing.
(async () => {
  const root = document.querySelector(".ox");
  const say = (kind, { among, selection }) =>
    parent.postMessage({ hlens: kind, chosen: { among, ...selection } }, "*");
  const tell = (state) => say("chosen", state);
  const explorer = await hlens.overlap(root, tell);
  addEventListener("message", (event) => {
    if (event.source !== parent || event.data?.hlens !== "choose") return;
    const { among, bits, exact } = event.data.chosen;
    const { state } = explorer, { selection } = state;
    if (state.among === among && selection.bits === bits && selection.exact === exact) return;
    explorer.change({ among, selection: { bits, exact } });
  });
  hlens.root.dataset.ready = hlens.theme();
  say("ready", explorer.state);
})().catch((error) => hlens.failed(error, document.querySelectorAll(".ox")));
