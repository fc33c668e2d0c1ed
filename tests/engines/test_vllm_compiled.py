"""A compiled vLLM samples as the local engine does, and refuses in one line what needs hooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-engines")

import hlens
from tiny_vllm import GREEDY, SMALL, folder_of, prompts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]

# In a process of its own: whether torch compiles is settled where it is imported.
SCRIPT = """
import json, sys
import hlens
from hlens import interventions as iv
from hlens.errors import HlensError
from tiny_vllm import GREEDY, examples, neurons_of, prompts

options = json.loads(sys.argv[2])
model = hlens.load(sys.argv[1], engine="vllm", engine_options=options)
refused = []
for ask in (
    lambda: hlens.measure(model, examples(2)),
    lambda: model.editing(neurons_of(model), iv.ablate()).__enter__(),
):
    try:
        ask()
    except HlensError as error:
        refused.append(str(error))
answers = [list(g.token_ids) for g in model.generate_many(prompts(), GREEDY)]
mode = model.llm.llm_engine.vllm_config.compilation_config.mode.name
print("TOLD " + json.dumps({"mode": mode, "answers": answers, "refused": refused}))
model.close()
"""


def test_it_samples_and_says_what_it_does_not_do(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "tiny")
    options = json.dumps(SMALL | {"enforce_eager": False})
    environment = {k: v for k, v in os.environ.items() if k != "TORCH_COMPILE_DISABLE"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), options],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    told = json.loads(line.removeprefix("TOLD "))
    assert told["mode"] == "DYNAMO_TRACE_ONCE"  # how vLLM compiles on a CPU
    local = hlens.load(str(folder), device="cpu")
    assert told["answers"] == [list(g.token_ids) for g in local.generate_many(prompts(), GREEDY)]
    measuring, editing = told["refused"]
    assert "measuring needs hooks, which a compiled vLLM does not run" in measuring
    assert "editing needs hooks, which a compiled vLLM does not run" in editing
    assert "\n" not in measuring + editing
