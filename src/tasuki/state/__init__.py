"""State that all processes of an app share: what a store keeps for queues, consumers and schedules."""
