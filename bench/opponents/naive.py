"""The naive design that `bench/serving.py` compares with: Flask, joblib, scikit-learn and a counter, nothing else.

Run by gunicorn with two sync workers; trains the same forest as version v1 when it is loaded.
"""

import os
import time
from pathlib import Path

import joblib
import numpy as np
from flask import Flask, jsonify, request
from prometheus_client import Counter, Histogram, generate_latest

REQUESTS = Counter("naive_requests_total", "Requests answered")
LATENCY = Histogram("naive_latency_seconds", "Time to answer")


def create() -> Flask:
    """The app; the model's path is in NAIVE_MODEL."""
    app = Flask(__name__)
    model = joblib.load(Path(os.environ["NAIVE_MODEL"]))
    classes = ["setosa", "versicolor", "virginica"]

    @app.post("/predict")
    def predict():
        started = time.perf_counter()
        row = np.array(request.get_json()["features"], dtype=float).reshape(1, -1)
        class_id = int(model.predict(row)[0])
        probabilities = model.predict_proba(row)[0]
        REQUESTS.inc()
        LATENCY.observe(time.perf_counter() - started)
        return jsonify(
            prediction=classes[class_id],
            class_id=class_id,
            confidence=float(probabilities[class_id]),
            probabilities=dict(zip(classes, map(float, probabilities), strict=True)),
        )

    @app.get("/metrics")
    def metrics():
        return generate_latest()

    return app
