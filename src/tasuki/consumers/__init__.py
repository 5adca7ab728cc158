"""The receiving side: a consumer fetches deliveries, handles them and settles them."""
