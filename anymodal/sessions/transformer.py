"""The Transformer in four kinds of graphs, which generation asks as it asks the one with weights.

encode: packed inputs to states and to what the decoder reads; read: that to keys and values of each block; decode: one
pass over targets, after others of which keys and values are given; heads: states to scores of one vocabulary.

Shapes: B batch, N input tokens, R registers, M targets, D width, L blocks of the decoder, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from anymodal.errors import ConfigError, GenerationError
from anymodal.model import Context, ModelConfig, Transformer
from anymodal.sessions.manifest import Manifest
from anymodal.sessions.session import Place, Session
from anymodal.sessions.steps import SessionSteps
from anymodal.tokens import Inputs, Layout, Targets


class SessionTransformer(Transformer):
    """A Transformer whose weights are in graphs; of its own parameters there are only the shapes."""

    has_weights = False
    text_steps: ClassVar = SessionSteps

    def __init__(self, config: ModelConfig, layout: Layout, files: Place, manifest: Manifest) -> None:
        with torch.device("meta"):
            super().__init__(config, layout)
        # Generation asks this table where the model is.
        self.table_shape = self.input_table
        del self.input_table
        self.input_table = torch.empty(0, config.dim)  # type: ignore[assignment]
        self.encode_graph = Session(files, manifest.encode)
        self.read_graph = Session(files, manifest.read)
        self.decode_graph = Session(files, manifest.decode)
        self.head_graphs = {key: Session(files, graph) for key, graph in manifest.heads.items()}
        self.eval()

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """What tells these weights from others: the hashes of the graphs."""
        sessions = [self.encode_graph, self.read_graph, self.decode_graph, *self.head_graphs.values()]
        return {each.graph.file: torch.tensor(list(bytes.fromhex(each.graph.sha256))) for each in sessions}

    def _apply(self, fn: object, recurse: bool = True) -> SessionTransformer:
        return self  # what moves weights to a device or another type has nothing to move

    def train(self, mode: bool = True) -> SessionTransformer:
        if mode:
            raise ConfigError("a model of ONNX graphs cannot be trained; train the one that it was exported from")
        super().train(False)
        return self

    def embed_inputs(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        raise GenerationError("a model of ONNX graphs encodes all of its inputs at once: leave refresh at 1")

    def encode(self, inputs: Inputs) -> Context:
        """See `Transformer.encode`."""
        _, context, attended = self._encode(inputs)
        return Context(context, attended)

    def features(self, inputs: Inputs, layers: Sequence[int] | None = None) -> Tensor:
        """See `Transformer.features`; there is the last block alone."""
        if layers is not None and self._blocks_of(layers) != [self.config.encoder_depth - 1]:
            raise ConfigError("a model of ONNX graphs has the states of its last block alone: leave out layers")
        states, _, _ = self._encode(inputs)
        return states if layers is None else states[None]

    def _encode(self, inputs: Inputs) -> list[Tensor]:
        """States (B, R + N, D), what the decoder reads of them, and which tokens are attended (B, R + N)."""
        given = {"ids": inputs.ids, "positions": inputs.positions, "streams": inputs.streams}
        batch = len(inputs.ids)
        for stream in self.layout.streams:
            if stream.is_dense:
                rows = inputs.dense.get(stream.name)
                width = stream.space.width  # type: ignore[union-attr]
                given[f"{stream.name}.rows"] = torch.zeros(batch, 0, width) if rows is None else rows.values
                given[f"{stream.name}.slots"] = torch.zeros(batch, 0, dtype=torch.long) if rows is None else rows.slots
        return self.encode_graph(**given)

    def decode(self, targets: Targets, *contexts: Context) -> Tensor:
        """See `Transformer.decode`."""
        allowed, start, parts = self.targets_allowed(targets), 0, []
        for context in contexts:
            rows = slice(start, start := start + len(context.tokens))
            k, v = self.read_graph(context=context.tokens, attended=context.attended)
            none = k[:, :, :, :0]
            states, _, _ = self.decode_graph(
                ids=targets.ids[rows],
                positions=targets.positions[rows],
                streams=targets.streams[rows],
                allowed=allowed[rows],
                past_k=none,
                past_v=none,
                context_k=k,
                context_v=v,
                context_attended=context.attended,
            )
            parts.append(states)
        return torch.cat(parts)

    def logits(self, states: Tensor, stream: str) -> Tensor:
        """See `Transformer.logits`."""
        if stream not in self.layout.outputs:
            raise GenerationError(f"{stream!r} is not a target of this model")
        flat = states.reshape(-1, states.shape[-2], states.shape[-1]) if states.dim() > 2 else states[None]
        (scores,) = self.head_graphs[self.layout.outputs[stream].key](states=flat)
        return scores.view(*states.shape[:-1], scores.shape[-1])
