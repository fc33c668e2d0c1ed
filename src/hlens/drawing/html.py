"""Markup as a figure, and text of a model made safe to show in it."""

import html
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hlens.errors import HlensError
from hlens.store import write_text

_JOINERS = {"\u200c", "\u200d"}  # Persian, Hindi and emoji need them, and they hide nothing
_SPECIAL = re.compile(r"^\s*(<[^<>]+>|\[[A-Z_]+\])\s*$")


@dataclass(frozen=True)
class Html:
    """Markup that Jupyter, a report and ``str`` show unchanged.

    Attributes:
        markup: The markup; its maker has escaped all text that came from outside.
        alt: Alternative text.
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
    """Text that HTML shows literally, in content and in quoted attributes.

    >>> escape('</script><b title="x">')
    '&lt;/script&gt;&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def visible(text: str) -> str:
    r"""Text without hidden characters: line ends, tabs and control characters become signs.

    Characters that switch the direction of writing are shown by number too, since they could make
    text read in another order than it was written. Right-to-left letters are kept.

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
    """Whether a token is a special token of the tokenizer rather than text.

    >>> is_special("<|im_end|>"), is_special("</s>"), is_special("[SEP]"), is_special(" a < b")
    (True, True, True, False)
    """
    return bool(_SPECIAL.match(token))
