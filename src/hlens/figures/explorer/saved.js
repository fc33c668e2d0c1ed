// The page of a saved explorer has loaded when its frame is drawn, and is printed whole.
(() => {
  const letGo = hlens.holdLoad();
  addEventListener("message", (event) => {
    if (event.data && ["ready", "failed"].includes(event.data.hlens)) letGo();
  });
})();
