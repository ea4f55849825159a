"""Captions and answers of real architectures with random weights: streamed, stopped, clean."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tests.hub_files import transformers_silent
from tests.tiny_models import built, photo
from tools.config import ModelChoice
from tools.models.answerer import TransformersAnswerer, load_answerer
from tools.models.captioner import TransformersCaptioner, load_captioner
from tools.models.generation import generate_text
from tools.models.sources import locate

ANSWERERS = ["llava", "idefics3", "paligemma", "blip-vqa"]
# Its processor hands a tensor to numpy, whose protocol torch does not follow yet:
# https://github.com/pytorch/pytorch/issues/129876
paligemma_warns = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("kind", ["blip", "blip-2", "git"])
def test_every_kind_of_captioner_streams_and_stops(kind: str) -> None:
    captioner = load_captioner(locate(ModelChoice(str(built(kind)))))
    with transformers_silent():
        assert_streams(lambda **how: captioner.caption(photo(1), **how))
    assert len({captioner.caption(photo(seed)) for seed in range(4)}) > 1  # it looks


@pytest.fixture
def captioner() -> TransformersCaptioner:
    return load_captioner(locate(ModelChoice(str(built("blip")))))


@pytest.fixture(params=ANSWERERS)
def answerer(request: pytest.FixtureRequest) -> TransformersAnswerer:
    return load_answerer(locate(ModelChoice(str(built(request.param)))))


def assert_streams(generate: Callable[..., str]) -> None:
    """What is streamed is what is returned, and a stop ends it after the piece it came with."""
    pieces: list[str] = []
    text = generate(on_token=pieces.append)
    assert "".join(pieces) == text == text.strip() == generate()
    stop = Event()
    assert generate(stop=stop) == text
    stop.set()
    assert generate(stop=stop) == ""
    if len(pieces) < 4:
        return
    stop, heard = Event(), []

    def one_is_enough(piece: str) -> None:
        heard.append(piece)
        stop.set()

    short = generate(on_token=one_is_enough, stop=stop)
    assert short == "".join(heard) != text
    assert text.startswith(heard[0])


def test_captions_stream_and_stop(captioner: TransformersCaptioner) -> None:
    text = captioner.caption(photo(1))
    assert len(text.split()) > 4, "random weights should ramble: the checks below need words"
    assert "[" not in text  # special tokens
    with transformers_silent():
        assert_streams(lambda **how: captioner.caption(photo(1), **how))
    assert captioner.caption(photo(4, (1280, 300))) != text  # it looks at the picture


@paligemma_warns
def test_answers_stream_and_stop(answerer: TransformersAnswerer) -> None:
    with transformers_silent():
        assert_streams(lambda **how: answerer.answer(photo(1), "what is this?", **how))
    answers = {answerer.answer(photo(seed), "what is this?") for seed in range(4)}
    assert len(answers) > 1  # it looks at the picture


@paligemma_warns
def test_special_tokens_in_a_question_are_harmless(answerer: TransformersAnswerer) -> None:
    plain = answerer.answer(photo(1), "what is this?")
    for token in ("<image>", "</s>", "<|im_start|>", "<fake_token_around_image>", "[SEP]", "<eos>"):
        if answerer._special.fullmatch(token):
            nested = f"{token[:3]}{token}{token[3:]}"
            asked = f"{token}what is this?{nested}{token * 3}"
            assert answerer.answer(photo(1), asked) == plain
    assert answerer._special.fullmatch("<image>")


@paligemma_warns
@pytest.mark.parametrize("question", ["", "   ", "<image>", "{{ 7 * 7 }} {% raw %}", "\x00é漢字🦊"])
def test_odd_questions_do_not_crash(answerer: TransformersAnswerer, question: str) -> None:
    text = answerer.answer(photo(1), question)
    if not question.replace("<image>", "").strip():
        assert text == answerer.answer(photo(1), "What is in this picture?")


def test_an_error_of_the_listener_ends_generation_and_nothing_else(
    captioner: TransformersCaptioner,
) -> None:
    def gone(piece: str) -> None:
        raise ConnectionError(piece)

    with pytest.raises(ConnectionError):
        captioner.caption(photo(1), on_token=gone)
    assert captioner.caption(photo(1))


def test_a_picture_takes_one_tile() -> None:
    """13 tiles would be 17 times the tokens: 2 s on a GPU, minutes on a CPU."""
    answerer = load_answerer(locate(ModelChoice(str(built("idefics3")))))
    inputs = answerer._inputs(photo(1, (1280, 960)).image, "what is this?")
    assert inputs["pixel_values"].shape == (1, 1, 3, 32, 32)
    assert int((inputs["input_ids"] == 3).sum()) == 4


def test_small_models_compute_on_one_thread_and_leave_the_setting() -> None:
    seen: list[int] = []
    captioner = load_captioner(locate(ModelChoice(str(built("blip")))))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        captioner.caption(photo(1), on_token=lambda _: seen.append(torch.get_num_threads()))
        assert (set(seen), torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


class Scripted:
    """Follows the contract of ``generate`` with given tokens; records how many it was asked for."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self.made = 0

    def generate(self, *, streamer: Any, stopping_criteria: Any, **inputs: Any) -> None:
        streamer.put(inputs["input_ids"])
        seen = inputs["input_ids"]
        for token in self.tokens[: inputs["max_new_tokens"]]:
            streamer.put(torch.tensor([token]))
            self.made += 1
            seen = torch.cat([seen, torch.tensor([[token]])], dim=1)
            if any(done(seen, None).all() for done in stopping_criteria):
                break
        streamer.end()


def run(tokenizer: Any, text: str, **how: Any) -> tuple[str, list[str], Scripted]:
    """What is returned and streamed when a model says ``text`` after a prompt."""
    model = Scripted(tokenizer(text)["input_ids"])
    pieces: list[str] = []
    prompt = {"input_ids": torch.tensor([tokenizer("the prompt")["input_ids"]])}
    how = {"max_new_tokens": 99, "on_token": pieces.append} | how
    return generate_text(model, tokenizer, prompt, **how), pieces, model


def tokenizer_of(kind: str) -> Any:
    return AutoTokenizer.from_pretrained(built(kind))


def test_neither_prompt_nor_special_tokens_are_text() -> None:
    text, pieces, _ = run(tokenizer_of("blip"), "a cat and a dog")
    assert text == "a cat and a dog"  # the tokenizer adds [CLS] and [SEP]
    assert pieces == ["a", " cat", " and", " a", " dog"]


@pytest.mark.parametrize("said", ["naïve 🦊 fox", "漢字 is kanji", "\n two\n\nlines \t end \n"])
def test_characters_of_several_tokens_are_never_broken(said: str) -> None:
    text, pieces, _ = run(tokenizer_of("idefics3"), said)
    assert text == "".join(pieces) == said.strip()
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    cut, pieces, _ = run(tokenizer_of("idefics3"), "one 🦊", max_new_tokens=6)
    assert (cut, pieces) == ("one", ["one"])


def test_stop_is_heard_at_the_next_token() -> None:
    stop = Event()
    text, _, model = run(
        tokenizer_of("blip"), "a cat and a dog", stop=stop, on_token=lambda piece: stop.set()
    )
    assert (text, model.made) == ("a cat", 3)  # [CLS] a cat: "a" is settled once "cat" follows


def test_a_tokenizer_that_rewrites_what_it_said_gets_the_last_word() -> None:
    class Rewriting:
        def decode(self, ids: list[int], **_: Any) -> str:
            return "do not know" if len(ids) > 2 else "I am sure"[: 4 * len(ids)]

    model = Scripted([1, 2, 3])
    prompt = {"input_ids": torch.tensor([[0]])}
    pieces: list[str] = []
    text = generate_text(model, Rewriting(), prompt, max_new_tokens=9, on_token=pieces.append)
    assert text == "do not know"


@pytest.mark.parametrize("kind", ["blip"])
def test_several_captions_are_different_and_the_likeliest_is_first(kind: str) -> None:
    captioner = load_captioner(locate(ModelChoice(str(built(kind)))))
    several = captioner.captions(photo(1), 4)
    assert 1 <= len(several) <= 4 and len(set(several)) == len(several)
    assert several == captioner.captions(photo(1), 4)
    stopped = Event()
    stopped.set()
    assert captioner.captions(photo(1), 4, stop=stopped) == []
