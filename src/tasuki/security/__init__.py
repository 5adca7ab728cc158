"""Who may do what: actors, policies, scopes, and the decision."""
