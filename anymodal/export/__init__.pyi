from .precision import PRECISIONS as PRECISIONS
from .precision import Precision as Precision
from .write import export_onnx as export_onnx

__all__ = ["PRECISIONS", "Precision", "export_onnx"]
