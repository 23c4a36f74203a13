"""The history: it stays, readers and a writer do not disturb each other, names of categories can be put right."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from semlang.programs.rca.store import Entry, Store, StoreError

pytest.importorskip("sklearn")

ENTRIES = [
    Entry("1", "2026-01-01T00:00:00Z", "disk", "volume out of space on node", confirmed=True),
    Entry("2", "2026-01-02T00:00:00Z", "dns", "name lookup failed", confirmed=True),
    Entry("3", "2026-01-03T00:00:00Z", "disk", "disk full volume", confirmed=True),
    Entry("4", "2026-01-09T00:00:00Z", "certificate", "certificate expired handshake", confirmed=True),
]
LATER = "2026-02-01T00:00:00Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of four incidents."""
    with Store(tmp_path / "history.db") as store:
        assert store.add(ENTRIES) == 4
        store.train("tfidf", 0.0)
    return tmp_path / "history.db"


def found(store: Store, text: str, time: str = LATER, **options: str) -> list[str]:
    return [neighbour.id for neighbour in store.nearest(text, time, id=options.get("id", ""))]


def test_a_restart_keeps_everything(path: Path) -> None:
    with Store(path) as store:
        before = store.nearest("volume full", LATER)
    with Store(path, read_only=True) as store:
        assert store.nearest("volume full", LATER) == before
        assert store.entries() == ENTRIES
        assert store.embedding() == ("tfidf", 4, 0.0)
    assert [neighbour.category for neighbour in before] == ["disk", "certificate", "dns"]


def test_nothing_from_the_future_and_not_itself(path: Path) -> None:
    with Store(path, read_only=True) as store:
        assert found(store, "certificate expired handshake")[0] == "4"
        assert "4" not in found(store, "certificate expired handshake", "2026-01-08T00:00:00Z")
        assert found(store, "name lookup failed")[0] == "2"
        assert "2" not in found(store, "name lookup failed", id="2")
        assert store.categories("2026-01-02T12:00:00Z") == {"disk": 1, "dns": 1}


def test_what_was_added_is_found_at_once_by_other_readers(path: Path) -> None:
    with Store(path, read_only=True) as reader, Store(path) as writer:
        assert found(reader, "quota exceeded for lookup")[0] == "2"
        assert writer.add([Entry("5", "2026-01-10T00:00:00Z", "name service", "name lookup failed failed")]) == 1
        assert "5" in found(reader, "name lookup failed failed")


def test_a_reader_beside_an_open_write_sees_the_state_before(path: Path) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE incidents SET category = 'other'")
    with Store(path, read_only=True) as reader:
        assert set(reader.categories()) == {"disk", "dns", "certificate"}
        writer.execute("COMMIT")
        assert set(reader.categories()) == {"other"}
    writer.close()


def test_another_process_reads_while_this_one_has_it_open(path: Path) -> None:
    script = ("import sys; from semlang.programs.rca.store import Store; "
              f"print([n.id for n in Store(sys.argv[1], read_only=True).nearest('disk full', '{LATER}')][0])")
    with Store(path) as store:
        store.add([Entry("6", "2026-01-11T00:00:00Z", "disk", "disk full")])
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "6"


def test_an_incident_is_added_once_and_confirmed_later(path: Path) -> None:
    with Store(path) as store:
        guess = Entry("7", LATER, "disk", "text")
        assert store.add([guess, guess]) == 1
        assert store.add([Entry("7", LATER, "dns", "text", confirmed=True)]) == 0
        known = store.entry("7")
        assert known is not None and known.category == "dns" and known.confirmed
        store.add([Entry("7", LATER, "certificate", "text", confirmed=True)])
        assert store.entry("7") == known
        store.confirm("7", "certificate")
        assert store.categories()["certificate"] == 2
        with pytest.raises(StoreError, match="no incident `8`"):
            store.confirm("8", "disk")


def test_categories_are_renamed_and_merged_for_good(path: Path) -> None:
    with Store(path) as store:
        assert store.rename("disk", "full disk") == 2
        store.add([Entry("8", LATER, "disk", "disk again")])
        assert store.categories()["full disk"] == 3
        assert store.rename("full disk", "dns") == 3
        assert store.current_name("disk") == "dns"
        assert store.rename("dns", "disk") == 4
        assert store.current_name("full disk") == "disk" and store.current_name("disk") == "disk"
        with pytest.raises(StoreError, match="no category `nothing`"):
            store.rename("nothing", "disk")


def test_a_failed_write_changes_nothing(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(ValueError, match="Invalid isoformat"):
            store.add([Entry("9", LATER, "dns", "text"), Entry("10", "yesterday", "dns", "text")])
        assert store.entry("9") is None


def test_what_is_no_history_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(StoreError, match="there is no history"):
        Store(tmp_path / "none.db", read_only=True)
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(StoreError, match="is no history"):
        Store(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreError, match="something else"):
        Store(tmp_path / "other.db")
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match=r"has version 99, this program reads version 1: .* import it again"):
        Store(path)


def test_without_an_embedding_nothing_is_found(tmp_path: Path) -> None:
    with Store(tmp_path / "new.db") as store:
        store.add(ENTRIES)
        assert store.nearest("disk", LATER) == []
        with pytest.raises(StoreError, match="no incident with a category"):
            Store(tmp_path / "empty.db").train("tfidf")


def test_vectors_are_exactly_those_of_the_embedding(path: Path) -> None:
    from semlang.programs.rca.embedding import TfidfEmbedding

    texts = [entry.text for entry in ENTRIES]
    embedding = TfidfEmbedding()
    embedding.fit(texts, [])
    with Store(path) as store:
        assert np.array_equal(store.past().vectors, embedding.vectors(texts))


def test_two_that_make_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    class Slow(Store):
        """Looks at the file, and another process makes the history before it goes on."""

        seen: ClassVar[list[bool]] = []

        def _is_empty(self) -> bool:
            self.seen.append(super()._is_empty())
            if len(self.seen) == 1:
                with Store(path) as quicker:
                    quicker.add(ENTRIES[:1])
            return self.seen[-1]

    with Slow(path) as store:
        assert store.seen == [True, False] and store.add(ENTRIES[1:2]) == 1
        assert len(store.entries()) == 2


@pytest.mark.parametrize("place", ["/nowhere/x.db", "/proc/x.db"])
def test_a_store_that_cannot_be_written_is_one_line(place: str) -> None:
    with pytest.raises(StoreError, match=f"^the history {place} cannot be used: "):
        Store(place)
