hlens.overlap(document.querySelector(".ox")).then(() => {
  hlens.root.dataset.ready = hlens.theme();
}).catch((error) => hlens.failed(error, document.querySelectorAll(".ox")));
