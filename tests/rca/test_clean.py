"""What cleaning takes away and what it leaves."""

from hypothesis import given
from hypothesis import strategies as st
from semlang.programs.rca.clean import clean, clean_masked, cut_words, letters_only, strip_html


def test_markup_is_read_not_shown() -> None:
    table = "<table><tr><td>Exception</td><td>IOException &amp; more</td></tr></table><script>var x</script>"
    assert clean(table) == "Exception IOException & more" or clean(table) == "Exception IOException more"
    assert "script" not in strip_html(table) and "var x" not in strip_html(table)


def test_text_without_a_tag_is_no_markup() -> None:
    assert strip_html("a < b and c > d") == "a < b and c > d"


def test_identifiers_addresses_numbers_and_brackets_go() -> None:
    text = ("Request 7f9c24e5-1b2a-4c3d-9e8f-0a1b2c3d4e5f failed [code 503] at https://example.com/a?b=1 "
            "in C:\\app\\bin\\store.dll and /var/log/syslog.log (0xdeadbeef, deadbeef01)")
    assert clean(text) == "Request failed code at in and"


@given(st.text(max_size=400))
def test_cleaning_ends_and_is_bounded(text: str) -> None:
    cleaned = clean(text, 20)
    assert len(cleaned.split()) <= 20
    assert cleaned == " ".join(cleaned.split())
    assert not any("0" <= character <= "9" for character in cleaned)


def test_three_hundred_words() -> None:
    assert len(clean("word " * 1000).split()) == 300
    assert cut_words("a  b\nc d", 3) == "a b c"


def test_embeddings_see_letters() -> None:
    assert letters_only("docker_memory-RSS 12up <b>dbservice1</b>") == "docker memory rss up dbservice"


def test_secrets_go_before_anything_else() -> None:
    text = "<p>login of ops@example.com with password=hunter-two failed at 10.1.2.3</p> <b>token: abcdefghijklmnop</b>"
    assert clean_masked(text) == "login of email with password=secret failed at ip token: secret"
    assert clean_masked(clean_masked(text)) == clean_masked(text)
