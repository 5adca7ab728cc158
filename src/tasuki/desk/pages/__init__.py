"""The pages, one file each: from a request to a response."""
