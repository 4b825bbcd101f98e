"""A blog behind AWS Lambda: all posts with their topics and tags, or one post by its slug.

The session is made outside of the handler: while the function is frozen and thawed, it stays the same visitor.
``python -m examples.jobs.blog`` calls the handler.
"""

import json
from typing import Any

from examples.jobs.command_line import chosen_site
from wixvisitor import WixAPIError
from wixvisitor.apis.blog import categories, posts, tags
from wixvisitor.blocking import BlockingVisitorSession

client_id, base_url = chosen_site()  # your client ID, and None
BLOG = BlockingVisitorSession(client_id, base_url=base_url)


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Answers ``/posts`` and ``/posts/{slug}``; Lambda makes JSON of it."""
    slug = (event.get("pathParameters") or {}).get("slug")
    try:
        return {"post": one_post(slug)} if slug else {"posts": all_posts()}
    except WixAPIError as error:
        if error.status_code == 404:
            return {"statusCode": 404, "body": "There is no such post."}
        return {"statusCode": 502, "body": "The blog cannot be read now."}


def one_post(slug: str) -> Any:
    """Returns a post with its text."""
    return BLOG.call(posts.get_post_by_slug, slug=slug, fieldsets=["CONTENT_TEXT"])["post"]


def all_posts() -> list[Any]:
    """Returns each post with the names of its topics and tags: posts page by cursors, the others by offsets."""
    topics = {
        topic["id"]: topic["label"]
        for topic in BLOG.each(categories.query_categories, query={"paging": {"limit": 100}})
    }
    labels = {tag["id"]: tag["label"] for tag in BLOG.each(tags.query_tags, query={"paging": {"limit": 100}})}
    found = []
    for post in BLOG.each(posts.query_posts, query={"cursorPaging": {"limit": 50}}):
        names = (
            [topics.get(key) for key in post.get("categoryIds", [])],
            [labels.get(key) for key in post.get("tagIds", [])],
        )
        found.append({"title": post["title"], "slug": post["slug"], "topics": names[0], "tags": names[1]})
    return found


if __name__ == "__main__":
    print(json.dumps(handler({}), indent=2))
