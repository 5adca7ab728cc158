"""What ``tasuki run`` needs: processes, signals, changes of source files."""
