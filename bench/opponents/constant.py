"""A Flask route that returns a constant: the cost of the HTTP stack alone."""

from flask import Flask, Response

ANSWER = b'{"prediction": "setosa", "class_id": 0, "confidence": 0.98}'


def create() -> Flask:
    """The WSGI app."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        return Response(ANSWER, content_type="application/json")

    return app
