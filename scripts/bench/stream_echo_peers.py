#!/usr/bin/env python3
"""Servers that echo streams, to compare with: ``stream_echo_peers.py KIND HOST PORT``.

picows      gives each message back as it came: the least that a Python program can do
websockets  the same with the library `websockets`
pipecat     Pipecat's FastAPI transport with its Exotel serializer, input joined with output
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from common import run


def say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def serve_picows(host: str, port: int) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
            elif frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()

    server = await ws_create_server(lambda request: Echo(), host, port)
    say_ready()
    await server.serve_forever()


async def serve_websockets(host: str, port: int) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, host, port, ping_interval=None, compression=None) as server:
        say_ready()
        await server.serve_forever()


async def serve_pipecat(host: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI, WebSocket
    from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.serializers.exotel import ExotelFrameSerializer
    from pipecat.transports.websocket.fastapi import (
        FastAPIWebsocketParams,
        FastAPIWebsocketTransport,
    )

    class Echo(FrameProcessor):
        async def process_frame(self, frame: Any, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InputAudioRawFrame):
                frame = OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
            await self.push_frame(frame, direction)

    app = FastAPI()

    @app.websocket("/exotel/voicebot/echo")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()  # connected
        await socket.receive_text()  # start
        transport = FastAPIWebsocketTransport(
            socket,
            FastAPIWebsocketParams(
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_10ms_chunks=2,
                serializer=ExotelFrameSerializer("s1", "c1"),
            ),
        )
        pipeline = Pipeline([transport.input(), Echo(), transport.output()])
        rates = PipelineParams(audio_in_sample_rate=8_000, audio_out_sample_rate=8_000)
        await PipelineRunner(handle_sigint=False).run(PipelineTask(pipeline, params=rates))

    config = uvicorn.Config(app, host, port, log_level="error", ws_ping_interval=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.05)
    say_ready()
    await serving


SERVERS = {"picows": serve_picows, "websockets": serve_websockets, "pipecat": serve_pipecat}


def main() -> None:
    kind, host, port = sys.argv[1:]
    run(SERVERS[kind](host, int(port)))


if __name__ == "__main__":
    main()
