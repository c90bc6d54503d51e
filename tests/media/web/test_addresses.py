"""What may be asked: hosts of the list, on the public internet."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from yarl import URL

from kgrec.media.web.addresses import (
    AddressRefused,
    PublicResolver,
    check_host,
    check_literal,
    host_port,
    is_public,
    parse_address,
)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_local_addresses(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "scheme file is not http or https"),
        ("ftp://example.org/x", "scheme ftp is not http or https"),
        ("data:image/png;base64,AA", "scheme data is not http or https"),
        ("javascript:alert(1)", "scheme javascript is not http or https"),
        ("//example.org/x", "scheme none is not http or https"),
        ("x.jpg", "scheme none is not http or https"),
        ("http://user@example.org/", "a user or password in an address"),
        ("http://user:pass@example.org/", "a user or password in an address"),
        ("http://example.org@127.0.0.1/", "a user or password in an address"),
        ("http:///x", "no host"),
        ("http://example.org:99999/", "not a valid address"),
        ("http://[::1/", "not a valid address"),
    ],
)
def test_no_address(url: str, reason: str) -> None:
    with pytest.raises(AddressRefused, match=reason):
        parse_address(url)


def test_redirect_targets_are_relative_to_their_page() -> None:
    base = URL("https://example.org/a/b")
    assert str(parse_address("c?d=1#e", base)) == "https://example.org/a/c?d=1"
    assert str(parse_address("//other.org/c", base)) == "https://other.org/c"
    with pytest.raises(AddressRefused):
        parse_address("file:///etc/passwd", base)


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://example.org/x", {"example.org"}, True),
        ("https://EXAMPLE.org./x", {"Example.org"}, True),
        ("http://example.org:80/x", {"example.org"}, True),
        ("http://example.org:8080/x", {"example.org"}, False),
        ("http://example.org:8080/x", {"example.org:8080"}, True),
        ("http://example.org/x", {"example.org:8080"}, False),
        ("https://img.example.org/x", {"example.org"}, False),
        ("https://img.example.org/x", {"*.example.org"}, True),
        ("https://a.b.example.org:8443/x", {"*.example.org:8443"}, True),
        ("https://example.org/x", {"*.example.org"}, False),
        ("https://badexample.org/x", {"*.example.org"}, False),
        ("https://example.org.evil.com/x", {"example.org"}, False),
        ("https://münchen.example/x", {"münchen.example"}, True),
        ("https://münchen.example/x", {"xn--mnchen-3ya.example"}, True),
        ("http://[::1]:8080/x", {"[::1]:8080"}, True),
        ("http://[::1]/x", {"::1"}, True),
        ("https://example.org/x", set(), False),
    ],
)
def test_hosts(url: str, hosts: set[str], allowed: bool) -> None:
    address = parse_address(url)
    if allowed:
        check_host(address, hosts)
    else:
        with pytest.raises(AddressRefused, match=r"is not one of the source's"):
            check_host(address, hosts)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "①②⑦.0.0.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "[fe80::1%25eth0]",
        "0",
    ],
)
def test_local_literals(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_literal(parse_address(f"http://{host}/"), ())


def test_named_local_literals() -> None:
    check_literal(URL("http://127.0.0.1:8000/"), ("127.0.0.1:8000",))
    check_literal(URL("http://127.0.0.1:8000/"), ("127.0.0.1",))
    check_literal(URL("http://[::1]:8000/"), ("[::1]:8000",))
    check_literal(URL("http://8.8.8.8/"), ())
    check_literal(URL("http://example.org/"), ())
    with pytest.raises(AddressRefused, match=r"127.0.0.1 is an address of the local network"):
        check_literal(URL("http://127.0.0.1:8001/"), ("127.0.0.1:8000",))


def test_host_port() -> None:
    assert host_port(URL("https://example.org/")) == "example.org"
    assert host_port(URL("http://example.org:443/")) == "example.org:443"
    assert host_port(URL("http://[::1]:8000/")) == "[::1]:8000"


class Names(AbstractResolver):
    """Resolves every name to the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0}
            for one in self._addresses
        ]

    async def close(self) -> None:
        pass


def test_names_with_local_addresses() -> None:
    async def resolve(*addresses: str, allow: tuple[str, ...] = ()) -> list[str]:
        found = await PublicResolver(Names(*addresses), allow).resolve("example.org", 80)
        return [one["host"] for one in found]

    assert asyncio.run(resolve("8.8.8.8", "2606:4700::1111")) == ["8.8.8.8", "2606:4700::1111"]
    with pytest.raises(AddressRefused, match=r"example.org has the address 169.254.169.254 of the local network"):
        asyncio.run(resolve("169.254.169.254"))
    with pytest.raises(AddressRefused, match=r"::ffff:127.0.0.1"):
        asyncio.run(resolve("8.8.8.8", "::ffff:127.0.0.1"))
    with pytest.raises(AddressRefused, match="fe80::1"):
        asyncio.run(resolve("fe80::1%eth0"))
    assert asyncio.run(resolve("127.0.0.1", allow=("example.org:80",))) == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        asyncio.run(resolve("127.0.0.1", allow=("example.org:81",)))
