"""What the figures and the report are drawn with: colours, titles, pages, and shared chart parts.

`hlens.figures` holds the figures, one a file; this package holds what several of them use.

===================  ==============================================================================
`drawing.theme`      light and dark colours, readable ink, the looks of every plotly figure
`drawing.figure`     `Figure`: plotly without uploads; `finish` gives it title, subtitle and height
`drawing.html`       `Html`: markup as a figure; model text made safe to show
`drawing.page`       scripts, styles and the security policy of self-contained pages
`drawing.table`      checks of a figure's table, and words for its numbers
`drawing.matrix`     labelled cells: transfer, overlap, reliability
`drawing.curves`     lines with bands, and panels side by side
`drawing.forest`     rows of AUROC with intervals against chance
`drawing.circuitsvis`  CircuitsVis in a sandboxed frame
===================  ==============================================================================
"""
