"""Models that caption without a prompt, with random weights: BLIP and its VQA, BLIP-2, GIT."""

from typing import Any

from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    GPT2Tokenizer,
    OPTConfig,
)

from tests.tiny_parts import HEADS, TEXT, VISION, bytes_vocabulary

__all__ = ["blip", "blip2", "blip_vqa", "git"]

WORDS = """a an the is this that what how many there are in picture of on red blue green circle
square cat dog yes no one two three user assistant describe it photo drawing big small and with"""


def _parts() -> tuple[BlipConfig, BlipProcessor]:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    letters = "abcdefghijklmnopqrstuvwxyz?!.,'"
    tokens = [*specials, *WORDS.split(), *letters, *(f"##{letter}" for letter in letters)]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = BertTokenizer(
        vocab=vocab,
        model_max_length=64,
        bos_token="[DEC]",
        additional_special_tokens=["[ENC]"],
    )
    config = BlipConfig(
        text_config={
            **TEXT,
            **HEADS,
            "vocab_size": len(tokenizer),
            "encoder_hidden_size": 64,
            "projection_dim": 24,
            "max_position_embeddings": 64,
            "bos_token_id": vocab["[DEC]"],
            "sep_token_id": vocab["[SEP]"],
            "eos_token_id": vocab["[SEP]"],
            "pad_token_id": vocab["[PAD]"],
        },
        vision_config=VISION,
        projection_dim=24,
        image_text_hidden_size=24,
    )
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    return config, BlipProcessor(images, tokenizer)


def blip() -> tuple[Any, Any]:
    """A ``BlipForConditionalGeneration`` and its processor."""
    config, processor = _parts()
    return BlipForConditionalGeneration(config), processor


def blip_vqa() -> tuple[Any, Any]:
    """A ``BlipForQuestionAnswering`` and its processor."""
    config, processor = _parts()
    return BlipForQuestionAnswering(config), processor


def git() -> tuple[Any, Any]:
    """A ``GitForCausalLM`` and its processor."""
    _, processor = _parts()
    tokenizer = processor.tokenizer
    config = GitConfig(
        vision_config=VISION,
        **TEXT,
        **HEADS,
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    return GitForCausalLM(config), GitProcessor(images, tokenizer)


def blip2() -> tuple[Any, Any]:
    """A ``Blip2ForConditionalGeneration`` with an OPT, and its processor."""
    specials = ["<s>", "<pad>", "</s>", "<image>"]
    end = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    tokenizer = GPT2Tokenizer(
        vocab=bytes_vocabulary(specials),
        merges=[],
        additional_special_tokens=["<image>"],
        **end,
    )
    text = OPTConfig(
        hidden_size=TEXT["hidden_size"],
        word_embed_proj_dim=TEXT["hidden_size"],
        ffn_dim=TEXT["intermediate_size"],
        num_hidden_layers=2,
        init_std=TEXT["initializer_range"],
        **HEADS,
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
    )
    config = Blip2Config(
        vision_config=VISION,
        qformer_config={**TEXT, **HEADS, "vocab_size": 30, "encoder_hidden_size": 64},
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=specials.index("<image>"),
    )
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor = Blip2Processor(images, tokenizer, num_query_tokens=4)
    return Blip2ForConditionalGeneration(config), processor
