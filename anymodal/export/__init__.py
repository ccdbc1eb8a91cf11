"""Export: a model as ONNX graphs of plain tensors, which other runtimes and languages run.

modules.py    what of a model becomes one graph
graphs.py     one graph: exported, or made by hand
precision.py  weights of a graph in 16 or 8 bits
check.py      a graph against PyTorch
tokenizer.py  the graphs of a tokenizer
write.py      a folder of graphs
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
