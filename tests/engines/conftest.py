"""The tiny model that the tests of vLLM share: its folder, and the local engine's side."""

from pathlib import Path

import pytest

import hlens
from hlens.model import Model
from tiny_vllm import folder_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def local(folder: Path) -> Model:
    return hlens.load(str(folder), device="cpu")
