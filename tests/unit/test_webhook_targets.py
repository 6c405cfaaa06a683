"""Where webhooks may go: every way of writing an address that is not public is refused."""

import ipaddress

import pytest
from target_kit import NOWHERE_PUBLIC

from db.webhooks.targets import (
    AddressRefusedError,
    Allowed,
    TargetRefusedError,
    is_public,
    parse_target,
)

PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "198.17.255.255", "198.20.0.1"),
    *("172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"),
)


@pytest.mark.parametrize("address", NOWHERE_PUBLIC.values(), ids=NOWHERE_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    assert not is_public(parsed)
    with pytest.raises(AddressRefusedError):
        Allowed().check([parsed])
    host = f"[{address}]" if parsed.version == 6 else address
    with pytest.raises(AddressRefusedError):
        Allowed().check_url(f"https://{host}/hook")


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_is_public_is_taken(address: str) -> None:
    Allowed().check([ipaddress.ip_address(address)])


def test_one_address_that_is_not_public_spoils_the_others() -> None:
    good, bad = ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("10.0.0.1")
    for both in ([good, bad], [bad, good], []):
        with pytest.raises(AddressRefusedError):
            Allowed().check(both)


def test_a_network_that_is_listed_is_allowed_and_its_neighbours_are_not() -> None:
    allowed = Allowed.of("10.1.0.0/16, fd00:12::/32")
    for address in ("10.1.2.3", "fd00:12::1", "8.8.8.8"):
        allowed.check([ipaddress.ip_address(address)])
    # A mapped address is none of IPv4: whoever means it writes it so.
    for address in ("10.2.0.1", "fd00:13::1", "127.0.0.1", "::ffff:10.1.2.3"):
        with pytest.raises(AddressRefusedError):
            allowed.check([ipaddress.ip_address(address)])


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7F.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1"),
        *("0x7f.0x0.0x0.0x1", "127.0.0.1.", "0", "0x", "1.2.3.4.5", "256.1.1.1", "1.2.3.08"),
        *("[127.0.0.1]", "[::1", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[v1.fe80]", "", "."),
        *("-a.example.com", "a-.example.com", "a..example.com", "example.com.", "exa mple.com"),
        *(
            "example.com%00.evil.test",
            "ex%61mple.com",
            "\uff11\uff12\uff17.0.0.1",
            "\u2460.example.com",
            "bücher.de",
        ),
        *("a" * 64 + ".test", "example.com\\@127.0.0.1", "exam\tple.com", "example.com\n.test"),
    ],
)
def test_a_host_that_is_half_an_address_or_no_name_is_refused(host: str) -> None:
    with pytest.raises(TargetRefusedError):
        Allowed().check_url(f"http://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/"),
        *("example.com", "http:/example.com", "http:example.com", "javascript:alert(1)", ""),
        *("http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/"),
        *("http://example.com/#a", "http://example.com:0/", "http://example.com:65536/"),
        *("http://example.com:22/", "http://example.com:25/", "http://example.com:x/"),
        *("http://example.com/ a", "http://example.com/ä", "http://example.com/\r\nX: y"),
        "http://example.com/" + "a" * 2000,
    ],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(TargetRefusedError):
        parse_target(url)


def test_what_is_said_of_a_url_does_not_repeat_it() -> None:
    for url in ("http://hidden:hidden@example.com/", "http://10.0.0.1/hidden", "hidden://x/"):
        with pytest.raises(TargetRefusedError) as refused:
            Allowed().check_url(url)
        assert "hidden" not in str(refused.value)


def test_a_url_is_taken_apart_into_where_to_connect_and_what_to_ask_for() -> None:
    target = parse_target("HTTPS://Example.COM:8443/a/b?c=d")
    assert (target.scheme, target.host, target.port) == ("https", "example.com", 8443)
    assert (target.path, target.address) == ("/a/b?c=d", None)
    plain = parse_target("http://xn--bcher-kva.example")
    assert (plain.port, plain.path) == (80, "/")
    six = parse_target("https://[2606:4700::1]/")
    assert (six.port, str(six.address)) == (443, "2606:4700::1")
