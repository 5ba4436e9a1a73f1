import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.test.TestRecord;

/** Changelog FILE: writes every changelog record of Kafka Streams 4.1.0 for the topology here, in hexadecimal, into FILE. */
public class Changelog {
  static final Consumed<String, String> TEXT = Consumed.with(Serdes.String(), Serdes.String());

  static <S extends org.apache.kafka.streams.processor.StateStore> Materialized<String, Long, S> counts(String name) {
    return Materialized.<String, Long, S>as(name).withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()).withCachingDisabled();
  }

  public static void main(String[] args) throws Exception {
    StreamsBuilder b = new StreamsBuilder();
    KGroupedStream<String, String> grouped = b.stream("in", TEXT).groupByKey(Grouped.with(Serdes.String(), Serdes.String()));
    KTable<Windowed<String>, Long> windows = grouped.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(2))).count(counts("windows"));
    windows.suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()).withName("final")).toStream().to("final-out");
    grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(30))).count(counts("sliding"));
    grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(5), Duration.ofSeconds(30))).count(counts("sessions"));
    b.table("rows", TEXT, Materialized.<String, String, org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("rows").withKeySerde(Serdes.String()).withValueSerde(Serdes.String()).withCachingDisabled())
        .suppress(Suppressed.<String>untilTimeLimit(Duration.ofSeconds(20), Suppressed.BufferConfig.unbounded()).withName("calm")).toStream().to("calm-out");
    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, "app");
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    StringBuilder text = new StringBuilder();
    try (TopologyTestDriver driver = new TopologyTestDriver(b.build(), config, Instant.EPOCH)) {
      step(driver, text, "in", "a", "1", 1_000, null);
      step(driver, text, "in", "b", "2", 3_000, "h");
      step(driver, text, "in", "a", "3", 4_000, null);
      step(driver, text, "in", "a", "4", 11_500, null);
      step(driver, text, "in", "a", "5", 8_000, "late");
      step(driver, text, "in", "b", "6", 23_000, null);
      step(driver, text, "rows", "k", "one", 1_000, null);
      step(driver, text, "rows", "k", "two", 2_000, "h");
      step(driver, text, "rows", "l", null, 3_000, null);
      step(driver, text, "rows", "k", "three", 22_500, null);
      step(driver, text, "rows", "k", "four", 30_000, null);
      step(driver, text, "rows", "k", null, 60_000, null);
    }
    Files.writeString(Path.of(args[0]), text);
  }

  static void step(TopologyTestDriver driver, StringBuilder text, String topic, String key, String value, long time, String header) {
    RecordHeaders headers = new RecordHeaders();
    if (header != null) headers.add(header, "x".getBytes(StandardCharsets.UTF_8));
    driver.createInputTopic(topic, new StringSerializer(), new StringSerializer()).pipeInput(new TestRecord<>(key, value, headers, time));
    text.append("in ").append(topic).append(' ').append(key).append('=').append(value).append(" @").append(time).append(header == null ? "" : " " + header).append('\n');
    for (String name : new TreeSet<>(driver.producedTopicNames())) {
      if (!name.endsWith("-changelog")) continue;
      TestOutputTopic<byte[], byte[]> log = driver.createOutputTopic(name, new ByteArrayDeserializer(), new ByteArrayDeserializer());
      while (!log.isEmpty()) {
        TestRecord<byte[], byte[]> record = log.readRecord();
        text.append("  ").append(name).append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
        // The buffers of suppressions leave the time to the producer.
        if (!name.contains("-store-")) text.append(" @").append(record.timestamp());
        for (Header h : record.headers()) text.append(' ').append(h.key()).append('=').append(hex(h.value()));
        text.append('\n');
      }
    }
  }

  static String hex(byte[] bytes) { return bytes == null ? "null" : HexFormat.of().formatHex(bytes); }
}
