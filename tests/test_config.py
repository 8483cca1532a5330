"""The configuration file: what it may hold, and that every mistake in it is told at once."""

import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import yaml

from celreplay import config
from celreplay.config import Config, Duration, Secret, Size
from celreplay.connectors.table import OPTIONS
from celreplay.errors import ConfigError
from celreplay.leaves import parse
from celreplay.ruleconfig import RuleConfig
from celreplay.secret import CelUrl, StoreUrl, mask_url
from celreplay.units import Glob, ZoneName

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"
MINIMAL = "cel: {url: 'sqlite:////var/log/asterisk/cel.db'}\n"
WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


class CrmOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A connector's options with one field of each kind."""

    url: str
    secret: Secret | tuple[Secret, ...] | None = None
    timeout: Duration = Duration(20)
    largest: Size = Size(1_000_000)
    fields: dict[str, object] = {}
    users: tuple[str, ...] = ()
    follow: bool = False
    rate: float = 1.0
    mode: Literal["resend", "park"] = "resend"
    headers: dict[str, Secret] = {}

    def __post_init__(self) -> None:
        if not self.url.startswith("http"):
            raise ValueError("url: is no http address")
        if self.follow and self.mode == "park":
            raise ValueError("follow and park do not go together")


Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a text to a file and load it."""

    def load_text(text: str, environ: Mapping[str, str] | None = None, mode: int = 0o600) -> Config:
        path = tmp_path / "celreplay.yaml"
        path.write_text(text)
        path.chmod(mode)
        return config.load(path, {"crm": CrmOptions}, environ or {})

    return load_text


@pytest.fixture
def mistakes(load: Load) -> Callable[..., list[str]]:
    """The mistakes of a text."""

    def mistakes_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        return caught.value.mistakes

    return mistakes_of


Mistakes = Callable[..., list[str]]


def crm(**options: object) -> str:
    """A whole file with one connector `a`."""
    section = {"type": "crm", "url": "https://crm.example.com", **options}
    return MINIMAL + json.dumps({"pbx": {"name": "office"}, "connectors": {"a": section}})[1:-1].replace(
        '"connectors"', '\n"connectors"'
    ).replace(", \n", "\n")


def options_of(loaded: Config) -> CrmOptions:
    """The options of the connector `a`."""
    options = loaded.connectors["a"]
    assert isinstance(options, CrmOptions)
    return options


def test_a_file_with_only_the_table_loads(load: Load) -> None:
    """Reading calls needs nothing but `cel.url`."""
    loaded = load(MINIMAL)
    assert loaded.cel.url.sqlite_path == "/var/log/asterisk/cel.db"
    assert loaded.api.port == 8077
    assert loaded.connectors == {}
    assert loaded.warnings == ()


def test_every_mistake_is_told_at_once_with_its_path_and_line(mistakes: Mistakes) -> None:
    """Nobody repairs a file one mistake at a time."""
    text = """\
pbx: {timezone: Mars/Olympus, trunks: [ok, "a["], extensions: "(("}
cel:
  url: oracle://a
  tabel: cel
  columns: {extra: eventextra, lnkedid: x}
  grace: 3 parsecs
api: {port: 70000, digest_algorithms: [SHA-1]}
log: {level: loud}
log: {}
connectors:
  a: {type: crm, url: https://x, timout: 3}
  b: {type: cmr}
  c: {url: x}
"""
    found = mistakes(text)
    expected = [
        "log: stands here twice (line 9)",
        "pbx.timezone: 'Mars/Olympus' is no time zone",
        "pbx.trunks[1]: 'a[' has a `[` without `]`",
        "pbx.extensions: '((' is no regular expression",
        "cel.tabel: is unknown; did you mean 'table'? (line 4)",
        "cel.url: is no database address",
        "cel.columns.lnkedid: 'lnkedid' is not possible; did you mean 'linkedid'?",
        "cel.grace: 'parsecs' is no unit of time",
        "api.port: 70000 is more than 65535",
        "api.digest_algorithms[0]: 'SHA-1' is not possible",
        "log.level: 'loud' is not possible",
        "connectors.a.timout: is unknown; did you mean 'timeout'? (line 11)",
        "connectors.b.type: 'cmr' is unknown; did you mean 'crm'?",
        "connectors.c.type: is missing",
        "pbx.name: is missing",
    ]
    assert len(found) == len(expected), found
    assert all(any(what.startswith(start) for what in found) for start in expected), found


def test_all_mistakes_stand_in_the_message_with_the_file(load: Load) -> None:
    """The error alone tells where to look."""
    with pytest.raises(
        ConfigError, match=r"celreplay\.yaml: cel\.url: is missing.*; api\.port: .* \(line 1\)"
    ):
        load("api: {port: -1}\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "cel.url: is missing", id="empty"),
        pytest.param("# nothing\n", "cel.url: is missing", id="only a comment"),
        pytest.param("- cel", "file: must be `key: value` lines, not a list (line 1)", id="a list"),
        pytest.param(
            "cel: here", "cel: must be `key: value` lines, not a single value (line 1)", id="a text"
        ),
        pytest.param(
            "cel: {url: [a]}", "cel.url: must be one value, not a list (line 1)", id="a list as a value"
        ),
        pytest.param(
            "a: b\n c: d", "line 2, column 3: not YAML: mapping values are not allowed here", id="no YAML"
        ),
        pytest.param("\tcel:", "line 1, column 1: not YAML", id="a tab"),
        pytest.param("cel: \x01", "not YAML: ", id="a control character"),
        pytest.param(
            "? [a]\n: b\n" + MINIMAL, "file: has a key that is no name (line 1)", id="a list as a key"
        ),
        pytest.param(
            MINIMAL + "api: {users: &u {a: *u}}",
            "api.users.a.a: is unknown",
            id="an alias of itself",
        ),
    ],
)
def test_what_is_no_configuration_is_said_to_be_none(mistakes: Mistakes, text: str, what: str) -> None:
    """No traceback for any file."""
    [mistake] = mistakes(text)
    assert mistake.startswith(what), mistake


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8."""
    (tmp_path / "latin1.yaml").write_bytes(b"cel: \xff")
    for name, reason in (
        ("gone.yaml", "No such file"),
        ("", "Is a directory"),
        ("latin1.yaml", "is not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            config.load(tmp_path / name, {})
        assert str(tmp_path / name) in str(caught.value)


def test_an_alias_without_end_is_refused(mistakes: Mistakes) -> None:
    """A value of any shape that holds itself."""
    text = "cel: {url: 'sqlite:////x'}\npbx: {name: a}\nconnectors: {a: {type: crm, url: http, fields: &f {g: *f}}}"
    assert "nested too deeply" in mistakes(text)[0]


def test_texts_stay_as_they_are_written(load: Load) -> None:
    """YAML's guesses (0123 octal, no = false, 1_0 = 10) would change passwords and names."""
    text = "cel: {url: 'sqlite:////x', table: no}\napi: {users: {admin: 0123, on: 1_0, no: 2026-11-23}}\n"
    loaded = load(text)
    assert loaded.cel.table == "no"
    assert {name: user.credential for name, user in loaded.api.accounts.items()} == {
        "admin": "0123",
        "on": "1_0",
        "no": "2026-11-23",
    }


def test_a_key_without_a_value_has_its_default(load: Load) -> None:
    """A section whose lines are all commented out is an empty one."""
    loaded = load(MINIMAL + "api:\n  users:\n  port:\ndelivery:\nconnectors:\n")
    assert loaded.api == config.ApiConfig()
    assert loaded.delivery == config.DeliveryConfig()


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${PW}", {"PW": "s3"}, "s3"),
        ("a${PW}b${PW}", {"PW": "-"}, "a-b-"),
        ("${PW:-none}", {}, "none"),
        ("${PW:-none}", {"PW": ""}, "none"),
        ("${PW:-}x", {}, "x"),
        ("$${PW}", {"PW": "s3"}, "${PW}"),
        ("$PW", {"PW": "s3"}, "$PW"),
        ("${PW}", {"PW": "${PW}"}, "${PW}"),
    ],
)
def test_variables_of_the_environment_are_filled_in(
    load: Load, text: str, environ: dict[str, str], expected: str
) -> None:
    """Once, and only in the form with braces."""
    loaded = load(MINIMAL + f"api: {{users: {{a: '{text}'}}}}", environ)
    assert loaded.api.accounts["a"].credential == expected


def test_a_variable_fills_a_number_too(load: Load) -> None:
    """`port: ${PORT}` is a number like any other."""
    assert load(MINIMAL + "api: {port: '${PORT}'}", {"PORT": "8099"}).api.port == 8099


def test_a_variable_that_is_not_set_is_a_mistake(mistakes: Mistakes) -> None:
    """It is named; a form that is none is explained."""
    assert mistakes(MINIMAL + "api: {host: '${NOPE}'}") == [
        "api.host: the environment variable NOPE is not set (line 2)"
    ]
    assert "must be ${NAME}" in mistakes(MINIMAL + "api: {host: '${a b}'}")[0]


def test_a_secret_comes_from_a_file_without_its_last_line_break(load: Load, tmp_path: Path) -> None:
    """As `echo` and editors write it; the path may be relative to the configuration."""
    (tmp_path / "pw").write_text(" two  words \n")
    text = MINIMAL + f"api: {{users: {{a: {{file: {tmp_path}/pw}}, b: {{file: '${{NAME}}'}}}}}}"
    loaded = load(text, {"NAME": "pw"})
    assert [user.credential for user in loaded.api.accounts.values()] == [" two  words ", " two  words "]


def test_a_secret_file_that_cannot_be_read_is_a_mistake(mistakes: Mistakes, tmp_path: Path) -> None:
    """With its path in the configuration and the reason."""
    (tmp_path / "empty").write_text("\n")
    found = mistakes(MINIMAL + "api: {users: {a: {file: /no/such}, b: {flie: x}, c: {file: empty}}}")
    assert found == [
        "api.users.a.file: /no/such: No such file or directory (line 2)",
        "api.users.b.flie: is unknown; there are: password, sha256, md5, role (line 2)",
        "api.users.c: is empty (line 2)",
    ]


def test_a_connector_gets_the_options_of_its_type(load: Load) -> None:
    """Converted leaf by leaf to the fields' types."""
    options = options_of(
        load(
            crm(
                timeout="1h 30m",
                largest="10 MB",
                follow="yes",
                rate="2.5",
                users=["a", "b"],
                secret=["x", "y"],
            )
        )
    )
    assert options.timeout == Duration(5400)
    assert options.largest == Size(10_000_000)
    assert options.follow is True
    assert options.rate == 2.5
    assert options.users == ("a", "b")
    assert options.secret == (Secret("x"), Secret("y"))
    assert options_of(load(crm(secret="x"))).secret == Secret("x")
    assert options_of(load(crm(fields={"a": [1, {"b": None}], "c": "x"}))).fields == {"a": [1, {}], "c": "x"}


def test_what_a_connector_refuses_is_a_mistake_at_its_path(mistakes: Mistakes) -> None:
    """A ValueError that begins with a field's name is that field's, any other the connector's."""
    assert mistakes(crm(url="ftp://x"))[0].startswith("connectors.a.url: is no http address")
    assert mistakes(crm(follow=True, mode="park"))[0].startswith("connectors.a: follow and park do not go")


def test_a_mistake_in_one_of_several_forms_is_told_for_the_form_used(mistakes: Mistakes) -> None:
    """A single empty secret is empty, not `no list`."""
    assert mistakes(crm(secret=""))[0].startswith("connectors.a.secret: is empty")
    assert mistakes(crm(secret=["x", ""]))[0].startswith("connectors.a.secret[1]: is empty")


def test_a_connector_needs_the_name_of_the_pbx(mistakes: Mistakes) -> None:
    """Deliveries are kept under it; other mistakes beside it do not hide that."""
    section = "connectors: {a: {type: crm, url: http://x}}"
    assert mistakes(MINIMAL + section)[0].startswith("pbx.name: is missing")
    found = mistakes(MINIMAL + "pbx: {timezone: x}\n" + section)
    assert [what.split(":")[0] for what in found] == ["pbx.timezone", "pbx.name"]
    assert len(mistakes(MINIMAL + "pbx: {name: a b}\n" + section)) == 1


def test_the_api_is_open_to_others_only_with_users(load: Load, mistakes: Mistakes) -> None:
    """Loopback in any form needs none."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "pbx.example.com", "127.0.0.1.example.com"):  # noqa: S104 - refused
        assert mistakes(MINIMAL + f"api: {{host: '{host}'}}")[0].startswith("api.users: host ")
        assert load(MINIMAL + f"api: {{host: '{host}', users: {{a: b}}}}").api.host == host
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert load(MINIMAL + f"api: {{host: '{host}'}}").api.host == host


def test_a_user_may_have_hashes_instead_of_a_password(load: Load, mistakes: Mistakes) -> None:
    """What `celreplay hash-password` prints, and a role; a password and hashes together are refused, and so is a
    hash that is none."""
    sha256, md5 = "a" * 64, "B" * 32
    users = f"{{a: {{sha256: {sha256}, md5: {md5}, role: read}}, b: secret, c: {{password: secret}}}}"
    accounts = load(MINIMAL + f"api: {{users: {users}}}").api.accounts
    assert accounts["a"].credential == {"SHA-256": sha256, "MD5": md5}
    assert {name: account.credential for name, account in accounts.items() if name != "a"} == {
        "b": "secret",
        "c": "secret",
    }
    assert [account.role for account in accounts.values()] == ["read", "admin", "admin"]
    for user, what in {
        "{role: read}": "api.users.a: give password, or sha256 and md5",
        f"{{password: x, md5: {md5}}}": "api.users.a: give password, or sha256 and md5",
        "{md5: abc}": "api.users.a.md5: is not what `celreplay hash-password` prints: 32 hex digits",
        f"{{sha256: {md5}}}": "api.users.a.sha256: is not what",
        "{password: x, role: root}": "api.users.a.role: ",
    }.items():
        [mistake] = mistakes(MINIMAL + f"api: {{users: {{a: {user}}}}}")
        assert mistake.startswith(what), user


def test_a_user_that_digest_cannot_carry_is_refused(mistakes: Mistakes) -> None:
    """RFC 7616 section 3.4.2: A1 is `user:realm:password`, so that a colon would move the border."""
    assert "'a:b'" in mistakes(MINIMAL + "api: {users: {'a:b': x}}")[0]
    assert "digest_algorithms" in mistakes(MINIMAL + "api: {digest_algorithms: [MD5, MD5]}")[0]
    assert "digest_algorithms" in mistakes(MINIMAL + "api: {digest_algorithms: []}")[0]


def test_secrets_in_a_file_that_everybody_reads_are_warned_of(load: Load) -> None:
    """Only where they stand in the file itself."""
    url = "cel: {url: 'mysql://u:pw@h/db'}\n"
    [warning] = load(url + "api: {users: {a: b}}", mode=0o644).warnings
    assert "cel.url, api.users.a" in warning
    assert "pw" not in warning
    assert load(url, mode=0o640).warnings == ()
    assert load("cel: {url: 'mysql://u:${PW}@h/db'}\n", {"PW": "x"}, mode=0o644).warnings == ()
    assert load(MINIMAL, mode=0o644).warnings == ()


def test_no_secret_is_shown_anywhere(load: Load, mistakes: Mistakes) -> None:
    """Not by printing the whole configuration, nor in a mistake about it."""
    text = "cel: {url: 'mysql://u:hunter2@h/db'}\napi: {users: {a: hunter2}}\n" + crm(
        headers={"x": "hunter2"}, secret="hunter2"
    ).removeprefix(MINIMAL)
    loaded = load(text)
    assert "hunter2" not in f"{loaded} {loaded!r} {loaded.api.users['a']} {loaded.cel.url!s:>5}"
    for wrong in (
        "api: {users: hunter2}",
        "cel: {url: 'mysql://u:hunter2#@h/db'}",
        "api: {users: {a: [hunter2]}}",
    ):
        assert "hunter2" not in " ".join(mistakes(wrong))


def test_a_secret_is_encoded_by_nothing() -> None:
    """An accident would be silent otherwise."""
    secret = Secret("hunter2")
    assert (secret.reveal(), str(secret), repr(secret)) == ("hunter2", "***", "Secret('***')")
    for encode in (json.dumps, msgspec.json.encode, msgspec.to_builtins, pickle.dumps):
        with pytest.raises(TypeError):
            encode(secret)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("20 s", 20),
        ("15 min", 900),
        ("15m", 900),
        ("8h", 28_800),
        ("2 days", 172_800),
        ("1 Day", 86_400),
        ("1 week", 604_800),
        ("1h 30m", 5400),
        ("1h30m", 5400),
    ],
)
def test_a_duration_is_read_in_seconds_and_written_back(text: str, seconds: float) -> None:
    """What it prints is a duration of the same length."""
    assert Duration.parse(text) == seconds
    assert Duration.parse(str(Duration(seconds))) == seconds


def test_a_duration_is_shown_in_the_largest_unit_that_keeps_it_whole() -> None:
    """As a person would write it."""
    shown = [str(Duration(seconds)) for seconds in (0, 0.25, 1, 1.5, 90, 900, 5400, 28_800, 86_400, 172_800)]
    assert shown == ["0 s", "250 ms", "1 s", "1.5 s", "90 s", "15 min", "90 min", "8 h", "24 h", "2 days"]


@pytest.mark.parametrize(
    "text", ["", "h", "-1", "-1 s", "1 fortnight", "inf", "nan", "1e3", "5 1", "1h 5", "99999 weeks"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Neither negative nor endless."""
    with pytest.raises(ValueError, match=r"duration|unit|longer"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("10 MB", 10**7), ("1.5kB", 1500), ("1 GiB", 2**30), ("2K", 2000)],
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    """Decimal prefixes are powers of 1000, binary ones of 1024 (IEC 80000-13)."""
    assert Size.parse(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1 PB", "1 MB 2 kB", "MB", "999999999999 TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """As a sentence."""
    with pytest.raises(ValueError, match=r"size|larger"):
        Size.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "mysql://u:p%23w@db.example.com:3306/asteriskcdrdb",
        "mysql:///asterisk?unix_socket=/run/mysqld/mysqld.sock",
        "postgresql://u@[2001:db8::1]/asterisk",
        "sqlite:////var/log/asterisk/master.db",
        "postgres://u@h/db",
        "mariadb://u@h/db",
    ],
)
def test_database_addresses_are_taken(text: str) -> None:
    """Unchanged."""
    assert CelUrl.parse(text).reveal() == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no database address"),
        ("asteriskcdrdb", "no database address"),
        ("https://h/db", "no database address"),
        ("mysql:h/db", "no database address"),
        ("mysql://u:pw@h", "names no database"),
        ("mysql://u:pw@h/", "names no database"),
        ("mysql://u:pw#@h/db", "%23"),
        ("mysql://u:pw@h:port/db", "wrong host or port"),
        ("mysql://u:pw@h:0/db", "port 0"),
        ("postgresql://u:pw/b@h:5432/db", "wrong host or port"),
        ("sqlite://var/cel.db", "names no file"),
        ("sqlite:///", "names no file"),
    ],
)
def test_wrong_database_addresses_are_refused_with_a_way_out(text: str, what: str) -> None:
    """And without the address itself, which holds a password."""
    with pytest.raises(ValueError, match=what) as caught:
        CelUrl.parse(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["sqlite:////a b/c%23.db", "sqlite:///a b/c%23.db", "sqlite:////a%20b/c%23.db?x=1"]
)
def test_the_file_of_an_sqlite_address_is_absolute(text: str) -> None:
    """A daemon has no folder of its own that a relative path could mean."""
    assert CelUrl.parse(text).sqlite_path == "/a b/c#.db"


def test_the_store_is_not_kept_in_mysql() -> None:
    """Only SQLite and PostgreSQL give what it promises."""
    assert StoreUrl.parse("sqlite:////x").sqlite_path == "/x"
    with pytest.raises(ValueError, match="postgresql"):
        StoreUrl.parse("mysql://h/db")


def test_passwords_in_addresses_are_masked_in_any_text() -> None:
    """Users and hosts stay readable."""
    text = "a mysql://u:pw@h/db, http://:tok@x and postgresql://u:p@w@h:5432/d; http://h:80/a@b and 10:20@x"
    assert mask_url(text) == (
        "a mysql://u:***@h/db, http://:***@x and postgresql://u:***@h:5432/d; http://h:80/a@b and 10:20@x"
    )


def test_zones_and_patterns_are_checked() -> None:
    """A folder of the zone database is no zone; brackets of a pattern must close."""
    assert ZoneName.parse("Europe/Berlin") == "Europe/Berlin"
    for zone in ("Europe", "../etc/passwd", "europe/berlinn", "UTC+3"):
        with pytest.raises(ValueError, match="no time zone"):
            ZoneName.parse(zone)
    for pattern in ("PJSIP/trunk-*", "[ab]*", "[!a]x", "[]a]"):
        assert Glob.parse(pattern) == pattern
    for pattern in ("", " x", "[ab", "x["):
        with pytest.raises(ValueError, match=r"`\[`|empty"):
            Glob.parse(pattern)


def test_a_type_that_no_text_can_become_is_a_fault_of_ours() -> None:
    """It shows in the first test of a new options struct."""
    with pytest.raises(TypeError):
        parse(bytearray, "x")


def load_example(tmp_path: Path, uncomment: bool) -> Config:
    """The example file, also with every commented default switched on."""
    text = EXAMPLE.read_text()
    if uncomment:
        text = re.sub(r"^( *)# (?=[a-z_]+:)", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "example.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return config.load(path, OPTIONS, {"CEL_PASSWORD": "x", "CRM_SECRET": WEBHOOK_SECRET})


def test_every_default_in_the_example_is_the_real_one(tmp_path: Path) -> None:
    """Switching a commented line on changes nothing."""
    assert load_example(tmp_path, uncomment=True) == load_example(tmp_path, uncomment=False)


def keys_of(kind: type[msgspec.Struct]) -> set[str]:
    """The names of a struct's fields in the file."""
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_example_shows_every_key() -> None:
    """A key that is not in it is not found by anybody."""
    text = re.sub(r"^( *)# (?=[a-z_]+:)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    shown = yaml.safe_load(text)
    sections = {
        field.encode_name: field.type
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    assert shown.keys() == sections.keys() | {"connectors", "rules"}
    for name, kind in sections.items():
        assert shown[name].keys() == keys_of(kind)
    shown_types = {options["type"]: options.keys() for options in shown["connectors"].values()}
    assert shown_types == {name: keys_of(kind) for name, kind in OPTIONS.items()}


def test_a_line_of_the_example_is_either_a_default_or_an_explanation() -> None:
    """One `#` before a key, two before words: else the test above would pass over a default."""
    for line in EXAMPLE.read_text().split("## The PBX", 1)[1].splitlines()[1:]:
        assert not line.strip() or re.match(r" *(## \S|# [a-z_]+:|[a-z_]+:)", line), line


def test_the_documentation_explains_every_key_with_its_default() -> None:
    """docs/configuration.md: a row `| key | default | …` in the section of its struct."""
    text = (EXAMPLE.parent / "docs" / "configuration.md").read_text()
    headings = re.split(r"^##+ `(?:type: )?([a-z]+)`$", text, flags=re.MULTILINE)[1:]
    sections = dict(zip(headings[::2], headings[1::2], strict=True))
    rows = {
        name: re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", body, re.MULTILINE)
        for name, body in sections.items()
    }
    defaults = dict(re.findall(r"^ *# ([a-z_]+): (.*)$", EXAMPLE.read_text(), re.MULTILINE))
    for field in msgspec.structs.fields(config._File):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            assert {key for key, _ in rows[field.encode_name]} == keys_of(field.type)
    for name, kind in OPTIONS.items():
        assert {key for key, _ in rows["connectors"] + rows[name]} == keys_of(kind)
    assert keys_of(RuleConfig) <= set(re.findall(r"`([a-z_]+)", sections["rules"]))
    # `url` is the one name with a default in one section only
    shown = [(key, text.strip("`")) for body in rows.values() for key, text in body if text.startswith("`")]
    assert [(key, text) for key, text in shown if defaults.get(key) != text] == []
