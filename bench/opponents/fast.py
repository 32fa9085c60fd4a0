"""The fast design that `bench/serving.py` compares with: FastAPI, a compiled forest (forest.py), and nothing recorded.

Run by uvicorn with uvloop, httptools and two workers. FOREST is the folder that forest.py wrote. Bodies are parsed by
pydantic from bytes and answers written by orjson, which measured no slower than FastAPI's own models.
"""

import os
from pathlib import Path

import numpy as np
import orjson
import tl2cgen
from fastapi import FastAPI, Request, Response
from forest import Forest
from pydantic import BaseModel, ValidationError

app = FastAPI()
forest = Forest(os.environ["FOREST"])
library = Path(os.environ["FOREST"]) / "forest.so"
batches = tl2cgen.Predictor(library, nthread=1) if library.exists() else None


class Row(BaseModel):
    """The body."""

    features: list[float]


class Rows(BaseModel):
    """The body of a batch."""

    instances: list[list[float]]


def answered(content: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(content), status, media_type="application/json")


@app.exception_handler(ValidationError)
async def invalid(_request: Request, error: ValidationError) -> Response:
    """What is wrong with the body."""
    return answered({"detail": error.errors(include_url=False)}, 422)


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Answer one row."""
    row = Row.model_validate_json(await request.body()).features
    if len(row) != forest.features:
        return answered({"detail": f"{forest.features} features are required"}, 422)
    return answered(forest.answer(row))


@app.post("/predict/batch")
async def predict_batch(request: Request) -> Response:
    """Answer many rows."""
    rows = Rows.model_validate_json(await request.body()).instances
    if any(len(row) != forest.features for row in rows):
        return answered({"detail": f"{forest.features} features are required"}, 422)
    return answered({"predictions": [forest.fields(shares) for shares in many(rows)]})


def many(rows: list[list[float]]) -> list[list[float]]:
    """The shares of many rows of a compiled forest."""
    cells = np.array(rows, np.float32).astype(np.float64)
    return batches.predict(tl2cgen.DMatrix(cells)).reshape(len(rows), -1).tolist()
