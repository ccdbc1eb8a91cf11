"""A narrower tokenizer that says and reads the same ids: narrow.py MODALITY TOKENIZERS OUT ENCODER DECODER STEPS.

The codebook stays; an encoder of width ENCODER learns to say the ids of the trained one, a decoder of width DECODER
learns to decode them. Models that know the ids need not learn anything anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import torch
from torch.nn import functional as F

from anymodal.checkpoints.tokenizer import load_tokenizer, read_object, save_tokenizer
from anymodal.data import open_values
from anymodal.plugins.registry import registry
from anymodal.tokenizers.losses import loss_named
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.schedules import CosineSchedule

DATA, COUNT, BATCH, PEAK, SHARPNESS = "out/tiny/scenes", 20_000, 64, 2e-3, 20.0


def narrower(trained: VQTokenizer, encoder: int, decoder: int) -> VQTokenizer:
    """An untrained tokenizer with the codebook of a trained one and other widths."""
    plan = trained.config
    plan = attrs.evolve(
        plan, encoder=attrs.evolve(plan.encoder, dim=encoder), decoder=attrs.evolve(plan.decoder, dim=decoder)
    )
    student = VQTokenizer(plan)
    student.quantize.load_state_dict(trained.quantize.state_dict())
    student.quantize.eval().requires_grad_(False)
    return student


def main() -> None:
    name, folder, out, encoder, decoder, steps = sys.argv[1:]
    torch.manual_seed(0)
    source = Path(folder) / "modalities" / name
    modality = registry().modality(name)(**read_object(source / "config.json")["settings"])
    trained = load_tokenizer(source)
    student = narrower(trained, int(encoder), int(decoder))
    values = open_values(DATA, [modality], count=COUNT)
    kept: dict[int, torch.Tensor] = {}
    weights = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, PEAK, betas=(0.9, 0.99), weight_decay=0.01)
    reconstruction = loss_named(modality.loss)
    codes = F.normalize(trained.quantize.codes, dim=-1)
    for step in range(int(steps)):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * CosineSchedule(warmup_steps=50).share(step, int(steps))
        rows = torch.randint(len(values), (BATCH,)).tolist()
        for row in rows:
            if row not in kept:
                kept[row] = torch.from_numpy(modality.preprocess(values.read(row)[name]))
        x = torch.stack([kept[row] for row in rows])
        with torch.no_grad():
            ids = trained.encode(x)
        with torch.autocast("cpu", torch.bfloat16):
            scores = SHARPNESS * F.normalize(student.latents(x).float(), dim=-1) @ codes.T
            output = student._reconstruct(trained.quantize.lookup(ids), student._grid_of(x))
        said = F.cross_entropy(scores.flatten(0, 1), ids.flatten())
        read = reconstruction(output.float(), x)
        optimizer.zero_grad()
        (said + 10 * read).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 100 == 99:
            right = (scores.argmax(-1) == ids).float().mean()
            sys.stderr.write(f"step {step + 1}  ids {said:.3f}  equal {right:.3f}  reconstruction {read:.4f}\n")
    modality.tokenizer = student.eval()
    save_tokenizer(modality, Path(out) / "modalities" / name)


if __name__ == "__main__":
    main()
