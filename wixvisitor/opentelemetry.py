"""OpenTelemetry: spans for token requests, and metrics. Needs the extra ``opentelemetry`` (the API package only).

Spans follow OpenTelemetry's conventions for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span):

- The span of a token request is a child of the span of the request that waits for it.
- A renewal in the background is a trace of its own, with a link to the span of the request that started it.
- If httpx is instrumented too, its span is a child of this one.

======================================  =======================  ===================================================
metric                                  kind                     attributes
======================================  =======================  ===================================================
``wixvisitor.token.requests``           counter                  ``grant``, ``outcome``
``wixvisitor.token.duration``           histogram, seconds       ``grant``, ``outcome``
``wixvisitor.token.waits``              histogram, seconds       ``outcome``: one value for each caller that waited
``wixvisitor.token.queue``              gauge                    visitors that wait for a permit to ask Wix
``wixvisitor.visitors.live``            gauge                    sessions in use
``wixvisitor.visitors.changes``         counter                  ``reason``
``wixvisitor.pauses``                   gauge                    ``scope``: ``site`` (1 or 0) or ``visitor``
``wixvisitor.store.duration``           histogram, seconds       ``store``, ``operation``, ``outcome``
======================================  =======================  ===================================================

Every value has the attribute ``wixvisitor.client_id`` as well. The values of the attributes are those of the events;
see ``wixvisitor.TokenRequested`` and the others. No attribute holds a token or a visitor's key.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

try:
    from opentelemetry import context, metrics, trace
except ModuleNotFoundError as error:
    raise ImportError(
        "wixvisitor.opentelemetry needs opentelemetry-api: pip install 'wixvisitor[opentelemetry]'", name=error.name
    ) from error

from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.changes import Event, TokensChanged
from wixvisitor._renewal.events import StoreCalled, TokenRequested, TokenWaited
from wixvisitor._renewal.observers import Observers, RequestBegins
from wixvisitor._session import VisitorSession
from wixvisitor._tasks import shared_task
from wixvisitor._version import __version__
from wixvisitor.errors import ConfigurationError

if TYPE_CHECKING:
    from wixvisitor._renewal.settings import Settings

# Seconds; the values that OpenTelemetry's conventions recommend for http.client.request.duration.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PORTS: Final = {"http": 80, "https": 443}


def instrument(
    visitors: VisitorPool | VisitorSession,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Adds spans and metrics to a pool with all its sessions, or to one session.

    Calling it again for the same pool changes nothing. A pool that is dropped needs no ``uninstrument``.

    Args:
        visitors: the pool, or a session without a pool.
        tracer_provider: makes the spans; None: the global one.
        meter_provider: takes the metrics; None: the global one.

    Raises:
        ConfigurationError: ``visitors`` is neither a pool nor a session.

    Concurrency: call it from any thread, also while requests are under way.
    """
    settings = _settings_of(visitors)
    if settings.observers in _instrumented:
        return
    meters = _meters_of(meter_provider or metrics.get_meter_provider())
    traced = _Traced(trace.get_tracer("wixvisitor", __version__, tracer_provider))
    counted = _Counted(meters, {"wixvisitor.client_id": settings.client_id})
    _instrumented[settings.observers] = (meters, traced.begin, counted.count)
    settings.observers.tracers += (traced.begin,)
    settings.observers.listeners += (counted.count,)
    meters.watch(settings)


def uninstrument(visitors: VisitorPool | VisitorSession) -> None:
    """Removes what ``instrument`` added; does nothing if it added nothing. Requests under way end their spans.

    Raises:
        ConfigurationError: ``visitors`` is neither a pool nor a session.
    """
    observers = _settings_of(visitors).observers
    meters, begin, count = _instrumented.pop(observers, (None, None, None))
    if meters is not None:
        observers.tracers = tuple(one for one in observers.tracers if one != begin)
        observers.listeners = tuple(one for one in observers.listeners if one != count)
        meters.watched.pop(observers, None)


def _settings_of(visitors: object) -> Settings:
    if not isinstance(visitors, VisitorPool | VisitorSession):
        kind = type(visitors).__name__
        raise ConfigurationError(f"instrument: expected a VisitorPool or a VisitorSession, not {kind}")
    return visitors._settings


class _Traced:
    """Makes the spans."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def begin(self, begins: RequestBegins) -> Callable[[TokenRequested], None]:
        """Starts a span and makes it the current one; returns what ends both."""
        parts = urlsplit(begins.url)
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "url.full": begins.url,
            "server.address": parts.hostname or "",
            "server.port": parts.port or _PORTS.get(parts.scheme, 0),
            "wixvisitor.grant": begins.grant_type,
        }
        if begins.attempt > 1:
            attributes["http.request.resend_count"] = begins.attempt - 1
        span = self._tracer.start_span(
            f"POST {parts.path}", kind=trace.SpanKind.CLIENT, attributes=attributes, links=list(_links())
        )
        token = context.attach(trace.set_span_in_context(span))

        def end(event: TokenRequested) -> None:
            context.detach(token)
            _finish(span, event)

        return end


def _links() -> Iterator[trace.Link]:
    """Yields a link to the span of the request that started this work in the background."""
    cause = shared_task.cause()
    if cause is not None and (linked := cause.copy().run(trace.get_current_span).get_span_context()).is_valid:
        yield trace.Link(linked)


def _finish(span: trace.Span, event: TokenRequested) -> None:
    span.set_attribute("wixvisitor.outcome", event.outcome)
    if event.status_code is not None:
        span.set_attribute("http.response.status_code", event.status_code)
    if event.request_id is not None:
        span.set_attribute("http.response.header.x-wix-request-id", [event.request_id])
    if event.outcome != "granted":
        status = None if event.status_code in (None, 200) else str(event.status_code)
        span.set_attribute("error.type", status or event.error_type or event.outcome)
        span.set_status(trace.StatusCode.ERROR)
    span.end()


class _Counted:
    """Turns events into values of the metrics."""

    def __init__(self, meters: _Meters, about: dict[str, str]) -> None:
        self._meters, self._about = meters, about

    def count(self, event: Event) -> None:
        """Counts an event."""
        meters, about = self._meters, self._about
        match event:
            case TokenRequested():
                about = {**about, "grant": event.grant_type, "outcome": event.outcome}
                meters.requests.add(1, about)
                meters.duration.record(event.seconds, about)
            case TokenWaited():
                meters.waits.record(event.seconds, {**about, "outcome": event.outcome})
            case TokensChanged():
                meters.changes.add(1, {**about, "reason": str(event.reason)})
            case StoreCalled():
                named = {"store": event.store, "operation": event.operation, "outcome": event.outcome}
                meters.store.record(event.seconds, {**about, **named})


class _Meters:
    """The instruments of one meter provider, which all pools share, and the pools whose gauges are read.

    Attributes:
        watched: the settings of the instrumented pools and sessions, as long as they live.
    """

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = metrics.get_meter("wixvisitor", __version__, provider)
        self.watched: weakref.WeakKeyDictionary[Observers, weakref.ref[Settings]] = weakref.WeakKeyDictionary()
        self.requests = meter.create_counter("wixvisitor.token.requests", "{request}", "Token requests")
        self.changes = meter.create_counter("wixvisitor.visitors.changes", "{change}", "Changes of visitors' tokens")
        self.duration = _seconds(meter, "wixvisitor.token.duration", "Duration of token requests")
        self.waits = _seconds(meter, "wixvisitor.token.waits", "How long callers waited for a token")
        self.store = _seconds(meter, "wixvisitor.store.duration", "Duration of the storage's calls")
        for name, unit, text, read in (
            ("wixvisitor.token.queue", "{visitor}", "Visitors that wait for a permit to ask Wix", _queue),
            ("wixvisitor.visitors.live", "{visitor}", "Sessions in use", _live),
            ("wixvisitor.pauses", "{pause}", "Pauses of token requests that last now", _pauses),
        ):
            meter.create_observable_gauge(name, [_gauge(weakref.ref(self), read)], unit, text)

    def watch(self, settings: Settings) -> None:
        """Reads the gauges of this pool or session from now on."""
        self.watched[settings.observers] = weakref.ref(settings)


def _seconds(meter: metrics.Meter, name: str, text: str) -> metrics.Histogram:
    return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=_BUCKETS)


def _gauge(
    meters: weakref.ref[_Meters], read: Callable[[Settings], Iterable[tuple[int, dict[str, str]]]]
) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        found = meters()
        for one in [] if found is None else list(found.watched.values()):
            if (settings := one()) is not None:
                for value, about in read(settings):
                    yield metrics.Observation(value, {"wixvisitor.client_id": settings.client_id, **about})

    return observe


def _queue(settings: Settings) -> Iterator[tuple[int, dict[str, str]]]:
    yield settings.limiter.waiting, {}


def _live(settings: Settings) -> Iterator[tuple[int, dict[str, str]]]:
    yield len(settings.limiter.live) if settings.limiter.is_shared else 1, {}


def _pauses(settings: Settings) -> Iterator[tuple[int, dict[str, str]]]:
    yield int(settings.limiter.is_pausing), {"scope": "site"}
    yield settings.limiter.pausing_visitors, {"scope": "visitor"}


_instrumented: Final = weakref.WeakKeyDictionary[Observers, Any]()
_all_meters: Final = weakref.WeakKeyDictionary[metrics.MeterProvider, _Meters]()


def _meters_of(provider: metrics.MeterProvider) -> _Meters:
    meters = _all_meters.get(provider)
    if meters is None:
        meters = _all_meters[provider] = _Meters(provider)
    return meters
