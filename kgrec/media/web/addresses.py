"""An address may be asked if its host is one of the source's, and if what the name resolves to is the public internet.

The second is checked on the very addresses a connection is opened to, so a name that resolves to one thing when it is
looked at and to another when it is used gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_PORTS = {"http": 80, "https": 443}
#: addresses that carry an IPv4 address in their last 32 bits (RFC 6052)
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """An address must not be asked; the message says why."""


def parse_address(url: str, base: URL | None = None) -> URL:
    """``url``, absolute or relative to ``base``, as an address that can be asked.

    :raises AddressRefused: if it is not http or https, carries a user or password, or is no address at all
    """
    try:
        parsed = URL(url)
        parsed = parsed if base is None else base.join(parsed)
        host, port = parsed.raw_host, parsed.port
    except ValueError:
        raise AddressRefused("not a valid address") from None
    if parsed.scheme not in _PORTS:
        raise AddressRefused(f"scheme {parsed.scheme or 'none'} is not http or https")
    if not host or not port:
        raise AddressRefused("no host")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise AddressRefused("a user or password in an address")
    return parsed.with_fragment(None)


def check_host(url: URL, hosts: Collection[str]) -> None:
    """Whether the host of ``url`` is one of ``hosts``.

    :param hosts: ``host`` (ports 80 and 443), ``host:port``; ``*.example.org`` stands for all subdomains
    :raises AddressRefused: if it is not
    """
    own, spellings = _PORTS[url.scheme] == url.port, {url.raw_host or "", url.host or ""}
    if not any(
        any(_same_host(host, name) for host in spellings) and (own if port is None else port == url.port)
        for name, port in map(_split, hosts)
    ):
        raise AddressRefused(f"host {host_port(url)} is not one of the source's")


def check_literal(url: URL, allow_local: Collection[str]) -> None:
    """Whether a host written as an IP address may be asked; a name is left to :class:`PublicResolver`.

    :raises AddressRefused: if it is an address of a local network that ``allow_local`` does not name, or is written in
        one of the old ways (``127.1``, ``2130706433``) that only some programs read as an address
    """
    host = url.raw_host or ""
    if ":" in host:
        literal = host.partition("%")[0]
    elif (last := host.rstrip(".").rpartition(".")[2].lower()).isdigit() or last.startswith("0x"):
        literal = host
    else:
        return
    try:
        public = is_public(ip_address(literal))
    except ValueError:
        raise AddressRefused(f"{host} is not an IP address as they are usually written") from None
    if not public and not allowed_local(host, url.port or 0, allow_local):
        raise AddressRefused(f"{host} is an address of the local network")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is routed on the public internet; an IPv6 address that carries an IPv4 address is as that is."""
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        carried = address.ipv4_mapped or address.sixtofour or (teredo and teredo[1])
        if address in _NAT64:
            carried = IPv4Address(int(address) & 0xFFFFFFFF)
        if carried:
            return is_public(carried)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def allowed_local(host: str, port: int, allow_local: Collection[str]) -> bool:
    """Whether ``host`` is named in ``allow_local``: as ``host`` (any port) or as ``host:port``."""
    return any(_same_host(host, name) and only in (None, port) for name, only in map(_split, allow_local))


def host_port(url: URL) -> str:
    """``host``, or ``host:port`` if the port is not the scheme's own."""
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    return host if _PORTS.get(url.scheme) == url.port else f"{host}:{url.port}"


@cache
def _split(name: str) -> tuple[str, int | None]:
    """``host[:port]`` in its parts; an IPv6 address is written in brackets if a port follows."""
    if name.startswith("["):
        host, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    elif name.count(":") == 1:
        host, _, port = name.partition(":")
    else:
        host, port = name, ""
    return host, int(port) if port.isdigit() else None


def _same_host(host: str, name: str) -> bool:
    host, name = host.rstrip(".").lower(), name.rstrip(".").lower()
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


class PublicResolver(AbstractResolver):
    """Resolves names to addresses of the public internet, and refuses a name if one of its addresses is not.

    :param inner: does the resolving
    :param allow_local: ``host`` or ``host:port`` that may have any address
    """

    def __init__(self, inner: AbstractResolver, allow_local: Collection[str]) -> None:
        self._inner, self._allow_local = inner, allow_local

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As ``aiohttp`` asks. :raises AddressRefused: if an address is not public"""
        found = await self._inner.resolve(host, port, family)
        if not allowed_local(host, port, self._allow_local):
            for one in found:
                address = one["host"].partition("%")[0]
                if not is_public(ip_address(address)):
                    raise AddressRefused(f"{host} has the address {address} of the local network")
        return found

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()
