"""Questions of a parent process to its children, over a socket pair for each child."""
