"""A report's page as a reader has it."""

import base64
import gzip
import re


def unpacked(page: str, name: str) -> str:
    """The text packed under this id: `figures-json` or `plotly-js`."""
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    assert found
    return gzip.decompress(base64.b64decode(found[1])).decode()


def words_of(page: str) -> str:
    """All that is said, in text and in figures: what is packed says anything by chance."""
    said = re.sub(r'<script type="text/plain"[^>]*>[^<]*</script>', "", page)
    return said + unpacked(page, "figures-json")
