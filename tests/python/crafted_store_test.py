# Goal: a store that somebody else has made cannot make Python read outside of a text. A text that is no state is an
# error.
# Method: texts that are no JSON, in a store, with a fitting frame and checksums. Each is loaded in a process of its own,
# whose exit tells whether it survived.

import ctypes
import os
import sqlite3
import subprocess
import sys

import pytest

import cairn

TEXTS = [b"", b"]", b'{"a', b'{"a":', b'{"a":"', b'{"a":"\\', b'{"a":"\\u', b'{"a":"\\ud800\\u', b"{", b"}", b"[1]",
         b'{"k":1', b'{"k":t', b'{"k":n', b"{,}", b'{"a"}', b"x" * 40, b'{"a":{"b":[', b"\xff\xfe", b'{"\xff":"\xc3"}',
         b"[" * 3000, b'{"a":1}}}', b'{"a":-}', b'{"a":"b" "c"}', b"{a:1}", b'"', b'{"a":[}', b'{"a":"\\\xc3\xa9"}']

PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(cairn.__file__)))

LOAD = """
import sys, cairn
with cairn.open(sys.argv[1]) as store:
    for service in cairn.OptimizedStatePersistence(store), cairn.StatePersistenceService(store):
        try:
            service.load_agent_state("r")
            sys.exit("loaded")
        except cairn.CorruptError as error:
            assert len(str(error)) < 500, len(str(error))
    print([info.metadata for info in store.history("r")])
"""


class Checksum(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


@pytest.fixture(scope="module")
def checksum_of():
    try:
        library = ctypes.CDLL("libxxhash.so.0")
    except OSError as error:
        pytest.skip(f"the checksums of crafted texts need libxxhash: {error}")
    library.XXH3_128bits.restype = Checksum
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]

    def of(text):
        checksum = library.XXH3_128bits(text, len(text))
        return checksum.high.to_bytes(8, "big") + checksum.low.to_bytes(8, "big")

    return of


def varint(number):
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:16]))
def test_a_text_that_is_no_state_is_an_error_and_no_read_outside(folder, checksum_of, text):
    with cairn.open("sqlite:a.db") as store:
        cairn.StatePersistenceService(store).save_agent_state(run_id="r", thread_id="t", user_id="u", state={"a": 1})
    checksum = checksum_of(text)
    frame = b"\x01\x01" + varint(len(text)) + checksum + text
    database = sqlite3.connect("a.db")
    database.execute("update snapshots set frame = ?, checksum = ?, state_bytes = ?", (frame, checksum, len(text)))
    database.execute("update runs set head_checksum = ?, head_state_bytes = ?", (checksum, len(text)))
    database.commit()
    database.close()
    loaded = subprocess.run([sys.executable, "-c", LOAD, "sqlite:a.db"], capture_output=True, text=True, check=False,
                            env=os.environ | {"PYTHONPATH": PACKAGES})
    assert (loaded.returncode, loaded.stderr) == (0, "")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:16]))
def test_metadata_that_is_no_object_is_not_read(folder, text):
    with cairn.open("sqlite:a.db") as store:
        service = cairn.StatePersistenceService(store)
        service.save_agent_state(run_id="r", thread_id="t", user_id="u", state={"a": 1})
    database = sqlite3.connect("a.db")
    database.execute("update snapshots set metadata = cast(? as text), execution_context = cast(? as text)", (text, text))
    database.commit()
    database.close()
    with cairn.open("sqlite:a.db") as store:
        service = cairn.StatePersistenceService(store)
        assert [(info.metadata, info.execution_context) for info in store.history("r")] == [(None, None)]
        assert list(store.history("r", metadata={"a": 1})) == []
        if text:
            with pytest.raises(cairn.CorruptError):
                service.load_agent_state("r")


def test_a_damaged_run_is_listed_with_its_damage_and_does_not_hide_the_others(folder):
    url = f"sqlite:{folder / 'a.db'}"
    with cairn.open(url) as store:
        service = cairn.StatePersistenceService(store)
        for run in "first", "second":
            service.save_agent_state(run_id=run, thread_id="t", user_id="u", state={"a": 1})
    with sqlite3.connect(folder / "a.db") as database:
        database.execute("INSERT INTO leases VALUES('first', 'ann', 1, 4611686018427387904)")
        database.execute("UPDATE snapshots SET created_after = 4611686018427387904, checksum = x'00' WHERE sequence = 2")
    with cairn.open(url) as store:
        damage = {run.run_id: run.damage for run in store.runs()}
        assert damage["second"] == "" and "a lease with an impossible time" in damage["first"]
        (info,) = store.history("second")
        assert "checksum" in info.damage and info.created_at.year == 9999
        assert {finding.code for finding in store.check().findings} == {"corrupt"}
