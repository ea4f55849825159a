"""Any server that speaks OpenAI's chat completions, and the one door for what goes wrong there.

Knows nothing of tools or conversations. OpenAI itself, vLLM, Ollama, llama.cpp, LM Studio and
most clouds speak it. The key is held as a secret, sent to that server only, and kept out of
every message.
"""

import json
from collections.abc import Iterator
from typing import Any, Self

import openai
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tools.errors import BrainFailed

__all__ = ["OpenAICompatible"]

_NO_KEY = SecretStr("none")  # the client wants one; servers of one's own mostly do not
_MAYBE_BLIND = (400, 404, 415, 422)  # what servers answer to a picture they can't take
_LONGEST = 200  # characters of a server's own words


class OpenAICompatible(ChatOpenAI):
    """``ChatOpenAI`` whose failures are all :class:`BrainFailed`."""

    @classmethod
    def at(cls, url: str, model: str, key: SecretStr | None, timeout: float) -> Self:
        """The model of a server; ``timeout`` is in seconds, between two signs of life."""
        return cls(
            model=model,
            base_url=url,  # always given, so that nothing in the environment reroutes it
            api_key=key or _NO_KEY,
            timeout=timeout,
            max_retries=0,  # the router is there at once; a retry is the user's to ask for
            # Servers of other makers speak the older protocol only, whatever their models' names.
            use_responses_api=None if url.startswith("https://api.openai.com/") else False,
        )

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        begun = ended = False
        try:
            for chunk in super()._stream(messages, *args, **kwargs):
                told = {**(chunk.generation_info or {}), **chunk.message.response_metadata}
                ended = ended or bool(told.get("finish_reason") or told.get("status"))
                begun = True
                yield chunk
        except (openai.OpenAIError, json.JSONDecodeError) as exc:
            # The one door: all that the client raises, and the event that it lets through unread.
            raise BrainFailed(self._reason(exc, messages, begun)) from exc
        if not begun:
            raise BrainFailed(
                f"{self.openai_api_base} sent no chat completion: the address of an "
                "OpenAI-compatible API mostly ends in /v1"
            )
        if not ended:
            raise BrainFailed("the connection ended before the answer did")

    def _reason(self, exc: Exception, messages: list[BaseMessage], begun: bool) -> str:
        match exc:
            case openai.APITimeoutError():
                return f"timed out after {self.request_timeout:g} s"
            case openai.APIConnectionError() if begun:
                return f"the connection to {self.openai_api_base} broke off"
            case openai.APIConnectionError():
                return f"there is no connection to {self.openai_api_base}"
            case openai.AuthenticationError():
                return (
                    f"{self.openai_api_base} refused the key, HTTP {exc.status_code}: "
                    "set OPENAI_API_KEY to one that it knows"
                )
            case openai.APIStatusError():
                seen = any("image" in _kinds(m) for m in messages)
                blind = seen and exc.status_code in _MAYBE_BLIND
                hint = "; if this model sees no pictures, end --brain with #text" if blind else ""
                where = f"{self.openai_api_base} answered with HTTP {exc.status_code}"
                return f"{where}: {self._told(exc)}{hint}"
            case openai.APIError():
                return f"the server reported: {self._told(exc)}"
        return "the server sent something that is not JSON"

    def _told(self, exc: openai.APIError) -> str:
        """The server's own words, short and without the key."""
        body = exc.body if isinstance(exc.body, dict) else {}
        words = " ".join(str(body.get("message") or exc.message).split())
        key = self.openai_api_key
        if isinstance(key, SecretStr):
            words = words.replace(key.get_secret_value(), "…")
        return words[:_LONGEST].rstrip(".")


def _kinds(message: BaseMessage) -> set[str]:
    """The types of a message's parts."""
    blocks = message.content if isinstance(message.content, list) else []
    return {str(b.get("type")) for b in blocks if isinstance(b, dict)}
