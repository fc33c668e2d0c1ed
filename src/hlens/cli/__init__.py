"""The command line: one thin verb a step. Importing it loads no model library."""

from hlens.cli import model_verbs  # its verbs join the others
from hlens.cli.app import app, main

__all__ = ["app", "main", "model_verbs"]
