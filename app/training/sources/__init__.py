"""Where a model that was fitted elsewhere comes from: pickles, skops files, ONNX files, an MLflow registry."""
