"""What people see of the messages in a file, without taking any."""
