"""Labelled answers of your own: responses that are there already, with labels, as examples."""
