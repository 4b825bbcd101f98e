"""The checkout page and the thank-you page. No payment is asked for.

The parameters of the callbacks are those of the typings of ``@wix/auto_sdk_redirects_redirects`` 1.0.56: ``orderId``
for the thank-you page, ``wixMemberLoggedIn`` for both.
"""

from starlette.responses import Response

from wixvisitor.testing._cart import Cart
from wixvisitor.testing._catalog import CURRENCY
from wixvisitor.testing._hosted import Order, OrderLine, Redirect
from wixvisitor.testing._html import escaped, notice, page
from wixvisitor.testing._member import Member
from wixvisitor.testing._visit import Visit, go
from wixvisitor.testing._visitors import new_id


def checkout(visit: Visit) -> Response:
    """Shows the cart, and places the order: then the cart is gone, and the browser goes on to the thank-you page."""
    redirect = visit.redirect("ecomCheckout")
    member = _member(visit, redirect)
    response = _checkout(visit, redirect, member)
    if member is not None and member is not visit.member:
        visit.log_in(member, response)
    redirect.brings_login = False  # the second browser that opens the link is no member's
    return response


def _checkout(visit: Visit, redirect: Redirect, member: Member | None) -> Response:
    if redirect.order is not None:
        return _thanks(visit, redirect, redirect.order, member)
    cart = redirect.visitor.cart
    if cart is None or cart.id != redirect.checkout_id:
        link = _way_back(visit, redirect, member)
        return notice("This cart is gone", "It was ordered or deleted.", status=410, link=link)
    if not visit.is_form:
        return _cart_page(visit, redirect, cart, member)
    if not any(line.confirmed for line in cart.lines):
        return _cart_page(visit, redirect, cart, member)
    redirect.order = _placed(visit, redirect, cart, member)
    return _thanks(visit, redirect, redirect.order, member)


def other(visit: Visit) -> Response:
    """The page of a flow that the fake does not have."""
    redirect = visit.redirect("")
    text = f"FakeWix has no page for {redirect.flow[:100]}. Wix has one."
    return notice("Not here", text, link=_way_back(visit, redirect, _member(visit, redirect)))


def _member(visit: Visit, redirect: Redirect) -> Member | None:
    """The browser's member: the link's, if it brings its login, or who logged in here before."""
    if redirect.brings_login and redirect.member_id is not None:
        return visit.site.members.by_id.get(redirect.member_id) or visit.member
    return visit.member


def _placed(visit: Visit, redirect: Redirect, cart: Cart, member: Member | None) -> Order:
    hosted = visit.site.hosted
    hosted.placed += 1
    order = Order(
        id=new_id(),
        number=hosted.placed,
        cart_id=cart.id,
        visitor_id=redirect.visitor.id,
        member_id=redirect.member_id or (member.id if member else None),
        lines=tuple(
            OrderLine(product_id=line.product.id, name=line.product.name, quantity=line.confirmed, total=line.total)
            for line in cart.lines
            if line.confirmed
        ),
        total=cart.total,
        placed_at=visit.site.server_time(),
    )
    hosted.orders.append(order)
    redirect.visitor.cart = None
    return order


def _thanks(visit: Visit, redirect: Redirect, order: Order, member: Member | None) -> Response:
    if redirect.thank_you_url:
        return go(visit.back(redirect.thank_you_url, member=member, orderId=order.id))
    text = f"Your order has the number {order.number}."
    return notice("Thank you", text, link=_way_back(visit, redirect, member))


def _cart_page(visit: Visit, redirect: Redirect, cart: Cart, member: Member | None) -> Response:
    rows = "\n".join(
        f"<tr><td>{escaped(line.product.name)}</td><td>{line.confirmed}</td><td>{line.total:,.2f} {CURRENCY}</td></tr>"
        for line in cart.lines
    )
    if cart.discount:
        codes = ", ".join(coupon.code for coupon in cart.coupons)
        rows += f"\n<tr><td>{escaped(codes)}</td><td></td><td>-{cart.discount:,.2f} {CURRENCY}</td></tr>"
    can_order = any(line.confirmed for line in cart.lines)
    button = '<button class="main">Place order</button>' if can_order else "<p>Nothing here is in stock.</p>"
    back = _way_back(visit, redirect, member)
    body = f"""<p>{f"For {escaped(member.email)}" if member else "As a guest"}</p>
<table>
<thead><tr><th>Product</th><th>Quantity</th><th>Price</th></tr></thead>
<tbody>
{rows}
<tr><td>Total</td><td></td><td>{cart.total:,.2f} {CURRENCY}</td></tr>
</tbody>
</table>
<form method="post" action="checkout">
<input type="hidden" name="session" value="{escaped(visit.value("session"))}">
{button}
</form>
{f'<p><a href="{escaped(back[0])}">{back[1]}</a></p>' if back else ""}"""
    return page("Checkout", body, status=200 if can_order or not visit.is_form else 400)


def _way_back(visit: Visit, redirect: Redirect, member: Member | None) -> tuple[str, str] | None:
    if not redirect.post_flow_url:
        return None
    return visit.back(redirect.post_flow_url, member=member), "Back to the shop"
