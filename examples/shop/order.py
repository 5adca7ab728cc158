"""Order a hundred photos."""

from jobs import Order, app, orders

app.sync.publish_many(orders, [Order(f"{number}.jpg") for number in range(100)])
print(app.sync.queue(orders).info()["message_count"], "orders wait")
