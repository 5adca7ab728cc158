"""What single commands do beside reading their arguments."""
