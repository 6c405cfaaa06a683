"""Where a request comes from is what the connection says, and a proxy that is ours."""

from ipaddress import ip_network

import pytest
from flask import Flask, request

from web.addresses import origin_of

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8")))


def origin(peer: str, *forwarded: str, proxies: object = PROXIES) -> str | None:
    headers = [("X-Forwarded-For", one) for one in forwarded]
    with Flask(__name__).test_request_context(
        headers=headers, environ_overrides={"REMOTE_ADDR": peer}
    ):
        return origin_of(request, proxies)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("", [], None),
        ("unix:", ["192.0.2.1"], None),
        # Nobody's word is taken but that of a proxy of ours.
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::/64"),
        # What a client sends stands before what the proxies add.
        ("10.0.0.1", ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        # With a port, as some write it.
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::/64"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::/64"),
        # What is no address leads no further.
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, "], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_the_origin_is_told_by_the_peer_and_by_proxies_of_ours(
    peer: str, forwarded: list[str], expected: str | None
) -> None:
    assert origin(peer, *forwarded) == expected


def test_without_proxies_of_ours_nobody_is_believed() -> None:
    assert origin("10.0.0.1", "198.51.100.7", proxies=()) == "10.0.0.1"
