"""The server's side of Digest authentication: the RFC's vectors, replays, expiry, guessing, broken headers."""

import hashlib
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celreplay.api.credentials import Algorithm, digest, ha1s_of, ha1s_of_password
from celreplay.api.digest import Decision, DigestAuth, Verdict, response_of
from celreplay.api.digest_header import DigestHeader, HeaderError, read_header
from celreplay.api.nonces import Nonces
from celreplay.api.patience import PER_ADDRESS, PER_USER, Patience
from celreplay.times import SECOND

NOW = 1_700_000_000 * SECOND
TARGET = "/pbx/read_call?id=1234567890.1"
ADDRESS = "192.0.2.7"


def auth_of(**options: object) -> DigestAuth:
    """One user, `login` with `password`."""
    return DigestAuth({"login": "password"}, **options)  # type: ignore[arg-type]  # each test says what it needs


def challenge_of(auth: DigestAuth, now: int = NOW, *, which: int = 0) -> dict[str, str]:
    """The parameters of one of the challenges."""
    return dict(re.findall(r'(\w+)="?([^",]*)"?', auth.challenges(now)[which].removeprefix("Digest ")))


def answer(challenge: Mapping[str, str], count: int = 1, /, **changes: str) -> str:
    """The header an honest client sends; `changes` bend it."""
    said = {"user": "login", "password": "password", "method": "GET", "target": TARGET, **changes}
    algorithm = Algorithm(challenge["algorithm"])
    header = DigestHeader(
        username=said["user"],
        realm=challenge["realm"],
        nonce=challenge["nonce"],
        uri=said["target"],
        response="",
        algorithm=algorithm,
        cnonce="c1",
        nc=f"{count:08x}",
        opaque=challenge["opaque"],
    )
    ha1 = digest(algorithm, said["user"], challenge["realm"], said["password"])
    response = response_of(header, algorithm, ha1=ha1, method=said["method"])
    return (
        f'Digest username="{header.username}", realm="{header.realm}", nonce="{header.nonce}", '
        f'uri="{header.uri}", response="{response}", algorithm={algorithm}, cnonce="c1", '
        f'nc={header.nc}, qop=auth, opaque="{header.opaque}"'
    )


def judge(auth: DigestAuth, *headers: str, now: int = NOW, address: str = ADDRESS) -> Decision:
    """What the server makes of a GET of TARGET with these headers."""
    return auth.judge(headers, method="GET", target=TARGET, address=address, now=now)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_vectors_of_the_rfc(algorithm: Algorithm, response: str) -> None:
    """The example of RFC 7616 §3.9.1 gives the response printed there."""
    header = read_header(
        'username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm='
        f'{algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
        f'response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    ha1 = digest(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    assert response_of(header, algorithm, ha1=ha1, method="GET") == header.response == response


def test_sha_256_is_offered_before_md5() -> None:
    """curl takes the first challenge it is offered."""
    offered = [re.findall(r"algorithm=([^,]+)", text) for text in auth_of().challenges(NOW)]
    assert offered == [["SHA-256"], ["MD5"]]


def test_only_the_algorithms_of_the_list_are_taken() -> None:
    """A host with an old curl offers MD5 alone; SHA-256 is refused there."""
    auth = auth_of(algorithms=["MD5"])
    assert len(auth.challenges(NOW)) == 1
    assert judge(auth, answer(challenge_of(auth))).verdict is Verdict.GRANTED
    wrong = answer({**challenge_of(auth), "algorithm": "SHA-256"})
    assert judge(auth, wrong).verdict is Verdict.MALFORMED


@pytest.mark.parametrize("which", [0, 1])
def test_a_right_password_is_granted(which: int) -> None:
    """Either algorithm opens the door, and the user's name comes out."""
    auth = auth_of()
    decision = judge(auth, answer(challenge_of(auth, which=which)))
    assert (decision.verdict, decision.user) == (Verdict.GRANTED, "login")


def test_a_stored_ha1_is_as_good_as_the_password() -> None:
    """A config may hold HA1s instead of the password, also of one algorithm only."""
    ha1 = ha1s_of_password("login", "password")[Algorithm.MD5]
    auth = DigestAuth({"login": {"MD5": ha1.upper()}})
    assert judge(auth, answer(challenge_of(auth, which=1))).verdict is Verdict.GRANTED
    assert judge(auth, answer(challenge_of(auth, which=0))).verdict is Verdict.WRONG


@pytest.mark.parametrize("wrong", [{"password": "passw0rd"}, {"user": "nobody"}, {"method": "POST"}])
def test_wrong_user_and_wrong_password_look_the_same(wrong: dict[str, str]) -> None:
    """The answer does not tell which of the two is wrong."""
    auth = auth_of()
    decision = judge(auth, answer(challenge_of(auth), **wrong))
    assert (decision.verdict, decision.reason) == (Verdict.WRONG, "unknown user or wrong password")


def test_a_changed_target_is_refused() -> None:
    """A captured header does not open another address: uri must be the target of the request."""
    auth = auth_of()
    assert judge(auth, answer(challenge_of(auth), target="/pbx/replays")).verdict is Verdict.MALFORMED


def test_each_count_of_a_nonce_is_taken_once() -> None:
    """A replayed request is refused; the client may go on with the next count, and overtake itself."""
    auth = auth_of()
    challenge = challenge_of(auth)
    counts = [1, 1, 2, 5, 4, 4, 5, 100, 36, 37, 37]
    verdicts = [judge(auth, answer(challenge, count)).verdict for count in counts]
    taken = [count for count, verdict in zip(counts, verdicts, strict=True) if verdict is Verdict.GRANTED]
    assert taken == [1, 2, 5, 4, 100, 37]
    assert set(verdicts) == {Verdict.GRANTED, Verdict.STALE}


@given(counts=st.lists(st.integers(1, 200), max_size=300))
def test_no_order_of_counts_is_taken_twice(counts: list[int]) -> None:
    """Whatever order requests come in, no count is accepted a second time."""
    nonces = Nonces(b"key", lifetime=300, capacity=10)
    nonce = nonces.make(NOW)
    taken = [count for count in counts if nonces.use(nonce, count, NOW)]
    assert len(taken) == len(set(taken))
    assert not counts or taken[0] == counts[0]


def test_an_expired_nonce_is_stale_not_wrong() -> None:
    """The client is told to try again with a new nonce, and its failure is not counted as a guess."""
    auth = auth_of(nonce_lifetime=300.0)
    header = answer(challenge_of(auth))
    assert judge(auth, header, now=NOW + 300 * SECOND).verdict is Verdict.STALE
    assert judge(auth, header, now=NOW + 299 * SECOND).verdict is Verdict.GRANTED
    assert auth.challenges(NOW, stale=True)[0].endswith(", stale=true")


def test_a_nonce_of_another_process_is_stale() -> None:
    """After a restart the clients' nonces are no longer ours; a right password is asked for once more."""
    before, after = auth_of(), auth_of()
    assert judge(after, answer(challenge_of(before))).verdict is Verdict.STALE


def test_a_stale_nonce_with_a_wrong_password_is_wrong() -> None:
    """stale=true is said only to who knows the password (RFC 7616 §3.3)."""
    before, after = auth_of(), auth_of()
    assert judge(after, answer(challenge_of(before), password="x")).verdict is Verdict.WRONG


def test_the_memory_of_nonces_is_bounded_and_forgets_nothing_dangerous() -> None:
    """Beyond the capacity the oldest nonce is forgotten, and is refused instead of starting anew."""
    nonces = Nonces(b"key", lifetime=300, capacity=3)
    made = [nonces.make(NOW + n) for n in range(5)]
    assert all(nonces.use(nonce, 1, NOW + 10) for nonce in made)
    assert len(nonces) == 3
    assert not nonces.use(made[0], 1, NOW + 10)
    assert not nonces.use(made[1], 2, NOW + 10)
    assert nonces.use(made[4], 2, NOW + 10)


def test_a_clock_set_back_revives_no_nonce() -> None:
    """An expired nonce that was forgotten stays refused when the host's clock goes back."""
    nonces = Nonces(b"key", lifetime=300, capacity=3)
    old = nonces.make(NOW)
    assert nonces.use(old, 1, NOW)
    assert nonces.use(nonces.make(NOW + 400 * SECOND), 1, NOW + 400 * SECOND)
    assert not nonces.use(old, 1, NOW + SECOND)


@pytest.mark.parametrize("nonce", ["", "x", "A" * 43 + "=", "ü", "a" * 5000, "AAAA"])
def test_a_forged_nonce_is_refused(nonce: str) -> None:
    """Only what carries this process's signature is a nonce."""
    assert not Nonces(b"key", lifetime=300, capacity=3).use(nonce, 1, NOW)


def test_guessing_is_slowed_down_and_the_password_not_looked_at() -> None:
    """After the free failures even the right password has to wait for its moment, and then opens."""
    auth = auth_of()
    for _ in range(PER_USER.free + 1):
        assert judge(auth, answer(challenge_of(auth), password="guess")).verdict is Verdict.WRONG
    early = judge(auth, answer(challenge_of(auth)))
    assert (early.verdict, early.retry_after) == (Verdict.TOO_MANY, 1.0)
    later = NOW + 2 * SECOND
    assert judge(auth, answer(challenge_of(auth, later)), now=later).verdict is Verdict.GRANTED


def test_a_right_password_forgets_the_wrong_ones_before_it() -> None:
    """Who mistypes now and then and gets in between never has to wait."""
    auth = auth_of()
    for _ in range(3):
        for _ in range(PER_USER.free):
            assert judge(auth, answer(challenge_of(auth), password="typo")).verdict is Verdict.WRONG
        assert judge(auth, answer(challenge_of(auth))).verdict is Verdict.GRANTED


def test_guessing_from_elsewhere_does_not_keep_the_admin_out() -> None:
    """Failures of one address do not count for another one, whatever user they name."""
    auth = auth_of()
    for _ in range(100):
        judge(auth, answer(challenge_of(auth), password="guess"), address="198.51.100.1")
    assert judge(auth, answer(challenge_of(auth))).verdict is Verdict.GRANTED


def test_the_delay_grows_and_is_bounded() -> None:
    """One second, doubled with each failure, up to a minute."""
    assert [PER_USER.delay(n) for n in (1, 5, 6, 7, 8, 12, 500)] == [0, 0, 1, 2, 4, 60, 60]


def test_changing_the_user_name_does_not_avoid_the_delay() -> None:
    """The address as a whole is slowed down too, more leniently."""
    patience = Patience()
    for n in range(PER_ADDRESS.free + 10):
        patience.failed(ADDRESS, f"user{n}", NOW)
    assert patience.wait(ADDRESS, "another", NOW) == PER_ADDRESS.longest
    assert patience.wait("192.0.2.8", "another", NOW) == 0


def test_failures_are_forgotten() -> None:
    """A quarter of an hour after the last failure an address starts anew; a right password forgets at once."""
    patience = Patience()
    for _ in range(20):
        patience.failed(ADDRESS, "login", NOW)
    later = NOW + 901 * SECOND
    patience.failed(ADDRESS, "login", later)
    assert patience.wait(ADDRESS, "login", later) == 0
    for _ in range(6):
        patience.failed("192.0.2.9", "login", NOW)
    patience.succeeded("192.0.2.9", "login")
    assert patience.wait("192.0.2.9", "login", NOW) == 0


def test_an_ipv6_host_is_one_address() -> None:
    """A /64 counts as one, and an IPv4 address mapped into IPv6 as itself."""
    patience = Patience()
    for n in range(10):
        patience.failed(f"2001:db8::{n}", "login", NOW)
        patience.failed("::ffff:192.0.2.1", "login", NOW)
    assert patience.wait("2001:db8::ffff", "login", NOW) > 0
    assert patience.wait("192.0.2.1", "login", NOW) > 0
    assert patience.wait("2001:db8:0:1::1", "login", NOW) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    """Many addresses cost no more memory than the capacity."""
    patience = Patience(capacity=50)
    for n in range(500):
        patience.failed(f"10.0.{n % 250}.{n // 250}", "login", NOW)
    assert len(patience) == 50


def test_a_clock_set_back_makes_nobody_wait_longer() -> None:
    """The wait is never over a minute, also when the host's clock jumps back a day."""
    patience = Patience()
    for _ in range(8):
        patience.failed(ADDRESS, "login", NOW)
    assert patience.wait(ADDRESS, "login", NOW - 86_400 * SECOND) == PER_USER.longest


def test_no_credentials_and_other_schemes_are_asked_for_digest() -> None:
    """The first request of every client, and a Basic one, get a challenge and count as no failure."""
    auth = auth_of()
    assert judge(auth).verdict is Verdict.NO_CREDENTIALS
    assert judge(auth, "Basic bG9naW46cGFzc3dvcmQ=").verdict is Verdict.NO_CREDENTIALS
    assert judge(auth, "Digest a=1", "Digest a=1").verdict is Verdict.MALFORMED


def test_quoted_values_may_hold_commas_quotes_and_backslashes() -> None:
    """The grammar of RFC 9110: a comma inside quotes parts nothing, a backslash quotes the next character."""
    header = read_header(
        'USERNAME="a, \\"b\\" \\\\ c=\\"d\\"" , realm="r",,nonce="n",uri="/x?a=1,b=2", response="00" ,'
        'qop="auth", nc=0000000A,cnonce="", algorithm="MD5",'
    )
    assert header.username == 'a, "b" \\ c="d"'
    assert (header.uri, header.count, header.algorithm, header.opaque) == ("/x?a=1,b=2", 10, "MD5", "")


GOOD = 'username="u", realm="r", nonce="n", uri="/", response="0", qop=auth, nc=00000001, cnonce="c"'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(GOOD.replace("qop=auth", "qop=auth-int"), "only qop=auth", id="auth-int"),
        pytest.param(GOOD.replace("qop=auth, ", ""), "RFC 2069", id="no qop"),
        pytest.param(GOOD + ", userhash=true", "userhash", id="userhash"),
        pytest.param(GOOD.replace('nonce="n", ', ""), "nonce is missing", id="missing"),
        pytest.param(GOOD + ', nonce="m"', "nonce stands twice", id="twice"),
        pytest.param(GOOD.replace("nc=00000001", "nc=1"), "nc must be", id="short nc"),
        pytest.param(GOOD.replace("nc=00000001", "nc=00000000"), "nc must be", id="nc of zero"),
        pytest.param(GOOD.replace('"c"', '"c'), "name=value", id="open quote"),
        pytest.param(GOOD.replace(", nc", " nc"), "comma", id="no comma"),
        pytest.param(GOOD.replace('username="u", ', ""), "username", id="no user"),
        pytest.param(GOOD + ", username*=UTF-8''u", "username", id="both names"),
        pytest.param(GOOD.replace('username="u"', "username*=latin1''u"), "UTF-8", id="charset"),
        pytest.param(GOOD.replace('username="u"', "username*=UTF-8''%ff"), "not UTF-8", id="bytes"),
        pytest.param("", "qop is missing", id="empty"),
        pytest.param("nonsense", "name=value", id="nonsense"),
    ],
)
def test_broken_headers_are_refused_with_the_reason(text: str, told: str) -> None:
    """What breaks the rules of RFC 7616 §3.4 says so, instead of looking like a wrong password."""
    with pytest.raises(HeaderError, match=re.escape(told)):
        read_header(text)


def test_a_user_name_may_come_in_the_extended_form() -> None:
    """`username*` of RFC 7616 §3.4 carries a name that is not ASCII."""
    header = read_header(GOOD.replace('username="u"', "username*=UTF-8''%d0%98%d0%b2%d0%b0%d0%bd"))
    assert header.username == "Иван"


@given(st.one_of(st.text(), st.text(alphabet='abqopnc=", \\\t*%\udcff', max_size=60)))
def test_any_header_is_read_or_refused(text: str) -> None:
    """No header makes anything but a decision, and none is let in."""
    auth = auth_of()
    for header in (text, f"Digest {text}", f"Digest {GOOD}, {text}"):
        assert judge(auth, header).verdict is not Verdict.GRANTED


@pytest.mark.parametrize(
    ("user", "credential"),
    [
        ("a:b", "x"),
        ("", "x"),
        ("a", ""),
        ("a", {"SHA-1": "0" * 40}),
        ("a", {"MD5": "0" * 31}),
        ("a", {"MD5": "g" * 32}),
        ("a", {"SHA-256": "0" * 32}),
    ],
)
def test_a_credential_that_cannot_work_is_refused(user: str, credential: str | dict[str, str]) -> None:
    """A wrong user or HA1 is told at the start, not at the first login."""
    with pytest.raises(ValueError, match=r"."):
        DigestAuth({user: credential})


def test_ha1_is_bound_to_the_fixed_realm() -> None:
    """The printed HA1s are H(user:celreplay:password)."""
    ha1s = ha1s_of("login", "password")
    assert ha1s[Algorithm.SHA_256] == hashlib.sha256(b"login:celreplay:password").hexdigest()
    assert ha1s[Algorithm.MD5] == hashlib.md5(b"login:celreplay:password").hexdigest()  # noqa: S324 - the protocol's
