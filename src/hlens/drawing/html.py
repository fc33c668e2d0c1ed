"""Markup as a figure, and text of a model made safe to show in it."""

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from pathlib import Path

from hlens.errors import HlensError
from hlens.store import check_replaceable, write_text
from hlens.visible import visible as visible

MARK = b"hlens"  # every page that hlens writes holds it in its head
_SPECIAL = re.compile(r"^\s*(<[^<>]+>|\[[A-Z_]+\])\s*$")


def policy(*scripts: str) -> str:
    """Content security policy: no request to any host, and no script but those given."""
    digests = [hashlib.sha256(text.encode()).digest() for text in scripts if text]
    allowed = " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
    return (
        f"default-src 'none'; script-src {allowed or repr('none')}; style-src 'unsafe-inline'; "
        "img-src data: blob:; form-action 'none'; base-uri 'none'"
    )


def scripts_of(page: str) -> list[str]:
    """The scripts that stand in a page, to be named in its policy."""
    return re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)


def head(rules: str) -> str:
    """What every page of hlens holds first in its head: its encoding, its policy, its maker."""
    return (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{rules}">'
        '<meta name="generator" content="hlens">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
    )


def check_page(path: str | Path) -> Path:
    """The path of a page; raise `HlensError` unless it ends in .html and may be written."""
    path = Path(path)
    check_replaceable(path)
    if path.suffix.lower() != ".html":
        raise HlensError(f"cannot save this as {path.name!r}; expected .html")
    check_replaceable(path, MARK)
    return path


@dataclass(frozen=True)
class Html:
    """Markup that Jupyter, a report and ``str`` show unchanged.

    Attributes:
        markup: The markup; its maker has escaped all text that came from outside.
        alt: Alternative text.
        rules: Its content security policy as a page of its own; without scripts when left out.
        script: What a report that holds it runs, once, behind its own scripts.
        page_script: What the page that `save` writes runs; its `rules` allow it.
    """

    markup: str
    alt: str = ""
    rules: str = policy()
    script: str = ""
    page_script: str = ""

    def __str__(self) -> str:
        return self.markup

    def _repr_html_(self) -> str:
        return self.markup

    def save(self, path: str | Path) -> Path:
        """Write it as a page of its own; the file appears whole or not at all.

        Raises:
            HlensError: The name does not end in .html, or is that of a file not written by hlens.
        """
        path = check_page(path)
        script = f"<script>{self.page_script}</script>" if self.page_script else ""
        write_text(
            path,
            f'<!doctype html><html lang="en"><head>{head(self.rules)}'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(visible(self.alt))}</title></head><body>{self.markup}"
            f"{script}</body></html>",
            MARK,
        )
        return path


def escape(text: object) -> str:
    """Text that HTML shows literally, in content and in quoted attributes.

    >>> escape('</script><b title="x">')
    '&lt;/script&gt;&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def is_special(token: str) -> bool:
    """Whether a token is a special token of the tokenizer rather than text.

    >>> is_special("<|im_end|>"), is_special("</s>"), is_special("[SEP]"), is_special(" a < b")
    (True, True, True, False)
    """
    return bool(_SPECIAL.match(token))
