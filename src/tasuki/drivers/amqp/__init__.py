"""The AMQP driver: durable queues at RabbitMQ 3.13 or 4, for any number of processes and machines."""

from tasuki.drivers.amqp.driver import AMQPDriver

__all__ = ["AMQPDriver"]
