"""Cases of the driver alone, by topic."""
