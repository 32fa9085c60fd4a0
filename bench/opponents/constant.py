"""A Flask route that returns a constant: what the HTTP stack costs with nothing behind it."""

from flask import Flask, Response

ANSWER = b'{"prediction": "setosa", "class_id": 0, "confidence": 0.98}'


def create() -> Flask:
    """The app."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        return Response(ANSWER, content_type="application/json")

    return app
