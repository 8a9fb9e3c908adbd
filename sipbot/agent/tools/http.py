"""HTTP requests as tools, described in YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from sipbot.agent.ports import Tool
from sipbot.agent.tools.toolbox import RunnableTool, ToolFailed, ToolTurn

MAX_BODY: Final = 65_536  # bytes of an answer that are read
_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class HttpTool:
    """One request. ``{name}`` in the URL's path and query is filled with an argument; the others
    become the query (GET, DELETE) or a JSON body."""

    name: str
    description: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)  # JSON Schema of an object
    timeout_s: float = 5.0

    def runnable(self, client: httpx.AsyncClient | None = None) -> RunnableTool:
        """Raises ValueError when the URL names an argument that there is not."""
        names = set(_PLACE.findall(self.url))
        unknown = names - set(self.parameters.get("properties", {}))
        if unknown:
            raise ValueError(f"the URL names {', '.join(sorted(unknown))}, which is no parameter")

        async def run(turn: ToolTurn, arguments: Mapping[str, Any]) -> str:
            if client is not None:
                return await self._request(client, arguments)
            async with httpx.AsyncClient() as own:
                return await self._request(own, arguments)

        schema = {"type": "object", "properties": {}, **self.parameters}
        return RunnableTool(Tool(self.name, self.description, schema), run)

    async def _request(self, client: httpx.AsyncClient, arguments: Mapping[str, Any]) -> str:
        def filled(match: re.Match[str]) -> str:
            return quote(str(arguments.get(match[1], "")), safe="")

        url = _PLACE.sub(filled, self.url)
        used = set(_PLACE.findall(self.url))
        rest = {key: value for key, value in arguments.items() if key not in used}
        in_query = self.method in ("GET", "DELETE")
        request = client.build_request(
            self.method,
            url,
            params=rest if in_query and rest else None,
            json=None if in_query else rest,
            headers=dict(self.headers),
            timeout=self.timeout_s,
        )
        try:
            response = await client.send(request, stream=True)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise ToolFailed("the service took too long") from error
        except httpx.HTTPError as error:
            raise ToolFailed("the service cannot be reached") from error
        if not response.is_success:
            raise ToolFailed(f"the service answered with status {response.status_code}")
        return body


async def _read(response: httpx.Response) -> str:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_BODY:
            break
    return bytes(body[:MAX_BODY]).decode(response.encoding or "utf-8", "replace")
