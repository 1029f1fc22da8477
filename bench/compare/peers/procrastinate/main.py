"""Procrastinate (PyPI) in the comparison."""

import asyncio
from contextlib import AsyncExitStack

import procrastinate

import harness

# More connections than callers and slots, so that nobody waits for one. A choice of ours.
CONNECTIONS_EXTRA = 5


class Procrastinate:
    def __init__(self, asked):
        self.asked = asked
        connector = procrastinate.PsycopgConnector(
            conninfo=asked.store, min_size=asked.callers, max_size=asked.slots + CONNECTIONS_EXTRA
        )
        self.app = procrastinate.App(connector=connector)
        self.ran = None
        self.worker = None

        @self.app.task(name="send_email")
        async def send_email(to, body):
            self.ran(to)

        self.task = send_email

    async def __aenter__(self):
        self.open = AsyncExitStack()
        await self.open.enter_async_context(self.app.open_async())
        await self.app.schema_manager.apply_schema_async()
        return self

    async def __aexit__(self, *error):
        await self.open.aclose()

    async def enqueue(self, args):
        await self.task.defer_async(**args)

    async def enqueue_batch(self, emails):
        await self.task.batch_defer_async(*emails)

    async def start(self, ran):
        self.ran = ran
        # Its defaults but for the slots: it listens for notifications and keeps what is finished.
        running = self.app.run_worker_async(concurrency=self.asked.slots, install_signal_handlers=False)
        self.worker = asyncio.create_task(running)

    async def stop(self):
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)

    async def one(self, sql):
        row = await self.app.connector.execute_query_one_async(sql)
        return next(iter(row.values()))

    async def unfinished(self):
        return await self.one("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")

    async def finished(self):
        return await self.one("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")

    async def durability(self):
        return f"synchronous_commit={await self.one('SHOW synchronous_commit')}"


harness.main(Procrastinate)
