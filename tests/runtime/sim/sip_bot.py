"""A bot made of text: a TCP listener that reads SIP messages and answers them as the test says."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

HOST: Final = "127.0.0.1"
BOUND_S: Final = 20.0  # no wait in these tests may last longer
TAG: Final = "bot-tag"


@dataclass(frozen=True)
class Message:
    """One message as it came; ``connection`` counts connections from 0."""

    head: str
    body: str
    connection: int
    reply: Callable[[str], None] = field(repr=False)

    @property
    def first(self) -> str:
        return self.head.split("\r\n")[0]

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    def all(self, name: str) -> list[str]:
        return re.findall(rf"(?im)^{name}: (.*?)\r?$", self.head)

    def get(self, name: str) -> str:
        found = self.all(name)
        return found[0] if found else ""


class SipBot:
    """``on_request`` is the bot; by default it takes every call and answers everything else."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.news = asyncio.Event()
        self.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.media.bind((HOST, 0))
        self.media.setblocking(False)
        self.port = 0
        self.connections = 0
        self.on_request: Callable[[SipBot, Message], None] = SipBot.take
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def uri(self) -> str:
        return f"sip:+918012345678@{HOST}:{self.port};transport=tcp"

    def take(self, message: Message) -> None:
        """200 to everything, with a session description where one was offered."""
        if message.method != "ACK":
            self.answer(message, 200, self.sdp() if message.method == "INVITE" else "")

    def sdp(self, direction: str = "sendrecv") -> str:
        port = self.media.getsockname()[1]
        return (
            f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\n"
            f"a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na={direction}\r\n"
        )

    def answer(self, request: Message, status: int, body: str = "", *extra: str) -> None:
        to = request.get("To")
        lines = [f"SIP/2.0 {status} Reason"]
        lines += [f"Via: {value}" for value in request.all("Via")]
        lines += [f"Record-Route: {value}" for value in request.all("Record-Route")]
        lines += [
            f"From: {request.get('From')}",
            f"To: {to if 'tag=' in to else f'{to};tag={TAG}'}",
            f"Call-ID: {request.get('Call-ID')}",
            f"CSeq: {request.get('CSeq')}",
            f"Contact: <sip:bot@{HOST}:{self.port};transport=tcp>",
            *extra,
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        request.reply("\r\n".join(lines) + "\r\n\r\n" + body)

    def request(self, invite: Message, method: str, cseq: int, *extra: str) -> None:
        """A request of ours within the call, on the connection of its INVITE."""
        contact = invite.get("Contact").strip("<>")
        lines = [
            f"{method} {contact} SIP/2.0",
            f"Via: SIP/2.0/TCP {HOST}:{self.port};branch=z9hG4bK{method}{cseq}",
            "Max-Forwards: 70",
            *(f"Route: {value}" for value in invite.all("Record-Route")),
            f"From: {invite.get('To')};tag={TAG}",
            f"To: {invite.get('From')}",
            f"Call-ID: {invite.get('Call-ID')}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:bot@{HOST}:{self.port};transport=tcp>",
            *extra,
            "Content-Length: 0",
        ]
        invite.reply("\r\n".join(lines) + "\r\n\r\n")

    async def hears(self, what: str) -> Message:
        """The first message whose first line begins with ``what``."""
        while True:
            for message in self.heard:
                if message.first.startswith(what):
                    return message
            self.news.clear()
            await self.news.wait()

    async def packets(self, count: int) -> list[bytes]:
        """The next RTP packets."""
        loop = asyncio.get_running_loop()
        return [await loop.sock_recv(self.media, 2_048) for _ in range(count)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self.writers.append(writer)

        def reply(text: str) -> None:
            writer.write(text.encode())

        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?im)^content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                message = Message(head.strip("\r\n"), body.decode(), number, reply)
                self.heard.append(message)
                self.news.set()
                if not message.first.startswith("SIP/2.0"):
                    self.on_request(self, message)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def sip_bot() -> AsyncIterator[SipBot]:
    bot = SipBot()
    server = await asyncio.start_server(bot.serve, HOST, 0)
    bot.port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(BOUND_S):
            yield bot
    finally:
        server.close()
        for writer in bot.writers:
            writer.close()
        bot.media.close()
        await asyncio.sleep(0)
