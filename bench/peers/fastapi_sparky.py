"""FastAPI on uvicorn, structured as Sparky's endpoint: each client gets a frame of its own."""

import asyncio

import load
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
clients = set()
running = set()


async def send():
    async for n, due in load.pieces():
        message = {
            "type": "message",
            "data": {"text": load.text(n, due)},
            "session_id": load.ID,
            "user_id": "local",
            "chat_id": load.ID,
        }
        for client in list(clients):
            try:
                await client.send_json(message)
            except (RuntimeError, WebSocketDisconnect):
                clients.discard(client)


@app.websocket("/ws/chat")
async def talk(client: WebSocket):
    await client.accept()
    clients.add(client)
    try:
        while True:
            await client.receive_text()
            running.add(asyncio.create_task(send()))
    except WebSocketDisconnect:
        clients.discard(client)


class AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("ready", flush=True)


AnnouncingServer(
    uvicorn.Config(
        app,
        host="127.0.0.1",
        port=load.PORT,
        log_level="error",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
).run()
