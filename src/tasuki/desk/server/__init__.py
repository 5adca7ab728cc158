"""The desk's own server: uvicorn in a thread with its own event loop, with bounds for every connection."""
