"""The smallest worker: declare, publish, work until nothing is left."""

import asyncio

from tasuki import App

app = App("memory://")
numbers = app.queue("numbers", int)


@numbers.consumer(concurrency=2)
async def square(number: int) -> None:
    print(f"{number} squared is {number * number}")


async def main() -> None:
    await app.open()
    await numbers.publish_many([1, 2, 3])
    await app.run(until_empty=True)


if __name__ == "__main__":  # so that others can import it, as `tasuki run squares:app` does
    asyncio.run(main())
