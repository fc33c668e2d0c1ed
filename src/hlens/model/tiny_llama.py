"""A small Llama with random weights and its tokenizer of whole words, to be trained or tested."""

from collections.abc import Sequence
from typing import Any

import torch

SPECIAL = ["<pad>", "<bos>", "<end>", "<user>", "<assistant>", "<unk>"]
PAD, BOS, END, USER, ASSISTANT, UNKNOWN = SPECIAL
CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def word_tokenizer(words: Sequence[str], chat: bool = True) -> Any:
    """A tokenizer with one token per word; a word's token includes the space before it.

    To `words` are added punctuation, the newline and ``Answer``; with `chat` it has a template.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    marks = [".", ",", "?", ":", "\n", "Answer"]
    known = dict.fromkeys([*SPECIAL, *marks, *(f" {word}" for word in words)])
    vocabulary = {token: index for index, token in enumerate(known)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    # So that a word has one token at the start of a text, after a newline and within a line.
    tidy = {r"\s*\n\s*": "\n", r" +": " "}
    replaced = [normalizers.Replace(Regex(pattern), new) for pattern, new in tidy.items()]
    inner.normalizer = normalizers.Sequence([normalizers.Prepend(" "), *replaced])
    inner.pre_tokenizer = pre_tokenizers.Split(
        Regex(r" ?[^\s.,?:]+|[.,?:]|\s"), behavior="isolated"
    )
    inner.decoder = decoders.Fuse()
    inner.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def tiny_llama(
    tokenizer: Any, *, n_layers: int, d_model: int, d_mlp: int, n_heads: int, seed: int
) -> Any:
    """A Llama with random weights, float32 on the CPU, for the tokenizer of `word_tokenizer`.

    The seed is that of the weights; the caller's random state is unchanged.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=d_model,
        intermediate_size=d_mlp,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_heads,
        max_position_embeddings=128,
        initializer_range=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()
