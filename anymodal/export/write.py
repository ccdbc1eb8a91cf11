"""A model as a folder of ONNX graphs: all of them compared with PyTorch, or no folder at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch

import anymodal
from anymodal.checkpoints.formats.native.layout import VOCABULARY
from anymodal.checkpoints.formats.native.read import plain
from anymodal.checkpoints.formats.native.write import check_weights, config_of, record_of
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.repository import CONFIG
from anymodal.checkpoints.swap import Kind, replacing_checkpoint
from anymodal.errors import ConfigError
from anymodal.export.check import checked
from anymodal.export.graphs import Draft, check_installed
from anymodal.export.precision import PRECISIONS, Precision, stored
from anymodal.export.tokenizer import tokenizer_drafts
from anymodal.export.transformer import transformer_drafts
from anymodal.families.pixels import PixelModality
from anymodal.files import write_json
from anymodal.modality import Modality
from anymodal.progress import task
from anymodal.sampling.options import plain_options
from anymodal.sessions import FORMAT
from anymodal.sessions.manifest import (
    FORMAT_VERSION,
    LARGEST,
    MANIFEST,
    Graph,
    Manifest,
    StreamRows,
    TokenizerGraphs,
    digest,
)
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel

FILES = (CONFIG, MANIFEST, VOCABULARY, "*.onnx", "heads/*.onnx", "tokenizers/*/*.onnx")
KIND = Kind("a model of ONNX graphs", lambda config: config.get("format") == FORMAT, lambda config: FILES)


def export_onnx(model: AnyModel, folder: str | Path, precision: str = "float32") -> Manifest:
    """Write a model as ONNX graphs, which `anymodal.load` and any runtime of ONNX run.

    Every graph takes batches and lengths of any size and is compared with PyTorch before it counts. Nothing is drawn in
    a graph: draws, and the noise of a decoder that denoises, stay with the caller.

    Args:
        model: any model with weights; those of its tokenizers that lie on the Hub are fetched.
        folder: made if need be; graphs in it are replaced, all or none.
        precision: how weights are stored, "float32", "float16" or "int8"; graphs compute in float32.

    Returns:
        What the folder says of itself.

    Raises:
        ConfigError: a package is missing, there is no such precision, a part of the model cannot be a graph, or one is
            further from PyTorch than its precision allows.
        CheckpointError: the folder holds something else, or the model is of graphs itself.
        DataError: the folder cannot be written.
    """
    check_installed()
    chosen = PRECISIONS.choose(precision)
    check_weights(model.bundle)
    _check_device(model)
    with replacing_checkpoint(Path(folder), KIND) as staging:
        writer = _Writer(staging, chosen, model)
        manifest = _manifest(model.bundle, precision, writer)
        write_json(attrs.asdict(manifest), staging / MANIFEST)
        records = {m.name: record_of(m, model.modalities, None) for m in model.modalities}
        config = attrs.asdict(config_of(model.bundle, records))
        write_json({**config, "format": FORMAT, "format_version": FORMAT_VERSION}, staging / CONFIG)
    return manifest


def _check_device(model: AnyModel) -> None:
    weights = model.transformer.input_table
    if weights.device.type != "cpu" or weights.dtype != torch.float32:
        raise ConfigError("export takes a model in float32 on the CPU: load it with device='cpu' and no dtype")


class _Writer:
    """Stores graphs one after the other, each compared with PyTorch, and shows how far it is."""

    def __init__(self, folder: Path, precision: Precision, model: AnyModel) -> None:
        self.folder, self.precision = folder, precision
        self.model = model

    def write(self, name: str, draft: Draft) -> Graph:
        with task(f"exporting {name}"):
            path = self.folder / f"{name}.onnx"
            path.parent.mkdir(parents=True, exist_ok=True)
            graph = stored(draft.build(), self.precision)
            if graph.ByteSize() > LARGEST:
                raise ConfigError(
                    f"the graph {name} is larger than 2 GiB, which no file of ONNX can be; store fewer bits"
                )
            path.write_bytes(graph.SerializeToString())
            return checked(draft, self.folder, f"{name}.onnx", self.precision)


def _manifest(bundle: Bundle, precision: str, writer: _Writer) -> Manifest:
    modalities, config = bundle.modalities, bundle.transformer.config
    files: dict[str, str] = {}
    if modalities.vocabulary is not None:
        modalities.vocabulary.save(writer.folder / VOCABULARY)
        files[VOCABULARY] = digest(writer.folder / VOCABULARY)
    graphs = {name: writer.write(name, draft) for name, draft in transformer_drafts(bundle.transformer)}
    heads = {name.partition("/")[2]: graph for name, graph in graphs.items() if name.startswith("heads/")}
    layout = modalities.layout
    return Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        anymodal=anymodal.__version__,
        precision=precision,
        width=config.dim,
        heads_of_attention=config.heads,
        decoder_depth=config.decoder_depth,
        registers=config.registers,
        streams=[_rows(stream, layout) for stream in layout.streams],
        encode=graphs["encode"],
        read=graphs["read"],
        decode=graphs["decode"],
        heads=heads,
        tokenizers={m.name: _tokenizer(m, writer) for m in modalities if m.has_tokenizer and m.tokenizer is not None},
        sampling={
            name: {
                kind: plain(plain_options(modalities[name].tuned_sampling(kind == "grounded")))
                for kind in ("grounded", "free")
            }
            for name in modalities.targets
        },
        modalities={m.name: plain({**m.config(), **_standard(m)}) for m in modalities},
        files=files,
    )


def _standard(modality: Modality) -> dict[str, Any]:
    """What standardizes the pixels of a modality that enters as such, which no setting says."""
    return {"mean": modality.mean, "std": modality.std} if isinstance(modality, PixelModality) else {}


def _tokenizer(modality: Modality, writer: _Writer) -> TokenizerGraphs:
    found: dict[str, Graph] = {}
    for name, draft in tokenizer_drafts(modality):
        found[name] = writer.write(f"tokenizers/{modality.name}/{name}", draft)
    tokenizer = modality.tokenizer

    def of(kind: str) -> dict[str, Graph]:
        named = {name.partition("-"): graph for name, graph in found.items()}
        return {size: graph for (start, _, size), graph in named.items() if start == kind}

    fingerprint = tokenizer.fingerprint()
    return TokenizerGraphs(
        config=tokenizer.config,
        # Weights in fewer bits may give other ids, so data tokenized by them is told apart.
        fingerprint=fingerprint if writer.precision.bits == 32 else f"{fingerprint}-{writer.precision.bits}",
        codebooks=tokenizer.quantize.codebooks,
        encode=of("encode"),
        lookup=found["lookup"],
        mean=found["mean"],
        decode=of("decode"),
        denoise=of("denoise"),
    )


def _rows(stream: Stream, layout: Layout) -> StreamRows:
    space, name = stream.space, stream.name
    tokens = space if isinstance(space, TokenSpace) else None
    return StreamRows(
        name=name,
        modality=stream.modality,
        index=layout.index[name],
        kind="dense" if stream.is_dense else "sequence" if stream.is_sequence else "grid",
        length=space.length,
        position_row=layout.positions[name].start,
        input_row=layout.inputs[name].start if name in layout.inputs else None,
        query_row=layout.queries[name].start if name in layout.queries else None,
        size=tokens.size if tokens else None,
        width=space.width if isinstance(space, DenseSpace) else None,
        shape=space.shape,
        head=layout.outputs[name].key if name in layout.outputs else None,
        sentinels=tokens.sentinels if tokens else None,
        end=tokens.end if tokens else None,
    )
