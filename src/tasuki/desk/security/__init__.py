"""Who may reach the desk: rules on hosts, origins, tokens, sessions and rates, and the gate that applies them."""
