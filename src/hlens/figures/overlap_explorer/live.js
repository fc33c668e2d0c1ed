// The frame above is the explorer; this view is unseen and carries messages between it and Python.
export default {
  render({ model, el }) {
    el.style.display = "none";
    const frame = () => document.getElementById(model.get("frame"));
    const choose = () => {
      const chosen = model.get("chosen");
      if (chosen.bits) frame()?.contentWindow?.postMessage({ hlens: "choose", chosen }, "*");
    };
    const hear = (event) => {
      if (!event.data || event.source !== frame()?.contentWindow) return;
      const { hlens: kind } = event.data, isChosen = Boolean(model.get("chosen").bits);
      if (kind === "ready" && isChosen) choose(); // in Python, before the page was shown
      if (kind === "chosen" || (kind === "ready" && !isChosen)) {
        model.set("chosen", event.data.chosen);
        model.save_changes();
      }
    };
    addEventListener("message", hear);
    model.on("change:chosen", choose);
    choose(); // where the frame was ready before this view
    return () => {
      removeEventListener("message", hear);
      model.off("change:chosen", choose);
    };
  },
};
