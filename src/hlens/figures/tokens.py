"""One text, token by token: HTML and CSS alone, so that it works in every page and notebook.

Question: where in this answer does the score rise?
To read it: the darker, the riskier; tokens from the threshold on are bold and underlined. The
prompt is grey and never scored. Hover, or move with the Tab key, for the numbers.
It misleads when a threshold chosen on whole answers is read as a verdict on single words.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hlens.drawing.figure import count
from hlens.drawing.html import Html, escape, is_special, visible
from hlens.drawing.theme import FONT, Palette, css_variables
from hlens.errors import HlensError

_STYLE = """
.hlens-tokens{font:15px/1.95 %(font)s;color:var(--hl-ink);background:var(--hl-page);
border:1px solid var(--hl-edge);border-radius:10px;padding:12px 16px;max-width:900px;
unicode-bidi:isolate}
.hlens-tokens p{margin:0;overflow-wrap:anywhere;white-space:pre-wrap}
.hlens-tokens .hl-key{font-size:12.5px;line-height:1.6;color:var(--hl-muted);margin-bottom:6px;
display:flex;flex-wrap:wrap;gap:4px 18px;white-space:normal}
.hlens-tokens .hl-ramp{display:inline-block;width:104px;height:9px;border-radius:5px;margin:0 5px;
vertical-align:-1px;border:1px solid var(--hl-edge);
background:linear-gradient(90deg,var(--hl-page),rgb(var(--hl-risk)/.72))}
.hlens-tokens .hl-t{position:relative;border-radius:4px;padding:2px 0;outline-offset:1px;
background:rgb(var(--hl-risk)/calc(var(--r,0)*.72))}
.hlens-tokens .hl-prompt{color:var(--hl-muted)}
.hlens-tokens .hl-over{font-weight:650;text-decoration:underline;text-decoration-thickness:2px;
text-underline-offset:3px}
.hlens-tokens .hl-special{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
color:var(--hl-muted)}
.hlens-tokens .hl-sign{color:var(--hl-muted);font-weight:400}
.hlens-tokens .hl-t:hover,.hlens-tokens .hl-t:focus{outline:2px solid var(--hl-ink);z-index:3}
.hlens-tokens .hl-tip{position:absolute;left:0;top:100%%;margin-top:6px;z-index:9;display:none;
width:max-content;max-width:min(340px,78vw);white-space:pre-wrap;font:13px/1.6 %(font)s;
color:var(--hl-ink);background:var(--hl-page);border:1px solid var(--hl-edge);border-radius:8px;
padding:8px 12px;box-shadow:0 6px 24px rgb(0 0 0/.22);text-decoration:none;pointer-events:none}
@supports (position-area:block-end span-inline-end){
.hlens-tokens .hl-t{anchor-scope:--hl}
.hlens-tokens .hl-t:hover,.hlens-tokens .hl-t:focus{anchor-name:--hl}
.hlens-tokens .hl-tip{position:fixed;position-anchor:--hl;inset:auto;margin:6px 0;
position-area:block-end span-inline-end;position-try-fallbacks:flip-inline,flip-block,
flip-block flip-inline}}
.hlens-tokens .hl-t:hover>.hl-tip,.hlens-tokens .hl-t:focus>.hl-tip{display:block}
"""


def draw(
    tokens: Sequence[str],
    risk: Sequence[float | int] | Float[np.ndarray, " token"],
    *,
    n_prompt: int = 0,
    threshold: float = 0.5,
    label: str = "hallucination risk",
    facts: Sequence[Sequence[str]] | None = None,
    verdict: str = "",
    theme: str = "auto",
) -> Html:
    """Draw a token strip.

    Args:
        tokens: Decoded tokens, in order; special tokens as the tokenizer writes them.
        risk: Score of each token, 0 to 1; NaN where none was measured (the prompt).
        n_prompt: How many tokens are prompt; they are muted and never scored.
        threshold: Tokens from here on are underlined and bold.
        label: What the score is.
        facts: Further lines of each token's tooltip.
        verdict: The verdict of the judge, shown in the key.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page
            says with ``data-theme`` on its root.

    Raises:
        HlensError: Tokens, scores and facts are not of one length.
    """
    if len(tokens) != len(risk) or (facts is not None and len(facts) != len(tokens)):
        raise HlensError(
            f"{len(tokens)} tokens came with {len(risk)} scores and "
            f"{'no' if facts is None else len(facts)} facts; give one of each for every token"
        )
    scores = [None if i < n_prompt else _score(value) for i, value in enumerate(risk)]
    n_scored = sum(score is not None for score in scores)
    over = sum(score is not None and score >= threshold for score in scores)
    alt = f"{label}: {over} of {count(n_scored, 'token')} at or above {threshold:g}"
    body = "".join(
        _token(
            token,
            scores[i],
            prompt=i < n_prompt,
            threshold=threshold,
            label=label,
            facts=facts[i] if facts else (),
        )
        for i, token in enumerate(tokens)
    )
    judged = f"<span>{escape(visible(verdict))}</span>" if verdict else ""
    key = (
        f'<p class="hl-key"><span>{escape(label)} 0<span class="hl-ramp"></span>1</span>'
        f"<span>underlined: ≥ {threshold:g} ({over} of {count(n_scored, 'token')})</span>"
        f"{judged}</p>"
    )
    style = _STYLE % {"font": FONT} + css_variables(".hlens-tokens", theme, _variables)
    # One group, whose tokens screen readers read as text and the Tab key visits one by one.
    return Html(
        f'<style>{style}</style><div class="hlens-tokens" data-hl-theme="{theme}" '
        f'role="group" aria-label="{escape(alt)}">{key}<p dir="auto">{body}</p></div>',
        alt,
    )


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
    scored = [
        ("What", math.nan), (" is", math.nan), (" the", math.nan), (" capital", math.nan),
        (" of", math.nan), (" Australia", math.nan), ("?", math.nan), ("\n", math.nan),
        ("The", 0.08), (" capital", 0.05), (" of", 0.04), (" Australia", 0.22), (" is", 0.31),
        (" Sydney", 0.93), (",", 0.18), (" founded", 0.24), (" in", 0.35), (" 1852", 0.71),
        (" by", 0.4), (" Sir", 0.66), (" Henry", 0.74), (" Parkes", 0.69), (".", 0.12),
        ("<|im_end|>", 0.03),
    ]  # fmt: skip
    tokens, risk = zip(*scored, strict=True)
    return {"tokens": tokens, "risk": risk, "n_prompt": 8, "verdict": "judged: hallucinated"}


def _score(value: float | int) -> float | None:
    return None if math.isnan(value) else min(max(float(value), 0.0), 1.0)


def _token(
    token: str,
    score: float | None,
    *,
    prompt: bool,
    threshold: float,
    label: str,
    facts: Sequence[str],
) -> str:
    shown = escape(visible(token))
    for sign in ("↵", "⇥"):
        shown = shown.replace(sign, f'<span class="hl-sign">{sign}</span>')
    kinds = ["hl-t"]
    kinds += ["hl-prompt"] if prompt else []
    kinds += ["hl-special"] if is_special(token) else []
    if score is None:
        return f'<span class="{" ".join(kinds)}">{shown}</span>'
    kinds += ["hl-over"] if score >= threshold else []
    lines = [f"{token!r}", f"{label} {score:.2f}", *facts]
    tip = escape("\n".join(visible(line).replace("\n", "") for line in lines))
    return (
        f'<span class="{" ".join(kinds)}" style="--r:{score:.3f}" tabindex="0">{shown}'
        f'<span class="hl-tip" role="tooltip" dir="ltr">{tip}</span></span>'
    )


def _variables(colours: Palette) -> str:
    channels = " ".join(str(int(colours.positive[i : i + 2], 16)) for i in (1, 3, 5))
    return (
        f"--hl-ink:{colours.ink};--hl-muted:{colours.muted};--hl-page:{colours.page};"
        f"--hl-edge:{colours.neutral};--hl-risk:{channels}"
    )
