"""Work on ONNX graphs: read, prepare, group, quantise, cast, lower. Runs no model."""
