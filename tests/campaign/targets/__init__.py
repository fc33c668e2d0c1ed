"""One thing that hlens reads a file: the folder is the registry."""
