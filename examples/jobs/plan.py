"""A page for members with an active plan, in Streamlit: ``python -m streamlit run examples/jobs/plan.py``.

Without a client ID, log in as anna@example.com with the password "correct horse".
"""

import uuid
from typing import Any

from examples.jobs.command_line import chosen_site
from wixvisitor.apis.pricing_plans import orders
from wixvisitor.blocking import BlockingVisitorPool, BlockingVisitorSession
from wixvisitor.members import MemberLoginError


def visitors() -> BlockingVisitorPool:
    """Returns the pool. Streamlit keeps one for the process."""
    client_id, base_url = chosen_site()  # your client ID, and None
    return BlockingVisitorPool(client_id, base_url=base_url)


def page(st: Any, pool: BlockingVisitorPool) -> None:
    """Shows the page. The key of the browser's visitor stays in Streamlit's session, which the server keeps."""
    visitor = pool.session(st.session_state.setdefault("visitor", uuid.uuid4().hex))
    if not visitor.logged_in():
        log_in(st, visitor)
        return
    plans = [order["planName"] for order in visitor.each(orders.member_list_orders, order_statuses=["ACTIVE"])]
    if plans:
        st.success(f"Welcome. Your plan: {', '.join(plans)}")
    else:
        st.warning("This page is for members with an active plan.")


def log_in(st: Any, visitor: BlockingVisitorSession) -> None:
    """Shows the form, or the page again after a login."""
    with st.form("login"):
        email, password = st.text_input("E-mail"), st.text_input("Password", type="password")
        if not st.form_submit_button("Log in"):
            return
    try:
        outcome = visitor.members.login(email, password)
        if outcome.state == "success":
            visitor.members.complete(outcome)
            st.rerun()
        st.info("Wix has sent you a code." if outcome.state_token else "The owner has to approve you first.")
    except MemberLoginError as error:
        wrong = error.reason in {"invalid_email", "invalid_password"}
        st.error("E-mail or password is wrong." if wrong else "You cannot log in now. Please try again later.")


if __name__ == "__main__":
    import streamlit  # pyright: ignore[reportMissingImports] # comes with Streamlit's own command

    page(streamlit, streamlit.cache_resource(visitors)())
