"""One text, token by token: HTML and CSS alone, so that it works in every page and notebook.

Question: where in this answer does the score rise?
To read it: the darker, the riskier; tokens from the threshold on are bold and underlined. The
prompt is grey and never scored. Hover, or move with the Tab key, for the numbers. Where a reader
marked spans, the underlines are the reader's: a thick line is what was marked as hallucinated,
dots what was marked as right; a band above the text shows the whole answer at a glance.
It misleads when a threshold chosen on whole answers is read as a verdict on single words.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from hlens.counting import count
from hlens.drawing.html import Html, escape, is_special, visible
from hlens.drawing.page import asset, styled
from hlens.drawing.theme import Palette, channels
from hlens.errors import HlensError
from hlens.kinds import describe
from hlens.kinds import explains_kinds as explained
from hlens.model import Model
from hlens.types import Detector, Example, MarkedSpan

_BARS = 400  # of the band of a whole answer


def draw(
    tokens: Sequence[str] | Model,
    risk: Sequence[float | int] | Float[np.ndarray, " token"] | Detector,
    example: Example | None = None,
    *,
    n_prompt: int = 0,
    threshold: float = 0.5,
    label: str = "hallucination risk",
    facts: Sequence[Sequence[str]] | None = None,
    verdict: str = "",
    spans: Sequence[MarkedSpan] = (),
    theme: str = "auto",
) -> Html:
    """Draw a token strip: of tokens and their risks, or of ``(model, detector, example)``.

    Args:
        tokens: Decoded tokens, in order; special tokens as the tokenizer writes them. Or the model
            that reads `example`.
        risk: Score of each token, 0 to 1; NaN where none was measured (the prompt). Or a detector
            of that model.
        example: With a model and a detector, a labelled answer (see `strip`).
        n_prompt: How many tokens are prompt; they are muted and never scored.
        threshold: Tokens from here on are underlined and bold.
        label: What the score is.
        facts: Further lines of each token's tooltip.
        verdict: The verdict of the judge, shown in the key.
        spans: What a reader marked, counted from the first token behind the prompt. The Tab key
            then visits the first token of each.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page
            says with ``data-theme`` on its root.

    Raises:
        HlensError: Tokens, scores and facts are not of one length, a span is beyond the tokens, or
            a model came without a detector and an example.
    """
    if isinstance(tokens, Model) or isinstance(risk, Detector) or example is not None:
        if not (isinstance(tokens, Model) and isinstance(risk, Detector) and example):
            raise HlensError(
                f"tokens of {describe(tokens)}, {describe(risk)} and {describe(example)}; expected "
                "tokens and their risks, or a model, a detector of it and an example"
            )
        return strip(tokens, risk, example, theme=theme)
    if len(tokens) != len(risk) or (facts is not None and len(facts) != len(tokens)):
        raise HlensError(
            f"{count(len(tokens), 'token')} came with {count(len(risk), 'score')} and "
            f"{'no' if facts is None else len(facts)} facts; give one of each for every token"
        )
    scores = [
        None if i < n_prompt or math.isnan(value) else min(max(float(value), 0.0), 1.0)
        for i, value in enumerate(risk)
    ]
    marks = _marks(spans, n_prompt, len(tokens))
    n_scored = sum(score is not None for score in scores)
    over = sum(score is not None and score >= threshold for score in scores)
    alt = f"{label}: {over} of {count(n_scored, 'token')} at or above {threshold:g}"
    if spans:
        alt += f"; {count(sum(span.hallucinated for span in spans), 'span')} marked as hallucinated"
    body, risky = "", "hl-bold" if spans else "hl-over"
    for i, (token, score) in enumerate(zip(tokens, scores, strict=True)):
        kinds = "hl-t" + " hl-prompt" * (i < n_prompt) + " hl-special" * is_special(token)
        kinds += f" {risky}" * (score is not None and score >= threshold) + marks[i].kinds
        lines = [] if score is None else [f"{token!r}", f"{label} {score:.2f}"]
        lines += [*marks[i].lines, *(facts[i] if facts else ())]
        if marks[i].begins and token[:1] == " ":
            token, body = token[1:], f"{body} "  # no line below the space before a span
        body += _token(token, kinds, score, lines, is_stop=marks[i].begins or not spans)
    judged = f"<span>{escape(visible(verdict))}</span>" if verdict else ""
    how = "bold" if spans else "underlined"
    key = (
        f'<p class="hl-key"><span>{escape(label)} 0<span class="hl-ramp"></span>1</span>'
        f"<span>{how}: ≥ {threshold:g} ({over} of {count(n_scored, 'token')})</span>"
        f"{_key(spans)}{judged}</p>"
    )
    if spans:
        key += _overview(scores[n_prompt:], spans)
    # One group, whose tokens screen readers read as text and the Tab key visits one by one.
    kind = "hl-marked" if spans else "hl-text"
    markup = f'{key}<p dir="auto" class="{kind}">{body}</p>'
    style = asset("hlens.figures", "tokens.css")
    return styled("tokens", style, markup, alt=alt, theme=theme, variables=_variables)


@explained
def strip(
    model: Model, detector: Detector, example: Example, *, question: str = "", theme: str = "auto"
) -> Html:
    """Read an answer with a detector, and draw the risk of each of its tokens.

    ``hlens.figures.strip(model, detector, study.examples()[0])``

    Args:
        model: The model whose tokens they are.
        detector: A detector of the same model.
        example: A labelled answer, as `hlens.locate` and ``study.examples()`` give them.
        question: What the prompt is shown from; without it, all of the prompt is shown.
        theme: ``"light"``, ``"dark"`` or ``"auto"``.

    Raises:
        HlensError: The detector is of another model, or it has no neurons, so that no token has a
            risk of its own.
    """
    from hlens.monitor.token_strips import read_tokens  # slow to load, and seldom needed

    if not len(detector.selected):
        raise HlensError("the detector has no neurons: every token has one risk; find another")
    model.decode([])  # a model without a tokenizer says so
    read = read_tokens(model, detector, example, question)
    risk = [float("nan") if one is None else one for one in read.pop("risk")]
    return draw(risk=risk, theme=theme, **read)


def live(threshold: float = 0.5, theme: str = "auto") -> Callable[[Any], None]:
    """A strip that grows in a notebook while a model writes, one for each row.

    ``monitor(model, detector, prompts, on_token=hlens.figures.tokens.live())``

    Args:
        threshold: Tokens from here on are underlined and bold.
        theme: As of `draw`.

    Returns:
        A function of each `hlens.monitor.Risk`, whose probability is that of the answer so far.

    Raises:
        HlensError: IPython is not installed.
    """
    try:
        from IPython.display import display
    except ImportError as error:
        raise HlensError("a live strip needs IPython; run in a notebook") from error
    written: dict[int, tuple[list[str], list[float]]] = {}
    shown: dict[int, Any] = {}

    def show(risk: Any) -> None:
        tokens, values = written.setdefault(risk.row, ([], []))
        tokens.append(risk.text)
        values.append(risk.probability)
        strip = draw(tokens, values, threshold=threshold, label="risk up to here", theme=theme)
        if risk.row in shown:
            shown[risk.row].update(strip)
        else:
            shown[risk.row] = display(strip, display_id=True)

    return show


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a wrong answer, with a special token at its end."""
    prompt = ("What", " is", " the", " capital", " of", " Australia", "?", "\n")
    scored = [
        ("The", 0.08), (" capital", 0.05), (" of", 0.04), (" Australia", 0.22), (" is", 0.31),
        (" Sydney", 0.93), (",", 0.18), (" founded", 0.24), (" in", 0.35), (" 1852", 0.71),
        (" by", 0.4), (" Sir", 0.66), (" Henry", 0.74), (" Parkes", 0.69), (".", 0.12),
        ("<|im_end|>", 0.03),
    ]  # fmt: skip
    tokens, risk = zip(*[(token, math.nan) for token in prompt], *scored, strict=True)
    return {"tokens": tokens, "risk": risk, "n_prompt": 8, "verdict": "judged: hallucinated"}


@dataclass
class _Mark:
    """What a reader marked at one token."""

    kinds: str = ""  # classes of its element
    begins: bool = False  # whether a span begins here
    lines: list[str] = field(default_factory=list)  # of its tooltip


_LABELS = {True: ("hl-wrong", "hallucinated"), False: ("hl-right", "right")}


def _marks(spans: Sequence[MarkedSpan], n_prompt: int, n: int) -> list[_Mark]:
    """The mark of each token; what is marked as hallucinated goes before what is right."""
    marks = [_Mark() for _ in range(n)]
    for span in sorted(spans, key=lambda span: span.hallucinated):
        if not 0 <= span.start < span.stop <= n - n_prompt:
            raise HlensError(
                f"span [{span.start}, {span.stop}) of an answer of {n - n_prompt} tokens; count "
                "from the first token behind the prompt"
            )
        kind, word = _LABELS[span.hallucinated]
        own = marks[n_prompt + span.start : n_prompt + span.stop]
        for mark in own:
            mark.kinds, mark.lines = f" {kind}", [f"marked as {word}"]
        own[0].begins = True
    return marks


def _key(spans: Sequence[MarkedSpan]) -> str:
    """What the underlines mean, as far as there are any."""
    shown = [_LABELS[label] for label in sorted({span.hallucinated for span in spans})[::-1]]
    return "".join(
        f'<span><span class="hl-t {kind}">\u2003\u2002</span> marked as {word}</span>'
        for kind, word in shown
    )


def _overview(scores: Sequence[float | None], spans: Sequence[MarkedSpan]) -> str:
    """The whole answer as one band: the risk as bars, the reader's spans below them."""
    n = len(scores)
    values = np.array([0.0 if score is None else score for score in scores])
    bars, start = "", 0
    for part in np.array_split(values, min(n, _BARS)):
        height, width = 18 * part.mean(), len(part)
        bars += (
            f'<rect class="hl-bar" x="{start}" y="{18 - height:.1f}" width="{width}" '
            f'height="{height:.1f}" fill-opacity="{0.25 + 0.75 * part.mean():.2f}"/>'
        )
        start += width
    for span in spans:
        kind, top, height = ("hl-wrong", 20, 4) if span.hallucinated else ("hl-right", 20, 1.5)
        bars += (
            f'<rect class="{kind}" x="{span.start}" y="{top}" width="{len(span)}" '
            f'height="{height}"/>'
        )
    return (
        f'<svg class="hl-map" viewBox="0 0 {n} 25" preserveAspectRatio="none" aria-hidden="true">'
        f"{bars}</svg>"
    )


def _token(
    token: str, kinds: str, score: float | None, lines: Sequence[str], *, is_stop: bool
) -> str:
    shown = escape(visible(token))
    for sign in ("↵", "⇥"):
        shown = shown.replace(sign, f'<span class="hl-sign">{sign}</span>')
    if score is None:
        return f'<span class="{kinds}">{shown}</span>'
    stop = ' tabindex="0"' * is_stop
    tip = escape("\n".join(visible(line).replace("\n", "") for line in lines))
    return (
        f'<span class="{kinds}" style="--r:{score:.3f}"{stop}>{shown}'
        f'<span class="hl-tip" role="tooltip" dir="ltr">{tip}</span></span>'
    )


def _variables(colours: Palette) -> str:
    risk = " ".join(map(str, channels(colours.positive)))
    return (
        f"--hl-ink:{colours.ink};--hl-muted:{colours.muted};--hl-page:{colours.page};"
        f"--hl-edge:{colours.neutral};--hl-risk:{risk}"
    )
