"""A web application that answers 202 at once, and says later how far the work is.

pip install tasuki fastapi uvicorn
uvicorn web:web --app-dir examples/fastapi       # the web application
tasuki run examples/fastapi/web.py               # the workers, in a second terminal
curl -i -d '{"address": "ada@example.com"}' -H 'content-type: application/json' http://127.0.0.1:8000/invoices
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel

from tasuki import App, Context

HERE = Path(__file__).parent
app = App(os.environ.get("QUEUE_URL", "sqlite://"))  # .tasuki/queue.db, or a broker


class Invoice(BaseModel):
    address: str


class Done(BaseModel):
    id: str
    is_done: bool


invoices = app.queue("invoices", Invoice, dead_letter="invoices.dead")


@invoices.consumer(concurrency=4)
def make_invoice(invoice: Invoice, context: Context) -> None:
    """The slow part; it notes in the shop's own database that it is done."""
    assert context.message is not None
    with shop() as connection:
        connection.execute("INSERT OR IGNORE INTO done VALUES (?)", [context.message.id])


def shop() -> sqlite3.Connection:
    connection = sqlite3.connect(HERE / "shop.db")
    connection.execute("CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY)")
    return connection


web = FastAPI(lifespan=app.lifespan())


@web.post("/invoices", status_code=202)
async def order(invoice: Invoice, response: Response) -> Done:
    """Answers when the message is safe on disk; Location is where to ask for the result."""
    message = await invoices.publish(invoice)
    response.headers["Location"] = f"/invoices/{message.id}"
    return Done(id=message.id, is_done=False)


@web.get("/invoices/{id}")
def status(id: str) -> Done:
    """A plain function: FastAPI runs it in a thread."""
    with shop() as connection:
        found = connection.execute("SELECT 1 FROM done WHERE id = ?", [id]).fetchone()
    return Done(id=id, is_done=found is not None)


@web.post("/invoices/{address}/again", status_code=202)
def order_again(address: str) -> Done:
    """From a plain function the same publish is ``app.sync.publish``."""
    if "@" not in address:
        raise HTTPException(422, "an address has an @")
    return Done(id=app.sync.publish(invoices, Invoice(address=address)).id, is_done=False)
