// The frame above is the explorer; this view is unseen and carries messages between it and Python.
export default {
  render({ model, el }) {
    el.style.display = "none";
    const frame = () => document.getElementById(model.get("frame"));
    const post = (message) => frame()?.contentWindow?.postMessage(message, "*");
    const choose = () => post({ hlens: "choose", key: model.get("chosen") });
    const learn = () => {
      const { key, told } = model.get("learned");
      if (key) post({ hlens: "learn", key, told });
    };
    const hear = (event) => {
      if (!event.data || event.source !== frame()?.contentWindow) return;
      if (event.data.hlens === "ready") { choose(); learn(); }
      if (event.data.hlens === "chosen") {
        model.set("chosen", event.data.key);
        model.save_changes();
      }
    };
    addEventListener("message", hear);
    model.on("change:chosen", choose);
    model.on("change:learned", learn);
    choose(); // where the frame was ready before this view
    learn();
    return () => {
      removeEventListener("message", hear);
      model.off("change:chosen", choose);
      model.off("change:learned", learn);
    };
  },
};
