"""Brings the bytes of a public http(s) address, and of nothing else.

Knows nothing of pictures. The name is resolved here and the connection goes to the address that
was checked, so a name that points into a private network (or starts to, between check and use)
is refused; every redirect is checked again.
"""

import ipaddress
import socket
from urllib.parse import urljoin

import httpx

from tools.errors import PhotoError

__all__ = ["fetch_bytes"]

_REDIRECTS = 3
_SECONDS = 10.0


def fetch_bytes(url: str, *, limit: int, transport: httpx.BaseTransport | None = None) -> bytes:
    """At most ``limit`` bytes of ``url``; raises :class:`PhotoError` with the reason.

    ``transport`` replaces the network (a public seam: ``httpx.MockTransport`` in tests).
    """
    shown = url[:80]
    try:
        with httpx.Client(transport=transport, timeout=_SECONDS, trust_env=False) as client:
            for _ in range(_REDIRECTS + 1):
                request = _pinned(client, httpx.URL(url))
                response = client.send(request, stream=True)
                try:
                    if response.is_redirect:
                        url = urljoin(url, response.headers["location"])
                        continue
                    if not response.is_success:
                        raise PhotoError(
                            f"{shown} answered {response.status_code}: check the address."
                        )
                    return _read(response, limit, shown)
                finally:
                    response.close()
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
        raise PhotoError(
            f"{shown} could not be fetched ({type(exc).__name__}): "
            "check the address and the network, or send the file itself."
        ) from exc
    raise PhotoError(f"{shown} redirects more than {_REDIRECTS} times: send the file itself.")


def _read(response: httpx.Response, limit: int, shown: str) -> bytes:
    parts: list[bytes] = []
    total = 0
    for part in response.iter_bytes():
        total += len(part)
        if total > limit:
            raise PhotoError(
                f"{shown} is larger than {limit // 1_000_000} MB: send a smaller picture."
            )
        parts.append(part)
    return b"".join(parts)


def _pinned(client: httpx.Client, url: httpx.URL) -> httpx.Request:
    """A request to the checked address of ``url``'s host, under the host's own name."""
    if url.scheme not in ("http", "https") or not url.host:
        raise PhotoError(f"I can't open {str(url)[:80]!r}: give an http or https address.")
    address = _public_address(url.host, url.port or (443 if url.scheme == "https" else 80))
    return client.build_request(
        "GET",
        url.copy_with(host=address),
        headers={"Host": url.netloc.decode("ascii"), "Accept": "image/*"},
        extensions={"sni_hostname": url.host},
    )


def _public_address(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise PhotoError(
            f"The host {host} can't be found: check the address and the network."
        ) from exc
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    # Every address must be public: a name may carry one of each kind.
    if not addresses or not all(a.is_global and not a.is_multicast for a in addresses):
        raise PhotoError(
            f"{host} is a private address, and I only fetch from public ones: send the file itself."
        )
    return str(addresses[0])
