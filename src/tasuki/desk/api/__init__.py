"""The JSON API of the desk: one table of operations, which routes requests and makes the OpenAPI document."""
