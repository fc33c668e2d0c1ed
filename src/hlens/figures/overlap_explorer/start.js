document.querySelectorAll(".ox").forEach((root) =>
  hlens.overlap(root).catch((error) => hlens.failed(error, [root])));
