"""A web application that answers at once and does the slow part later, in the same process.

    pip install starlette uvicorn
    uvicorn signup:web --app-dir examples/web

To work in their own processes instead, leave out ``consume=True`` and start some: ``tasuki run signup:app``.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tasuki import App

app = App()  # SQLite, in .tasuki beside the nearest pyproject.toml above this file, else beside the file
sent: list[str] = []


@dataclass
class Welcome:
    email: str


welcomes = app.queue("welcomes", Welcome, dead_letter="welcomes.dead")


@welcomes.consumer(concurrency=4)
async def send_welcome(welcome: Welcome) -> None:
    sent.append(welcome.email)


async def sign_up(request: Request) -> JSONResponse:
    """Answers when the message is safe on disk, not when the mail is sent."""
    form = await request.json()
    confirmed = await welcomes.publish(Welcome(form["email"]))
    return JSONResponse({"message": confirmed.id, "survives": confirmed.durability}, status_code=202)


async def status(request: Request) -> JSONResponse:
    return JSONResponse({"sent": sent, "queue": await welcomes.info()})


routes = [Route("/sign-up", sign_up, methods=["POST"]), Route("/status", status)]
web = Starlette(routes=routes, lifespan=app.lifespan(consume=True))
