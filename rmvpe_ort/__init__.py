"""RMVPE with ONNX Runtime: the network as an ONNX graph, prediction (`infer`), and files for other programs (`export`).

Importing it imports neither onnx nor onnxruntime, but switches off the reports that onnxruntime 1.32 sends to its maker,
unless the user has set that variable: a pitch tracker sends nothing, and the thread for it keeps a forked process from
ending.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
