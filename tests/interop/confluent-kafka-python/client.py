"""What confluent-kafka's users do first: delivery reports, groups, a regex subscription, transactions, admin."""

import os

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

BOOTSTRAP = os.environ["BOOTSTRAP"]


def consume(count, topics, **settings):
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": "g", "auto.offset.reset": "earliest", **settings}
    )
    consumer.subscribe(topics)
    values = []
    for _ in range(600):
        record = consumer.poll(0.1)
        if record is not None:
            assert record.error() is None, record.error()
            values.append(record.value())
        if len(values) == count:
            break
    consumer.close()
    assert len(values) == count, len(values)
    return values


admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
for future in admin.create_topics([NewTopic("logs.a", 2, 1), NewTopic("logs.b", 2, 1)]).values():
    future.result(20)
print("ok create topics")

reports = []
producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": "zstd"})
for n in range(300):
    producer.produce("logs.a" if n % 2 else "logs.b", b"%d" % n, on_delivery=lambda e, m: reports.append(e))
    producer.poll(0)
producer.flush(20)
assert reports == [None] * 300
print("ok delivery reports of 300 records")

assert len(consume(300, ["^logs[.].*"])) == 300
print("ok a regex subscription in a group")
assert len(consume(300, ["logs.a", "logs.b"], **{"group.id": "next", "group.protocol": "consumer"})) == 300
print("ok the consumer protocol (KIP-848)")

producer = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": "t"})
producer.init_transactions(20)
for value, end in [(b"one", "commit"), (b"two", "abort"), (b"three", "commit")]:
    producer.begin_transaction()
    producer.produce("ledger", value)
    producer.flush(20)
    getattr(producer, f"{end}_transaction")(20)
assert consume(2, ["ledger"], **{"group.id": "ledger", "isolation.level": "read_committed"}) == [b"one", b"three"]
print("ok transactions, committed and aborted")

resource = ConfigResource(ConfigResource.Type.TOPIC, "logs.a")
settings = admin.describe_configs([resource])[resource].result(20)
assert settings["cleanup.policy"].value == "delete"
groups = admin.list_consumer_groups().result(20)
assert {"g", "next", "ledger"} <= {group.group_id for group in groups.valid}
print("ok describe settings, list groups")

consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "x"})
low, high = consumer.get_watermark_offsets(TopicPartition("logs.a", 0), timeout=20)
assert low == 0 and high > 0
consumer.close()
for future in admin.delete_topics(["logs.a"]).values():
    future.result(20)
print("ok watermarks, delete a topic")
