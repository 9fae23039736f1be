from __future__ import annotations

import bcrypt
import pytest
import trustme

from exporter.errors import ConfigError
from exporter.web import WebConfigFile, load_web_config
from exporter.web.rate_limit import RateLimit, TokenBucket

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def write(directory, text, name="web.yml"):
    file = directory / name
    file.write_text(text)
    return file


@pytest.fixture
def certificates(tmp_path):
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return ca


WHOLE = f"""
tls_server_config:
  cert_file: cert.pem
  key_file: key.pem
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus]
  min_version: TLS13
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: SAMEORIGIN
basic_auth_users:
  alice: {HASH}
"""


def test_a_whole_file_is_read_with_paths_relative_to_it(tmp_path, certificates):
    config = load_web_config(write(tmp_path, WHOLE))
    assert config.tls_server_config.cert_file == tmp_path / "cert.pem"
    assert config.basic_auth_users["alice"].get_secret_value() == HASH
    access = WebConfigFile(tmp_path / "web.yml").current()
    assert access.tls.minimum_version.name == "TLSv1_3"
    assert access.client_names == {"prometheus"}
    assert access.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "basic_auth_users: {}", "tls_server_config: {}"])
def test_an_empty_file_asks_for_nothing(tmp_path, text):
    access = WebConfigFile(write(tmp_path, text)).current()
    assert access.tls is None
    assert not access.users


TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("tls_server_cfg: {}\n", ":1:1: tls_server_cfg: unknown field", id="unknown field"),
        pytest.param(TLS + "  certt: x\n", ":4:3: tls_server_config.certt: unknown field", id="unknown nested field"),
        pytest.param(
            "tls_server_config: {cert_file: a}\n", ":1:1: tls_server_config: one of key and key_file", id="half a pair"
        ),
        pytest.param(
            TLS + "  min_version: TLS9\n", ":4:3: tls_server_config.min_version: Input should be", id="no such TLS"
        ),
        pytest.param(
            TLS + "  client_auth_type: RequireAnyClientCert\n",
            ":4:3: tls_server_config.client_auth_type: RequireAnyClientCert does not verify",
            id="unverified",
        ),
        pytest.param(
            TLS + "  client_ca_file: ca.pem\n",
            ":1:1: tls_server_config: client_ca_file and",
            id="a CA that is not used",
        ),
        pytest.param(TLS + "  cert: x\n", ":1:1: tls_server_config: give cert or cert_file", id="twice"),
        pytest.param(
            TLS + "  cipher_suites: [TLS_NULL]\n", ":4:3: tls_server_config.cipher_suites: 'TLS_NULL' is", id="a cipher"
        ),
        pytest.param(
            TLS + "  curve_preferences: [P1]\n", ":4:3: tls_server_config.curve_preferences: 'P1' is", id="a curve"
        ),
        pytest.param("rate_limit: {interval: 1s}\n", ":1:1: rate_limit: with a burst of 0", id="no burst"),
        pytest.param("rate_limit: {interval: 1 day, burst: 1}\n", "not a duration: '1 day'", id="a duration"),
        pytest.param(
            TLS + "  client_allowed_sans: [a]\n", "client_allowed_sans needs", id="names that are not verified"
        ),
        pytest.param(
            TLS + "  min_version: TLS13\n  max_version: TLS12\n",
            "min_version is above max_version",
            id="no version left",
        ),
        pytest.param(
            "basic_auth_users: {alice: secret}\n", ":1:1: basic_auth_users: alice: not a bcrypt hash", id="a password"
        ),
        pytest.param("basic_auth_users: {'a:b': x}\n", "with a colon can never log in", id="a colon"),
        pytest.param("basic_auth_users: [alice]\n", ":1:1: basic_auth_users: Input should be", id="a list"),
        pytest.param(
            "http_server_config:\n  headers: {Server: x}\n",
            ":2:3: http_server_config.headers: 'Server' cannot be set",
            id="a header",
        ),
        pytest.param(
            "http_server_config: {headers: {X-Frame-Options: maybe}}\n", "must be deny or sameorigin", id="a value"
        ),
        pytest.param(
            'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: x"}}\n',
            "no header may have",
            id="a second header",
        ),
        pytest.param("a: [\n", ":2:1: not valid YAML", id="no YAML"),
        pytest.param("\tb: c\n", ":1:1: a tab is used for indentation", id="a tab"),
        pytest.param("a: \0\n", ":1:4: control characters are not allowed", id="NUL"),
        pytest.param(
            "basic_auth_users: {}\nbasic_auth_users: {}\n",
            ":2:1: basic_auth_users: duplicate key; it is already at 1:1",
            id="twice",
        ),
        pytest.param("- a\n", ":1:1: Input should be a valid dictionary", id="not a mapping"),
        pytest.param("&a [*a]\n", ":1:5: alias *a has no anchor &a before it", id="inside itself"),
        pytest.param(
            "!!python/object/apply:os.system [ls]\n",
            ":1:1: the tag !!python/object/apply:os.system is not allowed",
            id="code",
        ),
        pytest.param("a: " + "[" * 5000 + "\n", "nested deeper than 64 levels", id="deep"),
        pytest.param("basic_auth_users: {a: 0123}\n", ":1:23: basic_auth_users.a: must be text", id="a number"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, message):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_web_config(file)
    assert f"{file}{message}" in str(caught.value) if message.startswith(":") else message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "0123" not in str(caught.value)


def test_every_problem_is_said_at_once(tmp_path):
    file = write(tmp_path, "tls_server_config: {crt: x, cert_file: 1}\nbasic_auth_users: {a: b}\nother: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_web_config(file)
    assert len(caught.value.problems) == 4


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_web_config(tmp_path / "web.yml")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_web_config(tmp_path / "none.yml")
    (tmp_path / "large.yml").write_bytes(b"#" * (1 << 20 | 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_web_config(tmp_path / "large.yml")


def test_aliases_of_aliases_cost_nothing(tmp_path):
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    with pytest.raises(ConfigError, match="more than 100 aliases"):
        load_web_config(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda d: (d / "cert.pem").unlink(), "No such file"),
        (lambda d: (d / "cert.pem").write_text("nonsense"), "tls_server_config: certificates"),
        (lambda d: trustme.CA().issue_cert("x").private_key_pem.write_to_path(d / "key.pem"), "(?i)mismatch"),
    ],
    ids=["no certificate", "nonsense", "another key"],
)
def test_certificates_are_tried_at_the_start(tmp_path, certificates, breakage, message):
    breakage(tmp_path)
    with pytest.raises(ConfigError, match=message):
        WebConfigFile(write(tmp_path, TLS))


def test_an_encrypted_key_does_not_ask_on_the_terminal(tmp_path, certificates):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    sealed = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))
    (tmp_path / "key.pem").write_bytes(sealed)
    with pytest.raises(ConfigError, match="the key is encrypted"):
        WebConfigFile(write(tmp_path, TLS))


def replace(file, text):
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_change_is_followed_and_a_broken_one_is_not(tmp_path, certificates, caplog):
    told = []
    file = write(tmp_path, f"basic_auth_users: {{alice: {HASH}}}\n")
    config = WebConfigFile(file, loaded=told.append)
    first = config.current()
    assert config.current() is first
    replace(file, "basic_auth_users: {alice: nonsense}\n")
    assert config.current() is first
    assert config.current() is first
    assert "last good one stays in force" in caplog.text
    assert "nonsense" not in caplog.text
    file.unlink()
    assert config.current() is first
    replace(file, TLS)
    assert config.current().tls is not None
    assert not config.current().users
    assert told == [True, False, False, True]


def test_a_renewed_certificate_is_used(tmp_path, certificates):
    config = WebConfigFile(write(tmp_path, TLS))
    first = config.current()
    renewed = certificates.issue_cert("localhost")
    replace(tmp_path / "cert.pem", renewed.cert_chain_pems[0].bytes().decode())
    assert config.current() is first, "the key does not belong to it yet"
    replace(tmp_path / "key.pem", renewed.private_key_pem.bytes().decode())
    assert config.current().tls is not first.tls


def test_a_certificate_that_appears_later_is_found(tmp_path, certificates):
    file = write(tmp_path, "")
    config = WebConfigFile(file)
    (tmp_path / "cert.pem").rename(tmp_path / "later.pem")
    replace(file, TLS)
    assert config.current().tls is None
    (tmp_path / "later.pem").rename(tmp_path / "cert.pem")
    assert config.current().tls is not None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1s", 1.0), ("1m30s", 90.0), ("1.5s", 1.5), ("250ms", 0.25), ("0", 0.0), ("10us", 1e-5), (1_000_000_000, 1.0)],
)
def test_intervals_are_those_of_go(written, seconds):
    assert RateLimit.model_validate({"interval": written, "burst": 1}).interval == pytest.approx(seconds)


def test_a_bucket_allows_a_burst_and_then_one_an_interval():
    now = [0.0]
    bucket = TokenBucket(RateLimit.model_validate({"interval": "2s", "burst": 3}), lambda: now[0])
    assert [bucket.allow() for _ in range(5)] == [True] * 3 + [False] * 2
    now[0] = 2.0
    assert [bucket.allow() for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [bucket.allow() for _ in range(4)] == [True] * 3 + [False]


def test_a_bucket_stays_until_its_limit_changes(tmp_path):
    file = write(tmp_path, "rate_limit: {interval: 1h, burst: 2}\n")
    followed = WebConfigFile(file)
    bucket = followed.current().bucket
    file.write_text("rate_limit: {interval: 1h, burst: 2}\nhttp_server_config: {http2: false}\n")
    assert followed.current().bucket is bucket
    file.write_text("rate_limit: {interval: 1h, burst: 20}\n")
    assert followed.current().bucket is not bucket
