"""The app's server, asked as its page and other programs ask it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_child import BROKEN, SLOW
from app_served import Served, picture_of, picture_url, served, url_of
from PIL import Image
from processor_time import patience

pytestmark = pytest.mark.filterwarnings("ignore")  # of Gradio and what it is made of

PHOTO = {"data": picture_url(), "name": "photo.png"}
LIMITS = {"upload_mb": 1, "side": 1000, "text": 300, "queue": 30}


@pytest.fixture(scope="module")
def app(checkpoint: Path) -> Iterator[Served]:
    with served(checkpoint, LIMITS) as running:
        yield running


def values(events):
    return {(each["target"], each["variant"]): each for each in events if each["event"] == "value"}


def error(events):
    """The sentence of a request that was refused."""
    last = events[-1]
    assert last["event"] == "error", last
    return last["message"]


def test_it_says_what_the_model_is_and_what_is_allowed(app):
    facts = app.client.get("about").json()
    kinds = {each["name"]: each["kind"] for each in facts["modalities"]}
    assert kinds["rgb"] == "picture" and kinds["depth"] == "map" and kinds["caption"] == "text"
    assert facts["limits"]["upload_mb"] == 1 and facts["can"]["search"] is False
    (depth,) = [each for each in facts["modalities"] if each["name"] == "depth"]
    assert "roar" in depth["schemes"] and "beam" not in depth["schemes"]
    assert depth["defaults"]["grounded"]["steps"] >= 1
    assert set(facts["targets"]) <= {each["name"] for each in facts["modalities"] if each["target"]}
    for example in facts["examples"]:
        for given in example["inputs"].values():
            if isinstance(given, dict):
                assert app.client.get(given["url"]).headers["content-type"].startswith("image/")


def test_a_target_comes_step_by_step_and_is_what_generate_returns(app, small_model, tmp_path):
    colors = picture_of(PHOTO["data"])
    options = {"depth": {"scheme": "roar", "steps": 4}}
    events = app.ask(inputs={"rgb": PHOTO}, targets=["depth", "caption"], seed=3, options=options)
    assert events[0]["event"] == "start" and events[-1]["event"] == "done"
    steps = [each for each in events if each["event"] == "step" and each["target"] == "depth"]
    assert steps[-1]["decided"] == 1 and steps[-1]["step"] == 4 and {each["steps"] for each in steps} == {4}
    out = small_model.generate({"rgb": colors}, ["depth", "caption"], seed=3, options=options)
    made = values(events)
    assert made["caption", 0]["text"] == out["caption"]
    again = app.outputs(events[-1], tmp_path)[3]
    assert np.array_equal(again["depth"], out["depth"]) and np.array_equal(again.tokens["depth"], out.tokens["depth"])
    scene = np.asarray(small_model.modalities["rgb"].show(out.inputs["rgb"], 512).convert("RGB"))
    shown = np.asarray(small_model.modalities["depth"].show_over(out["depth"], scene, 512))
    assert np.array_equal(picture_of(made["depth", 0]["picture"]), shown)


def test_variants_are_those_of_the_seeds_that_follow(app, small_model, tmp_path):
    events = app.ask(inputs={"caption": "a red car"}, targets=["depth"], seed=5, variants=3)
    assert [each["seed"] for each in values(events).values()] == [5, 6, 7] == events[0]["seeds"]
    for seed, made in app.outputs(events[-1], tmp_path).items():
        alone = small_model.generate({"caption": "a red car"}, "depth", seed=seed)
        assert np.array_equal(made.tokens["depth"], alone.tokens["depth"])


def test_an_output_is_an_input(app, small_model, tmp_path):
    first = values(app.ask(inputs={"caption": "a red car"}, targets=["rgb"], seed=1))["rgb", 0]
    events = app.ask(inputs={"rgb": {"file": first["file"]["id"]}}, targets=["depth"], seed=2)
    painted = small_model.generate({"caption": "a red car"}, "rgb", seed=1)["rgb"]
    depth = small_model.generate({"rgb": painted}, "depth", seed=2)
    assert np.array_equal(app.outputs(events[-1], tmp_path)[2].tokens["depth"], depth.tokens["depth"])
    assert "no longer kept" in error(app.ask(inputs={"rgb": {"file": "x"}}, targets=["depth"]))
    assert "no longer kept" in error(app.ask(inputs={"depth": {"file": first["file"]["id"]}}, targets=["rgb"]))


def test_white_of_a_mask_is_made_anew_and_black_is_kept(app, small_model, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    keep = {"rgb": url_of(Image.fromarray(mask))}
    events = app.ask(inputs={"rgb": PHOTO}, targets=["rgb"], keep=keep, seed=1)
    made = app.outputs(events[-1], tmp_path)[1]["rgb"]
    given = small_model.accept({"rgb": picture_of(PHOTO["data"])})["rgb"]
    assert np.array_equal(made[:, :8], given[:, :8]) and not np.array_equal(made[:, 24:], given[:, 24:])


def test_words_around_a_blank_stay(app):
    text = values(app.ask(inputs={"caption": "a ___ car"}, targets=["caption"], keep={"caption": True}, seed=2))
    assert text["caption", 0]["text"].startswith("a ") and text["caption", 0]["text"].endswith("car")


def test_how_sure_a_value_is_comes_as_a_veil_or_in_words(app):
    options = {"depth": {"scheme": "roar", "steps": 2}}
    events = app.ask(inputs={"rgb": PHOTO}, targets=["depth", "caption"], uncertainty=True, options=options)
    made = values(events)
    veil = picture_of(made["depth", 0]["uncertainty"]["picture"])
    assert (
        veil.shape[2] == 4 and veil[..., 3].max() > 200 and made["depth", 0]["uncertainty"]["text"].startswith("up to ")
    )
    parts = made["caption", 0]["uncertainty"]["parts"]
    assert [word for word, _ in parts] == made["caption", 0]["text"].split() and all(
        0 <= sure <= 1 for _, sure in parts
    )


def test_everything_can_be_downloaded(app, small_model, tmp_path):
    events = app.ask(inputs={"rgb": PHOTO}, targets=["depth", "caption"], seed=4, variants=2)
    made, done = values(events), events[-1]
    answer = app.client.get(made["caption", 1]["file"]["url"])
    assert answer.text.strip() == made["caption", 1]["text"] and "attachment" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(app.client.get(done["download"]["url"]).content)) as archive:
        names = archive.namelist()
        assert {"again.py", "again.sh", "inputs/rgb.png", "seed-4/run.json", "seed-5/depth.png"} <= set(names)
        assert archive.read("again.py").decode() == done["python"]
    assert done["values"][0]["target"] == "depth" and "picture" not in done["values"][0]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"inputs": {"rgb": {"data": "data:image/png;base64,aGVsbG8=", "name": "/etc/no.png"}}}, "no.png is not a pic"),
        ({"inputs": {"rgb": {"data": picture_url(), "name": "a.exe"}}}, "files that end in"),
        ({"inputs": {"rgb": {"data": "hello", "name": "a.png"}}}, "no data URL"),
        ({"inputs": {"rgb": {"data": "data:image/png;base64,%%", "name": "a.png"}}}, "not base64"),
        ({"inputs": {"rgb": "/etc/passwd"}}, "give a file as"),
        ({"inputs": {"rgb": {"path": "/etc/passwd"}}}, "give a file as"),
        (
            {"inputs": {"rgb": {"data": url_of(Image.new("RGB", (1200, 9))), "name": "a.png"}}},
            "more than 1000 on a side",
        ),
        ({"inputs": {"caption": "a" * 301}}, "301 characters"),
        ({"inputs": {"sound": "a"}}, "not in this set"),
        ({"inputs": {"caption": "a"}, "targets": ["sound"]}, "does not generate"),
        ({"inputs": {"caption": "a"}, "targets": []}, "names its targets"),
        ({"inputs": {"caption": "a"}, "variants": 5}, "from 1 to 4"),
        ({"inputs": {"caption": "a"}, "seed": -1}, "seed is a whole number"),
        ({"inputs": {"caption": "a"}, "options": {"depth": {"steps": 1e9}}}, "steps of depth"),
        ({"inputs": {"caption": "a"}, "options": {"depth": {"scheme": "remask:9:9"}}}, "without numbers"),
        ({"inputs": {"caption": "a"}, "options": {"depth": {"choose": "rgb"}}}, "no option"),
        ({"inputs": {"caption": "a"}, "weights": {"rgb": 1.0}}, "not an input"),
        ({"inputs": {"caption": "a"}, "weights": {"caption": "x"}}, "is a number"),
        ({"inputs": [], "targets": ["depth"], "keep": 3}, "keep is an object"),
        ({"inputs": {"caption": "a"}, "what": 1}, "a request has no 'what'"),
        ({"inputs": 3}, "inputs is an object"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_without_places_of_this_machine(app, request_, words):
    said = error(app.ask(**{"targets": ["depth"], **request_}))
    assert words in said and "/etc" not in said and str(app.folder) not in said
    assert "\n" not in said and len(said) < 500


def test_nothing_is_left_of_refused_files(app):
    before = sorted(app.folder.rglob("*"))
    app.ask(inputs={"rgb": {"data": "data:image/png;base64,aGVsbG8=", "name": "a.png"}}, targets=["depth"])
    assert sorted(app.folder.rglob("*")) == before


def test_a_fault_of_the_server_is_told_without_its_insides(app):
    said = error(app.ask(inputs={"caption": "a"}, targets=["depth"], seed=BROKEN))
    assert "RuntimeError" in said and "secret" not in said and "secret" in app.log.read_text()


def test_a_request_that_is_too_long_is_refused(app):
    for length in (None, "chunked"):
        body = json.dumps({"data": [{"inputs": {"caption": "a" * 3_000_000}}]}).encode()
        content = iter([body[:1000], body[1000:]]) if length else body
        answer = app.client.post("gradio_api/call/generate", content=content)
        assert answer.status_code == 413 and "1 MB" in answer.json()["detail"]


def long_request(seed: int) -> dict:
    """One that takes seconds, with slow steps."""
    return {"inputs": {"rgb": PHOTO}, "targets": ["depth", "normal", "caption"], "variants": 2, "seed": SLOW + seed}


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_a_generation_ends_where_its_client_cancels_or_leaves(app, how):
    asked = long_request(1 if how == "cancel" else 3)
    session, event = app.join(asked)
    for message in app.listen(session):
        if message["msg"] == "process_generating" and message["output"]["data"][0]["event"] == "step":
            break
    if how == "cancel":
        told = {"session_hash": session, "fn_index": 0, "event_id": event}
        assert app.client.post("gradio_api/cancel", json=told).status_code == 200
    assert app.closed(asked["seed"]) < 15
    assert app.ask(inputs={"caption": "a"}, targets=["depth"])[-1]["event"] == "done"


def test_twenty_users_at_once_lose_nothing(app):
    requests = [
        {"inputs": {"caption": f"car {k}"}, "targets": ["depth"], "seed": k, "options": {"depth": {"steps": 2}}}
        for k in range(20)
    ]
    heard: dict[int, list] = {}

    def use(number):
        heard[number] = app.ask(**requests[number])

    users = [threading.Thread(target=use, args=(k,)) for k in range(20)]
    for user in users:
        user.start()
    for user in users:
        user.join(patience(60))
    assert sorted(heard) == list(range(20))
    for number, events in heard.items():
        assert events[0]["seeds"] == [number] and events[-1]["event"] == "done"
        assert events[-1]["values"][0]["seed"] == number


def test_who_comes_when_the_queue_is_full_is_told_so(app):
    joined = [app.join(long_request(10 + 4 * k)) for k in range(LIMITS["queue"])]
    late = [{"data": [long_request(200 + 4 * k)], "session_hash": f"late{k}"} for k in range(3)]
    answers = [app.client.post("gradio_api/call/generate", json=each) for each in late]
    assert answers[-1].status_code == 503 and "full" in answers[-1].json()["detail"]
    joined += [(f"late{k}", each.json()["event_id"]) for k, each in enumerate(answers) if each.status_code == 200]
    for session, event in reversed(joined):
        app.client.post("gradio_api/cancel", json={"session_hash": session, "fn_index": 0, "event_id": event})
    assert app.ask(inputs={"caption": "a"}, targets=["depth"])[-1]["event"] == "done"


def test_gradios_client_for_python_can_ask_it(app):
    from gradio_client import Client

    client = Client(app.address, verbose=False, analytics_enabled=False)
    done = client.predict(
        {"inputs": {"caption": "a red car"}, "targets": ["caption"], "keep": {}} | _depth(), api_name="/generate"
    )
    assert done["event"] == "done" and done["values"][0]["target"] == "depth"


def _depth():
    return {"targets": ["depth"]}


def test_programs_that_speak_mcp_can_ask_it(app):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def talk():
        async with (
            streamable_http_client(f"{app.address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            request = {"inputs": {"rgb": PHOTO}, "targets": ["caption"], "seed": 1}
            return tools, await session.call_tool("generate", {"request": request})

    tools, result = asyncio.run(talk())
    (tool,) = tools
    assert tool.name == "generate" and "modalities" in tool.description
    assert set(tool.inputSchema["properties"]["request"]["properties"]) >= {"inputs", "targets", "seed"}
    assert not result.isError and "'event': 'done'" in result.content[0].text


def test_it_has_asked_no_other_machine(app):
    """The last of this file, after all that the server has done; it ends while it is at work, and leaves nothing."""
    app.client.get("about")
    assert "network" not in app.log.read_text()
    app.join(long_request(900))
