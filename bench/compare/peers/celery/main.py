"""Celery (PyPI) in the comparison."""

import asyncio
import concurrent.futures
from contextlib import ExitStack

import celery
import redis
from celery.contrib.testing.worker import start_worker

import harness


class Celery:
    def __init__(self, asked):
        self.asked = asked
        self.app = celery.Celery("compare", broker=asked.store)
        # Of its guide "Tasks": a task that must not be lost is acknowledged late, and taken again if its worker is lost. Results are not stored.
        self.app.conf.update(
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_ignore_result=True,
            broker_connection_retry_on_startup=True,
            broker_pool_limit=asked.callers,
            worker_hijack_root_logger=False,
        )
        self.redis = redis.Redis.from_url(asked.store)
        # It has no asynchronous client: each caller has a thread.
        self.threads = concurrent.futures.ThreadPoolExecutor(asked.callers)
        self.ran = None

        @self.app.task(name="send_email")
        def send_email(to, body):
            self.ran(to)

        self.task = send_email

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        self.threads.shutdown()

    async def in_thread(self, call, *args):
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *args)

    async def enqueue(self, args):
        await self.in_thread(lambda: self.task.apply_async(kwargs=args))

    async def enqueue_batch(self, emails):
        # It has no call for many: one connection sends them one after the other.
        def send():
            with self.app.producer_pool.acquire(block=True) as producer:
                for args in emails:
                    self.task.apply_async(kwargs=args, producer=producer)

        await self.in_thread(send)

    async def start(self, ran):
        # Handlers run at the same time; what they count is counted by one thread.
        loop = asyncio.get_running_loop()
        self.ran = lambda to: loop.call_soon_threadsafe(ran, to)
        self.open = ExitStack()
        # Of its guide "Concurrency": threads. The program of the worker would run in another process, where nothing could be counted.
        worker = start_worker(
            self.app, pool="threads", concurrency=self.asked.slots, perform_ping_check=False, loglevel="error"
        )
        await asyncio.to_thread(self.open.enter_context, worker)

    async def stop(self):
        await asyncio.to_thread(self.open.close)

    async def unfinished(self):
        return self.redis.llen("celery") + self.redis.hlen("unacked")

    async def finished(self):
        return 0

    async def durability(self):
        shown = self.redis.config_get("append*")
        return f"appendonly={shown['appendonly']}, appendfsync={shown['appendfsync']} (server)"


harness.main(Celery)
