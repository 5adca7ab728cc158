"""The AsyncAPI 3.1 document of a checked project: servers, channels, operations, messages; no broker is needed."""
