"""From a body to a message: headers, id, signature, encoding."""
