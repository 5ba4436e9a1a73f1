// What kafkajs's users do first: a topic, produce with a key, a group, a transaction, offsets.
const assert = require('node:assert');
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

const kafka = new Kafka({ clientId: 'interop', brokers: [process.env.BOOTSTRAP], logLevel: logLevel.ERROR });

async function consume(count, topic, groupId) {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = [];
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${seen.length} of ${count} records came`)), 30000);
    consumer.run({
      eachMessage: async ({ message }) => {
        seen.push(message);
        if (seen.length === count) { clearTimeout(late); resolve(); }
      },
    });
  });
  await consumer.disconnect();
  return seen;
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'orders', numPartitions: 3 }] });
  assert((await admin.listTopics()).includes('orders'));
  console.log('ok create and list topics');

  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  const messages = Array.from({ length: 100 }, (_, n) => ({ key: `k${n % 5}`, value: `v${n}`, headers: { n: `${n}` } }));
  await producer.send({ topic: 'orders', messages, compression: CompressionTypes.GZIP });
  await producer.disconnect();
  console.log('ok produce, idempotent, gzip');

  const seen = await consume(100, 'orders', 'readers');
  assert.deepStrictEqual(new Set(seen.map((m) => m.value.toString())), new Set(messages.map((m) => m.value)));
  assert(seen.every((m) => `v${m.headers.n}` === m.value.toString()));
  console.log('ok consume in a group, headers included');

  const offsets = await admin.fetchOffsets({ groupId: 'readers', topics: ['orders'] });
  assert.strictEqual(offsets[0].partitions.reduce((sum, p) => sum + Math.max(0, Number(p.offset)), 0), 100);
  const ends = await admin.fetchTopicOffsets('orders');
  assert.strictEqual(ends.reduce((sum, p) => sum + Number(p.high), 0), 100);
  console.log('ok committed offsets, end offsets');

  const sender = kafka.producer({ transactionalId: 'payments', maxInFlightRequests: 1, idempotent: true });
  await sender.connect();
  for (const [value, end] of [['yes', 'commit'], ['no', 'abort'], ['again', 'commit']]) {
    const transaction = await sender.transaction();
    await transaction.send({ topic: 'paid', messages: [{ value }] });
    await transaction[end]();
  }
  await sender.disconnect();
  const paid = await consume(2, 'paid', 'auditors');
  assert.deepStrictEqual(paid.map((m) => m.value.toString()), ['yes', 'again']);
  console.log('ok transactions, committed and aborted');

  await admin.deleteGroups(['readers']);
  await admin.deleteTopics({ topics: ['orders'] });
  await admin.disconnect();
  console.log('ok delete the group and the topic');
}

main().catch((error) => { console.error(error); console.log(`${error}`); process.exit(1); });
