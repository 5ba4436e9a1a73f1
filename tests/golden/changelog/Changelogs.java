import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.function.Consumer;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.state.*;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Changelogs FOLDER: runs the topologies here with Kafka Streams 4.1.0 on the same few records and writes what is then in their internal
 * topics into FOLDER/NAME.txt, a line a record: topic, key, value and timestamp, bytes as hexadecimal digits. Of a changelog only the last
 * record of each key is written, in the order of the keys' bytes, and no deleted ones; of a repartition topic all are, in their order.
 */
public class Changelogs {
  static final Consumed<String, String> TEXT = Consumed.with(Serdes.String(), Serdes.String());
  static final HexFormat HEX = HexFormat.of();

  // Topic, key, value, timestamp: out of order once, deletes, two keys that are alike.
  static final String[][] RECORDS = {
    {"left", "a", "x1", "1000"}, {"right", "a", "y1", "1500"}, {"left", "b", "x2", "2000"}, {"left", "a", "x3", "61000"}, {"right", "c", "y2", "62000"},
    {"left", "a", "x4", "3000"}, {"left", "ab", "x5", "63000"}, {"right", "x5", "y3", "64000"}, {"left", "b", null, "65000"}, {"right", "a", "y4", "66000"},
    {"left", "c", "x1", "130000"}, {"left", "c", "x1", "130000"}, {"right", "x1", "y5", "131000"},
  };

  static <T> Materialized<String, T, KeyValueStore<Bytes, byte[]>> store(String name) { return Materialized.as(name); }

  public static void main(String[] args) throws Exception {
    Map<String, Consumer<StreamsBuilder>> all = new LinkedHashMap<>();
    all.put("count", b -> b.stream("left", TEXT).groupByKey().count(store("counts")));
    all.put("reduce_after_repartition", b -> b.stream("left", TEXT).groupBy((k, v) -> v, Grouped.with(Serdes.String(), Serdes.String()))
        .reduce((x, y) -> x + y, Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as("reduced").withKeySerde(Serdes.String()).withValueSerde(Serdes.String())));
    all.put("table", b -> b.table("left", TEXT, store("rows")));
    all.put("group_table", b -> b.table("left", TEXT, store("rows")).groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(Serdes.String(), Serdes.String()))
        .aggregate(() -> "", (k, v, a) -> a + v, (k, v, a) -> a.replaceFirst(v, ""), Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as("keys").withKeySerde(Serdes.String()).withValueSerde(Serdes.String())));
    all.put("tumbling", b -> b.stream("left", TEXT).groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(5))).count(Materialized.as("windows")));
    all.put("sliding", b -> b.stream("left", TEXT).groupByKey().windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(5))).count(Materialized.as("windows")));
    all.put("session", b -> b.stream("left", TEXT).groupByKey().windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(5))).count(Materialized.as("sessions")));
    all.put("join_streams", b -> b.stream("left", TEXT).outerJoin(b.stream("right", TEXT), (x, y) -> x + y,
        JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(5)), StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String()).withName("met").withStoreName("met")));
    all.put("join_foreign_key", b -> b.table("left", TEXT, store("orders")).join(b.table("right", TEXT, store("customers")), v -> v, (x, y) -> x + y,
        TableJoined.as("by-value"), Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as("joined").withKeySerde(Serdes.String()).withValueSerde(Serdes.String())));
    all.put("versioned", b -> b.table("left", TEXT, Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore("history", Duration.ofMinutes(5)))));
    all.put("suppress", b -> b.stream("left", TEXT).groupByKey().count(store("counts")).suppress(Suppressed.untilTimeLimit(Duration.ofMinutes(10), Suppressed.BufferConfig.unbounded()).withName("wait")));
    all.put("suppress_windows", b -> b.stream("left", TEXT).groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(5))).count(Materialized.as("windows"))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()).withName("wait")));
    all.put("processor_stores", b -> {
      b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("values"), Serdes.String(), Serdes.String()));
      b.addStateStore(Stores.windowStoreBuilder(Stores.persistentWindowStore("times", Duration.ofMinutes(10), Duration.ofSeconds(10), false), Serdes.String(), Serdes.String()));
      b.stream("left", TEXT).process(() -> new Processor<String, String, String, String>() {
        KeyValueStore<String, String> values;
        WindowStore<String, String> times;
        public void init(ProcessorContext<String, String> c) { values = c.getStateStore("values"); times = c.getStateStore("times"); }
        public void process(org.apache.kafka.streams.processor.api.Record<String, String> r) { values.put(r.key(), r.value()); times.put(r.key(), r.value(), r.timestamp()); }
      }, "values", "times");
    });
    for (var each : all.entrySet()) Files.writeString(Path.of(args[0], each.getKey() + ".txt"), run(each.getValue()));
  }

  static String run(Consumer<StreamsBuilder> compose) throws Exception {
    Properties p = new Properties();
    p.put("application.id", "app");
    p.put("bootstrap.servers", "none");
    p.put("statestore.cache.max.bytes", "0");
    p.put("state.dir", Files.createTempDirectory("changelogs").toString());
    p.put("default.key.serde", Serdes.StringSerde.class.getName());
    p.put("default.value.serde", Serdes.StringSerde.class.getName());
    StreamsBuilder b = new StreamsBuilder();
    compose.accept(b);
    StringBuilder out = new StringBuilder();
    try (TopologyTestDriver driver = new TopologyTestDriver(b.build(), p, java.time.Instant.EPOCH)) {
      for (String[] r : RECORDS) {
        String described = b.build().describe().toString();
        if (!described.contains("topics: [" + r[0] + "]")) continue;
        // A join drops a null value; only the changelog's count of records goes on, which nothing reads.
        if (r[2] == null && described.contains("topics: [right]") && !described.contains("subscription")) continue;
        driver.createInputTopic(r[0], new StringSerializer(), new StringSerializer()).pipeInput(new TestRecord<>(r[1], r[2], java.time.Instant.ofEpochMilli(Long.parseLong(r[3]))));
      }
      for (String topic : new TreeSet<>(driver.producedTopicNames())) {
        var records = driver.createOutputTopic(topic, new ByteArrayDeserializer(), new ByteArrayDeserializer()).readRecordsToList();
        if (topic.endsWith("-changelog")) {
          TreeMap<byte[], TestRecord<byte[], byte[]>> last = new TreeMap<>(Arrays::compareUnsigned);
          for (var r : records) if (r.value() == null) last.remove(r.key()); else last.put(r.key(), r);
          records = new ArrayList<>(last.values());
        }
        for (var r : records) out.append(topic).append(' ').append(hex(r.key())).append(' ').append(hex(r.value())).append(' ').append(r.timestamp()).append('\n');
      }
    }
    return out.toString();
  }

  static String hex(byte[] bytes) { return bytes == null ? "null" : bytes.length == 0 ? "empty" : HEX.formatHex(bytes); }
}
