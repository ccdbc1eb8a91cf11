"""What a type checker says of calls: each wrong line is an error, and no other line is.

Checked by `make types`, with mypy and basedpyright: an ignored error that is none is reported by both.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

import anymodal as am

model: am.AnyModel = am.load("tiny", dtype=torch.bfloat16, device=torch.device("cpu"))
model = am.load("tiny", dtype="float16", device="cpu").to(torch.device("cpu"))

outputs: am.Outputs = model.generate({"rgb": "photo.jpg"}, ["depth", "caption"], seed=3, temperature=0.5, top_p=0.8)
model.generate({"caption": "a dog"}, "rgb", options={"rgb": {"steps": 8, "scheme": "maskgit"}})
model.generate_batch([{"rgb": Image.new("RGB", (8, 8))}], "depth", schedule="cosine")
vector: np.ndarray = model.embed({"caption": "a dog"}, to="dinov2_global", top_k=5)
for step in model.stream({"rgb": "photo.jpg"}, "depth", guidance=2.0):
    value: object = step.partial
model.save_pretrained("folder", dtype=torch.float16)

am.lod("tiny")  # type: ignore[attr-defined]
am.load("tiny", modality="depth")  # type: ignore[call-arg]
am.load("tiny", dtype=16)  # type: ignore[arg-type]
model.generate({"rgb": "photo.jpg"}, "depth", temprature=0.5)  # type: ignore[call-arg]
model.generate({"rgb": "photo.jpg"}, "depth", temperature="hot")  # type: ignore[arg-type]
model.generate({"rgb": "photo.jpg"}, "depth", options={"depth": {"step": 8}})  # type: ignore[typeddict-unknown-key]
model.embed({"caption": "a dog"}, to="dinov2_global", topk=5)  # type: ignore[call-arg]
model.sav_pretrained("folder")  # type: ignore[attr-defined]
