"""What Prometheus reads, and the log: a line of JSON a request, without its text by default."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hlens.errors import first_line
from hlens.server.desk import Desk
from hlens.server.offer import Offer
from hlens.server.replies import Choice, number

log = logging.getLogger("hlens.server")
RISKS = [i / 10 for i in range(1, 11)]
SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]


class Counters:
    """Of one server; a registry of its own, so that two servers of one process do not mix."""

    def __init__(self, desk: Desk) -> None:
        self.registry = own = CollectorRegistry()
        labels = ["path", "status"]
        self.requests = Counter("hlens_requests", "Requests by outcome.", labels, registry=own)
        self.seconds = Histogram(
            "hlens_request_seconds",
            "Time to the last byte.",
            ["path"],
            buckets=SECONDS,
            registry=own,
        )
        self.tokens = Counter("hlens_tokens", "Tokens by kind.", ["kind"], registry=own)
        self.answers = Counter(
            "hlens_answers", "Answers by detector and fate.", ["detector", "status"], registry=own
        )
        self.risk = Histogram(
            "hlens_risk", "Risk of whole answers.", ["detector"], buckets=RISKS, registry=own
        )
        held = Gauge("hlens_held", "Answers and readings that are held.", registry=own)
        held.set_function(lambda: len(desk.held))

    def ended(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def count(self, choices: list[Choice], n_prompt: int) -> None:
        """Count the answers to a request."""
        self.tokens.labels("prompt").inc(n_prompt)
        for choice in choices:
            if (fate := choice.fate) is None:
                continue
            detector = choice.asked.detector or choice.asked.gate or ""
            self.tokens.labels("completion").inc(fate.n_tokens)
            self.answers.labels(detector, fate.status).inc()
            if number(fate.risk) is not None:
                self.risk.labels(detector).observe(fate.risk)


class _Lines(logging.Formatter):
    """A line of JSON a record, of whichever library."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == log.name:
            return record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        said = first_line(error) if isinstance(error, Exception) else ""
        facts = {"level": record.levelname, "from": record.name, "message": record.getMessage()}
        return line_of("said", facts | ({"error": said} if said else {}))


def log_to_stderr() -> None:
    """Write all that is logged as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in (log.name, "hlens", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    log.setLevel(logging.INFO)


def line_of(what: str, facts: Mapping[str, Any]) -> str:
    """A line of the log; its JSON holds no raw control characters, whatever a client sent."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"time": stamp, "event": what, **facts}, default=str)


def write_log(what: str, **facts: Any) -> None:
    """Write a line."""
    log.info("%s", line_of(what, facts))


def facts_of(offer: Offer, choices: list[Choice], texts: Any) -> dict[str, Any]:
    """What is logged of answers: numbers, and texts only where the operator wants them."""
    facts: dict[str, Any] = {
        "answers": [
            {
                "dose": choice.asked.dose,
                "detector": choice.asked.detector,
                "policy": choice.asked.policy,
                "status": fate.status,
                "risk": number(fate.risk),
                "prompt_risk": number(fate.prompt_risk),
                "tokens": fate.n_tokens,
                "finish": fate.reason,
            }
            for choice in choices
            if (fate := choice.fate) is not None
        ]
    }
    if offer.log_text:
        facts |= {"asked": texts, "said": [choice.content for choice in choices]}
    return facts
