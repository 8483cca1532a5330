"""A receiver that answers 204 at once, in a process of its own. Prints its port, then on EOF the count."""

import asyncio
import sys

from aiohttp import web


async def main() -> None:
    seen: set[str] = set()
    arrived = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal arrived
        await request.read()
        arrived += 1
        seen.add(request.headers["webhook-id"])
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(arrived, len(seen), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
