"""The HTTP API of a run, described by OpenAPI at /api/openapi.json, and the page that is made with it.

Reading is free. A change is a PUT of what should be; asking twice changes nothing. Where a token is set, changes need
it (`Authorization: Bearer TOKEN`). Browsers do not let a page of another origin send a PUT, and a host name that is not
ours is refused here, so no other page in the same browser can change anything.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from experiments.observing.changes import Change
from experiments.observing.feed import Feed
from experiments.observing.models import (
    Demand,
    Done,
    NetworkFacts,
    PolicyName,
    Problem,
    TickFacts,
    Works,
    Worth,
    facts_of,
)
from experiments.pages.colours import stylesheet
from pricing.errors import Refused, WardropError
from pricing.policy import get_policy

PAGE = Path(__file__).parent / "page"

FOLLOW_S = 0.1
"""Between two looks for a new tick on behalf of a stream (ours)."""

OURS = ["localhost", "127.0.0.1"]
"""Names by which a page on the loopback is called."""

SAFE = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Headers of every answer: the page loads nothing from elsewhere."""

Responses = dict[int | str, dict[str, Any]]
BEARER = HTTPBearer(auto_error=False, description="needed where the run was started with --token")
ASK_FOR_TOKEN = {"WWW-Authenticate": "Bearer"}
REFUSALS: Responses = {
    400: {"model": Problem, "description": "no such thing, or a value that is not accepted"},
    401: {"model": Problem, "description": "the token is missing or wrong"},
    409: {"model": Problem, "description": "the run takes no changes now"},
}
TICKS: Responses = {200: {"model": list[TickFacts], "description": "ticks, oldest first"}}
TICK: Responses = {200: {"model": TickFacts}, 404: {"model": Problem, "description": "no tick yet"}}


def make_app(feed: Feed, token: str | None = None) -> FastAPI:
    """The application of one run.

    Parameters
    ----------
    feed : Feed
        What is read, and where changes go.
    token : str, optional
        What changes need; without one the run is on the loopback alone, and only its names are answered to.
    """
    app = FastAPI(
        title="Wardrop",
        summary="A run: read its state, stream its ticks, change its policy and demand, fail and heal.",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would load their scripts from elsewhere
        redoc_url=None,
    )
    if token is None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=OURS)
    _answer_safely(app)
    _add_reading(app, feed)
    _add_changes(app, feed, token)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _answer_safely(app: FastAPI) -> None:
    """Every answer carries the headers that keep the page to itself, and every refusal says why in `error`."""

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(SAFE)
        return response

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(WardropError)
    async def wrong(_: Request, error: WardropError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 409 if isinstance(error, Refused) else 400)

    @app.exception_handler(RequestValidationError)
    async def unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"error": "; ".join(problems)}, 400)


def _add_reading(app: FastAPI, feed: Feed) -> None:
    """What can be read."""

    @app.get("/api/network")
    def network() -> NetworkFacts:
        """What does not change during the run: topology, sessions, policies."""
        return facts_of(feed)

    @app.get("/api/state", responses=TICK)
    def state() -> Response:
        """The newest tick."""
        last = feed.last()
        if last is None:
            raise HTTPException(404, "no tick yet; ask again when the network is up")
        return Response(last.json, media_type="application/json")

    @app.get("/api/history", responses=TICKS)
    def history(
        after: Annotated[int, Query(description="only ticks with a larger id")] = 0,
        before: Annotated[int | None, Query(description="only ticks with a smaller id")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="the newest so many")] = 100,
    ) -> Response:
        """Ticks of the last 15 minutes, oldest first."""
        ticks = feed.between(after, before, limit)
        return Response(f"[{','.join(tick.json for tick in ticks)}]", media_type="application/json")

    @app.get("/api/ticks", response_class=EventSourceResponse)
    async def ticks(
        after: Annotated[int | None, Query(description="begin with the tick after this id")] = None,
        last_event_id: Annotated[int | None, Header()] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Each tick as it comes, as server-sent events named `tick`; begins with the newest. Ends with the run."""
        seen = last_event_id if after is None else after
        if seen is None:
            seen = (last.id if (last := feed.last()) else 1) - 1
        while not feed.closed:
            for tick in feed.between(seen, None, 1000):
                seen = tick.id
                yield ServerSentEvent(raw_data=tick.json, event="tick", id=str(tick.id))
            await asyncio.sleep(FOLLOW_S)

    @app.get("/colours.css", include_in_schema=False)
    def colours() -> Response:
        return Response(stylesheet(), media_type="text/css")


def _add_changes(app: FastAPI, feed: Feed, token: str | None) -> None:
    """What can be changed, by those who have the token."""

    def trusted(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if token is not None and not (given and secrets.compare_digest(given.credentials.encode(), token.encode())):
            raise HTTPException(401, "changes need the token that the run was started with", ASK_FOR_TOKEN)

    def change(path: str) -> Callable[[Callable[..., Done]], Callable[..., Done]]:
        return app.put(path, dependencies=[Depends(trusted)], responses=REFUSALS)

    def carried_out(what: Change, words: str) -> Done:
        feed.inbox.ask(what)
        return Done(done=words)

    @change("/api/policy")
    def policy(wanted: PolicyName) -> Done:
        """Route by another policy from the next tick on."""
        name = get_policy(wanted.policy).name
        return carried_out(lambda run: run.set_policy(name), f"policy {name}")

    @change("/api/sessions/{session}/demand")
    def demand(session: str, wanted: Demand) -> Done:
        """Let a session send `factor` times its rate."""
        return carried_out(lambda run: run.set_demand(session, wanted.factor), f"{session} at {wanted.factor:g}")

    @change("/api/users/{user}/value")
    def value(user: str, wanted: Worth) -> Done:
        """Let a user's requests be worth `factor` times what they were worth at the start."""
        return carried_out(lambda run: run.set_value(user, wanted.factor), f"{user}'s value times {wanted.factor:g}")

    @change("/api/links/{src}/{dst}")
    def link(src: str, dst: str, wanted: Works) -> Done:
        """Let the cable between two nodes fail, both its directions, or heal it."""
        return carried_out(lambda run: run.set_link(src, dst, wanted.works), f"link {src}-{dst} {_verb(wanted)}")

    @change("/api/nodes/{node}")
    def node(node: str, wanted: Works) -> Done:
        """Let a node fail with all its cables, or heal it."""
        return carried_out(lambda run: run.set_node(node, wanted.works), f"node {node} {_verb(wanted)}")

    @change("/api/servers/{server}")
    def server(server: str, wanted: Works) -> Done:
        """Let a server fail, or heal it."""
        return carried_out(lambda run: run.set_server(server, wanted.works), f"server {server} {_verb(wanted)}")


def _verb(wanted: Works) -> str:
    return "healed" if wanted.works else "failed"
