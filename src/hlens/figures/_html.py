"""Pieces of a page that are no plotly figures, and the words of a model made safe to show."""

import html
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hlens.errors import HlensError
from hlens.store import write_text

_JOINERS = {"\u200c", "\u200d"}  # what Persian, Hindi and emoji need; they draw nothing harmful
_SPECIAL = re.compile(r"^\s*(<[^<>]+>|\[[A-Z_]+\])\s*$")


@dataclass(frozen=True)
class Html:
    """A piece of a page: shown as it is by Jupyter, by a report and by ``str``.

    Attributes:
        markup: The markup; whoever makes one has escaped what came from outside.
        alt: What it shows, in words.
    """

    markup: str
    alt: str = ""

    def __str__(self) -> str:
        return self.markup

    def _repr_html_(self) -> str:
        return self.markup

    def save(self, path: str | Path) -> Path:
        """Write it as a page of its own; the file appears whole or not at all.

        Raises:
            HlensError: The name does not end in .html.
        """
        path = Path(path)
        if path.suffix.lower() != ".html":
            raise HlensError(f"cannot save this figure as {path.name!r}; expected .html")
        write_text(
            path,
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta name="color-scheme" content="light dark"><title>{escape(self.alt)}</title>'
            f"</head><body>{self.markup}</body></html>",
        )
        return path


def escape(text: object) -> str:
    """Text as HTML shows it literally, in content and in quoted attributes.

    >>> escape('</script><b title="x">')
    '&lt;/script&gt;&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def visible(text: str) -> str:
    r"""Text in which nothing hides: line ends, tabs and control characters become signs.

    Characters that turn the direction of writing are shown by number too, since they could make
    a page read otherwise than it is. Letters of right-to-left scripts stay as they are.

    >>> visible("a\nb\u202e")
    'a↵\nb\\u202e'
    """
    return "".join(map(_sign, text))


def _sign(character: str) -> str:
    if character == "\n":
        return "↵\n"
    if character == "\t":
        return "⇥\t"
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"}
    if not hidden or character in _JOINERS:
        return character
    return f"\\u{ord(character):04x}"


def is_special(token: str) -> bool:
    """Whether a token is a mark of the tokenizer rather than text.

    >>> is_special("<|im_end|>"), is_special("</s>"), is_special("[SEP]"), is_special(" a < b")
    (True, True, True, False)
    """
    return bool(_SPECIAL.match(token))
