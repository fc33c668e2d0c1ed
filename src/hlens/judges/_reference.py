"""Find the fields of a reference as people and models write it: title, authors, year, ...

The first reference of a text is read, in one of three ways of writing: fields with their names
("Title: ..."), a title in quotes or emphasis, and a year in brackets before the title (APA). A text
that fits none of them has no reference. Nothing here knows what is right, so that where a field is
found cannot depend on its label.

On one line the title is found first. What stands before it is the head (authors, perhaps a year),
what follows it the tail (venue, year, identifier).

>>> text = 'Ada Lovelace et al. "On Engines." Nature 12, 1843. doi:10.1000/xyz.'
>>> {name: text[start:stop] for name, (start, stop) in read_reference(text).items()}
{'title': 'On Engines', 'authors': 'Ada Lovelace et al.', 'year': '1843', 'venue': 'Nature',
 'identifier': '10.1000/xyz'}
"""

import re

FIELDS = ("title", "authors", "year", "venue", "identifier")
LONGEST = 2000  # characters of a line; no reference is longer

Span = tuple[int, int]
# What models call the fields.
_NAMES = {
    "title": "title",
    "authors": "authors?",
    "year": "year|date",
    "venue": "venue|journal|conference|published in|publication|booktitle",
    "identifier": "identifier|doi|arxiv(?: (?:id|number))?|url",
}
_LABEL = re.compile(
    r"(?:^|(?<=[\s;,|{*]))[*_\"]{0,2}\b(?:"
    + "|".join(f"(?P<{field}>{names})" for field, names in _NAMES.items())
    + r")\b[*_\"]{0,2}\s*[:=]\s*[*_\"{]{0,2}",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(
    r"10\.\d{4,9}/[^\s\"“”<>,;]+|(?<![\d.])\d{4}\.\d{4,5}(?:v\d+)?(?!\d)"
    r"|\b[a-z-]{2,10}(?:\.[A-Z]{2})?/\d{7}(?:v\d+)?\b"
)
_YEAR = re.compile(r"(?<![\d.:/–-])(?:1[6-9]|20)\d\d(?![\d–-]|\.\d)")
_IN_BRACKETS = re.compile(r"\(\s*((?:1[6-9]|20)\d\d)[a-z]?\b[^)]{0,20}\)")
_QUOTED = re.compile(
    r"“(?P<curly>[^“”]{3,400})”|\"(?P<straight>[^\"]{3,400})\"(?!\w)|``(?P<tex>[^`']{3,400})''"
    r"|(?<!\*)\*{1,2}(?P<star>[^*]{3,400})\*{1,2}|(?<!\w)_(?P<line>[^_]{3,400})_(?!\w)"
)
_LEAD = re.compile(
    r"\s*(?:\[?\d{1,3}[\].)]\s+|[-*•–]\s+|(?:reference|citation|answer)\s*:\s*)+", re.I
)
_BY = re.compile(
    r"\W{0,3}\b(?:is |was )?(?:a paper |written )?by\s+([^.(\d]{3,300}?)(?=[.(\d]|,? in\b|$)", re.I
)
# Where a venue ends: volume, pages and publisher follow.
_VENUE_END = re.compile(r",?\s*(?:\d+\b|\bvol|\bno\b|\bpp?\.|\bpages\b|\()|[;.](?=\s|$)|,", re.I)
_WORD = re.compile(r"\w")
_SENTENCE_END = re.compile(r"[.?!](?=\s|$)")
_ADDRESS = re.compile(r"https?\b|www\b|doi\b|url\b|available\b")
_LOOSE = " \t,.;:()[]{}*_\"“”'‘’`|"


def read_reference(text: str) -> dict[str, Span]:
    """Characters ``[start, stop)`` of each field of the first reference in a text, by its name.

    A field that is not there is missing; empty for a text without a reference.
    """
    if len(named := _by_names(text)) > 1:
        return _ordered(named)
    for start, stop in _lines(text):
        if found := _in_line(text, start, stop):
            return _ordered(found)
    return {}


def _ordered(found: dict[str, Span]) -> dict[str, Span]:
    return {name: found[name] for name in FIELDS if name in found}


def _lines(text: str) -> list[Span]:
    spans = (match.span() for match in re.finditer(r"[^\n]+", text))
    return [(start, min(stop, start + LONGEST)) for start, stop in spans]


def _trimmed(text: str, start: int, stop: int, loose: str = _LOOSE) -> Span | None:
    """A stretch without the punctuation at its ends; None where nothing is left."""
    while start < stop and text[start] in loose:
        start += 1
    while start < stop and text[stop - 1] in loose:
        stop -= 1
    return (start, stop) if start < stop else None


def _by_names(text: str) -> dict[str, Span]:
    """Fields that follow their names, up to the next name or the end of the line."""
    found: dict[str, Span] = {}
    labels = list(_LABEL.finditer(text[:LONGEST]))
    ends = [*(label.start() for label in labels[1:]), len(text)]
    for label, end in zip(labels, ends, strict=False):
        name = str(label.lastgroup)
        line_end = text.find("\n", label.end())
        stop = end if line_end < 0 else min(end, line_end)
        value = _trimmed(text, label.end(), stop)
        if value is None or name in found:
            continue
        if name in ("year", "identifier"):
            pattern = _YEAR if name == "year" else _IDENTIFIER
            match = pattern.search(text, label.end(), stop)
            value = _without_stop(text, match.span()) if match else None
        elif name == "authors":
            value = _with_et_al(text, value)
        if value is not None:
            found[name] = value
    return found


def _in_line(text: str, start: int, stop: int) -> dict[str, Span]:
    """The fields of a reference on one line."""
    if lead := _LEAD.match(text, start, stop):
        start = lead.end()
    split = _title(text, start, stop)
    if split is None:
        return {}
    title, head_stop, tail_start = split
    identifier = _IDENTIFIER.search(text, tail_start, stop) or _IDENTIFIER.search(
        text, start, head_stop
    )
    authors, tail_start = _authors(text, (start, head_stop), (tail_start, stop))
    place = identifier.span() if identifier else (stop, stop)
    found = {
        "title": title,
        "authors": authors,
        "year": _year(text, ((start, head_stop), (tail_start, stop)), place),
        "venue": _venue(text, tail_start, place[0] if place[0] > tail_start else stop),
        "identifier": _without_stop(text, place) if identifier else None,
    }
    return {name: span for name, span in found.items() if span}


def _title(text: str, start: int, stop: int) -> tuple[Span, int, int] | None:
    """The title, where the head before it ends, and where the tail after it begins."""
    quoted, year = _QUOTED.search(text, start, stop), _IN_BRACKETS.search(text, start, stop)
    if quoted:
        title = quoted.span(str(quoted.lastgroup))
        head_stop, tail_start = quoted.span()
    elif year and year.start() > start and (begins := _WORD.search(text, year.end(), stop)):
        end = _SENTENCE_END.search(text, begins.start(), stop)
        title = begins.start(), end.end() if end else stop
        head_stop, tail_start = year.end(), title[1]
    else:
        return None
    trimmed = _trimmed(text, *title)
    return (trimmed, head_stop, tail_start) if trimmed else None


def _authors(text: str, head: Span, tail: Span) -> tuple[Span | None, int]:
    """The authors in the head, or in the tail after "by"; and where the rest of the tail begins."""
    authors, rest = _trimmed(text, *_longest_part(text, head)), tail[0]
    if authors is None and (by := _BY.match(text, *tail)):
        # "by Ann, Bo and Cy, Nature": what follows the last name's comma is the venue.
        last = text.find(" and ", *by.span(1))
        comma = text.find(",", max(last, by.start(1)), by.end(1))
        rest = comma if comma >= 0 else by.end(1)
        authors = _trimmed(text, by.start(1), rest)
    is_name = authors is not None and re.search(r"[^\W\d_]{2}", text[slice(*authors)])
    return (_with_et_al(text, authors) if authors and is_name else None), rest


def _longest_part(text: str, span: Span) -> Span:
    """The longest part of a stretch between years and identifiers."""
    others = [
        match.span()
        for pattern in (_IN_BRACKETS, _YEAR, _IDENTIFIER)
        for match in pattern.finditer(text, *span)
    ]
    edges = [span[0], *(edge for other in sorted(others) for edge in other), span[1]]
    return max(zip(edges[::2], edges[1::2], strict=True), key=lambda part: part[1] - part[0])


def _year(text: str, parts: tuple[Span, Span], identifier: Span) -> Span | None:
    """The last year in brackets, else the last year; never a part of title or identifier."""
    for pattern, group in ((_IN_BRACKETS, 1), (_YEAR, 0)):
        places = [match.span(group) for part in parts for match in pattern.finditer(text, *part)]
        if own := [p for p in places if p[1] <= identifier[0] or p[0] >= identifier[1]]:
            return own[-1]
    return None


def _venue(text: str, start: int, stop: int) -> Span | None:
    """The name after the title and an "In", up to volume, year or publisher."""
    opening = re.compile(r"[\s,.;:]*(?:published )?(?:in\b[: ]*)?[\s*_]*", re.I).match(text, start)
    start = opening.end() if opening else start
    # A proceedings' name may begin with its year or number.
    if numbered := re.compile(r"(?:the )?\d{1,4}(?:st|nd|rd|th)?\s+(?=[A-Z])").match(text, start):
        start = numbered.end()
    end = _VENUE_END.search(text, start, stop)
    while end and _is_abbreviation(text, start, end.start()):
        end = _VENUE_END.search(text, end.end(), stop)
    place = _trimmed(text, start, end.start() if end else stop)
    bare = text[slice(*place)].casefold() if place else ""
    return None if not bare[:1].isalpha() or _ADDRESS.match(bare) else place


def _is_abbreviation(text: str, start: int, at: int) -> bool:
    """Whether the full stop at a place belongs to a short word: "Phys. Rev. Lett."."""
    if text[at : at + 1] != ".":
        return False
    word = re.search(r"[^\W\d_]+$", text[start:at])
    following = text[at + 1 :].lstrip()[:1]
    return word is not None and len(word[0]) <= 5 and word[0][:1].isupper() and following.isupper()


def _without_stop(text: str, span: Span) -> Span:
    """A place without the full stop or bracket that ends its sentence."""
    start, stop = span
    while text[stop - 1] in ".,;:]}'\"*" or (
        text[stop - 1] == ")" and text.count("(", start, stop) < text.count(")", start, stop)
    ):
        stop -= 1
    return start, stop


def _with_et_al(text: str, span: Span) -> Span:
    """A place of authors, with the full stop of a last "et al." or initial."""
    start, stop = span
    ends_short = re.search(r"(?:\bal|\b[A-Z])$", text[start:stop])
    return start, stop + (bool(ends_short) and text[stop : stop + 1] == ".")
