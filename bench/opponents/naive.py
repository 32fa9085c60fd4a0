"""The naive design that `bench/serving.py` compares with: Flask, joblib, scikit-learn and two metrics, nothing else.

Run by gunicorn with two workers. NAIVE_MODEL is the path of the model, which is asked once a request.
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
    """The WSGI app."""
    app = Flask(__name__)
    model = joblib.load(Path(os.environ["NAIVE_MODEL"]))
    classes = [str(each) for each in model.classes_]

    @app.post("/predict")
    def predict():
        started = time.perf_counter()
        row = np.array(request.get_json()["features"], dtype=float).reshape(1, -1)
        probabilities = model.predict_proba(row)[0].tolist()
        class_id = int(np.argmax(probabilities))
        REQUESTS.inc()
        LATENCY.observe(time.perf_counter() - started)
        return jsonify(
            prediction=classes[class_id],
            class_id=class_id,
            confidence=probabilities[class_id],
            probabilities=dict(zip(classes, probabilities, strict=True)),
        )

    @app.get("/metrics")
    def metrics():
        return generate_latest()

    return app
