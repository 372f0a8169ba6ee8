"""Goal: a `.env` that is written for other programs stops none of ours. One left behind changes nothing in production.
Method: files in a folder of their own, which is the working folder. The test looks at the log.
"""

import logging

import cairn
import cairn.config
import pytest
from netra_backend.app.core.isolated_environment import get_env

KEY = "KEY=\"-----BEGIN KEY-----\nMIIB=\n-----END KEY-----\"\n"


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    monkeypatch.setattr(cairn.config, "_told", set())
    return folder


def test_a_quoted_value_of_several_lines_is_one_value(in_folder):
    (in_folder / ".env").write_text(KEY + "CAIRN_TIMEOUT_MS=7\n")
    assert cairn.load_config().timeout_ms == 7
    assert get_env().get("KEY") == "-----BEGIN KEY-----\nMIIB=\n-----END KEY-----"
    with cairn.open("memory:") as store:
        persistence = cairn.OptimizedStatePersistence(store)
        assert persistence.save_agent_state(run_id="r", thread_id="t", user_id="u", state={"a": 1}).outcome == "persisted"


def test_a_line_that_cannot_be_read_is_skipped_and_told_once(in_folder, caplog):
    (in_folder / ".env").write_text("odd-key=secret\nCAIRN_TIMEOUT_MS=7\n")
    with caplog.at_level(logging.WARNING, logger="cairn"):
        assert cairn.load_config().timeout_ms == 7
        assert cairn.load_config().timeout_ms == 7
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "line 1" in told[0] and "secret" not in told[0]


def test_a_line_of_ours_that_cannot_be_read_is_an_error(in_folder):
    (in_folder / ".env").write_text("A=1\nCAIRN_TIMEOUT_MS 7\n")
    with pytest.raises(cairn.ConfigError, match="line 2"):
        cairn.load_config()


@pytest.mark.parametrize("name", ["production", "staging", "Production"])
def test_in_production_and_staging_the_file_is_not_read(in_folder, monkeypatch, name):
    (in_folder / ".env").write_text("A=1\nCAIRN_TIMEOUT_MS=7\n")
    monkeypatch.setenv("ENVIRONMENT", name)
    assert cairn.load_config().timeout_ms == 30_000
    assert get_env().get("A") is None
    monkeypatch.setenv("ENVIRONMENT", "development")
    assert cairn.load_config().timeout_ms == 7
    assert get_env().get("A") == "1"


def test_the_mode_of_files_is_read_and_handed_to_the_store(in_folder, monkeypatch):
    monkeypatch.setenv("CAIRN_FILE_MODE", "0640")
    assert cairn.load_config().file_mode == 0o640
    monkeypatch.setenv("CAIRN_FILE_MODE", "640x")
    with pytest.raises(cairn.ConfigError, match="CAIRN_FILE_MODE"):
        cairn.open("memory:")


def test_a_setting_misspelt_is_told_once_and_stops_nothing(caplog):
    with caplog.at_level(logging.WARNING, logger="cairn"):
        for _ in range(2):
            assert cairn.load_config({"CAIRN_TIMEOUT_M": "7", "CAIRN_FROB": "1", "caf\udce9": "x"}).timeout_ms == 30_000
    told = [record.getMessage() for record in caplog.records]
    assert told == ["CAIRN_TIMEOUT_M is no setting: did you mean CAIRN_TIMEOUT_MS?"]
