"""TensorRT-RTX: TensorRT's object model, strongly typed networks only, built without a GPU."""
