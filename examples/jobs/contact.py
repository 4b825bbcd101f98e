"""The back end of a static page's form: ``python -m examples.jobs.contact``, then http://127.0.0.1:8003/.

``website`` is a trap: people do not see that field, and programs fill it in. They read the same answer as all others.
"""

from typing import Annotated, Any

from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse

from examples.jobs.command_line import chosen_site
from wixvisitor import VisitorPool, WixAPIError
from wixvisitor.apis.forms import submissions
from wixvisitor.cookies import IdCookie, VisitorCookie, generate_key
from wixvisitor.fastapi import CurrentVisitor, setup

FORM = "d16d3b3f-0000-4000-8000-000000000000"  # the form's ID in your dashboard; its fields have the keys below
PAGE = """<form method="post" action="/contact"><input name="email" type="email"><textarea name="message"></textarea>
<input name="website" style="display: none" tabindex="-1" autocomplete="off"><button>Send</button></form>"""


def make_app(pool: VisitorPool, cookie: VisitorCookie) -> FastAPI:
    """Returns the app. Each browser submits as its own visitor."""
    app = FastAPI()
    setup(app, pool, cookie=cookie)
    app.get("/", response_class=HTMLResponse)(lambda: PAGE)

    @app.post("/contact")
    async def contact(
        visitor: CurrentVisitor,
        email: Annotated[str, Form()],
        message: Annotated[str, Form()],
        website: Annotated[str, Form()] = "",
    ) -> str:
        """Submits the form, and says what is wrong with it."""
        fields: dict[str, Any] = {"email": email, "message": message}
        try:
            if not website:
                await submissions.create_submission(visitor, submission={"formId": FORM, "submissions": fields})
        except WixAPIError as error:
            raise HTTPException(422 if error.status_code == 400 else 502, error.message) from error
        return "Thank you."

    return app


if __name__ == "__main__":
    import uvicorn

    client_id, base_url = chosen_site()  # your client ID, and None
    uvicorn.run(
        make_app(VisitorPool(client_id, base_url=base_url), IdCookie([generate_key()], secure=False)), port=8003
    )
