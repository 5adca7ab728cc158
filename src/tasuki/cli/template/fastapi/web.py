"""The web application: it publishes, and workers (`tasuki run`) do the slow part."""

from typing import Any

from fastapi import FastAPI
from jobs import Mail, app, mails

web = FastAPI(lifespan=app.lifespan())


@web.post("/mails", status_code=202)
async def order(mail: Mail) -> dict[str, str]:
    """Answer when the message is safe, not when the mail is sent."""
    confirmed = await mails.publish(mail)
    return {"id": confirmed.id, "survives": confirmed.durability}


@web.get("/mails")
async def status() -> dict[str, Any]:
    """Show how full the queue is."""
    return await mails.info()
