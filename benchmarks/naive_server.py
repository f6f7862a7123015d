"""What a good engineer writes first: decode with librosa, run panns_inference, for each request."""

from __future__ import annotations

import os
import sys
from typing import Any

import librosa
import torch
import uvicorn
from fastapi import FastAPI

from benchmarks.reference import reference_cnn14


def main() -> None:
    """Serve /health and /predict on PORT with the checkpoint given as an argument."""
    model = reference_cnn14()
    model.load_state_dict(torch.load(sys.argv[1], weights_only=True)["model"])
    model.eval()
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP"}

    @app.post("/predict")
    def predict(request: dict[str, Any]) -> dict[str, Any]:
        results = []
        for task in request["tasks"]:
            wave, _ = librosa.load(task["data"]["audio"], sr=32_000, mono=True)
            with torch.inference_mode():
                output = model(torch.from_numpy(wave)[None])
            results.append({"result": [], "score": float(output["clipwise_output"].max())})
        return {"results": results}

    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="error")


if __name__ == "__main__":
    main()
