import json

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from orders.models import Order
from orders.tasks import send_receipt


@csrf_exempt
def orders(request: HttpRequest) -> JsonResponse:
    """Store an order and its message together: if one of them fails, neither is there."""
    email = json.loads(request.body)["email"]
    with transaction.atomic():
        order = Order.objects.create(email=email)
        message = send_receipt.send(order_id=order.pk)
        if email.endswith("@invalid.example"):
            raise ValueError("this order is refused, and so is its message")
    return JsonResponse({"id": order.pk, "message": message.id}, status=202)


def order(request: HttpRequest, number: int) -> JsonResponse:
    found = Order.objects.get(pk=number)
    return JsonResponse({"email": found.email, "is_sent": found.receipt_sent_at is not None})
