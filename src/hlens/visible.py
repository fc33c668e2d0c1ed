"""Text of a model or a stranger made safe to show: what is hidden in it becomes a sign."""

import re
import unicodedata

_JOINERS = {"\u200c", "\u200d"}  # Persian, Hindi and emoji need them, and they hide nothing
_HIDDEN = {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"}


def visible(text: str) -> str:
    r"""Text without hidden characters: line ends, tabs and control characters become signs.

    Characters that switch the direction of writing are shown by number too, since they could make
    text read in another order than it was written. Right-to-left letters are kept.

    >>> visible("a\nb\u202e")
    'a↵\nb\\u202e'
    """
    return harmless(text, {"\n": "↵\n", "\t": "⇥\t"})


def harmless(text: str, signs: dict[str, str] | None = None) -> str:
    r"""Text that steers no terminal: all hidden characters but line ends and tabs by number.

    In a JSON text, whose hidden characters all stand in strings, these are JSON's own escapes.

    >>> harmless("\x1b[31mred\x9b\u202e\n")
    '\\u001b[31mred\\u009b\\u202e\n'
    """
    signs = {"\n": "\n", "\t": "\t"} if signs is None else signs
    return re.sub(r"[^ -~]", lambda found: signs.get(found[0]) or _shown(found[0]), text)


def _shown(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    pair = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))
