"""What the published protocol takes with a model of 8 billion on one GPU, on paper.

    python benchmarks/paper_times.py

The number of tokens follows from the recipe `h_neurons`; how fast they go from `cluster_plan.py`: a
step of all sequences reads every weight once, or computes, whichever takes longer. These are lower
bounds of the time; no GPU was at hand.
"""

from cluster_plan import CONTEXT, GPUS, Shape

from hlens.recipe.shipped import find_recipe

LLAMA_8B = Shape(32, 4096, 14336, 32, 8, 128256)
SEQUENCES = 256  # sampled at a time
PROMPT, ANSWER = 60, 10  # tokens of a question in its template, and of a usual answer


def main() -> None:
    recipe = find_recipe("h_neurons")
    sampling, tests = recipe.sampling, recipe.evaluation
    replies = recipe.questions * sampling.n + tests.test_questions * len(tests.test_domains)
    asked = recipe.questions + tests.test_questions * len(tests.test_domains)
    most, usual = replies * sampling.max_new_tokens, replies * ANSWER
    measured = 2 * recipe.labels.per_class + tests.test_questions * len(tests.test_domains)
    print(f"{replies:,} replies: {usual / 1e6:.1f} million new tokens at {ANSWER} a reply,")
    print(f"{most / 1e6:.1f} million where none ends before {sampling.max_new_tokens};")
    print(
        f"{measured:,} answers measured, {measured * (PROMPT + ANSWER) / 1e6:.2f} million tokens\n"
    )
    print("| GPU | new tokens/s at most | sampling, minutes at least | where no reply ends early |")
    print("|---|---|---|---|")
    shape = LLAMA_8B
    for name, (_, bandwidth, flops) in GPUS.items():
        read = 2 * shape.parameters + SEQUENCES * CONTEXT * shape.cached_bytes()
        speed = SEQUENCES / max(read / bandwidth, 2 * shape.parameters * SEQUENCES / flops)
        prompts = (
            2 * shape.parameters * PROMPT * asked / flops
        )  # once for all samples of a question
        minutes = [(prompts + tokens / speed) / 60 for tokens in (usual, most)]
        print(f"| {name} | {speed:,.0f} | {minutes[0]:.1f} | {minutes[1]:.1f} |")
    seconds = measured * (PROMPT + ANSWER) * 2 * shape.in_passes / GPUS["A100 80 GB"][2]
    stored = measured * shape.sums_bytes() / 1e9
    print(f"\nmeasuring {seconds:.0f} s of A100 arithmetic; {stored:.1f} GB of contributions")


if __name__ == "__main__":
    main()
