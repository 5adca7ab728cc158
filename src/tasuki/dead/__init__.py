"""The engine of dead letters: read, choose, move, edit and undo them; one letter, a stream, or a recorded batch."""
