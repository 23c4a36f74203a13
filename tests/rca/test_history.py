"""The command that fills a history and puts it right."""

import json
from pathlib import Path

import pytest
from semlang.programs.rca import history

pytest.importorskip("sklearn")


@pytest.fixture
def incidents(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [
        {"id": str(row), "time": f"2026-01-{row + 1:02}T00:00:00Z", "category": "disk" if row % 2 else "dns",
         "text": ("disk full " if row % 2 else "lookup failed ") * 3} for row in range(24)]
    rows.append({"id": "parts", "time": "2026-02-01", "parts": {"alert": "<b>slow</b>", "diagnostics": "queue 17"}})
    path = tmp_path / "incidents.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


def test_import_list_confirm_rename(incidents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "history.db")
    assert history.main([str(incidents), "--store", store, "--embedding", "tfidf"]) == 0
    assert capsys.readouterr().out == ("25 incidents added, 0 were there already\n"
                                       "tfidf trained on 24 incidents, decay 0 per day\n")
    assert history.main(["import", str(incidents), "--store", store]) == 0
    assert "0 incidents added, 25 were there already\ntfidf trained" in capsys.readouterr().out
    assert history.main(["confirm", "parts", "queue", "--store", store]) == 0
    assert history.main(["rename", "queue", "backlog", "--store", store]) == 0
    assert history.main(["train", "--store", store, "--alpha", "0.1"]) == 0
    capsys.readouterr()
    assert history.main(["list", "--json", "--store", store]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == {"id": "parts", "time": "2026-02-01", "category": "backlog", "text": "slow queue", "kind": "",
                        "summary": "", "confirmed": True, "steps": []}
    assert history.main(["list", "--store", store]) == 0
    assert capsys.readouterr().out.endswith("    12  disk\n    12  dns\n     1  backlog\n")


def test_what_is_listed_can_be_imported(incidents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(tmp_path / "1.db"), str(tmp_path / "2.db")
    history.main([str(incidents), "--store", one, "--embedding", "tfidf"])
    capsys.readouterr()
    history.main(["list", "--json", "--store", one])
    first = capsys.readouterr().out
    (tmp_path / "copy.jsonl").write_text(first)
    history.main([str(tmp_path / "copy.jsonl"), "--store", two, "--embedding", "tfidf"])
    capsys.readouterr()
    history.main(["list", "--json", "--store", two])
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(("line", "message"), [
    ('{"id": "1", "time": "2026-01-01"}', ":1: the incident lacks `text`"),
    ('{"id": "1", "time": "soon", "text": "a"}', ":1: Invalid isoformat string: 'soon'"),
    ("not JSON", ":1: Expecting value"),
    ("[1]", ":1: "),
])
def test_wrong_lines_are_named_and_no_store_is_made(line: str, message: str, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(line)
    assert history.main([str(path), "--store", str(tmp_path / "history.db")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "history.db").exists()


def test_a_store_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history.main(["list", "--store", str(tmp_path / "none.db")]) == 2
    assert "there is no history" in capsys.readouterr().err
    assert history.main([str(tmp_path / "none.jsonl"), "--store", str(tmp_path / "none.db")]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["nan", "-1", "inf", "x"])
def test_a_rate_of_decay_is_zero_or_more(rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        history.main(["train", "--store", str(tmp_path / "h.db"), f"--alpha={rate}"])
    assert ended.value.code == 2 and "--alpha" in capsys.readouterr().err
