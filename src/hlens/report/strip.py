"""One answer, coloured by the risk of each of its tokens, in one line of a notebook.

Example::

    hlens.strip(model, detector, study.examples()[0])
"""

from hlens import figures
from hlens.drawing.html import Html
from hlens.errors import HlensError
from hlens.kinds import explains_kinds
from hlens.model import Model
from hlens.steps.neuron_pages import read_tokens
from hlens.types import Detector, Example


@explains_kinds
def strip(
    model: Model, detector: Detector, example: Example, *, question: str = "", theme: str = "auto"
) -> Html:
    """Read an example with a detector, and draw it (`hlens.figures.tokens`).

    Args:
        model: The model whose tokens they are.
        detector: A detector of the same model.
        example: A labelled answer, as `hlens.locate` and ``study.examples()`` give them.
        question: What the prompt is shown from; without it, all of the prompt is shown.
        theme: ``"light"``, ``"dark"`` or ``"auto"``.

    Raises:
        HlensError: The detector is of another model, or it has no neurons, so that no token has a
            risk of its own.
    """
    if not len(detector.selected):
        raise HlensError("the detector has no neurons: every token has one risk; find another")
    model.decode([])  # a model without a tokenizer says so
    read = read_tokens(model, detector, example, question)
    risk = [float("nan") if one is None else one for one in read.pop("risk")]
    return figures.tokens(risk=risk, theme=theme, **read)
