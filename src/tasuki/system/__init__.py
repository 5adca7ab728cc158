"""What the operating system gives a process: event loops, helper threads, forks, signals, files."""
