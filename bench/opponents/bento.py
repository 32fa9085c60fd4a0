"""BentoML with the compiled forest, two workers, no access log, metrics or traces. FOREST is forest.py's folder."""

import os

import bentoml
from forest import Forest


@bentoml.service(workers=2, logging={"access": {"enabled": False}}, metrics={"enabled": False}, traffic={"timeout": 60})
class Trees:
    """The service."""

    def __init__(self) -> None:
        self.forest = Forest(os.environ["FOREST"])

    @bentoml.api(route="/predict")
    async def predict(self, features: list[float]) -> dict:
        """Answer one row."""
        return self.forest.answer(features)
