"""What aiokafka's users do first: async produce, a group with commits, a transaction."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

BOOTSTRAP = os.environ["BOOTSTRAP"]


async def main():
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True)
    await producer.start()
    for n in range(200):
        await producer.send("numbers", b"%d" % n)
    await producer.flush()
    await producer.stop()
    print("ok idempotent produce")

    consumer = AIOKafkaConsumer(
        "numbers", bootstrap_servers=BOOTSTRAP, group_id="sum", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    seen = []
    while len(seen) < 200:
        batch = await asyncio.wait_for(consumer.getmany(timeout_ms=500), 20)
        seen += [int(record.value) for records in batch.values() for record in records]
    assert sorted(seen) == list(range(200))
    await consumer.commit()
    await consumer.stop()
    print("ok consume in a group and commit")

    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id="payments")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait("paid", b"yes")
    try:
        async with producer.transaction():
            await producer.send_and_wait("paid", b"no")
            raise ValueError("abort")
    except ValueError:
        pass
    async with producer.transaction():
        await producer.send_and_wait("paid", b"again")
    await producer.stop()
    consumer = AIOKafkaConsumer(
        "paid",
        bootstrap_servers=BOOTSTRAP,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    values = [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(2)]
    await consumer.stop()
    assert values == [b"yes", b"again"], values
    print("ok transactions, committed and aborted")


asyncio.run(main())
