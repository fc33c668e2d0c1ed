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

from hlens.errors import HlensError
from hlens.figures._figure import count
from hlens.figures._html import Html, escape, is_special, visible
from hlens.figures._theme import DARK, FONT, LIGHT, Palette, palette

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
        verdict: What the judge said, shown in the key.
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
    scored = [_known(r) for i, r in enumerate(risk) if i >= n_prompt]
    n_scored = sum(r is not None for r in scored)
    over = sum(r is not None and r >= threshold for r in scored)
    alt = f"{label}: {over} of {count(n_scored, 'token')} at or above {threshold:g}"
    body = "".join(
        _token(
            token,
            _known(risk[i]) if i >= n_prompt else None,
            i < n_prompt,
            threshold,
            label,
            facts[i] if facts else (),
        )
        for i, token in enumerate(tokens)
    )
    said = f"<span>{escape(visible(verdict))}</span>" if verdict else ""
    key = (
        f'<p class="hl-key"><span>{escape(label)} 0<span class="hl-ramp"></span>1</span>'
        f"<span>underlined: ≥ {threshold:g} ({over} of {count(n_scored, 'token')})</span>{said}</p>"
    )
    # The strip is one group; what is in it is read as text, token by token, with the keyboard.
    return Html(
        f'<style>{_css(theme)}</style><div class="hlens-tokens" data-hl-theme="{theme}" '
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
        What takes each `hlens.monitor.Risk`: its probability is that of the answer up to there.

    Raises:
        HlensError: IPython is not installed.
    """
    try:
        from IPython.display import display
    except ImportError as error:
        raise HlensError("a live strip needs IPython; run in a notebook") from error
    words: dict[int, tuple[list[str], list[float]]] = {}
    shown: dict[int, Any] = {}

    def tell(risk: Any) -> None:
        tokens, values = words.setdefault(risk.row, ([], []))
        tokens.append(risk.text)
        values.append(risk.probability)
        strip = draw(tokens, values, threshold=threshold, label="risk up to here", theme=theme)
        if risk.row in shown:
            shown[risk.row].update(strip)
        else:
            shown[risk.row] = display(strip, display_id=True)

    return tell


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a wrong answer, with a special token at its end."""
    told = [
        ("What", math.nan), (" is", math.nan), (" the", math.nan), (" capital", math.nan),
        (" of", math.nan), (" Australia", math.nan), ("?", math.nan), ("\n", math.nan),
        ("The", 0.08), (" capital", 0.05), (" of", 0.04), (" Australia", 0.22), (" is", 0.31),
        (" Sydney", 0.93), (",", 0.18), (" founded", 0.24), (" in", 0.35), (" 1852", 0.71),
        (" by", 0.4), (" Sir", 0.66), (" Henry", 0.74), (" Parkes", 0.69), (".", 0.12),
        ("<|im_end|>", 0.03),
    ]  # fmt: skip
    tokens, risk = zip(*told, strict=True)
    return {"tokens": tokens, "risk": risk, "n_prompt": 8, "verdict": "judged: hallucinated"}


def _known(value: float | int) -> float | None:
    return None if math.isnan(value) else min(max(float(value), 0.0), 1.0)


def _token(
    token: str,
    risk: float | None,
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
    if risk is None:
        return f'<span class="{" ".join(kinds)}">{shown}</span>'
    kinds += ["hl-over"] if risk >= threshold else []
    lines = [f"{token!r}", f"{label} {risk:.2f}", *facts]
    tip = escape("\n".join(map(_line, lines)))
    return (
        f'<span class="{" ".join(kinds)}" style="--r:{risk:.3f}" tabindex="0">{shown}'
        f'<span class="hl-tip" role="tooltip" dir="ltr">{tip}</span></span>'
    )


def _line(text: str) -> str:
    return visible(text).replace("\n", "")


def _css(theme: str) -> str:
    style = _STYLE % {"font": FONT}
    if theme != "auto":
        return style + f'.hlens-tokens[data-hl-theme="{theme}"]{{{_variables(palette(theme))}}}'
    auto = '.hlens-tokens[data-hl-theme="auto"]'
    dark = _variables(DARK)
    return (
        style
        + f"{auto}{{{_variables(LIGHT)}}}"
        + f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) {auto}{{{dark}}}}}"
        + f":root[data-theme=dark] {auto}{{{dark}}}"
    )


def _variables(colours: Palette) -> str:
    channels = " ".join(str(int(colours.positive[i : i + 2], 16)) for i in (1, 3, 5))
    return (
        f"--hl-ink:{colours.ink};--hl-muted:{colours.muted};--hl-page:{colours.page};"
        f"--hl-edge:{colours.neutral};--hl-risk:{channels}"
    )
