# Goal: bytes that Python saves with their type come back as they were, from both services and both kinds of calls, and
# what is neither bytes with a type nor a dict is refused with the field's name.
# Method: buffers of every kind, beside dicts in the same run; what a load asks for against what is there.

import array
import asyncio
import subprocess
from dataclasses import dataclass

import pytest

import cairn
from cairn import aio
from cairn.compat import schemas

RUN = {"run_id": "r", "thread_id": "t", "user_id": "u"}
BYTES = bytes(range(256)) * 8


@pytest.fixture(params=["StatePersistenceService", "OptimizedStatePersistence"])
def service(request, store):
    with getattr(cairn, request.param)(store) as service:
        yield service


@pytest.mark.parametrize("state", [b"", BYTES, bytearray(BYTES), memoryview(BYTES)[3:900], memoryview(array.array("i", [1, 2]))])
def test_bytes_come_back_as_they_were(service, state):
    service.save_agent_state(**RUN, state=state, state_type="msgpack")
    loaded = service.load_agent_state("r")
    assert type(loaded.state) is bytes and loaded.state == bytes(state)
    assert loaded.state_type == "msgpack"
    assert loaded.text == ""
    assert loaded.info.state_bytes == len(bytes(state))


def test_the_bytes_are_those_of_the_time_of_the_call(store):
    async def save_and_change():
        async with aio.OptimizedStatePersistence(store) as service:
            buffer = bytearray(BYTES)
            save = asyncio.ensure_future(service.save_agent_state(**RUN, state=buffer, state_type="raw"))
            await asyncio.sleep(0)
            buffer[:] = bytes(len(buffer))
            await save
            return await service.load_agent_state("r")

    assert asyncio.run(save_and_change()).state == BYTES


def test_dicts_and_bytes_may_follow_one_another(service):
    ids = []
    for state, kind in (({"a": 1}, None), (b'{"a":1}', "json"), (b'{"a":1}', "msgpack"), ({"a": 1}, None)):
        ids.append(service.save_agent_state(**RUN, state=state, state_type=kind).snapshot_id)
    assert len(set(ids)) == 4
    loaded = [service.load_agent_state("r", each) for each in ids]
    assert [each.state for each in loaded] == [{"a": 1}, b'{"a":1}', b'{"a":1}', {"a": 1}]
    assert [each.state_type for each in loaded] == [None, "json", "msgpack", None]


def test_an_equal_state_is_skipped(store):
    with cairn.OptimizedStatePersistence(store) as service:
        first = service.save_agent_state(**RUN, state=BYTES, state_type="msgpack")
        assert service.save_agent_state(**RUN, state=BYTES, state_type="msgpack").snapshot_id == first.snapshot_id
        assert service.save_agent_state(**RUN, state=BYTES, state_type="other").outcome == cairn.Outcome.PERSISTED


def test_a_recovery_returns_bytes(service):
    service.save_agent_state(**RUN, state=b"one", state_type="raw")
    service.save_agent_state(**RUN, state={"two": 2})
    recovered = service.recover_agent_state(run_id="r", recovery_type="restart")
    assert (recovered.state, recovered.state_type) == (b"one", "raw")
    assert service.load_agent_state("r").state == b"one"


@dataclass
class Typed:
    a: int


def test_a_load_may_say_which_type_it_expects(service):
    service.save_agent_state(**RUN, state=b"bytes", state_type="raw")
    assert service.load_agent_state("r", state_type="raw").state == b"bytes"
    for wanted in ("other", Typed):
        with pytest.raises(TypeError, match='the state is opaque, of type "raw"'):
            service.load_agent_state("r", state_type=wanted)
    service.save_agent_state(**RUN, state={"a": 1})
    assert service.load_agent_state("r", state_type=Typed).state == Typed(1)
    with pytest.raises(TypeError, match="the state is JSON"):
        service.load_agent_state("r", state_type="raw")


def test_what_is_neither_is_refused_by_name(service):
    with pytest.raises(TypeError, match="state_data is bytes: give state_type"):
        service.save_agent_state(**RUN, state=b"bytes")
    for state in ({"a": 1}, "text", None):
        with pytest.raises(TypeError, match="state_data must be bytes where state_type is given"):
            service.save_agent_state(**RUN, state=state, state_type="raw")
    with pytest.raises(TypeError, match="state_type must be a str"):
        service.save_agent_state(**RUN, state=b"bytes", state_type=1)
    for kind in ("", "a b", "ä", "x" * 65):
        with pytest.raises(cairn.InvalidArgumentError, match="give 1 to 64 printable ASCII"):
            service.save_agent_state(**RUN, state=b"bytes", state_type=kind)
    with pytest.raises(TypeError, match="state_data must be bytes"):
        service.save_agent_state(**RUN, state=memoryview(BYTES)[::2], state_type="raw")


def test_no_error_shows_the_state(service):
    request = cairn.StatePersistenceRequest(**RUN, state_data=b"secret", state_type="raw")
    for kind, error in (("raw\ud800", ValueError), (5, TypeError)):
        request.state_type = kind
        for call in (
            lambda: service.save_agent_state(request),
            lambda: service.save_agent_state(**RUN, state=b"secret", state_type=kind),
        ):
            with pytest.raises(error, match="state_type") as raised:
                call()
            assert "secret" not in str(raised.value)


def test_a_checkpoint_works_on_a_dict_only(service):
    service.save_agent_state(**RUN, state=b"bytes", state_type="raw")
    with pytest.raises(cairn.InvalidStateError, match='run "r" is opaque, of type "raw": a checkpoint works on a dict'):
        with cairn.checkpoint(service, **RUN):
            pytest.fail("the block must not begin")
    with pytest.raises(TypeError, match="a checkpoint works on a dict, which has no state_type"):
        cairn.checkpoint(service, **{**RUN, "run_id": "new"}, state_type="raw")


def test_the_documented_service_takes_bytes_too():
    request = schemas.StatePersistenceRequest(**RUN, state_data=b"bytes", state_type="raw")
    taken = schemas.for_engine(request)
    assert (taken.state_data, taken.state_type) == (b"bytes", "raw")


def test_a_state_beyond_the_limit_names_the_setting(store, monkeypatch):
    monkeypatch.setenv("CAIRN_STATE_BYTES_MAX", "1000")
    with cairn.StatePersistenceService(store) as service:
        service.save_agent_state(**RUN, state=bytes(1000), state_type="raw")
        with pytest.raises(cairn.LimitExceededError, match="CAIRN_STATE_BYTES_MAX"):
            service.save_agent_state(**RUN, state=bytes(1001), state_type="raw")


def test_the_program_writes_them_to_a_file(service, store, program, folder):
    service.save_agent_state(**RUN, state=BYTES, state_type="raw")
    load = [program, "load", "--store", "sqlite:states.db", "--run", "r", "--output", "out"]
    subprocess.run(load, check=True, cwd=folder)
    assert (folder / "out").read_bytes() == BYTES
