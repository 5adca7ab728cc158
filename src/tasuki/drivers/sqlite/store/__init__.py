"""What the verbs do to the tables, inside one transaction."""
