"""compat="thunlp" against the official way written anew: one sample at a time, all stacked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import architectures
import hlens.model
from hlens.contributions import import_thunlp, measure, measure_many
from hlens.contributions.official import OFFICIAL_NAMES, cett_thunlp
from hlens.errors import HlensError
from hlens.metrics import cett, signed_cett
from hlens.model import Model
from hlens.types import Example
from test_measure import close


class Tokenizer:
    """One token a character, with a chat template of a header and a two-token close."""

    chat_template = "as below"
    eos_token_id, pad_token_id = 2, 0
    _known = "?42UA:;\nabcdefghis "

    def get_vocab(self) -> dict[str, int]:
        return {char: number + 3 for number, char in enumerate(self._known)}

    def __call__(self, text: str, add_special_tokens: bool = True) -> Any:
        ids = [self.get_vocab()[char] for char in text]
        return type("Encoding", (), {"input_ids": ids})()

    def apply_chat_template(
        self, turns: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        said = "".join(f"{turn['role'][0].upper()}:{turn['content']};\n" for turn in turns)
        return said + ("A:" if add_generation_prompt else "")


def ids(tokenizer: Any, turns: list[dict[str, str]], header: bool = False) -> list[int]:
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=header)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


CHATS = [("abc abc?", "42 is a", "42"), ("a?", "bag\n42", "42"), ("ha ha ha?", "egg", "egg")]


@pytest.fixture(scope="module")
def model() -> Model:
    return hlens.model.load((architectures.llama(), Tokenizer()))


def tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def examples(tokenizer: Any) -> list[Example]:
    found = []
    for number, (question, response, answer) in enumerate(CHATS):
        user = [{"role": "user", "content": question}]
        prompt = ids(tokenizer, user, header=True)
        start = len(prompt) + len(tokens(tokenizer, response[: response.index(answer)]))
        found.append(
            Example(
                token_ids=torch.tensor(prompt + tokens(tokenizer, response)),
                n_prompt=len(prompt),
                start=start,
                stop=start + len(tokens(tokenizer, answer)),
                hallucinated=number == 0,
                question_id=f"q{number}",
                group=f"q{number}",
                domain="chat",
            )
        )
    return found


def official(model: Model, tokenizer: Any, chat: tuple[str, str, str]) -> dict[str, Tensor]:
    """Regions and formula of the official code, on the whole conversation, in float32."""
    question, response, answer = chat
    user = [{"role": "user", "content": question}]
    whole = ids(tokenizer, [*user, {"role": "assistant", "content": response}])
    n_user = len(ids(tokenizer, user))
    acts: list[Tensor] = []
    outs: list[Tensor] = []

    def keep(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        acts.append(args[0][0])
        outs.append(output[0])

    hooks = [down.register_forward_hook(keep) for down in model.down_projections]
    with torch.no_grad():
        model.hf(torch.tensor([whole]))
    for hook in hooks:
        hook.remove()
    layers = range(model.n_layers)
    norms = torch.stack([model.w_out(layer).norm(dim=1) for layer in layers])
    out_norms = torch.stack(outs).norm(dim=-1, keepdim=True)
    stacked = torch.stack(acts).abs() * norms[:, None] / (out_norms + 1e-8)
    wanted = tokens(tokenizer, answer)
    starts = range(n_user, len(whole))
    start = next(i for i in starts if whole[i : i + len(wanted)] == wanted)
    stop = start + len(wanted)
    rest = torch.cat([stacked[:, :start], stacked[:, stop:]], dim=1)
    return {
        "input": stacked[:, : n_user - 1].mean(1).detach(),
        "output": stacked[:, n_user : len(whole) - 1].mean(1).detach(),
        "answer_tokens": stacked[:, start:stop].mean(1).detach(),
        "all_except_answer_tokens": rest.mean(1).detach(),
    }


@pytest.mark.model
def test_every_region_agrees_on_the_embedded_model() -> None:
    test_every_region_agrees_with_the_official_way(hlens.model.load("smollm2-135m"))


def test_every_region_agrees_with_the_official_way(model: Model) -> None:
    items = examples(model.tokenizer)
    found = measure_many(
        model, items, metrics=[cett], regions=list(OFFICIAL_NAMES), compat="thunlp"
    )
    for row, chat in enumerate(CHATS):
        for region, expected in official(model, model.tokenizer, chat).items():
            close(found["cett_thunlp", region].values[row], expected, 2e-6)


def test_official_names_are_understood_too(model: Model) -> None:
    items = examples(model.tokenizer)
    ours, theirs = (
        measure(model, items, region=name, compat="thunlp") for name in ("response", "output")
    )
    assert torch.equal(ours.values, theirs.values)
    assert ours.region == theirs.region == "output"
    assert ours.metric == "cett_thunlp"


def test_without_a_chat_template_nothing_is_added(model: Model) -> None:
    bare = hlens.model.load((architectures.llama(), None))
    items = examples(model.tokenizer)
    close(measure(bare, items, compat="thunlp").values, measure(bare, items, metric=cett).values)


@pytest.mark.parametrize("wrong", [{"metric": signed_cett}, {"position": "predicted"}])
def test_what_the_official_code_lacks_is_refused(model: Model, wrong: dict[str, Any]) -> None:
    with pytest.raises(HlensError, match="measures CETT"):
        measure(model, examples(model.tokenizer), compat="thunlp", **wrong)
    with pytest.raises(HlensError, match="region of the official code"):
        measure(model, examples(model.tokenizer), region="last_prompt", compat="thunlp")


# Files of the official pipeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("answer", "other"):
        (tmp_path / name).mkdir()
        for qid in ("tc_1", "tc_2", "qw_3"):
            values = draw.random((3, 5), dtype=np.float32)
            np.save(tmp_path / name / f"act_{qid}.npy", values)
    (tmp_path / "ids.json").write_text(json.dumps({"t": ["tc_1", "qw_3"], "f": ["tc_2"]}))
    return tmp_path


def test_the_official_files_become_contributions(folder: Path) -> None:
    data = import_thunlp(folder / "answer", folder / "ids.json")
    assert data.question_ids == ("tc_1", "qw_3", "tc_2")
    assert data.labels.tolist() == [False, False, True]
    assert data.neuron_major.data_ptr() == data.values.data_ptr()
    for row, qid in enumerate(data.question_ids):
        expected = np.load(folder / "answer" / f"act_{qid}.npy")
        assert torch.equal(data.values[row], torch.from_numpy(expected))


def test_other_tokens_are_true_examples_of_the_same_groups(folder: Path) -> None:
    data = import_thunlp(folder / "answer", folder / "ids.json", other_folder=folder / "other")
    assert data.labels.tolist() == [False, False, True, False, False, False]
    assert data.groups[:3] == data.groups[3:]


def test_other_tokens_stay_where_an_answer_was_not_found(folder: Path) -> None:
    (folder / "answer" / "act_qw_3.npy").unlink()
    with pytest.warns(UserWarning, match="1 of 3 answers have no file"):
        data = import_thunlp(folder / "answer", folder / "ids.json", other_folder=folder / "other")
    assert data.question_ids == ("tc_1", "tc_2", "tc_1", "qw_3", "tc_2")
    assert data.labels.tolist() == [False, True, False, False, False]
    for row, part in enumerate(["answer", "answer", "other", "other", "other"]):
        expected = np.load(folder / part / f"act_{data.question_ids[row]}.npy")
        assert torch.equal(data.values[row], torch.from_numpy(expected))


def test_folders_that_do_not_match_are_refused(folder: Path) -> None:
    ids, both = folder / "ids.json", {"other_folder": folder / "other"}
    with pytest.raises(HlensError, match="cannot hold both"):
        import_thunlp(folder / "other", ids, **both)
    with pytest.raises(HlensError, match="3 of 6 files are missing"):  # no answer: not this folder
        import_thunlp(folder / "elsewhere", ids, **both)
    np.save(folder / "other" / "act_tc_1.npy", np.ones((3, 6), np.float32))
    with pytest.raises(HlensError, match=r"act_tc_1\.npy has shape"):
        import_thunlp(folder / "answer", ids, **both)
    (folder / "other" / "act_tc_1.npy").unlink()
    with pytest.raises(HlensError, match=r"1 of 6 files are missing .*other/act_tc_1"):
        import_thunlp(folder / "answer", ids, **both)


def test_missing_and_mixed_files_are_named(folder: Path) -> None:
    np.save(folder / "answer" / "act_qw_3.npy", np.zeros((3, 6), np.float32))
    with pytest.raises(HlensError, match=r"act_qw_3.npy has shape \(3, 6\)"):
        import_thunlp(folder / "answer", folder / "ids.json")
    (folder / "answer" / "act_tc_2.npy").unlink()
    with pytest.raises(HlensError, match=r"1 of 3 files are missing .*act_tc_2"):
        import_thunlp(folder / "answer", folder / "ids.json")
    (folder / "ids.json").write_text("[]")
    with pytest.raises(HlensError, match="cannot read the id list"):
        import_thunlp(folder / "answer", folder / "ids.json")


def garble(folder: Path) -> None:
    (folder / "act_b.npy").write_bytes(b"not an array")


def spoil(folder: Path) -> None:
    np.save(folder / "act_b.npy", np.full((2, 3), np.nan, np.float32))


def repeat(folder: Path) -> None:
    (folder / "ids.json").write_text(json.dumps({"t": ["a", "a"], "f": ["b"]}))


def join(folder: Path) -> None:
    (folder / "ids.json").write_text(json.dumps({"t": "ab", "f": []}))


def lengthen(folder: Path) -> None:
    (folder / "ids.json").write_text(json.dumps({"t": ["a" * 5000], "f": ["b"]}))


def climb(folder: Path) -> None:
    (folder / "ids.json").write_text(json.dumps({"t": ["../a"], "f": ["b"]}))


def turn(folder: Path) -> None:
    np.save(folder / "act_b.npy", np.ones((2, 3), np.complex64))


def confuse(folder: Path) -> None:
    (folder / "ids.json").write_text(json.dumps({"t": ["a", "b"], "f": ["b"]}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (garble, r"act_b.npy is not an array of numbers"),
        (spoil, r"act_b.npy holds values that are not finite"),
        (turn, r"act_b.npy is not an array of numbers \(it holds complex64"),
        (repeat, r"lists 'a' twice"),
        (lengthen, r"lists 'aaa.*, after which no file is called"),
        (climb, r"lists '../a', after which no file is called"),
        (join, r"cannot read the id list"),
        (confuse, r"1 ids of .* are both true and hallucinated \(first: 'b'\)"),
    ],
)
def test_what_would_spoil_a_probe_is_named(tmp_path: Path, harm: Any, said: str) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"act_{name}.npy", np.ones((2, 3), np.float32))
    (tmp_path / "ids.json").write_text(json.dumps({"t": ["a"], "f": ["b"]}))
    harm(tmp_path)
    with pytest.raises(HlensError, match=said):
        import_thunlp(tmp_path, tmp_path / "ids.json")


def test_the_official_epsilon_is_seen_only_where_outputs_vanish(model: Model) -> None:
    items = examples(model.tokenizer)
    near = [replace(item, question_id="again") for item in items]
    a, b = measure(model, near, metric=cett), measure(model, items, metric=cett_thunlp)
    close(a.values, b.values, 1e-6)
