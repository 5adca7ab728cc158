"""What the stores of several drivers share: the rules of buckets, and what a watch gives its reader."""
