"""The page itself: what is where, and which event goes to which handler.

Knows nothing of turns or tools. The chat is an output only: no event takes it as an input.
"""

import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, cast

import gradio as gr
from gradio.events import api

from assistant.build import Imprint
from assistant.ui.api import Api
from assistant.ui.examples import EXAMPLES
from assistant.ui.guard import GuardedBlocks
from assistant.ui.handlers import Handlers, Screen
from assistant.ui.waking import Waking

__all__ = ["SCRIPT", "build_page", "style", "theme"]

_PICTURE_FILES = ["image", ".heic", ".heif", ".avif"]  # the last three get a sentence, not a toast
_WELCOME = """
<div class="imp-welcome">
<h2>Show me something, and tell me what it is.</h2>
<p>Add a picture and say <q>this is a zorb</q>. Send another and ask <q>what is this?</q>
If I am wrong, say <q>no, that’s a blick</q>. I remember.</p>
</div>
"""
# A browser tells nothing when the same file is chosen again: forget the last choice first.
SCRIPT = """() => document.addEventListener('click', event => {
    if (event.target.matches('#imp-box input[type=file]')) event.target.value = '';
}, true)"""
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build_page(imprint: Imprint, *, waking: Waking | None = None) -> gr.Blocks:
    """The page of ``imprint``, not served yet."""
    handlers = Handlers(imprint, waking or Waking.awake())
    page: gr.Blocks
    with GuardedBlocks(
        title="Imprint", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        token = gr.BrowserState(
            None, storage_key="imprint", secret=handlers.visitors.browser_secret
        )
        with gr.Row(elem_id="imp-top"):
            gr.HTML('<h1><span class="imp-mark"></span>Imprint</h1>', padding=False)
            fresh = gr.Button("New conversation", size="sm", scale=0, elem_id="imp-new")
        with gr.Row(elem_id="imp-main"):
            with gr.Column(scale=3, min_width=320, elem_id="imp-talk"):
                chat = _chat()
                box = _box()
                gr.HTML(_models_line(imprint), padding=False)
            with gr.Column(scale=1, min_width=240, elem_id="imp-side"):
                with gr.Accordion("Camera", open=False):
                    camera = gr.Image(
                        sources=["webcam"],
                        type="filepath",
                        format="png",
                        show_label=False,
                        height=220,
                        elem_id="imp-camera",
                    )
                    gr.HTML(
                        '<p class="imp-hint">The picture goes with your next message.</p>',
                        padding=False,
                    )
                with gr.Accordion("What I know", open=True):
                    known = gr.HTML("", padding=False)
        _wire(page, handlers, chat, box, camera, token, known, fresh)
        api(Api(imprint, handlers.visitors).ask, api_name="ask", concurrency_limit=2)
    page.queue(max_size=64, default_concurrency_limit=4)
    return page


def theme() -> gr.themes.Base:
    """Colours and fonts; the fonts are the reader's own, so nothing is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=fonts,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*primary_950",
        border_color_accent_subdued="*primary_200",
        border_color_accent_subdued_dark="*primary_900",
    )


def style() -> str:
    """The style sheet."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _chat() -> gr.Chatbot:
    chat = gr.Chatbot(
        show_label=False,
        label="Conversation",
        elem_id="imp-chat",
        height="100%",
        editable="user",
        render_markdown=False,  # what is said is text, whoever says it
        sanitize_html=True,
        allow_tags=False,
        latex_delimiters=[],
        feedback_options=None,
        buttons=["copy"],
        layout="bubble",
        group_consecutive_messages=False,  # in a group gradio edits no text beside a picture
        placeholder=_WELCOME,
        examples=[
            {"display_text": e.title, "text": e.text, "icon": str(e.path)}
            for e in EXAMPLES
            if e.first
        ],
    )
    # Uploads are deleted after a day; the icons of the examples are not uploads.
    icons = [cast(dict[str, Any], e["icon"]) for e in chat.examples or []]
    chat.keep_in_cache.update(str(icon["path"]) for icon in icons)
    return chat


def _box() -> gr.MultimodalTextbox:
    return gr.MultimodalTextbox(
        sources=["upload"],
        file_types=_PICTURE_FILES,
        file_count="multiple",
        placeholder="Say something, or add a picture",
        show_label=False,
        label="Message",
        lines=1,
        max_lines=6,
        max_plain_text_length=100_000,  # a long paste is refused in words, not made a file
        submit_btn=True,
        stop_btn=False,
        autofocus=True,
        elem_id="imp-box",
    )


def _models_line(imprint: Imprint) -> str:
    """Which models run; how to get better ones unfolds, because it has commands in it."""
    first, _, rest = imprint.models.describe().partition(". ")
    if not rest:
        return f'<p id="imp-models">{escape(first)}</p>'
    more = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(rest))
    return (
        f'<details id="imp-models"><summary>{escape(first)}. <u>Better ones</u></summary>'
        f"<p>{more}</p></details>"
    )


def _wire(
    page: gr.Blocks,
    handlers: Handlers,
    chat: gr.Chatbot,
    box: gr.MultimodalTextbox,
    camera: gr.Image,
    token: gr.BrowserState,
    known: gr.HTML,
    fresh: gr.Button,
) -> None:
    outputs = [chat, box, camera, token, known]
    shown: dict[str, Any] = {"outputs": outputs, "concurrency_limit": 4, **_PRIVATE}

    def opened(kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.open(kept))

    def said(message: Any, picture: Any, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.say(message, picture, kept))

    def example(event: gr.SelectData, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.example(event.index, kept))

    def option(event: gr.SelectData, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.option(event.value, kept))

    def retry(event: gr.RetryData, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.retry(event.index, kept))

    def edit(event: gr.EditData, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.edit(event.index, event.value, kept))

    def undo(event: gr.UndoData, kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.undo(event.index, kept))

    def clear(kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.clear(kept))

    def stop(kept: Any) -> Iterator[Any]:
        yield from map(_updates, handlers.stop(kept))

    page.load(opened, token, api_name="open", **shown)
    box.submit(said, [box, camera, token], api_name="say", **shown)
    on: list[tuple[Callable[..., Any], Callable[..., Any], str]] = [
        (chat.example_select, example, "example"),
        (chat.option_select, option, "option"),
        (chat.retry, retry, "retry"),
        (chat.edit, edit, "edit"),
        (chat.undo, undo, "undo"),
        (chat.clear, clear, "clear"),
        (fresh.click, clear, "new"),
        (box.stop, stop, "stop"),
    ]
    for listen, handler, name in on:
        listen(handler, token, api_name=name, **shown)


def _updates(screen: Screen) -> list[Any]:
    """A screen as values of chat, box, camera, token and known."""
    if screen.notice:
        gr.Info(escape(screen.notice, quote=False), title="Imprint")
    changes: dict[str, Any] = {}
    if screen.busy is not None:
        changes |= {"submit_btn": not screen.busy, "stop_btn": screen.busy}
    if screen.sent:
        changes["value"] = {"text": "", "files": []}
    if screen.draft is not None:
        text, files = screen.draft
        changes["value"] = {"text": text, "files": [str(f) for f in files]}
    return [
        list(screen.chat.messages) if screen.chat is not None else gr.skip(),
        gr.MultimodalTextbox(**changes) if changes else gr.skip(),
        None if screen.sent else gr.skip(),
        screen.token if screen.token is not None else gr.skip(),
        screen.known if screen.known is not None else gr.skip(),
    ]
