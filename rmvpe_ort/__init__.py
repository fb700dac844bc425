"""RMVPE with ONNX Runtime: the network as an ONNX graph, prediction (`infer`), and files for other programs (`export`).

Nothing is imported here, so that `import rmvpe_ort` needs neither onnx nor onnxruntime.
"""
