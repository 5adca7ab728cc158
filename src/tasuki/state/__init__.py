"""State that all processes of an app share: the records of queues, consumers and schedules in a store."""
