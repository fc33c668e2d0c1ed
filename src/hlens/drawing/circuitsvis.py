"""CircuitsVis made safe: offline, in a sandboxed frame, with tokens shown as text.

Its own display loads a script from a CDN, so its offline markup is used instead. That leaves an
element open, which would swallow the rest of the page: hence the frame, which may load nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

from hlens.drawing.html import Html, escape, policy, scripts_of, visible
from hlens.drawing.theme import FONT, palette


def safe_tokens(tokens: Sequence[str]) -> list[str]:
    """Tokens escaped for CircuitsVis, which interprets markup and drops special tokens.

    >>> safe_tokens(["<bos>", "</script>"])
    ['&lt;bos&gt;', '&lt;/script&gt;']
    """
    return [escape(visible(token).replace("\n", "")) for token in tokens]


def framed(rendered: Any, title: str, *, height: int, theme: str) -> Html:
    """What a function of CircuitsVis returned for `safe_tokens`, in a sandboxed frame."""
    colours = palette(theme)
    # CircuitsVis draws its identifiers at random; equal data must give equal pages.
    markup = re.sub(r"circuits-vis-[0-9a-f-]+", "circuits-vis", rendered.local_src)
    rules = policy(*scripts_of(markup))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        f"<style>body{{margin:0;padding:4px 12px;background:{colours.page};color:{colours.ink};"
        f"font-family:{FONT};color-scheme:{theme}}}</style></head><body>{markup}</body></html>"
    )
    return Html(
        f'<iframe title="{escape(title)}" sandbox="allow-scripts" srcdoc="{escape(page)}" '
        f'style="width:100%;height:{height}px;border:0"></iframe>',
        title,
        rules,
    )
