"""Every place where something comes in that we did not write, by name. Each takes bytes and returns, or it is a bug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import setting_targets, store_targets, web_targets, wire_targets

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        wire_targets.token_json,
        wire_targets.token_answer,
        wire_targets.jwt_payload,
        wire_targets.retry_after,
        wire_targets.http_date,
        wire_targets.wix_error,
        wire_targets.graphql_answer,
        store_targets.record,
        store_targets.file,
        store_targets.sqlite_row,
        store_targets.sqlite_file,
        store_targets.redis_reply,
        store_targets.sealed_record,
        store_targets.key_value_entry,
        web_targets.id_cookie,
        web_targets.sealed_cookie,
        web_targets.shared_cookie,
        web_targets.cookie_header,
        setting_targets.base_url,
        setting_targets.request_url,
        setting_targets.client_id,
        setting_targets.header_value,
    )
}

WORDS: Final = r"""
accessToken refreshToken access_token refresh_token expires_in expiresAt value role visitor member format
wixvisitor clientId tokens version key data instance iat exp aid uid message details applicationError
validationError fieldViolations errorCode error JWS. OauthNG.JWS. seal: raw: \x0a\x0a Retry-After: Date: Age:
\\u004a NaN 1e999 Infinity https:// http:// xn-- localhost [::1] %22 invalid_client GMT \xef\xbb\xbf \\ud800
"""
"""What means something to a target, for libFuzzer's dictionary."""
