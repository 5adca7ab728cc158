"""Tasuki: declare drivers, queues, consumers and handlers once; swap the broker by one entry; lose nothing."""
