"""Cases of the whole way: queues, consumers and handlers over the driver."""
