"""The verbs that run a model once it has a detector: edits, doses, watching, scoring."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hlens.cli import show
from hlens.cli.answers import AnswerOptions, takes_answers
from hlens.cli.app import app
from hlens.cli.forms import Form, takes_form
from hlens.cli.loading import takes_loading, takes_loading_without_adapter
from hlens.cli.opening import opening
from hlens.cli.refusing import refuse
from hlens.cli.step_verbs import Json, Out, StudyFolder, help_of

NEURONS = "h: the H-neurons; truth: those that point to truth; both; or a file of neurons."


@app.command()
@takes_form
def intervene(
    study: StudyFolder,
    form: Form,
    behaviour: Annotated[
        list[str] | None,
        typer.Option(help="A behaviour, or NAME:PATH for a published set; several may be given."),
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(help="A dose: the factor of the activations; several may be given."),
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=0, help="Questions of each behaviour; 0 takes all.")
    ] = None,
    matched: Annotated[
        int | None, typer.Option(help="Contribution-matched random sets: 0, or 8 and more.")
    ] = None,
    second_grader: Annotated[
        str | None,
        typer.Option(help="Beside the rules: likelihood, llm:MODEL, llm:MODEL@URL or none."),
    ] = None,
    neurons: Annotated[str | None, typer.Option(help=f"Which are scaled. {NEURONS}")] = None,
    selector: Annotated[
        list[str] | None,
        typer.Option(
            help="Also edit as many neurons of another selector (hlens list selectors); several "
            "may be given."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Also edit the neurons by the layer, at the outermost doses: single, cumulative "
            "(all layers up to each), both or none."
        ),
    ] = None,
    gate_alpha: Annotated[
        list[float] | None,
        typer.Option(
            help="A dose that also acts only while the risk is high, beside gates drawn at random; "
            "several may be given."
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Do not run it: say from its outcomes, or else from a pilot, which slope it would "
            "show, how many questions --slope needs, and how long it takes.",
        ),
    ] = False,
    slope: Annotated[
        float | None,
        typer.Option(
            help="With --plan: the slope that is looked for, in points per α. [default: 3]"
        ),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            help="With --plan: run a pilot of so many questions of each behaviour. [default: 12, "
            "where there are no outcomes]"
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Scale the H-neurons, or others, and see what the model does, beside random neurons.

    Options are kept in the study's recipe, so that its report shows what was run. What was run
    before is not run again: a further dose, set or behaviour costs only itself.
    """
    from hlens.cli import editing

    if plan:
        refuse(
            {"gate_alpha": gate_alpha, "layers": layers, "selector": selector},
            "what is run, and --plan runs nothing but a pilot",
        )
    else:
        refuse({"slope": slope, "pilot": pilot}, "--plan")
    asked = editing.AskedEdits(
        behaviours=behaviour,
        alphas=alpha,
        items=items,
        matched_sets=matched,
        second_grader=second_grader,
        neurons=neurons,
    )
    with opening(study, out) as opened:
        if plan:
            points = 3.0 if slope is None else slope
            planned = editing.plan_intervention(opened, asked, points=points, pilot=pilot)
            tell = partial(editing.show_plan, opened, planned)
        else:
            editing.choose_intervention(
                opened, asked, gate_alphas=gate_alpha, layers=layers, selector=selector
            )
            opened.outcomes()
            if opened.recipe.layers.edits != "none":
                opened.by_layer()
            if opened.recipe.gates.alphas:
                opened.gated()
            tell = partial(editing.show_interventions, opened)
    tell(form)


@app.command(help=help_of("effects.patching"))
@takes_form
def patch(study: StudyFolder, form: Form, out: Out = None) -> None:
    """Patch the H-neurons."""
    from hlens.cli import editing

    with opening(study, out) as opened:
        opened.patching_map()  # which the report draws; it takes the patching table
    editing.show_patches(opened, form)


@app.command()
def bake(
    study: StudyFolder,
    to: Annotated[Path, typer.Argument(help="Folder of the new checkpoint.")],
    alpha: Annotated[float, typer.Option(help="Factor of the neurons; 0 silences them.")] = 0.0,
    neurons: Annotated[str, typer.Option(help=f"Which are scaled. {NEURONS}")] = "h",
    as_json: Json = False,
) -> None:
    """Fold the scaled neurons into the weights: an ordinary checkpoint with a model card."""
    from hlens.cli import baking

    facts = baking.bake(str(study), to, alpha, neurons)
    show.result(facts if as_json else baking.describe_bake(facts), as_json)


@app.command("export-adapter")
def export_adapter(
    study: StudyFolder,
    out: Annotated[Path, typer.Option(help="A new folder; each dose gets one of its own in it.")],
    alpha: Annotated[
        list[float], typer.Option(help="Factor of the neurons, a dose; several may be given.")
    ],
    neurons: Annotated[str, typer.Option(help=f"Which are scaled. {NEURONS}")] = "h",
    as_json: Json = False,
) -> None:
    """Write doses as LoRA adapters: PEFT, vLLM and llama.cpp switch them per request."""
    from hlens.cli import baking

    facts = baking.export_adapters(str(study), out, alpha, neurons)
    show.result(facts if as_json else baking.describe_adapters(facts), as_json)


@app.command()
@takes_loading
def verify(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a baked checkpoint or adapter.")],
    loading: dict[str, str],
    base: Annotated[
        str | None, typer.Option(help="The model it was made from; an adapter needs it.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Text file, a prompt a line, to compare an adapter on; else 20 questions."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a baked checkpoint against its record, or an adapter against the edit; 1 if it fails.

    Of a checkpoint all other weights are compared, too, where --base is named. How a model is
    loaded is said of the base; a checkpoint is opened as it was baked.
    """
    from hlens.cli import baking

    with show.progress() as progress:
        facts = baking.verify(checkpoint, base, prompts, loading, progress)
    show.result(facts if as_json else baking.describe_verification(facts), as_json)
    if not facts["ok"]:
        raise typer.Exit(1)


@app.command()
def unbake(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a baked checkpoint.")],
    to: Annotated[Path, typer.Argument(help="Folder of the restored checkpoint.")],
    as_json: Json = False,
) -> None:
    """Restore the weights that a checkpoint had before it was baked, bit for bit."""
    from hlens.cli import baking

    facts = baking.unbake(checkpoint, to)
    show.result(facts if as_json else baking.describe_restoration(facts), as_json)


@app.command()
def monitor(
    study: StudyFolder,
    questions: Annotated[list[str], typer.Argument(help="What to ask; several go in one batch.")],
    flag_at: Annotated[float | None, typer.Option(help="Flag an answer at this risk.")] = None,
    stop_at: Annotated[float | None, typer.Option(help="End an answer at this risk.")] = None,
    after: Annotated[
        int | None, typer.Option(help="Tokens to wait for before that; 3 by default.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(help="Flag finished answers at a rate of false alarms: false-alarms=0.05."),
    ] = None,
    domain: Annotated[
        str, typer.Option(help="Take the probabilities and threshold of this domain alone.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Ask, and show the risk of each token while the model writes."""
    from hlens.cli import watching

    policy, rate = watching.policy(flag_at, stop_at, after), watching.rate_of(threshold)
    if as_json:
        show.result(watching.watch(str(study), questions, policy, None, rate, domain), as_json)
        return
    with watching.show_tokens(len(questions)) as on_token:
        watched = watching.watch(str(study), questions, policy, on_token, rate, domain)
    watching.show_answers(watched)


@app.command()
@takes_loading_without_adapter
def serve(
    loading: dict[str, str],
    model: Annotated[
        str | None, typer.Option(help="The model; by default that of the first detector.")
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]PATH of a study or detector; several may be given, by domain."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]FOLDER of a dose (hlens export-adapter); clients name it."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs the model (hlens list engines).")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="What a request may have done: watch, flag, stop, abstain, route. The first is "
            "the default; by default all."
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(help="From where an answer is flagged: false-alarms=0.05, or risk=0.8."),
    ] = None,
    abstention: Annotated[
        str | None, typer.Option(help="What is said in the place of a withheld answer.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address; other than this machine needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8000,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.")] = None,
    max_body: Annotated[int | None, typer.Option(help="Largest request, in bytes.")] = None,
    rows: Annotated[
        int | None, typer.Option(help="Answers that this process writes at once.")
    ] = None,
    waiting: Annotated[
        int | None, typer.Option(help="Answers that are held before others are refused.")
    ] = None,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="Log prompts and answers, too.")
    ] = False,
) -> None:
    """Serve the model in the OpenAI protocol, with the risk of each token and answer beside it.

    Clients give the key that is in HLENS_API_KEY. At / is a page to try it.
    """
    from hlens.cli import serving

    limits = {"new_tokens": max_tokens, "body": max_body, "rows": rows, "waiting": waiting}
    offer = serving.offered(
        model=model,
        detectors=detector or (),
        adapters=adapter or (),
        engine=engine,
        loading=loading,
        policies=policy or (),
        threshold=threshold,
        limits=limits,
        abstention=abstention,
        log_text=log_text,
    )
    from hlens.server import serve as serve_offer

    serve_offer(offer, host=host, port=port)


@app.command()
@takes_form
@takes_answers
def score(
    detector: Annotated[
        str, typer.Argument(help="A detector: a file, a folder, a study or owner/name on the hub.")
    ],
    file: Annotated[Path, typer.Argument(help="Answers: .jsonl, .json, .csv, .tsv or .parquet.")],
    how: AnswerOptions,
    form: Form,
    to: Annotated[
        Path | None,
        typer.Option(help="Write every answer, span and token: .csv, .jsonl or .parquet."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Answers at a time; fitted to the memory by default.")
    ] = None,
) -> None:
    """A detector on answers that are there already: the risk of each, of its spans and its tokens.

    Where the answers have labels, tokens, spans and responses are evaluated, too.
    """
    from hlens.cli import scoring

    with show.progress() as progress:
        scored = scoring.score_file(
            detector,
            file,
            how,
            to=to,
            batch_size=batch_size,
            progress=progress,
        )
    scoring.show_scored(scored, form)


@app.command()
@takes_form
@takes_answers
def recalibrate(
    detector: Annotated[
        str, typer.Argument(help="A study, or a detector: a file, a folder or owner/name.")
    ],
    how: AnswerOptions,
    form: Form,
    file: Annotated[
        Path | None,
        typer.Argument(help="Labelled answers; a study without them takes those it held out."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the recalibrated detector: .safetensors.")
    ] = None,
) -> None:
    """New thresholds and probabilities from labelled answers; the neurons are kept.

    A threshold belongs to a share of true answers that may be flagged: 1, 5 and 10 %. Each domain
    with labels enough gets its own; the others fall back on those of all together.
    """
    from hlens.cli import recalibrating

    with show.progress() as progress:
        found = recalibrating.recalibrate_detector(
            detector,
            file,
            how,
            to=to,
            progress=progress,
        )
    recalibrating.show_recalibrated(found, form)


@app.command()
@takes_form
@takes_answers
def drift(
    detector: Annotated[
        str, typer.Argument(help="A study, or a recalibrated detector: a file, folder, owner/name.")
    ],
    file: Annotated[
        Path,
        typer.Argument(help="Scores that hlens score --to wrote, or answers, labelled or not."),
    ],
    how: AnswerOptions,
    form: Form,
    shift: Annotated[
        float, typer.Option(help="The smallest shift that matters, in standard deviations of home.")
    ] = 0.3,
    permutations: Annotated[
        int, typer.Option(help="Of whole groups of questions, for the p values.")
    ] = 2000,
) -> None:
    """Do live answers still look like those that the detector was recalibrated on? 1 if not.

    Of scores the distribution is compared; of answers, which the model reads, the neurons too, and
    those that moved are named. It says when to test again.
    """
    from hlens.cli import drifting

    with show.progress() as progress:
        found = drifting.find_drift(
            detector,
            file,
            how,
            shift=shift,
            permutations=permutations,
            progress=progress,
        )
    drifting.show_drift(found, form)
    if found.shifted:
        raise typer.Exit(1)
