"""``python -m hlens``: the command line."""

from hlens.cli.app import main

main()
