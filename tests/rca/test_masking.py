"""Secrets and identifying values are masked and come back; nothing secret is left in a masked text."""

import base64
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.masking import Masks, mask_texts, unmask
from semlang.programs.rca.outcomes import Answer, Outcome, cut

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


SECRET = "vQ8-plum-stone-harvest"


@pytest.mark.parametrize("spelling", [
    base64.b64encode(SECRET.encode()).decode(), base64.b64encode(b"user:" + SECRET.encode()).decode(),
    base64.urlsafe_b64encode(b"x" + SECRET.encode() + b"?>").decode(), SECRET.encode().hex(),
    SECRET.encode().hex().upper(), SECRET[::-1], "%76Q8-plum-stone-harvest", "vQ8%2Dplum%2Dstone%2Dharvest",
    "\u200b".join(SECRET), "v\u2060Q8-plum-stone-harv\ufeffest", base64.b64encode(b"password=" + b"other-1").decode(),
    "AKIA\u200bIOSFODNN7EXAMPLE", b"token=another-one-here".hex(),
])
def test_a_secret_is_masked_in_other_spellings(spelling: str) -> None:
    texts = [f"password={SECRET}", f"seen {spelling} in a log"]
    masked, names = mask_texts(texts)
    known = spelling[len(spelling) // 4:len(spelling) // 2]
    assert known not in masked[1].replace(" in a log", "") and "<" in masked[1]
    assert [unmask(text, names) for text in masked] == texts


def test_masks_go_on_where_they_left_off() -> None:
    first, names = mask_texts([f"password={SECRET} from 10.0.0.1"])
    second, more = mask_texts([f"{SECRET} from 10.0.0.2 and 10.0.0.1"], names)
    assert first == ["password=<secret-1> from <ip-1>"] and second == ["<secret-1> from <ip-2> and <ip-1>"]
    assert more == names | {"<ip-2>": "10.0.0.2"}
    with pytest.raises(ValueError, match="no placeholder"):
        mask_texts(["x"], {"ip": "10.0.0.1"})


def test_the_end_of_a_private_key_is_masked() -> None:
    (masked,), _ = mask_texts(["8J2x9Kd\nMIIEpAIBAAKCAQEA7bq\n-----END RSA PRIVATE KEY-----\nstarted"])
    assert masked == "<private-key-1>\nstarted"


@pytest.mark.parametrize("between", ["\n", " ", '", "password": "'])
def test_a_secret_is_never_cut_in_two(between: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path))
    text = between.join(f"AKIA{n:08}ABCDEFGH" for n in range(1_000))
    for shift in range(0, 40, 3):
        shown = cut(Answer(Outcome.OK, "." * shift + between + text)).text
        assert len(shown) < 8_300
        assert "AKIA" not in mask_texts([shown])[0][0] and "ABCDEFGH" not in mask_texts([shown])[0][0]


def test_many_secrets_take_linear_time() -> None:
    text = "\n".join(f"password=hunter2-{n:06}" for n in range(8_000))
    started = time.process_time()
    (masked,), _ = mask_texts([text])
    assert "hunter2" not in masked and time.process_time() - started < 20


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
