"""MLServer with the compiled forest: `predict` and `predict_proba` of the first input. FOREST is forest.py's folder."""

import os

from forest import Forest
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Trees(MLModel):
    """The runtime."""

    async def load(self) -> bool:
        """Read the forest."""
        self.forest = Forest(os.environ["FOREST"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one row."""
        shares = self.forest.shares(list(payload.inputs[0].data))
        best = self.forest.classes[shares.index(max(shares))]
        outputs = [
            ResponseOutput(name="predict", shape=[1, 1], datatype="BYTES", data=[best]),
            ResponseOutput(name="predict_proba", shape=[1, len(shares)], datatype="FP64", data=shares),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
