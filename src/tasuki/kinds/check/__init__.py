"""What is checked across entries, once each of them is right by itself."""
