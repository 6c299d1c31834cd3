"""The upper bound: a bare concurrent httpx reader that stores nothing, with or without parsing JSON."""

import argparse
import asyncio
import json

import httpx

PAGE = 1000
IN_FLIGHT = 12  # the default of the pipeline


async def read(url: str, parse: bool) -> int:
    places = asyncio.Semaphore(IN_FLIGHT)
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:

        async def fetch(offset: int, limit: int = PAGE) -> bytes:
            async with places:
                params: dict[str, str | int] = {"warehouse": "WH-01", "offset": offset, "limit": limit}
                return (await client.get("/movements", params=params)).raise_for_status().content

        async def count(offset: int) -> int:
            body = await fetch(offset)
            return len(json.loads(body)["records"]) if parse else body.count(b'"movement_id"')

        total: int = json.loads(await fetch(0, 1))["total"]
        return sum(await asyncio.gather(*(count(offset) for offset in range(0, total, PAGE))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--parse", action="store_true")
    options = parser.parse_args()
    print(asyncio.run(read(options.url, options.parse)))


if __name__ == "__main__":
    main()
