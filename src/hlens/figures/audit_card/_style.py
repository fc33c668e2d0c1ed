"""How the card looks, light and dark."""

from hlens.figures._theme import DARK, FONT, LIGHT, Palette, palette, see_through

_STYLE = """
.hlens-audit{font:15px/1.5 %(font)s;color:var(--hl-ink);background:var(--hl-page);max-width:1100px}
.hlens-audit p,.hlens-audit ul,.hlens-audit h3{margin:0;padding:0}
.hlens-audit .ha-about{color:var(--hl-muted);font-size:14px;margin-bottom:14px;max-width:100ch}
.hlens-audit .ha-strip{list-style:none;display:grid;gap:10px;
grid-template-columns:repeat(auto-fit,minmax(136px,1fr));margin-bottom:18px}
.hlens-audit .ha-strip li{border:1px solid var(--hl-edge);border-radius:10px;padding:10px 14px;
display:grid;grid-template-columns:auto 1fr;column-gap:9px;align-items:center}
.hlens-audit .ha-strip b{font-size:15px;font-weight:650}
.hlens-audit .ha-strip span{grid-column:2;font-size:13px;color:var(--hl-muted)}
.hlens-audit .ha-yes-tile{background:var(--hl-yes-soft)}
.hlens-audit .ha-no-tile{background:var(--hl-no-soft)}
.hlens-audit .ha-claim{display:grid;grid-template-columns:150px minmax(0,1fr);gap:6px 24px;
margin:0;padding:18px 0 14px;border-top:1px solid var(--hl-edge)}
.hlens-audit h3{font-size:17px;line-height:1.35;font-weight:650;letter-spacing:-.01em}
.hlens-audit .ha-verdict{display:flex;gap:8px;align-items:center;font-size:14px;font-weight:600}
.hlens-audit .ha-says{font-size:15px;margin-bottom:10px;max-width:84ch}
.hlens-audit .ha-says a{color:var(--hl-muted);font-size:13px;white-space:nowrap}
.hlens-audit .ha-rule{margin-bottom:12px}
.hlens-audit .ha-check{display:grid;grid-template-columns:14px minmax(0,1fr) 210px;gap:2px 12px;
align-items:center;padding:3px 0}
.hlens-audit .ha-check b{font-weight:600;margin-right:6px}
.hlens-audit .ha-check p{font-size:14px}
.hlens-audit .ha-check p span{color:var(--hl-muted)}
.hlens-audit .ha-words{color:var(--hl-muted);font-size:12.5px;line-height:1.45;margin-left:26px;
max-width:92ch}
.hlens-audit .ha-mark{display:inline-block;width:11px;height:11px;border-radius:50%%;flex:none;
box-sizing:border-box;border:2.5px solid var(--hl-open)}
.hlens-audit .ha-mark.ha-yes{background:var(--hl-yes);border-color:var(--hl-yes)}
.hlens-audit .ha-mark.ha-no{border-color:var(--hl-no)}
.hlens-audit .ha-mark.ha-open{border:0;border-radius:0;height:3px;background:var(--hl-open)}
.hlens-audit .ha-yes-ink{color:var(--hl-yes-ink)}
.hlens-audit .ha-no-ink{color:var(--hl-no-ink)}
.hlens-audit .ha-open-ink{color:var(--hl-muted)}
.hlens-audit .ha-line{display:block;max-width:100%%}
.hlens-audit line.ha-axis{stroke:var(--hl-edge);stroke-width:1}
.hlens-audit line.ha-null{stroke:var(--hl-muted);stroke-width:1;stroke-dasharray:3 2}
.hlens-audit line.ha-own{stroke:var(--hl-ink);stroke-width:2.5}
.hlens-audit circle.ha-own{fill:var(--hl-ink)}
.hlens-audit line.ha-control{stroke:var(--hl-open);stroke-width:2}
.hlens-audit rect.ha-control{fill:var(--hl-open)}
.hlens-audit .ha-key{border-top:1px solid var(--hl-edge);padding-top:12px;font-size:12.5px;
color:var(--hl-muted);display:flex;flex-wrap:wrap;gap:4px 20px}
.hlens-audit .ha-key i{display:inline-block;margin-right:6px;vertical-align:-1px}
.hlens-audit .ha-dot{width:9px;height:9px;border-radius:50%%;background:var(--hl-ink)}
.hlens-audit .ha-square{width:8px;height:8px;background:var(--hl-open)}
.hlens-audit .ha-tick{width:0;height:12px;border-left:1.5px dashed var(--hl-muted)}
@media (max-width:720px){.hlens-audit .ha-claim{grid-template-columns:minmax(0,1fr)}
.hlens-audit .ha-check{grid-template-columns:14px minmax(0,1fr)}
.hlens-audit .ha-check svg,.hlens-audit .ha-none{grid-column:2}}
"""


def style(theme: str) -> str:
    """The card's style sheet; `theme` is ``"light"``, ``"dark"`` or ``"auto"``."""
    sheet = _STYLE % {"font": FONT}
    own = f'.hlens-audit[data-hl-theme="{theme}"]'
    if theme != "auto":
        return sheet + f"{own}{{{_variables(palette(theme))}}}"
    dark = _variables(DARK)
    return (
        sheet
        + f"{own}{{{_variables(LIGHT)}}}"
        + f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) {own}{{{dark}}}}}"
        + f":root[data-theme=dark] {own}{{{dark}}}"
    )


def _variables(colours: Palette) -> str:
    return (
        f"--hl-ink:{colours.ink};--hl-muted:{colours.muted};--hl-page:{colours.page};"
        f"--hl-edge:{colours.grid};--hl-open:{colours.control};--hl-yes:{colours.negative};"
        f"--hl-yes-ink:{colours.negative_ink};--hl-yes-soft:{see_through(colours.negative, 0.07)};"
        f"--hl-no:{colours.positive};--hl-no-ink:{colours.positive_ink};"
        f"--hl-no-soft:{see_through(colours.positive, 0.07)}"
    )
