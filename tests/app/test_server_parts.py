"""The parts of the app's server alone: what it keeps, what it lets in, what it reads, and how it spells a request."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from anymodal_app import store as stores
from anymodal_app.guard import Guard
from anymodal_app.pictures import content_of, overlay
from anymodal_app.requests import Asked, Reader
from anymodal_app.runs import Studio, told
from anymodal_app.search import found
from anymodal_app.settings import Limits, Settings
from anymodal_app.spelling import as_command
from anymodal_app.store import Store
from app_served import picture_url, url_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal import Outputs
from anymodal.cli.main import main
from anymodal.errors import AnymodalError, DataError


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


PHOTO = {"data": picture_url(40), "name": "my photo.png"}


@pytest.fixture
def store():
    made = Store()
    yield made
    made.close()
    assert not made.folder.exists()


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return am.load(checkpoint)


def test_a_generation_ends_when_its_time_is_over(studio):
    options = {"depth": {"scheme": "roar", "steps": 16}}
    hasty = attrs.evolve(studio, limits=Limits(seconds=0))
    events = list(hasty.events({"inputs": {"caption": "a"}, "targets": ["depth"], "options": options}))
    assert [each["event"] for each in events] == ["start", "step", "error"]
    assert "longer than the 0 s that are allowed" in events[-1]["message"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"weights": {"caption": 10**400}}, "the weight of 'caption' is a number"),
        ({"uncertainty": "no"}, "uncertainty is true or false, got 'no'"),
        ({"chain": 0}, "chain is true or false, got 0"),
        ({"options": 0}, "options is an object"),
        ({"inputs": []}, "inputs is an object"),
        ({"target": ["depth"]}, "did you mean 'targets'"),
        ({"inputs": {"color_palette": nested(5000)}}, "nested too deeply"),
    ],
)
def test_what_is_of_the_wrong_type_is_told_in_one_sentence(studio, request_, words):
    *_, last = studio.events({"inputs": {"caption": "a"}, "targets": ["depth"], **request_})
    assert last["event"] == "error" and words in last["message"] and len(last["message"]) < 400


def test_how_sure_a_value_is_takes_no_fewer_draws_than_the_value(store):
    reader = Reader(am.load("tiny", modalities=["rgb", "web_text", "det"]), store, Limits())
    read = reader.request({"inputs": {"rgb": PHOTO}, "targets": ["web_text", "det"], "uncertainty": True})
    assert read.options == {"web_text": {"samples": 4}, "det": {"samples": 16}}


@pytest.mark.parametrize(
    ("scheme", "several"), [("beam", False), ("mean", False), ("autoregressive", True), (None, False)]
)
def test_a_scheme_that_draws_nothing_is_not_drawn_several_times(store, scheme, several):
    """Beams are what tiny writes captions by."""
    reader = Reader(am.load("tiny", modalities=["rgb", "caption", "depth"]), store, Limits())
    target = "depth" if scheme == "mean" else "caption"
    options = {target: {"scheme": scheme}} if scheme else {}
    asked = {"inputs": {"rgb": PHOTO}, "targets": [target], "options": options, "uncertainty": True}
    assert ("samples" in reader.request(asked).options[target]) is several


def test_a_search_is_checked_as_a_request_is(studio):
    for wanted, words in (
        (5, "a search is an object"),
        ({"cuont": 2}, "did you mean 'count'"),
        ({"count": 99}, "count is a whole number from 1 to 50"),
        ({"inputs": {"caption": "a"}, "weights": {"caption": "much"}}, "the weight of 'caption' is a number"),
    ):
        assert words in found(studio, None, wanted)["error"]


@pytest.fixture
def studio(loaded, checkpoint, store):
    return Studio(model=loaded, name=str(checkpoint), store=store, limits=Limits())


# What is kept.


def test_what_is_kept_is_found_by_its_id_alone_until_it_is_old_or_too_much():
    store = Store(most=250)
    try:
        ids = []
        for number in range(4):
            path = store.new_folder() / "value.txt"
            path.write_text("x" * 100)
            ids.append(store.keep(path, f"{number}.txt", "caption", str(number)))
        assert len(set(ids)) == 4 and min(map(len, ids)) >= 32
        assert [store.find(each) is not None for each in ids] == [False, False, True, True]
        assert store.find(ids[2]).value == "2" and store.find("x") is None and store.find(["a"]) is None
        assert len(list(store.folder.rglob("*.txt"))) == 2 == len(list(store.folder.iterdir()))
    finally:
        store.close()


def test_what_is_old_is_forgotten(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    store = Store(seconds=60)
    try:
        path = store.new_folder() / "value.txt"
        path.write_text("y")
        key = store.keep(path, "late.txt")
        clock[0] += 59
        assert store.find(key) is not None
        clock[0] += 2
        assert store.find(key) is None and not any(store.folder.iterdir())
    finally:
        store.close()


@pytest.mark.parametrize("last", ["step", "value"])
def test_nothing_is_written_after_the_store_is_closed(studio, last):
    events = studio.events({"inputs": {"caption": "a"}, "targets": ["depth"]})
    for event in events:
        if event["event"] == last and event.get("decided", 1) == 1:
            studio.store.close()
    assert event == {"event": "error", "message": "the server is ending"}
    assert not studio.store.folder.exists()


# What is let in.


def through(headers, path="/about", method="GET", messages=(), **more):
    """The status with which the guard answers, 200 where it passes a request on, and what is passed on."""
    passed, sent = [], []

    async def inner(scope, receive, send):
        body = b""
        while method == "POST":
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        passed.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    scope = {"type": "http", "path": path, "method": method}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(Guard(inner, Settings(**more))(scope, receive, send))
    assert any(name == b"content-security-policy" for name, _ in sent[0]["headers"])
    return sent[0]["status"], passed


HERE = {"host": "127.0.0.1:7860"}


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        (HERE, "/about", 200),
        ({"host": "localhost:7860", "origin": "http://localhost:7860"}, "/", 200),
        ({"host": "evil.example:7860"}, "/about", 403),
        ({"host": "127.0.0.1.evil.example"}, "/", 403),
        ({}, "/", 403),
        ({**HERE, "origin": "http://evil.example"}, "/about", 403),
        ({**HERE, "origin": "http://127.0.0.1:8000"}, "/about", 403),
        ({**HERE, "origin": "null"}, "/about", 403),
        (HERE, "/gradio_api/file=/etc/passwd", 404),
        ({"host": "[::1"}, "/about", 403),
        ({**HERE, "origin": "http://["}, "/about", 403),
        (HERE, "/gradio_api/call/generate", 200),
        (HERE, "/gradio_api/call/nothing", 404),
        (HERE, "/gradio_api/call/search", 404),
        (HERE, "/gradio_api/upload", 404),
        (HERE, "/gradio_api/proxy=http://example.com", 404),
        (HERE, "/gradio_api/vibe-edit", 404),
        (HERE, "/monitoring", 404),
        (HERE, "/docs", 404),
        (HERE, "/login", 404),
        (HERE, "/files/../secret", 404),
        (HERE, "/files/abc_-1", 200),
        (HERE, "/gradio_api/mcp/", 200),
        (HERE, "/gradio_api/queue/join", 200),
    ],
)
def test_only_its_own_page_and_addresses_pass(headers, path, status):
    assert through(headers, path)[0] == status


def test_a_body_passes_whole_or_not_at_all():
    part = {"type": "http.request", "body": b"a" * 1_000_000, "more_body": True}
    last = {"type": "http.request", "body": b"b"}
    assert through(HERE, "/gradio_api/cancel", "POST", [part, last]) == (200, [part["body"] + b"b"])
    few = {"limits": Limits(upload_mb=1)}
    assert through(HERE, "/gradio_api/cancel", "POST", [part, part, part, last], **few) == (413, [])
    assert through({**HERE, "content-length": "9" * 12}, "/gradio_api/cancel", "POST", **few) == (413, [])
    assert through({**HERE, "content-length": "-1"}, "/gradio_api/cancel", "POST", **few) == (413, [])


# What is read.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["rgb", "depth", "caption", "color_palette", "x"])
ASKED = st.fixed_dictionaries(
    {"targets": st.lists(NAMES, max_size=2) | JSON, "inputs": st.dictionaries(NAMES, JSON, max_size=2)},
    optional={
        key: st.dictionaries(NAMES, JSON, max_size=2) | JSON if key in ("keep", "weights", "options") else JSON
        for key in Asked.__annotations__
        if key not in ("targets", "inputs")
    },
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ASKED | JSON)
def test_whatever_is_asked_is_read_or_refused_by_a_sentence(studio, asked):
    try:
        studio.reader.request(asked)
    except AnymodalError as error:
        assert "\n" not in str(error)
    assert not any(studio.store.folder.iterdir())


def test_a_value_is_never_read_from_a_file_of_this_machine(studio, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("[[1, 2, 3]]")
    for value in (str(secret), {"file": str(secret)}, {"path": str(secret)}, [str(secret)], {"data": str(secret)}):
        with pytest.raises(AnymodalError):
            studio.reader.values({"color_palette": value})
        with pytest.raises(AnymodalError):
            studio.reader.values({"depth": value})


def test_values_other_than_files_lie_in_the_square_of_the_picture(studio):
    wide = url_of(Image.new("RGB", (90, 40), (9, 9, 9)))
    values = studio.reader.values({"rgb": {"data": wide, "name": "a.png"}, "color_palette": [[255, 0, 0]]})
    side = studio.model.modalities["rgb"].size
    assert values["rgb"].shape == (side, side, 3) and np.asarray(values["color_palette"]).tolist() == [[255, 0, 0]]


def test_files_of_boxes_are_cut_like_the_picture_and_what_was_made_here_is_not(store):
    """The square of a picture 90 x 30 is its middle third: boxes of a file are of the whole picture."""
    reader = Reader(am.load("tiny", modalities=["rgb", "det", "human_poses"]), store, Limits())
    box, poses = {"boxes": [1 / 3, 0, 0.5, 0.5], "class_name": "car"}, reader.model.modalities["human_poses"]
    content = base64.b64encode(json.dumps({"instances": [box]}).encode()).decode()
    people, path = poses.examples(np.random.default_rng(0))["one"], store.new_folder() / "people.json"
    poses.write(people, path)
    key = store.keep(path, path.name, "human_poses", people)
    photo = {"data": url_of(Image.new("RGB", (90, 30), (9, 9, 9))), "name": "a.png"}
    file = {"data": f"data:application/json;base64,{content}", "name": "det.json"}
    values = reader.values({"rgb": photo, "det": file, "human_poses": {"file": key}})
    assert np.allclose(values["det"][0].corners, (0, 0, 0.5, 0.5)) and values["human_poses"][0].box == people[0].box
    drawn = reader.values({"rgb": photo, "det": [{"label": "car", "box": [0, 0, 0.5, 0.5]}]})
    assert drawn["det"][0].corners == (0, 0, 0.5, 0.5)


def test_data_urls_hold_bytes():
    assert content_of("data:text/plain;charset=utf-8;base64,aGk=", "it") == b"hi"
    for wrong in (None, 3, "", "data:,hi", "data:image/png;base64,a", "http://example.com/a.png"):
        with pytest.raises(AnymodalError):
            content_of(wrong, "it")


def test_a_veil_is_dense_where_nothing_is_sure():
    veil = np.asarray(overlay(np.array([[0.0, 1.0], [np.nan, 0.5]]), 2))[..., 3]
    assert veil[0, 0] == veil[1, 0] == 0 < veil[1, 1] < veil[0, 1]


def test_no_place_of_this_machine_is_told():
    said = told(DataError("/home/me/models/x.safetensors is damaged, see https://example.com/a/b; 3/4 of /etc/passwd"))
    assert said == "x.safetensors is damaged, see https://example.com/a/b; 3/4 of passwd"


# How a request is spelled.

HALF = url_of(Image.fromarray(np.repeat([[0, 255]], 40, 0).repeat(20, 1).astype(np.uint8)))
REQUESTS = {
    "picture": {"inputs": {"rgb": PHOTO}, "targets": ["depth", "caption"], "seed": 3},
    "steered": {
        "inputs": {"rgb": PHOTO, "caption": 'it\'s a "red" car & more; $HOME'},
        "targets": ["semseg", "normal"],
        "options": {"semseg": {"steps": 3, "scheme": "maskgit", "temperature": 0.5}, "normal": {"temperature": 1.5}},
        "weights": {"rgb": 1.0, "caption": 1.23456789},
        "chain": False,
        "seed": 2**40,
    },
    "kept": {
        "inputs": {"rgb": PHOTO, "caption": "a ___ car"},
        "targets": ["rgb", "caption"],
        "keep": {"rgb": HALF, "caption": True},
    },
    "like a file": {"inputs": {"caption": "notes.txt"}, "targets": ["depth"]},
    "several": {"inputs": {"caption": "a red car"}, "targets": ["rgb"], "variants": 2, "uncertainty": True},
}


def check_again(made, place):
    """The runs in a folder are those that were `made`, and so are their tokens; the folder is removed."""
    places = [place] if len(made) == 1 else sorted(place.iterdir())
    for folder, first in zip(places, made, strict=True):
        second = Outputs.load(folder)
        same = {"origin": first.run.origin, "fingerprint": first.run.fingerprint}  # a command loads less of a model
        assert attrs.evolve(second.run, **same) == first.run and set(second.tokens) == set(first.tokens)
        for target, ids in first.tokens.items():
            assert np.array_equal(ids, second.tokens[target]), target
    shutil.rmtree(place)


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_copied_runs_as_it_stands_and_gives_the_same_tokens(studio, name, tmp_path, monkeypatch):
    *_, done = studio.events(REQUESTS[name])
    assert done["event"] == "done", done
    shutil.unpack_archive(studio.store.find(done["download"]["id"]).path, tmp_path)
    monkeypatch.chdir(tmp_path)
    made = [Outputs.load(each) for each in sorted(Path().glob("seed-*"))]
    assert len(made) == REQUESTS[name].get("variants", 1)
    exec(compile(done["python"], "again.py", "exec"), {})
    check_again(made, Path("again"))
    if len(made) > 1:
        assert done["command"].startswith("for seed in 0 1; do anymodal generate ")
        return
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(done["command"])[1:])
    assert ended.value.code == 0
    check_again(made, Path("again"))


def keys_in(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {*(value if isinstance(value, dict) else ()), *(key for each in inner for key in keys_in(each))}


def test_no_event_looks_like_a_file_of_gradio(studio):
    """Its client takes any dict with a path for one, and asks for it in vain: see findings/gradio_path_key.sh."""
    events = list(studio.events(REQUESTS["several"] | {"targets": ["rgb", "depth", "color_palette"]}))
    seen = set().union(*map(keys_in, events))
    assert {"file", "url", "uncertainty"} <= seen and "path" not in seen


def test_a_command_for_another_revision_says_so(studio):
    request = studio.reader.request({"inputs": {"caption": "a"}, "targets": ["depth"]})
    line = as_command("me/model", {"revision": "v1", "modalities": ["rgb", "depth"]}, request, {"caption": "a"})
    assert "--model me/model --revision v1 --modalities rgb,depth" in line


def test_a_reader_bounds_boxes(store, small_model):
    with pytest.raises(AnymodalError):
        Reader(small_model, store, Limits()).request({"inputs": {"det": [{}] * 300}, "targets": ["depth"]})
