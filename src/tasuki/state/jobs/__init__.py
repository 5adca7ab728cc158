"""Jobs: the records of their publishers, and the judgement of what has become of them (docs/adr/0056)."""
