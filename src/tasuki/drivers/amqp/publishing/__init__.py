"""Publishing: which message goes out as what, and the broker's answer for each."""
