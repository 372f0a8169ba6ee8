# Goal: Python objects become exactly the documented JSON. An object without a documented form is refused with its place.
# Method: compares random documents with the json module (CAIRN_TEST_SEED replays one), and tests every documented form,
# every refusal, and objects that misbehave while they are read.

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import gc
import glob
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import threading
import types
import uuid

import pytest

import cairn
from cairn import _cairn

TRAJECTORIES = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "trajectories"


def text_of(state):
    return _cairn.dumps(state).decode()


def value_of(value):
    """Returns the JSON text of one value."""
    return text_of({"v": value})[len('{"v":') : -1]


def expected(state):
    return json.dumps(state, separators=(",", ":"), ensure_ascii=False)


# ---- the same as json ----

ALPHABETS = [
    "abc xyz",
    'quote " backslash \\ slash /',
    "\x00\x01\x1f\x7f\n\r\t\b\f",
    "äöü\xff\x80",
    "—…“” 漢字 \u0800\uffff\ud7ff\ue000",
    "😀\U00010000\U0010ffff",
]


# The lengths at which blocks of the conversion end.
EDGES = [0, 15, 16, 17, 31, 32, 33, 4095, 4096, 4097, 9000]


def random_string(source):
    alphabet = "".join(source.sample(ALPHABETS, source.randint(1, 3)))
    length = source.choice(EDGES) if source.random() < 0.02 else source.randrange(40)
    return "".join(source.choice(alphabet) for _ in range(length))


def random_number(source):
    kind = source.randrange(5)
    if kind == 0:
        return source.randint(-(10**source.randint(1, 60)), 10 ** source.randint(1, 60))
    if kind == 1:
        value = struct.unpack("d", source.randbytes(8))[0]
        return value if math.isfinite(value) else 0.0
    if kind == 2:
        return round(source.uniform(-1e6, 1e6), source.randint(0, 6))
    return source.randint(-1000, 1000) if kind == 3 else source.choice([0.0, -0.0, 1e16, 1e-5, 2**63, -(2**63), 2**64])


def random_value(source, depth):
    kind = source.randrange(8 if depth > 0 else 6)
    if kind < 3:
        return random_string(source)
    if kind == 3:
        return random_number(source)
    if kind < 6:
        return source.choice([None, True, False])
    if kind == 6:
        return [random_value(source, depth - 1) for _ in range(source.randrange(6))]
    return {random_string(source): random_value(source, depth - 1) for _ in range(source.randrange(6))}


def test_random_documents_are_written_and_read_as_json_does():
    seed = int(os.environ.get("CAIRN_TEST_SEED", random.randrange(2**32)))
    print(f"CAIRN_TEST_SEED={seed}")
    source = random.Random(seed)
    for _ in range(3000):
        state = {"state": random_value(source, 5), **{random_string(source): random_value(source, 3)}}
        text = expected(state)
        assert text_of(state) == text
        again = _cairn.loads(text)
        assert again == state and expected(again) == text
        assert _cairn.loads(json.dumps(state)) == state, "and what has escapes"


def test_recorded_agents_are_written_and_read_as_json_does():
    if not TRAJECTORIES.exists():
        pytest.skip(f"{TRAJECTORIES} is not here")
    sys.path.insert(0, str(TRAJECTORIES))
    import expand

    compared = 0
    for path in sorted(glob.glob(str(TRAJECTORIES / "*.jsonl"))):
        run = next(iter(expand.iter_runs([path])))
        for record in list(expand.iter_states(run))[-1:]:
            state = json.loads(json.dumps(record["state"]))
            text = text_of(state)
            assert json.loads(text) == state == _cairn.loads(text)
            assert list(_cairn.loads(text)) == list(state)
            if "\\ud" not in text:
                assert text == expected(state)
            compared += 1
    assert compared >= 9


def test_every_kind_of_float_has_the_digits_of_repr():
    seed = int(os.environ.get("CAIRN_TEST_SEED", random.randrange(2**32)))
    print(f"CAIRN_TEST_SEED={seed}")
    source = random.Random(seed)
    numbers = [math.ldexp(1, exponent) for exponent in range(-1074, 1024)]
    numbers += [float(f"{digit}e{exponent}") for digit in range(1, 10) for exponent in range(-323, 309)]
    numbers += [struct.unpack("d", source.randbytes(8))[0] for _ in range(100_000)]
    numbers += [source.random() * 10 ** source.randint(-6, 20) for _ in range(100_000)]
    numbers += [float(source.randrange(2**64)) for _ in range(20_000)]
    state = {"numbers": [sign * number for number in numbers if math.isfinite(number) for sign in (1, -1)]}
    assert text_of(state) == expected(state)
    assert _cairn.loads(expected(state)) == state


def test_strings_of_each_width_are_right_at_each_length():
    for plain in ("x", "é", "—", "😀"):
        for special in ("\n", "\x01", '"', "\\", "é", "—", "😀", "\ud800"):
            for size in (*range(70), 127, 128, 129):
                for at in {0, size // 2, size - 1, 15, 16, 63} & set(range(size)):
                    string = plain * at + special + "y" * (size - at - 1)
                    text = expected({"v": string}).replace("\ud800", "\\ud800")
                    assert text_of({"v": string}) == text, ascii(string)
                    assert _cairn.loads(text) == {"v": string}, ascii(string)


def test_lone_surrogates_stay_what_they_are():
    for string in ("\ud800", "a\udfffb", "\udc00\ud800", "x" * 20 + "\ud83d"):
        text = text_of({"v": string})
        assert "\\ud" in text and _cairn.loads(text) == {"v": string}
    assert value_of("\ud800") == '"\\ud800"'
    assert _cairn.loads('{"v":"\\ud83d\\ude00 \\uD83D\\uDE00 \\u00e9\\/\\b"}') == {"v": "😀 😀 é/\b"}


def test_texts_of_others_are_read_as_json_reads_them():
    for text in ('{"a":1,"a":2}', '{"v":1e400}', '{"v":-1e400}', '{"v":1e-400}', '{"v":1E5}', '{"v":-0}', "{}", ' { "v" : [ ] } '):
        assert _cairn.loads(text) == json.loads(text), text
    assert _cairn.loads('{"v":' + "9" * 4000 + "}")["v"] == int("9" * 4000)
    with pytest.raises(ValueError):
        _cairn.loads("[1]")


def test_deep_documents_are_read_and_written():
    nested = '{"a":[' * 511 + '{"b":{}}' + "]}" * 511
    assert text_of(_cairn.loads(nested)) == nested
    too_deep = {}
    for _ in range(1024):
        too_deep = {"a": too_deep}
    with pytest.raises(cairn.LimitExceededError, match="depth_max=1024"):
        text_of(too_deep)


# ---- the documented forms ----


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 7


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):
    ANN = "ann"


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Inner:
    n: int
    skipped: dataclasses.InitVar[int] = 0


@dataclasses.dataclass
class Outer:
    inner: Inner
    items: list


@dataclasses.dataclass
class Slotted:
    __slots__ = ("b", "a")
    b: int
    a: int


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    "value, text",
    [
        ((1, (2,)), "[1,[2]]"),
        (Point(1, 2), "[1,2]"),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a", "é"}), '["a","b","é"]'),
        (set(), "[]"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), '"2026-01-02T03:04:05"'),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), '"2026-01-02T00:00:00+00:00"'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (datetime.time(1, 2), '"01:02:00"'),
        (datetime.timedelta(minutes=1, milliseconds=500), "60.5"),
        (UUID, f'"{UUID}"'),
        (Colour.RED, '"red"'),
        (Colour.NUMBER, "7"),
        (Level.HIGH, "3"),
        (Name.ANN, '"ann"'),
        (Text("x"), '"x"'),
        (Number(5), "5"),
        (Real(1.5), "1.5"),
        (decimal.Decimal("1.10"), '"1.10"'),
        (decimal.Decimal("12345678901234567890.123456789"), '"12345678901234567890.123456789"'),
        (b"\x00\xff", f'"{base64.b64encode(bytes([0, 255])).decode()}"'),
        (bytearray(b"x"), '"eA=="'),
        (Inner(1), '{"n":1}'),
        (Outer(Inner(1), [Inner(2)]), '{"inner":{"n":1},"items":[{"n":2}]}'),
        (Slotted(1, 2), '{"b":1,"a":2}'),
        (collections.OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (collections.Counter("aab"), '{"a":2,"b":1}'),
        (types.MappingProxyType({"a": 1}), '{"a":1}'),
        (True, "true"),
        (10**30, "1000000000000000000000000000000"),
        (-(2**63), "-9223372036854775808"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_form_is_the_documented_one(value, text):
    assert value_of(value) == text


def test_the_order_of_an_ordered_dict_is_its_own():
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert value_of(ordered) == '{"b":2,"a":1}'


def test_a_set_is_the_same_text_in_every_process():
    program = "from cairn import _cairn; print(_cairn.dumps({'s': {str(n) * 3 for n in range(20)}}).decode())"
    texts = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        texts.add(subprocess.check_output([sys.executable, "-c", program], env=environment, text=True))
    assert texts == {expected({"s": sorted(str(n) * 3 for n in range(20))}) + "\n"}


def test_keys_become_text_as_in_json():
    assert value_of({2: 0, 1.5: 0, None: 0, True: 0, Name.ANN: 0}) == '{"2":0,"1.5":0,"null":0,"true":0,"ann":0}'
    assert value_of({UUID: 0, datetime.date(2026, 1, 2): 0, Colour.RED: 0}) == (
        f'{{"{UUID}":0,"2026-01-02":0,"red":0}}'
    )


def test_pydantic_models_are_written_as_they_say_themselves():
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):
        when: datetime.date

    class Model(pydantic.BaseModel):
        inner: Inner
        secret: str = pydantic.Field("x", exclude=True)
        price: decimal.Decimal

    model = Model(inner=Inner(when=datetime.date(2026, 1, 2)), price="1.10")
    assert text_of(model) == '{"inner":{"when":"2026-01-02"},"price":"1.10"}'

    model.inner.when = object()
    with pytest.raises(TypeError, match=r"state_data\['list'\]\[0\]\.inner\['when'\] is of type object"):
        text_of({"list": [model]})

    class Holder(pydantic.BaseModel):
        held: object

    with pytest.raises(TypeError, match=r"state_data\.held\[0\]\.held is of type object"):
        text_of(Holder(held=[Holder(held=object())]))
    holder = Holder(held=[])
    holder.held.append(holder)
    with pytest.raises(cairn.InvalidStateError, match=r"state_data\.held\[0\] is state_data again"):
        text_of(holder)

    class Customised(Inner):
        def dict(self, **options):
            return {"its own": True}

    class Root(pydantic.BaseModel):
        __root__: dict

    assert value_of(Customised(when=datetime.date(2026, 1, 2))) == '{"its own":true}'
    assert value_of(Root(__root__={"a": 1})) == '{"__root__":{"a":1}}'

    class VersionTwo:
        def model_dump(self):
            return {"a": {1}}

    assert text_of(VersionTwo()) == '{"a":[1]}'


# ---- refusals ----


@dataclasses.dataclass
class Tool:
    result: object


class Opaque:
    pass


CYCLE = {"a": [1, {}]}
CYCLE["a"][1]["back"] = CYCLE["a"]
SELF = {}
SELF["self"] = SELF
TOOL = Tool(None)
TOOL.result = [TOOL]


@pytest.mark.parametrize(
    "state, kind, message",
    [
        ({"tools": [0, 1, 2, Tool(Opaque())]}, TypeError, r"state_data\['tools'\]\[3\]\.result is of type Opaque, which has no JSON form: give a dict"),
        ({"a": {"b": (1, [Opaque])}}, TypeError, r"state_data\['a'\]\['b'\]\[1\]\[0\] is of type type"),
        ({"a": (x for x in ())}, TypeError, r"state_data\['a'\] is of type generator"),
        ({"it's": Opaque()}, TypeError, r"""state_data\["it's"\]"""),
        ({1: {2: Opaque()}}, TypeError, r"state_data\[1\]\[2\]"),
        ({"a": pathlib.Path("x")}, TypeError, r"state_data\['a'\] is of type PosixPath"),
        ({"a": 1j}, TypeError, r"state_data\['a'\] is of type complex"),
        ([1], TypeError, "state_data must be a dict, a dataclass or a model, not list"),
        ("x", TypeError, "state_data must be a dict.* not str"),
        ({"a": {(1, 2): 3}}, TypeError, r"state_data\['a'\] has a key of type tuple: give a str"),
        ({"a": {Opaque(): 3}}, TypeError, r"state_data\['a'\] has a key of type Opaque"),
        ({"a": [1.0, math.nan]}, cairn.InvalidStateError, r"state_data\['a'\]\[1\] is nan, which JSON cannot say"),
        ({"a": -math.inf}, cairn.InvalidStateError, r"state_data\['a'\] is -inf"),
        ({"a": decimal.Decimal("NaN")}, cairn.InvalidStateError, r"state_data\['a'\] is nan"),
        ({"a": {1: 0, "1": 0}}, cairn.InvalidStateError, r"state_data\['a'\] has two keys that become the same text"),
        (SELF, cairn.InvalidStateError, r"state_data\['self'\] is state_data again"),
        (CYCLE, cairn.InvalidStateError, r"state_data\['a'\]\[1\]\['back'\] is state_data\['a'\] again"),
        ({"t": TOOL}, cairn.InvalidStateError, r"state_data\['t'\]\.result\[0\] is state_data\['t'\] again"),
        ({"n": 10**5000}, cairn.LimitExceededError, r"state_data\['n'\] is an integer with more digits.*set_int_max_str_digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_object_without_a_form_is_refused_with_its_place(state, kind, message):
    with pytest.raises(kind, match=message):
        text_of(state)


def test_a_cycle_beside_much_text_is_found_before_memory_is_full():
    state = {"text": "x" * 10_000_000}
    state["again"] = state
    with pytest.raises(cairn.InvalidStateError, match=r"state_data\['again'\] is state_data again"):
        text_of(state)


def test_refusals_are_value_errors_too():
    with pytest.raises(ValueError):
        text_of({"a": math.nan})


def test_a_number_that_python_will_not_read_is_told(store):
    service = cairn.StatePersistenceService(store)
    with pytest.raises(cairn.LimitExceededError, match="5000 digits.*set_int_max_str_digits"):
        _cairn.loads('{"n":' + "1" * 5000 + "}")


# ---- objects that misbehave ----


def test_exceptions_of_objects_pass_with_their_place():
    class Broken(collections.abc.Mapping):
        def __getitem__(self, key):
            raise RuntimeError("broken")

        def __iter__(self):
            return iter(["a"])

        def __len__(self):
            return 1

    with pytest.raises(RuntimeError, match="broken") as error:
        text_of({"x": [Broken()]})
    assert error.value.__notes__ == ["while reading state_data['x'][0]"]


def test_a_dict_that_an_object_changes_while_it_is_read_is_saved_as_it_was():
    state = {}

    class Meddler:
        def model_dump(self):
            del state["b"]
            for number in range(1000):
                state[f"new {number}"] = number
            return {}

    state.update({"a": Meddler(), "b": "text", "c": ["x" * 100]})
    assert text_of(state) == '{"a":{},"b":"text","c":["' + "x" * 100 + '"]}'


def test_keys_that_change_places_while_they_are_read_are_saved_once():
    state = {}

    class Meddler:
        def model_dump(self):
            for key in list(state):
                state[key + " again"] = state.pop(key)
            return {}

    state.update({"a": Meddler(), **{str(number): number for number in range(20)}})
    assert list(_cairn.loads(text_of(state))) == ["a", *map(str, range(20))]


def test_a_list_that_an_object_empties_while_it_is_read_is_saved_as_it_was():
    items = ["x" * 100, None, *["y" * 100 for _ in range(100)]]

    class Meddler:
        def model_dump(self):
            items.clear()
            return {"z": 1}

    items[1] = Meddler()
    assert text_of({"items": items}) == expected({"items": ["x" * 100, {"z": 1}, *["y" * 100] * 100]})


def test_the_garbage_collector_may_run_at_any_time():
    """A finalizer changes the state in the middle of its conversion."""
    state = {"items": [None, *[{"n": n} for n in range(50)]], "last": 1}

    class Loop:
        def __init__(self):
            self.self = self

        def __del__(self):
            state["items"].clear()
            del state["last"]

    class Maker:
        def model_dump(self):
            Loop()
            gc.collect()
            return {"x": [datetime.date(2026, 1, 1)] * 3}

    state["items"][0] = Maker()
    text = expected({"items": [{"x": ["2026-01-01"] * 3}, *[{"n": n} for n in range(50)]], "last": 1})
    assert text_of(state) == text and state == {"items": []}


def test_threads_that_change_a_state_while_it_is_read_break_nothing():
    seed = int(os.environ.get("CAIRN_TEST_SEED", random.randrange(2**32)))
    print(f"CAIRN_TEST_SEED={seed}")
    state = {"items": [], "members": {}}
    stop = threading.Event()

    class Slow:
        """Lets other threads run while it is read."""

        def model_dump(self):
            os.sched_yield()
            return {"slow": sum(range(100))}

    def meddle(source):
        while not stop.is_set():
            key = str(source.randrange(40))
            state["members"][key] = source.choice([[key] * 20, Slow(), {"a": [key]}])
            state["members"].pop(str(source.randrange(40)), None)
            state["items"].append(source.choice(["x" * 200, Slow(), [[]]]))
            if len(state["items"]) > 60:
                state["items"].clear()

    threads = [threading.Thread(target=meddle, args=(random.Random(seed + n),)) for n in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(200 if "LD_PRELOAD" in os.environ else 2000):  # switching threads is expensive under a sanitizer
            assert set(json.loads(text_of(state))) == {"items", "members"}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)


def test_a_thread_with_a_small_stack_reads_what_is_nested_deep():
    state = {}
    for number in range(1000):
        state = {"a": Tool(state)} if number % 100 == 0 else {"a": state}
    texts = []
    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: texts.append(text_of(state)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert texts[0].count("{") > 1000


class Endless(enum.Enum):
    ONE = 1

    @property
    def value(self):
        return self


class Broken(datetime.datetime):
    def isoformat(self):
        return self


class NoPairs(collections.OrderedDict):
    def items(self):
        return [(1, 2, 3)]


class Elusive(str):
    """A str that is equal to nothing."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


@pytest.mark.parametrize(
    "state, kind, message",
    [
        ({"a": [Endless.ONE]}, cairn.InvalidStateError, r"state_data\['a'\]\[0\] stands for another object, .* without end"),
        ({Endless.ONE: 1}, cairn.InvalidStateError, r"state_data\[<Endless>\] stands for another object"),
        ({"a": Broken(2026, 1, 1)}, TypeError, r"state_data\['a'\] is of type Broken: its text is no str but Broken"),
        ({"a": NoPairs()}, TypeError, r"state_data\['a'\] is of type NoPairs: its items\(\) are no pairs"),
        ({"a": {Elusive("x"): 1, Elusive("x"): 2}}, cairn.InvalidStateError, r"state_data\['a'\] has two keys that become"),
        ({"a": {"x": 0, Elusive("x"): 2}}, cairn.InvalidStateError, r"state_data\['a'\] has two keys that become"),
        ({"a": {UUID: 1, str(UUID): 1}}, cairn.InvalidStateError, r"state_data\['a'\] has two keys that become"),
        ({"a": {b"x": 1}}, TypeError, r"state_data\['a'\] has a key of type bytes"),
        ({"a": {math.nan: 1}}, cairn.InvalidStateError, r"state_data\['a'\]\[nan\] is nan"),
        ({"a": {frozenset([1, (2, 1j)])}}, TypeError, r"state_data\['a'\]{…}{…}\[1\] is of type complex"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_objects_that_lie_about_their_form_are_refused(state, kind, message):
    with pytest.raises(kind, match=message):
        text_of(state)


def test_one_text_in_many_places_meets_the_limit_before_memory_is_full():
    with pytest.raises(cairn.LimitExceededError, match="bytes_max"):
        text_of({"a": ["x" * 1_000_000] * 1_000_000})


def test_a_value_that_is_replaced_while_it_is_read_does_no_harm():
    state = {}

    class Meddler:
        def model_dump(self):
            state["a"] = None
            return {"z": ["still", "here"]}

    state["a"] = {"deep": [Meddler()]}
    assert text_of(state) == '{"a":{"deep":[{"z":["still","here"]}]}}'


def test_conversions_leave_no_references_behind():
    text, opaque = "shared " * 10, Opaque()
    state = {"a": text, "b": [text, {"k": text}], "d": datetime.date(2026, 1, 1), "s": {text}}
    before = sys.getrefcount(text), sys.getrefcount(None), sys.getrefcount(opaque)
    for _ in range(1000):
        _cairn.loads(text_of(state))
        with pytest.raises(TypeError):
            text_of({"a": [opaque]})
    after = sys.getrefcount(text), sys.getrefcount(None), sys.getrefcount(opaque)
    assert after[0] == before[0] and after[2] == before[2] and abs(after[1] - before[1]) < 50


def resident_kilobytes():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def test_a_hundred_thousand_conversions_take_no_memory(true_memory):
    state = {"s": "ab" * 100, "u": "—" * 50, "when": datetime.date(2026, 1, 2), "set": {1, 2}, "tool": Tool([1.5, 10**30])}
    cycle = {"a": [datetime.date(2026, 1, 2)]}
    cycle["a"].append(cycle)

    def convert(times):
        for _ in range(times):
            _cairn.loads(_cairn.dumps(state))
        for _ in range(times // 100):
            with pytest.raises(cairn.InvalidStateError):
                _cairn.dumps(cycle)

    convert(5_000)
    before = resident_kilobytes()
    convert(100_000)
    assert resident_kilobytes() - before < 2_000
