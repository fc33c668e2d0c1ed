"""The command line: one thin verb a step. Importing it loads no model library."""

from hlens.cli import labelled_verbs, model_verbs  # their verbs join the others
from hlens.cli.app import app, main

__all__ = ["app", "labelled_verbs", "main", "model_verbs"]
