"""The history of the last hour: what each queue did, minute by minute."""
