"""Authorization: actors, policies, scopes, and the decision."""
