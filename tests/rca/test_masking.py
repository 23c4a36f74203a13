"""Secrets and identifying values are masked and come back; nothing secret is left in a masked text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.masking import Masks, mask_texts, unmask

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq8J2==\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

SECRETS = [
    ("aws id AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("dsn postgres://app:s3cr3t@db.internal:5432/orders failed", "s3cr3t"),
    ("dsn postgres://app:p@ss/word@db.internal/orders failed", "p@ss/word"),
    ("redis://:hunter22@cache:6379", "hunter22"),
    ('{"password": "correct horse \\" battery", "user": "app"}', 'correct horse \\" battery'),
    ("db_password: hunter2secret", "hunter2secret"),
    ("login --password hunter2 --verbose", "hunter2"),
    ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    (f"jwt {JWT}", JWT),
    (f"cookie: session={JWT};", JWT),
    (f"loaded {KEY} from disk", "MIIEpAIBAAKCAQEA7"),
    ("cut off -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq", "MIIEvQIBADANBgkq"),
    ("pushing with ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("slack xoxb-123456789012-abcdefghij", "xoxb-123456789012-abcdefghij"),
    ("stripe sk_live_0123456789abcdef", "sk_live_0123456789abcdef"),
    ("x-api-key: 7f3a9c0d", "7f3a9c0d"),
    ("client_secret = 'abc def'", "abc def"),
    ("mail to jane.doe+ops@example.co.uk bounced", "jane.doe+ops@example.co.uk"),
    ("peer 10.12.0.7:8080 refused", "10.12.0.7"),
    ("peer [2001:db8::8a2e:370:7334]:443 refused", "2001:db8::8a2e:370:7334"),
    ("trace 3F2504E0-4F89-11D3-9A0C-0305E82C3301 lost", "3F2504E0-4F89-11D3-9A0C-0305E82C3301"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_masked_and_comes_back(text: str, secret: str) -> None:
    (masked,), names = mask_texts([text])
    assert secret not in masked
    assert unmask(masked, names) == text


@pytest.mark.parametrize("text", [
    "max_tokens=512 tokens: 20", "version 1.2.3 of 12:30:45", "http://cart:8080/items?mail=on", "::1 and 127.0.0.1",
    "at java.util.List.of(List.java:812)", "sha256:0f3c", "volume secret db-credentials is mounted", "token: null",
    "12:30:45.123 2026-03-02T09:15:00Z", "999.1.1.1",
])
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_texts([text]) == ([text], {})


def test_the_same_value_has_the_same_placeholder_everywhere() -> None:
    masked, names = mask_texts(["10.0.0.1 to 10.0.0.2", "10.0.0.2 to 10.0.0.1", "nothing"])
    assert masked == ["<ip-1> to <ip-2>", "<ip-2> to <ip-1>", "nothing"]
    assert names == {"<ip-1>": "10.0.0.1", "<ip-2>": "10.0.0.2"}


def test_a_secret_that_one_text_gives_away_is_masked_in_all() -> None:
    masked, _ = mask_texts(["tried hunter2secret", "password=hunter2secret"])
    assert masked == ["tried <secret-1>", "password=<secret-1>"]


def test_secrets_stay_masked_unless_they_are_asked_for() -> None:
    masks = Masks()
    masked = masks.mask("password=hunter22 from 10.0.0.1")
    assert unmask(masked, masks.names()) == "password=<secret-1> from 10.0.0.1"
    assert unmask(masked, masks.names(secrets=True)) == "password=hunter22 from 10.0.0.1"


PIECES = st.sampled_from([
    *(text for text, _ in SECRETS), "<ip-1>", "<literal-1>", "<secret-2>", "password=<ip-1>", "10.0.0.1", " ", "\n",
    "@", ":", "://", "token=", '"', "'", "é", "a@b.c", "-----BEGIN RSA PRIVATE KEY-----",
]) | st.text(max_size=6)


@given(st.lists(st.lists(PIECES, max_size=8).map("".join), max_size=4))
def test_masking_round_trip(texts: list[str]) -> None:
    masked, names = mask_texts(texts)
    assert [unmask(text, names) for text in masked] == texts


def test_hostile_texts_take_linear_time() -> None:
    long = 20_000
    texts = ["a." * long, "password" * 10_000, "http://a:" * 10_000, "-" * long, "eyJ" * 20_000, "1.1" * 20_000,
             "0:" * long, "a@" * long, "key=" * 20_000]
    started = time.process_time()
    for text in texts:
        Masks().mask(text)
    assert time.process_time() - started < 20
