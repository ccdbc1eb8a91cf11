"""Text, boxes, numbers, instances and poses by every way in; and what is behind the address of a server."""

from __future__ import annotations

import json
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from file_kinds import COLORS, GRAY, npy, saved
from PIL import Image
from ways import Refused, agree, by_hand, datasets, in_datasets, in_rows, outcome

import anymodal as am
from anymodal.data.files.values import open_values
from anymodal.data.sources.huggingface import read_content

NOT_FINITE = float("nan")


def modality(name: str, **settings):
    return am.registry().modality(name)(**settings)


# Text, boxes, numbers, instances, poses.


POSE = {
    "img_size": [9, 9], "bbox_xyxy": [[1.0, 1, 2, 2]], "pred_cam": [[1.0, 0, 0]],
    "pred_smpl_params": {"global_orient": [[np.eye(3).tolist()]], "body_pose": [[np.eye(3).tolist()] * 23],
                         "betas": [[0.0] * 10]},
}  # fmt: skip
COCO = {
    "images": [{"id": 1, "width": 640, "height": 480}], "categories": [{"id": 3, "name": "car"}],
    "annotations": [{"category_id": 3, "image_id": 1, "bbox": [10.0, 20, 30, 40], "iscrowd": 0, "score": None}],
}  # fmt: skip


def box(*corners, name="car", score=1.0):
    return {"instances": [{"boxes": list(corners), "class_name": name, "score": score}]}


def coco(**changes):
    return {**COCO, "annotations": [{**COCO["annotations"][0], **changes}]}


def outlines(*points, **more):
    return {"instances": [{"outlines": [list(points)], **more}]}


BOXES = [
    COCO, coco(iscrowd=1), coco(image_id=2), coco(bbox=[NOT_FINITE, 2, 3, 4]), coco(bbox=[1, 2, -3, 4]),
    coco(category_id=9), coco(segmentation={"size": [480, 640], "counts": [1, 2]}, iscrowd=1), coco(iscrowd=None),
    box(0.1, 0.2, 0.3, 0.4), box(0.1, 0.2, 0.3, 0.4, score=None), box(0.5, 0.5, 0.2, 0.2), box(10, 20, 30, 40),
    box(0.1, NOT_FINITE, 0.3, 0.4), box(0.1, 0.2, 0.3, 0.4, score=NOT_FINITE), box(0.1, 0.2, 0.3, 0.4, name="v0=1"),
    box(0.1, 0.2, 0.3, 0.4, name=" "), box(0.1, 0.2, 0.3), {"instances": []}, box(0.1, 0.2, 0.3, 0.4, name="a\x07b"),
]  # fmt: skip
INSTANCES = [
    outlines([0.1, 0.1], [0.6, 0.1], [0.1, 0.6]), outlines([0.1, 0.1], [0.6, 0.1], [0.1, 0.6], codes=None),
    outlines([0.1, 0.1], [0.6, 0.1]), outlines([NOT_FINITE, 0.1], [0.6, 0.1], [0.1, 0.6]),
    outlines([10, 1], [60, 1], [1, 60]), {"instances": []}, COCO,
    outlines([0.1, 0.1], [0.6, 0.1], [0.1, 0.6], codes=[5000] * 16),
    {"instances": [{"segmentation": {"size": [4, 4], "counts": [2, 3, 11]}}]},
    {"instances": [{"segmentation": {"size": [4, 5], "counts": [2, 3, 11]}}]},
]  # fmt: skip
POSES = [
    POSE, {**POSE, "img_size": [0, 9]}, {**POSE, "pred_cam": [[NOT_FINITE, 0, 0]]}, {**POSE, "bbox_xyxy": []},
    {**POSE, "pred_smpl_params": {**POSE["pred_smpl_params"], "global_orient": [[np.diag([1.0, 1, -1]).tolist()]]}},
]  # fmt: skip
TEXTS = [
    "a dog", "\ufeffa dog", " a\r\ndog \n", "\xa0a dog\u3000", "", "\n", "a\0dog\x07", "[EOS] v0=3", "{", "[1, 2",
    "e\u0301",
]  # fmt: skip
COLORS_OF = [[[1, 2, 3]], [[1.0, 2, 3]], [[1.5, 2, 3]], [[256, 0, 0]], [[-1, 0, 0]], [[1, 2, 3]] * 8, [1, 2, 3]]


def numbers(name):
    first, *_ = modality(name).fields
    strange = [NOT_FINITE, float("inf"), -3, None, "1", True, [1], 1e299, 1e301]
    return [{first: 1}, {first: 0.5}, *({first: each} for each in strange)]


PLAIN = {
    "det": BOXES,
    "sam_instance": INSTANCES,
    "human_poses": POSES,
    "caption": TEXTS,
    "web_text": TEXTS,
    "color_palette": COLORS_OF,
    **{name: numbers(name) for name in ("metadata_image", "metadata_geometric", "metadata_semantic")},
}


def test_every_modality_of_plain_values_is_tried():
    assert {name for name in am.modalities() if modality(name).spelled} == set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_value_is_one_value(name, tmp_path):
    one, values = modality(name), PLAIN[name]
    as_json = {f"{k:03}.json": json.dumps(value).encode() for k, value in enumerate(values)}
    as_text = {f"t{k:03}.txt": value.encode() for k, value in enumerate(values)} if one.is_text else {}
    layouts = in_datasets(one, as_json | as_text, tmp_path)
    for k, (value, file) in enumerate(zip(values, as_json, strict=True)):
        found = {"value": outcome(lambda v=value: one.accept(v))} | layouts[file]
        found |= by_hand(one, as_json[file], tmp_path / file)
        found["row as JSON"] = outcome(lambda f=file: read_content(one, as_json[f], ".json"))
        found["row"] = in_rows(one, [value], tmp_path / f"row{k}")[0]
        if one.is_text:
            text = f"t{file[:3]}.txt"
            found |= {f"text {way}": x for way, x in by_hand(one, as_text[text], tmp_path / text).items()}
            found |= {f"text {way}": x for way, x in layouts[text].items()}
            found["row as text"] = outcome(lambda t=text: read_content(one, as_text[t], ""))
        else:
            found["row without a name"] = outcome(lambda f=file: read_content(one, as_json[f], ""))
        if name.startswith("metadata") and None in value.values():
            del found["row"]  # a null there is a field that is not there
        taken = agree(found)
        if k == 0:
            assert not isinstance(taken, Refused)


# Addresses.


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    def handler(*arguments):
        return Quiet(*arguments, directory=str(tmp_path))

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", sorted({"rgb", "depth", "semseg", "det", "dinov2_global"}))
def test_an_address_is_a_value_and_a_dataset(name, tmp_path, server):
    """They hold what they hold on disk; an address as a Path has lost a slash."""
    one = modality(name)
    example = {"rgb": COLORS, "depth": GRAY, "semseg": GRAY}.get(name)
    if name == "det":
        files = {"a.json": json.dumps(COCO).encode()}
    elif example is None:
        files = {"a.npy": npy(np.ones(768, np.float32))}
    else:
        files = {"a.png": saved(Image.fromarray(example), "PNG")}
    places = datasets(name, files, tmp_path)
    address = f"{server}/folders/{name}/{next(iter(files))}"
    with pytest.raises(am.ValueProblem, match=r"no such file: http.*give an address as text, not as a Path"):
        one.accept(Path(address))
    with pytest.raises(am.ValueProblem, match=r"nothing can be read at http.*/nosuch.png; check the address"):
        one.accept(f"{server}/nosuch.png?token=secret")
    found = {way: open_values(place, [one]).read_file(name, 0) for way, place in places.items()}
    found["address"] = one.accept(f"{address}?token=secret")
    for way in ("folders", "webdataset/00000.tar"):
        found[f"server {way}"] = outcome(lambda w=way: open_values(f"{server}/{w}", [one]).read_file(name, 0))
    assert not isinstance(agree(found, lenient=["server webdataset/00000.tar"]), Refused)
    assert "only given as a whole" in found["server webdataset/00000.tar"].reason
