"""Serves the page: on which address, with which limits, and the models waking meanwhile.

Knows nothing of what the page shows.
"""

import asyncio
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from assistant.build import Imprint
from assistant.ui.environment import prepare
from assistant.ui.waking import Waking
from tools.errors import SettingsError
from tools.images import MAX_BYTES

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["Served", "serve"]

_LAST_WAIT = 20.0  # seconds


@dataclass(frozen=True)
class Served:
    """A running page."""

    url: str
    page: "gr.Blocks"
    waking: Waking

    def close(self) -> None:
        """Stop serving."""
        self.page.close(verbose=False)


def serve(
    imprint: Imprint,
    *,
    prevent_thread_lock: bool = False,
    warm: bool = True,
    quiet: bool = False,
) -> Served:
    """Start the page of ``imprint`` and print its address.

    Blocks until Ctrl-C unless ``prevent_thread_lock``. ``warm`` loads the models meanwhile,
    ``quiet`` prints nothing. Raises :class:`SettingsError` when the port is taken.
    """
    prepare()
    import gradio  # noqa: F401  # whole, before another thread imports torch: their imports overlap

    doing = partial(getattr, imprint.sight.survey, "doing")
    waking = Waking(imprint.warm_up, doing) if warm else Waking.awake(doing)
    if warm:
        waking.start()
    with ThreadPoolExecutor(1) as aside:  # whoever calls may have a loop running, as notebooks do
        page, url = aside.submit(lambda: asyncio.run(_start(imprint, waking))).result()
    if not quiet:
        sys.stdout.write(f"{imprint.models.describe()}\nImprint is at {url} (Ctrl-C stops it)\n")
        sys.stdout.flush()
    if not prevent_thread_lock:
        if threading.current_thread() is threading.main_thread():
            # A service manager's stop leaves as cleanly as Ctrl-C: SystemExit unwinds.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            page.block_thread()
        finally:
            waking.done.wait(_LAST_WAIT)  # torch aborts when the process ends while it loads
    return Served(url, page, waking)


async def _start(imprint: Imprint, waking: Waking) -> "tuple[gr.Blocks, str]":
    # In a running loop: where none runs, gradio makes one for each of its locks and closes none.
    from assistant.ui.page import build_page

    page = build_page(imprint, waking=waking)
    return page, _launch(page, imprint)


def _launch(page: "gr.Blocks", imprint: Imprint) -> str:
    from starlette.middleware import Middleware

    from assistant.ui.guard import NoFetching
    from assistant.ui.page import SCRIPT, style, theme

    settings = imprint.settings
    options: dict[str, Any] = {
        "theme": theme(),
        "css": style(),
        "js": SCRIPT,
        "footer_links": [],
        "app_kwargs": {"middleware": [Middleware(NoFetching)]},
    }
    try:
        _, url, _ = page.launch(
            server_name=settings.host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            show_error=False,
            allowed_paths=[],
            blocked_paths=[str(imprint.config.home)],
            max_file_size=MAX_BYTES,
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            strict_cors=True,
            **options,
        )
    except OSError as exc:
        raise SettingsError(
            f"The page can't be served on {settings.host}:{settings.port or 7860}: {exc} "
            "Choose another with --port (IMPRINT_PORT) or --host (IMPRINT_HOST)."
        ) from exc
    return url
