"""The mistakes that beginners make most, each with the files, the command, and what must be said."""
