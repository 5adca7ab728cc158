"""The desk's own server: uvicorn in a thread with an event loop of its own, with bounds for every connection."""
