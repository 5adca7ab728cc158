"""Tests of the web application, without a broker and without a server."""

from fastapi.testclient import TestClient
from web import web


def test_an_order_is_queued() -> None:
    """Post twice; no worker runs here, so both messages wait."""
    with TestClient(web) as client:
        answers = [client.post("/mails", json={"to": name}) for name in ("ada@example.com", "bob@example.com")]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert client.get("/mails").json()["ready"] == 2
        assert client.post("/mails", json={"subject": "to no one"}).status_code == 422
