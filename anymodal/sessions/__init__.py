"""Models of ONNX graphs, run by onnxruntime: what `anymodal export` writes, as a Transformer and tokenizers.

manifest.py     what a folder of graphs says of itself
session.py      one graph
transformer.py  the Transformer in four kinds of graphs
steps.py        sequences token by token
tokenizer.py    a tokenizer in its graphs
"""

FORMAT = "anymodal-onnx"  # in the config.json of such a folder; here, as every model is compared with it
