"""Sending to URLs of strangers: nothing but a checked address is reached, and nobody stalls us."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from receiver_kit import receiving, rude
from target_kit import NOWHERE_PUBLIC

from db.settings import load_settings
from db.webhooks.targets import Address, Allowed
from workers.outbound import posting
from workers.outbound.errors import Failure, SendError
from workers.outbound.names import NameServers
from workers.outbound.posting import KEPT_BYTES, MAX_READ_BYTES, Answer, Poster

LOOPBACK = Allowed.of("127.0.0.0/8")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


class Nobody:
    """Knows no names."""

    async def addresses(self, host: str) -> list[Address]:
        raise AssertionError(f"{host} was looked up")


def post(url: str, poster: Poster | None = None) -> Answer:
    poster = poster or Poster(Nobody(), LOOPBACK)
    return asyncio.run(poster.post(url, {"webhook-id": "1"}, b"{}"))


def failure(url: str, poster: Poster | None = None) -> Failure:
    with pytest.raises(SendError) as failed:
        post(url, poster)
    return failed.value.failure


@dataclass
class Zone:
    """What a name server says, with a TTL of 0: for each name a list of answers, the last stays."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    silent: bool = False
    port: int = 0

    def resolver(self) -> NameServers:
        environ = {"FACEBATCH_WEBHOOK_NAME_SERVERS": f"127.0.0.1:{self.port}"}
        return NameServers.from_settings(load_settings(environ, dotenv=None))

    def answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype
        response = dns.message.make_response(query)
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}[kind]
        self.asked[f"{name} {version}"] += 1
        turns = self.answers.get(name)
        if turns is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response.to_wire()
        turn = turns[min(self.asked[f"{name} {version}"], len(turns)) - 1]
        shown = [one for one in turn if ipaddress.ip_address(one).version == version]
        if shown:
            response.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *shown))
        return response.to_wire()


@contextlib.contextmanager
def serving(**answers: list[list[str]]) -> Iterator[Zone]:
    """A name server on loopback for names below `.test`."""
    zone = Zone({f"{name}.test": turns for name, turns in answers.items()})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0.1)
        zone.port = listening.getsockname()[1]
        ends = threading.Event()

        def serve() -> None:
            while not ends.is_set():
                with contextlib.suppress(TimeoutError):
                    data, client = listening.recvfrom(4096)
                    if not zone.silent:
                        listening.sendto(zone.answer(data), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield zone
        finally:
            ends.set()
            thread.join()


def test_a_name_is_looked_up_once_and_the_checked_address_is_the_one_that_is_called() -> None:
    with (
        receiving(at=("127.0.0.2", 0)) as meant,
        receiving(at=("127.0.0.1", meant.port)) as inside,
        serving(a=[["127.0.0.2"], ["127.0.0.1"]]) as zone,
    ):
        poster = Poster(zone.resolver(), Allowed.of("127.0.0.2/32"))
        url = f"http://a.test:{meant.port}/hook"
        assert post(url, poster).status == 200
        assert zone.asked == {"a.test 4": 1, "a.test 6": 1}
        # The name leads inside from now on; nothing is remembered, and nothing goes there.
        assert failure(url, poster) is Failure.ADDRESS_REFUSED
        assert inside.calls == []
    (call,) = meant.calls
    assert call.headers["host"] == f"a.test:{meant.port}"


def test_a_name_with_one_address_inside_is_refused_whatever_its_others_are() -> None:
    with (
        receiving() as inside,
        serving(a=[["8.8.8.8", "127.0.0.1"]], b=[["8.8.8.8", "::1"]]) as zone,
    ):
        poster = Poster(zone.resolver(), Allowed())
        for name in ("a", "b"):
            url = f"http://{name}.test:{inside.port}/"
            assert failure(url, poster) is Failure.ADDRESS_REFUSED
    assert inside.calls == []


@pytest.mark.parametrize("address", NOWHERE_PUBLIC.values(), ids=NOWHERE_PUBLIC)
def test_a_name_of_an_address_that_is_not_public_is_refused(address: str) -> None:
    with serving(a=[[address]]) as zone:
        poster = Poster(zone.resolver(), Allowed())
        assert failure("http://a.test/", poster) is Failure.ADDRESS_REFUSED
        assert zone.asked.total() == 2


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0"])
def test_no_shorthand_of_an_address_is_read_as_one(host: str) -> None:
    assert failure(f"http://{host}/", Poster(Nobody(), LOOPBACK)) is Failure.URL_REFUSED


def test_localhost_is_loopback_and_nobody_is_asked() -> None:
    with serving() as zone, receiving() as inside:
        url = f"http://localhost:{inside.port}/"
        assert failure(url, Poster(zone.resolver(), Allowed())) is Failure.ADDRESS_REFUSED
        everything = Allowed.of("127.0.0.0/8,::1/128")
        assert post(url, Poster(zone.resolver(), everything)).status == 200
        assert zone.asked == {}


def test_a_name_that_nobody_knows_is_told() -> None:
    with serving() as zone:
        assert failure("http://a.test/", Poster(zone.resolver(), Allowed())) is Failure.NAME_UNKNOWN


def test_a_silent_name_server_holds_nobody_else_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as zone, receiving() as receiver:
        zone.silent = True
        poster = Poster(zone.resolver(), LOOPBACK)

        async def both() -> int:
            stuck = [
                asyncio.create_task(poster.post(f"http://a{n}.test/", {}, b"")) for n in range(50)
            ]
            await asyncio.sleep(0.05)
            answer = await poster.post(receiver.url, {}, b"")
            assert not any(one.done() for one in stuck)
            for one in stuck:
                one.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
            return answer.status

        assert asyncio.run(both()) == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_told_and_not_followed(status: int) -> None:
    with receiving() as inside:
        for where in ("http://169.254.169.254/latest/meta-data/", inside.url):
            with receiving((status, {"Location": where}, b"")) as receiver:
                assert post(receiver.url).status == status
                assert len(receiver.calls) == 1
        assert inside.calls == []


def test_no_proxy_of_the_environment_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(receiver.url).status == 200
    assert (len(proxy.calls), len(receiver.calls)) == (0, 1)


def drip(connection: socket.socket, sent: bytes) -> None:
    """One byte after the other, as long as anybody listens."""
    with contextlib.suppress(OSError):
        connection.sendall(sent)
        while True:
            connection.sendall(b"x")
            if threading.Event().wait(0.05):
                return


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limit, sooner."""
    monkeypatch.setattr(posting, "TOTAL_S", 1.0)


@pytest.mark.usefixtures("short")
def test_a_head_that_comes_byte_by_byte_is_given_up() -> None:
    with rude(lambda one: drip(one, b"HTTP/1.1 200 OK\r\nX: ")) as url:
        assert failure(url) is Failure.TIMED_OUT


@pytest.mark.usefixtures("short")
def test_a_receiver_that_says_nothing_is_given_up() -> None:
    with rude(lambda one: drip(one, b"") if threading.Event().wait(5) else None) as url:
        assert failure(url) is Failure.TIMED_OUT


@pytest.mark.usefixtures("short")
def test_a_body_that_comes_byte_by_byte_is_cut_off_and_the_status_counts() -> None:
    with rude(lambda one: drip(one, HEAD + b"\r\n")) as url:
        answer = post(url)
    assert answer.status == 200
    assert answer.body.startswith(b"xx")


def flood(connection: socket.socket, head: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(head)
        while True:
            connection.sendall(b"y" * 65536)


def test_of_a_body_that_never_ends_so_much_is_read_and_no_more() -> None:
    read: list[int] = []
    counted = posting._Bounded.read

    async def counting(self: posting._Bounded, max_bytes: int, **more: object) -> bytes:
        data = await counted(self, max_bytes, **more)
        read.append(len(data))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posting._Bounded, "read", counting)
        with rude(lambda one: flood(one, HEAD + b"\r\n")) as url:
            answer = post(url)
    assert (answer.status, answer.body) == (200, b"y" * KEPT_BYTES)
    assert sum(read) == MAX_READ_BYTES


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 50_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
    ids=["one header", "many headers", "many heads"],
)
def test_a_giant_head_is_no_answer(head: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(head)

    with rude(talk) as url:
        assert failure(url) is Failure.ANSWER_TOO_LONG


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: "])
def test_an_answer_that_ends_in_its_head_is_none(said: bytes) -> None:
    with rude(lambda one: one.sendall(said)) as url:
        assert failure(url) is Failure.CONNECTION_BROKEN


def test_an_answer_that_ends_in_its_body_counts_by_its_status() -> None:
    with rude(lambda one: one.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")) as url:
        answer = post(url)
    assert (answer.status, answer.body) == (200, b"half")


def test_what_is_no_http_is_no_answer() -> None:
    with rude(lambda one: one.sendall(b"220 mail.example.com ESMTP\r\n\r\n")) as url:
        assert failure(url) is Failure.ANSWER_MALFORMED


def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/") is Failure.CONNECT_FAILED


def test_where_the_first_address_takes_no_connection_the_next_is_tried() -> None:
    with (
        receiving(at=("127.0.0.3", 0)) as receiver,
        serving(a=[["127.0.0.2", "127.0.0.3"]]) as zone,
    ):
        poster = Poster(zone.resolver(), LOOPBACK)
        assert post(f"http://a.test:{receiver.port}/", poster).status == 200


@dataclass(frozen=True)
class Certificates:
    """A receiver's, for `a.test`, and what trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file: Path = folder / "both.pem"
    file.write_bytes(private + pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return Certificates(server=server, client=ssl.create_default_context(cadata=pem.decode()))


def test_tls_goes_by_the_name_and_not_by_the_address(certificates: Certificates) -> None:
    with receiving(tls=certificates.server) as receiver:
        both = {"a": [["127.0.0.1"]], "b": [["127.0.0.1"]]}
        with serving(**both) as zone:
            poster = Poster(zone.resolver(), LOOPBACK, tls=certificates.client)
            assert post(f"https://a.test:{receiver.port}/", poster).status == 200
            for host in ("b.test", "127.0.0.1"):
                assert failure(f"https://{host}:{receiver.port}/", poster) is Failure.TLS_FAILED


def test_a_certificate_that_nobody_vouches_for_is_refused(certificates: Certificates) -> None:
    with receiving(tls=certificates.server) as receiver, serving(a=[["127.0.0.1"]]) as zone:
        poster = Poster(zone.resolver(), LOOPBACK)
        assert failure(f"https://a.test:{receiver.port}/", poster) is Failure.TLS_FAILED
    assert receiver.calls == []
