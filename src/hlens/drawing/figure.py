"""The plotly figure of hlens: it never offers an upload, and it carries its title as data."""

import html
import json
import math
import re
import textwrap
import webbrowser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs

from hlens.drawing.html import MARK, check_page, head, policy, scripts_of
from hlens.drawing.theme import FONT, Palette, template
from hlens.errors import HlensError
from hlens.store import check_replaceable, write_bytes, write_text

# Hover text may hold private prompts, and plotly 7 offers to upload the chart unless told not to.
CONFIG: dict[str, Any] = {
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displaylogo": False,
    "responsive": True,
    "typesetMath": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}

# The buttons would be printed over the title, and a page as high as the paper with an empty one.
ON_PRINT = (
    "<style>@media print{.modebar-container{display:none}html,body{height:auto!important}}</style>"
)
TITLE_WIDTH = 84
SUBTITLE_WIDTH = 90
WIDTH = 1_000  # of still pictures; on a page a figure is as wide as its container
# The type of a figure is 12 pixels high, which is 9 points: on paper it is drawn so much smaller,
# so that it is 7 points, and not as much smaller as a column is narrower than a screen.
ON_PAPER = 7 / 9
LEAST_ON_PAPER = 5 / 9  # journals print no smaller type than 5 points
COLUMN = 400  # pixels: 82 mm of paper
AXIS_LETTER = 6.6  # pixels of a letter of an axis's title, on average
DOTS_ON_PAPER = 300 / 96  # dots an inch, for pixels an inch
BITMAPS = ("png", "jpeg", "webp")
# With the bytes that each holds near its start: a file of another kind is not replaced.
STILLS = {"png": b"PNG", "svg": b"<svg", "pdf": b"%PDF", "jpeg": b"\xff\xd8", "webp": b"WEBP"}


class Figure(go.Figure):
    """A plotly figure that never leaves this machine, however it is shown or exported.

    ``figure.layout.meta`` holds its title, subtitle and alternative text as plain text.
    """

    @property
    def meta(self) -> dict[str, Any]:
        """Its title, subtitle and alternative text, and the height of the title in pixels."""
        layout: Any = self.layout
        return dict(layout.meta or {})

    def without_title(self) -> dict[str, Any]:
        """Its traces and layout, plain JSON, for a page that shows the title as text of its own."""
        plain = json.loads(str(self.to_json()))
        layout = plain["layout"]
        title_height = layout.get("meta", {}).get("words", 0)
        layout.pop("title", None)
        layout["height"] = layout.get("height", 450) - title_height
        if "margin" in layout:
            layout["margin"]["t"] = layout["margin"].get("t", 40) - title_height
        return {"data": plain["data"], "layout": layout}

    def show(self, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show it with plotly's renderer; options as in plotly."""
        super().show(*args, config=_config(config), **kwargs)

    def to_html(self, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> str:
        """Its page as text, which may ask no host for anything; options as in plotly."""
        if kwargs.get("full_html", True):
            kwargs.setdefault("div_id", "figure")  # random otherwise: equal data, equal pages
        page = super().to_html(*args, config=_config(config), **kwargs)
        if kwargs.get("include_plotlyjs", True) is not True:
            return page  # which takes its script from elsewhere, as asked
        scripts = scripts_of(page)
        return page.replace("<head>", f"<head>{head(policy(*scripts))}{ON_PRINT}", 1)

    def write_html(self, file: Any, *args: Any, auto_open: bool = False, **kwargs: Any) -> None:
        """Write its page; options as in plotly."""
        page = self.to_html(*args, **kwargs)
        if hasattr(file, "write"):
            file.write(page)
            return
        write_text(file, page)
        if auto_open:
            webbrowser.open(Path(file).absolute().as_uri())

    def to_image(
        self,
        format: str = "png",
        width: int | None = None,
        height: int | None = None,
        scale: float = 2.0,
    ) -> bytes:
        """A still picture (png, svg, pdf, jpeg, webp); needs the extra ``hlens[export]``.

        Raises:
            HlensError: An unknown format, or the extra or its browser is missing.
        """
        if format not in STILLS:
            raise HlensError(f"no picture format {format!r}; use {', '.join(STILLS)}")
        kaleido = _kaleido()
        layout: Any = self.layout
        size = {"width": width or WIDTH, "height": height or layout.height}
        options = {"format": format, "scale": scale, **size}
        try:
            # Plotly's own export would fetch MathJax from another host; hlens needs no mathematics.
            return kaleido.calc_fig_sync(self.to_dict(), opts=options, kopts={"mathjax": False})
        except Exception as error:  # kaleido has no one error for a missing or crashed browser
            if "chrome" not in f"{type(error).__name__} {error}".lower():
                raise
            raise HlensError(
                "kaleido found no Chromium or Chrome; install one, or set BROWSER_PATH to it, or "
                "save the figure as .html"
            ) from error

    def save(
        self,
        path: str | Path,
        *,
        width: int | str | None = None,
        height: int | str | None = None,
        title: bool = True,
        scale: float | None = None,
    ) -> Path:
        """Write the figure to a file, by its suffix: .html, or .png, .svg, .pdf for papers.

        Args:
            path: Where; the file appears whole or not at all.
            width: Of a still picture: pixels, or a width on paper such as ``"84mm"``, ``"3.25in"``
                or ``"240pt"``, a column's. On paper the type is 7 points high, down to 5 where a
                figure needs the room. 1000 pixels by default; a page is as wide as its window.
            height: The same of its height; by default what its rows or panels need.
            title: Whether title and subtitle stand in it; a paper has them in its caption.
            scale: Pixels of a png for each pixel, 2 by default; on paper it has 300 to the inch.

        Returns:
            The path written.

        Raises:
            HlensError: Another suffix, no kaleido or browser for a still picture, or a file of
                another kind at that path, or a page that hlens did not write; a size that is none,
                too narrow a column, or any size for a page.
        """
        path = check_figure_file(path, width, height)
        kind = _format_of(path)
        on_paper = isinstance(width, str)
        zoom = self._zoom(width) if isinstance(width, str) else 1.0
        n_pixels = round(pixels_of(width or WIDTH) / zoom)
        figure = self.fitted(n_pixels, title=title)
        if kind == "html":
            write_text(path, (self if title else figure).to_html(include_plotlyjs=True), MARK)
            return path
        dots = scale or (DOTS_ON_PAPER if on_paper and kind in BITMAPS else 1 if on_paper else 2)
        layout: Any = figure.layout
        picture = figure.to_image(
            kind,
            width=n_pixels,
            height=round(pixels_of(height) / zoom) if height else layout.height,
            scale=dots * zoom,
        )
        write_bytes(path, picture, STILLS[kind])
        return path

    def _zoom(self, width: str) -> float:
        """How much smaller than on a screen it is drawn for a width on paper."""
        narrowest = self.meta.get("narrowest", COLUMN)
        zoom = min(ON_PAPER, pixels_of(width) / narrowest)
        if zoom < LEAST_ON_PAPER:
            needed = narrowest * LEAST_ON_PAPER / 96 * 25.4
            raise HlensError(
                f"at a width of {width} the type of this figure would be {9 * zoom:.1f} points "
                f"high; give it {math.ceil(needed)}mm or more, such as the width of two columns"
            )
        return zoom

    def fitted(self, width: int, *, title: bool = True) -> "Figure":
        """A copy whose words are broken into lines for a width in pixels, or without a title."""
        fitted = Figure(self)
        _place_title(fitted, width if title else None)
        _break_axis_titles(fitted, width)
        return fitted

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, validate: bool = True, **kwargs: Any
    ) -> dict[str, Any]:
        return super()._repr_mimebundle_(
            include, exclude, validate, **{**kwargs, "config": dict(CONFIG)}
        )

    def _repr_html_(self) -> str:
        # plotly's own would load its script from a CDN here.
        return self.to_html(full_html=False, include_plotlyjs=True)

    def _ipython_display_(self) -> None:
        if pio.renderers.render_on_display and pio.renderers.default:
            self.show()
        else:
            super()._ipython_display_()


def check_figure_file(
    path: str | Path, width: int | str | None = None, height: int | str | None = None
) -> Path:
    """The path of a figure; raise `HlensError` where none can be saved there, before it is drawn.

    >>> check_figure_file("overlap.PDF", "84mm").name
    'overlap.PDF'
    """
    path = Path(path)
    kind = _format_of(path)
    sizes = [size for size in (width, height) if size is not None]
    for size in sizes:
        pixels_of(size)
    if kind == "html":
        if sizes:
            raise HlensError(
                f"{path.name} is a page, which is as wide as its window; leave {sizes[0]!r} out, "
                "or save the figure as .pdf"
            )
        return check_page(path)
    check_replaceable(path)
    if kind not in STILLS:
        raise HlensError(
            f"cannot save a figure as {path.name!r}; expected one of .html, "
            + ", ".join(f".{known}" for known in STILLS)
        )
    check_replaceable(path, STILLS[kind])
    _kaleido()
    return path


def pixels_of(size: int | str) -> float:
    """Pixels, 96 to the inch, of a size in pixels or on paper.

    >>> pixels_of(800), pixels_of("1in"), round(pixels_of("84 mm"), 1)
    (800.0, 96.0, 317.5)

    Raises:
        HlensError: It is none, or none that can be drawn: 50 to 10,000 pixels.
    """
    pixels = 0.0
    if not isinstance(size, str):
        pixels = float(size)
    elif read := re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*(mm|cm|in|pt)\s*", size.lower()):
        pixels = float(read[1]) * 96 / {"mm": 25.4, "cm": 2.54, "in": 1, "pt": 72}[read[2]]
    if not 50 <= pixels <= 10_000:
        raise HlensError(
            f"{size!r:.40} is no size of a figure; give pixels (50 to 10,000), or a size on paper "
            "such as 84mm, 3.25in or 240pt"
        )
    return pixels


def _format_of(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    return "jpeg" if kind == "jpg" else kind


def _kaleido() -> Any:
    try:
        import kaleido
    except ImportError as error:
        raise HlensError(
            "still pictures need kaleido: run pip install 'hlens[export]', or save the figure "
            "as .html"
        ) from error
    return kaleido


def _config(options: dict[str, Any] | None) -> dict[str, Any]:
    # What keeps the figure private comes last: a caller's options cannot undo it.
    private = ("showSendToCloud", "plotlyServerURL", "displaylogo")
    return {**CONFIG, **(options or {}), **{key: CONFIG[key] for key in private}}


def escape(text: object) -> str:
    """Text that plotly shows literally; unescaped, it would interpret some HTML tags.

    >>> escape("<bos> & </script>")
    '&lt;bos&gt; &amp; &lt;/script&gt;'
    """
    # The dollar sign would start mathematics where a page has MathJax.
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def even_lines(text: str, width: int) -> list[str]:
    r"""Text in as few lines as a width in letters takes, the last no single word; units stay.

    >>> even_lines("95 % intervals of draws", 19)
    ['95\xa0% intervals', 'of draws']
    """
    text = re.sub(r"(?<=\d) (?=[%‰])", "\u00a0", text)
    lines = textwrap.wrap(text, width)
    while len(lines) > 1 and len(lines[-1]) < width / 3:
        width -= 1
        narrower = textwrap.wrap(text, width)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def broken(name: str, width: int, lines: int = 2) -> str:
    """A plain name as the markup of a few lines, escaped; what does not fit ends in an ellipsis.

    >>> broken("words of question and answer", 16), broken("a<b", 10)
    ('words of<br>question and …', 'a&lt;b')
    """
    kept = textwrap.wrap(name, width, max_lines=lines, placeholder=" …")
    return "<br>".join(map(escape, kept))


def finish(
    figure: Figure,
    colours: Palette,
    *,
    title: str,
    subtitle: str,
    height: int,
    alt: str = "",
    margin: dict[str, int] | None = None,
    narrowest: int = COLUMN,
) -> Figure:
    """Give a figure its title, its height and the looks that all figures share.

    Args:
        figure: The figure.
        colours: Its palette.
        title: A fact computed from the data, plain text.
        subtitle: How it was measured, its n and its null, plain text.
        height: Height in pixels, without the title; the width is the page's.
        alt: Alternative text; title and subtitle when empty.
        margin: Margins (l, r, b, t) in pixels; t is counted from below the title.
        narrowest: Width in pixels below which its words would meet; for a narrower column it is
            drawn smaller.
    """
    figure.update_layout(
        template=template(colours),
        height=height,
        margin={"l": 64, "r": 28, "b": 56, "t": 40, **(margin or {})},
        title={
            "font": {"size": 18, "color": colours.ink, "family": FONT},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 20, "t": 24},
            "automargin": False,
        },
        meta={
            "title": title,
            "subtitle": subtitle,
            "alt": alt or f"{title}. {subtitle}",
            "words": 0,
            "narrowest": narrowest,
        },
    )
    _place_title(figure, WIDTH)
    return figure


def _break_axis_titles(figure: Figure, width: int) -> None:
    """Break the titles of x axes into lines that are no wider than their axes."""
    layout: Any = figure.layout
    space, most = width - (layout.margin.l or 80) - (layout.margin.r or 80), 1
    axes: Any = figure.select_xaxes()
    for axis in axes:
        start, end = axis.domain or (0, 1)
        text = axis.title.text or ""
        broken = even_lines(text, max(10, int((end - start) * space / AXIS_LETTER)))
        if "<" not in text and len(broken) > 1:
            axis.title.text = "<br>".join(broken)
            most = max(most, len(broken))
    if most > 1:
        further = 16 * (most - 1)
        bottom = (layout.margin.b or 80) + further
        figure.update_layout(height=(layout.height or 450) + further, margin={"b": bottom})


def _place_title(figure: Figure, width: int | None) -> None:
    """Break title and subtitle into lines for a width in pixels, and make room; None: have none."""
    meta = figure.meta
    layout: Any = figure.layout
    if "words" not in meta:  # not of `finish`
        return
    top, text = 0, None
    if width is not None:
        share = min(1.0, width / WIDTH)
        lines = [
            even_lines(meta[name], max(10, int(characters * share)))
            for name, characters in (("title", TITLE_WIDTH), ("subtitle", SUBTITLE_WIDTH))
        ]
        top = 30 + 24 * len(lines[0]) + 18 * len(lines[1])
        title, subtitle = ("<br>".join(map(escape, part)) for part in lines)
        muted = layout.template.layout.font.color
        small = f'<span style="font-size:13px;font-weight:400;color:{muted}">{subtitle}</span>'
        text = f'<span style="font-weight:600">{title}</span><br>{small}'
    further = top - meta["words"]
    figure.update_layout(
        title={"text": text},
        height=layout.height + further,
        margin={"t": layout.margin.t + further},
        meta={**meta, "words": top},
    )


def add_note(
    figure: Figure,
    text: str,
    *,
    x: Any,
    y: Any,
    colour: str,
    size: float | int = 11.5,
    **place: Any,
) -> None:
    """Write a line of (escaped) text into a figure, without an arrow; `place` as in plotly."""
    figure.add_annotation(
        x=x, y=y, text=text, showarrow=False, font={"size": size, "color": colour}, **place
    )


plotly_js = get_plotlyjs  # the script of the installed plotly, for self-contained pages
