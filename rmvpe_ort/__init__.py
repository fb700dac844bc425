"""RMVPE with ONNX Runtime: the network as an ONNX graph, prediction (`infer`), and files for other programs (`export`).

Importing it imports neither onnx nor onnxruntime. It switches off the reports that onnxruntime 1.32 sends to its maker,
unless the user has set the variable: a pitch tracker sends nothing, and the thread for them keeps a forked process from
ending.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
