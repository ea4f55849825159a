"""Chat models that say what their weights were made to say, in the Hub's layout.

Real architectures (Llama, LLaVA) of one layer whose attention and MLP add nothing: the
embedding is the identity and the head a table of which token follows which. What they say after
a user's message and after a tool's result is so fixed, and every file and code path that loads,
prompts and runs them is real.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    GPT2Tokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from tests.tiny_parts import VISION, bytes_vocabulary, llava_processor

__all__ = ["TEMPLATE", "build_chat"]

TEMPLATE = (
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
    "{% for m in messages %}<|start|>{{ m.role }}: "
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
    "<|end|>{% endfor %}"
    "{% if add_generation_prompt %}"
    "{% if messages[-1].role == 'tool' %}<|after|>{% else %}<|first|>{% endif %}{% endif %}"
)
_SPECIALS = ["<|end|>", "<|start|>", "<|first|>", "<|after|>", "<image>"]


def build_chat(
    folder: Path,
    *,
    first: Sequence[str],
    after: Sequence[str],
    vision: bool = False,
    template: str = TEMPLATE,
) -> Path:
    """Save a model that says the pieces ``first``, and ``after`` once a tool has answered.

    No piece may come twice: what follows a piece is fixed.
    """
    pieces = [*first, *after]
    assert len(set(pieces)) == len(pieces)
    tokenizer = GPT2Tokenizer(
        vocab=bytes_vocabulary(_SPECIALS),
        merges=[],
        eos_token="<|end|>",
        pad_token="<|end|>",
        bos_token="<|start|>",
        unk_token="<|end|>",
        additional_special_tokens=_SPECIALS[1:],
        model_max_length=1 << 16,
    )
    tokenizer.add_tokens(pieces)
    ids = {p: tokenizer.convert_tokens_to_ids(p) for p in [*_SPECIALS, *pieces]}
    follows = {}
    for start, said in (("<|first|>", first), ("<|after|>", after)):
        chain = [start, *said, "<|end|>"]
        follows |= {ids[a]: ids[b] for a, b in pairwise(chain)}
    size = -(-len(tokenizer) // 16) * 16
    text = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=16,
        max_position_embeddings=1 << 16,
        tie_word_embeddings=False,
        eos_token_id=ids["<|end|>"],
        bos_token_id=ids["<|start|>"],
        pad_token_id=ids["<|end|>"],
    )
    model, processor = _with_eyes(text, tokenizer, ids["<image>"]) if vision else (None, tokenizer)
    model = model or LlamaForCausalLM(text)
    _script(model, follows)
    processor.chat_template = template
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _with_eyes(text: LlamaConfig, tokenizer: Any, image: int) -> tuple[Any, Any]:
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=text,
        image_token_index=image,
        vision_feature_layer=-2,
    )
    config.eos_token_id = text.eos_token_id
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = text.eos_token_id
    return model, llava_processor(tokenizer)


@torch.no_grad()
def _script(model: Any, follows: dict[int, int]) -> None:
    for name, weights in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")) and "vision" not in name:
            weights.zero_()
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embedding.copy_(torch.eye(len(embedding)))
    head.zero_()
    for before, then in follows.items():
        head[then, before] = 1.0
