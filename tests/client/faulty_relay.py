"""A relay in front of an HTTP server, which breaks lines and answers for it when told to."""

import asyncio


class Relay:
    """Stands before the server, and does with each request the next of ``faults``; without any it passes it on."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.faults: list[str] = []
        self.requests = 0

    async def __aenter__(self) -> "Relay":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await self._message(reader):
                self.requests += 1
                fault = self.faults.pop(0) if self.faults else ""
                if fault == "cut before":
                    break
                if fault.isdigit():
                    head = f"HTTP/1.1 {fault} Trouble\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n"
                    writer.write(f"{head}oops".encode())
                    continue
                if fault == "silence":
                    await reader.read(1)
                    break
                answer = await self._pass_on(request)
                if fault == "cut after":
                    break
                if fault == "cut amid":
                    writer.write(answer[:-3])
                    break
                writer.write(answer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        writer.write(request)
        answer = await self._message(reader)
        writer.close()
        await writer.wait_closed()
        return answer

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        return head + await reader.readexactly(length)
