"""The proxy that one writes first: a FastAPI route and an httpx client, streaming the answer. The other yardstick.

``python -m benchmarks.proxy.fastapi_httpx PORT UPSTREAM_PORT CLIENT``, where the client is httpx or its successor httpx2.
"""

import importlib
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask


def create_app(upstream: str, library: Any) -> FastAPI:
    """A proxy before `upstream` (``http://host:port``) with the client of `library`."""
    app = FastAPI()
    client = library.AsyncClient(base_url=upstream, timeout=60)

    @app.post("/{path:path}")
    async def forward(path: str, request: Request) -> StreamingResponse:
        headers = {"content-type": request.headers["content-type"]}
        onward = client.build_request("POST", f"/{path}", content=await request.body(), headers=headers)
        answer = await client.send(onward, stream=True)
        kept = {name: answer.headers[name] for name in ("content-type", "content-length")}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers=kept, background=BackgroundTask(answer.aclose))

    return app


if __name__ == "__main__":
    port, worker, client = sys.argv[1:]
    app = create_app(f"http://127.0.0.1:{worker}", importlib.import_module(client))
    uvicorn.run(app, port=int(port), log_level="warning", access_log=False, loop="uvloop")
