"""One study as one self-contained HTML file."""

from hlens.report.data import Card, Explored, Picture, ReportData, Section
from hlens.report.page import page, report
from hlens.steps.neuron_pages import neuron_pages

__all__ = [
    "Card",
    "Explored",
    "Picture",
    "ReportData",
    "Section",
    "neuron_pages",
    "page",
    "report",
]
