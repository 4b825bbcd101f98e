"""A page for members with an active plan, in FastAPI, with Wix's login page: ``python -m examples.jobs.club``, then http://127.0.0.1:8002/club.

The callback's address has to be listed in the site's Headless Settings.
"""

from fastapi import FastAPI, HTTPException

from examples.jobs.command_line import chosen_site
from wixvisitor import VisitorPool
from wixvisitor.apis import each
from wixvisitor.apis.pricing_plans import orders
from wixvisitor.cookies import IdCookie, VisitorCookie, generate_key
from wixvisitor.fastapi import CurrentMember, login_router, setup

CALLBACK = "http://127.0.0.1:8002/auth/callback"


def make_app(pool: VisitorPool, cookie: VisitorCookie, callback: str = CALLBACK) -> FastAPI:
    """Returns the app."""
    app = FastAPI()
    setup(app, pool, cookie=cookie)
    app.include_router(login_router(callback))

    @app.get("/club")
    async def club(member: CurrentMember) -> dict[str, str]:
        """For members with an active plan. Other browsers are sent to Wix's login page, and come back."""
        async for order in each(orders.member_list_orders, member, order_statuses=["ACTIVE"]):
            return {"plan": order["planName"]}
        raise HTTPException(403, "This page is for members with an active plan.")

    return app


if __name__ == "__main__":
    import uvicorn

    client_id, base_url = chosen_site()  # your client ID, and None
    key = generate_key()  # keep it, to know the members after a restart
    app = make_app(
        VisitorPool(client_id, base_url=base_url), IdCookie([key], secure=False)
    )  # secure=False: http, here only
    uvicorn.run(app, port=8002)
