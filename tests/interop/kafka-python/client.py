"""What kafka-python's users do first: topics, records with keys and headers, groups, offsets, seeks."""

import os

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions, NewTopic

BOOTSTRAP = os.environ["BOOTSTRAP"]

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
admin.create_topics([NewTopic("orders", num_partitions=3, replication_factor=1)])
assert "orders" in admin.list_topics()
admin.create_partitions({"orders": NewPartitions(total_count=4)})
print("ok create a topic, add a partition")

producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", compression_type="gzip")
sent = [
    producer.send("orders", key=b"k%d" % (n % 50), value=b"v%d" % n, headers=[("n", b"%d" % n)]) for n in range(500)
]
producer.flush()
assert sorted({s.get(10).partition for s in sent}) == [0, 1, 2, 3]
print("ok produce 500 records with acks=all and gzip")

consumer = KafkaConsumer(
    "orders",
    bootstrap_servers=BOOTSTRAP,
    group_id="readers",
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    consumer_timeout_ms=20_000,
)
seen = set()
for record in consumer:
    assert record.headers == [("n", record.value[1:])]
    seen.add(record.value)
    if len(seen) == 500:
        break
assert len(seen) == 500
consumer.commit()
consumer.close()
print("ok consume them in a group, headers included, and commit")

committed = admin.list_group_offsets({"readers": None})["readers"]
assert sum(offset.offset for offset in committed.values()) == 500, committed
print("ok the group's offsets")

reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, consumer_timeout_ms=10_000)
partition = TopicPartition("orders", 0)
reader.assign([partition])
end = reader.end_offsets([partition])[partition]
reader.seek(partition, end - 1)
assert next(reader).offset == end - 1
assert reader.offsets_for_times({partition: 0})[partition].offset == 0
reader.close()
print("ok seek to an offset, look up by time")

admin.delete_groups(["readers"])
admin.delete_topics(["orders"])
assert "orders" not in admin.list_topics()
print("ok delete the group and the topic")
