r"""Anyone's text made safe for LaTeX: it is set as it is read, and commands nothing.

pdflatex knows letters of Western writing and stops at any other character that a document does not
declare. So what has a command of LaTeX's own is written by it, and the rest by its number.
"""

import re
import unicodedata

from hlens.visible import visible

_ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # which babel makes a command of in some languages
    "`": "{`}",  # not an opening quotation mark: ?` would be another letter
    "[": "{[}",  # after a row of a table these two would be an option of the row
    "*": "{*}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_WORDS = {
    "\n": " ", "\t": " ", "\u00a0": "~", "–": r"\textendash{}", "—": r"\textemdash{}", "‘": "{`}",
    "’": "'", "“": "``",
    "”": "''", "…": r"\dots{}", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_MATHS = {
    "−": "-", "×": r"\times", "±": r"\pm", "·": r"\cdot", "≤": r"\le", "≥": r"\ge", "≈": r"\approx",
    "→": r"\to", "⇥": r"\to", "↵": r"\hookleftarrow", "∞": r"\infty", "²": "^2", "³": "^3",
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon",
    "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "µ": r"\mu", "ρ": r"\rho", "σ": r"\sigma",
    "τ": r"\tau", "χ": r"\chi", "Δ": r"\Delta", "Σ": r"\Sigma",
}  # fmt: skip
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0307\u0308\u030a\u030b\u030c\u0327\u0328",
                    "`'^~=.\"rHvck", strict=True))  # fmt: skip


def escape(text: object) -> str:
    r"""Text for a document that pdflatex, xelatex or lualatex sets, on one line.

    Characters that are hidden, or that pdflatex cannot set, are shown by number.

    >>> escape("50 % of $x_1 & {y} \\input{z}")
    '50\\,\\% of \\$x\\_1 \\& \\{y\\} \\textbackslash{}input\\{z\\}'
    >>> escape("Erdős: −1 ≤ α"), escape("ש")
    ('Erd\\H{o}s: $-$1 $\\le$ $\\alpha$', '\\textless{}U+05E9\\textgreater{}')
    """
    written = "".join(map(_escaped, visible(str(text))))
    written = re.sub(r"-(?=-)", "-{}", written)  # two hyphens would be a dash
    return re.sub(r"(?<=\d) \\%", r"\\,\\%", written)


def comment(text: object) -> str:
    r"""Text as one line that LaTeX passes over.

    >>> comment("hlens evaluate a\n\\input{b}")
    '% hlens evaluate a \\input{b}'
    """
    return "% " + " ".join(visible(str(text)).replace("↵\n", " ").split())


def _escaped(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    if character.isascii() and character.isprintable():
        return character
    if character in _WORDS:
        return _WORDS[character]
    if character in _MATHS:
        return f"${_MATHS[character]}$"
    letter, *marks = unicodedata.normalize("NFD", character)
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        dotless = {"i": r"\i", "j": r"\j"}.get(letter, letter) if marks[0] < "\u0327" else letter
        return f"\\{_ACCENTS[marks[0]]}{{{dotless}}}"
    return rf"\textless{{}}U+{ord(character):04X}\textgreater{{}}"
