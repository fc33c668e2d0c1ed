"""The page to try a server: one file, which fetches nothing from elsewhere."""

from importlib.resources import files

from hlens.drawing.theme import FONT, Palette, channels, palette

# What a browser lets the page do: its own script and style, and requests to this server.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page() -> str:
    """The page, in the colours of the report, light or dark as its reader has it."""
    text = files("hlens.server").joinpath("page.html").read_text(encoding="utf-8")
    light, dark = _variables(palette("light")), _variables(palette("dark"))
    style = (
        f":root{{color-scheme:light dark;--font:{FONT};{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )
    return text.replace("/*PALETTE*/", style)


def _variables(colours: Palette) -> str:
    risk = " ".join(map(str, channels(colours.positive)))
    return (
        f"--page:{colours.page};--ink:{colours.ink};--muted:{colours.muted};--grid:{colours.grid};"
        f"--faint:{colours.faint};--neutral:{colours.neutral};--blue:{colours.negative};"
        f"--risk:{risk};--riskink:{colours.positive_ink}"
    )
