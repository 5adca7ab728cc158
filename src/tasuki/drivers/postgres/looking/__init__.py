"""What people see of the messages of a schema, without taking any."""
