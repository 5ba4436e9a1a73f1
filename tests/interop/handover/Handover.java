import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.*;

/** The Kafka Streams side of the hand-over: the same topology as in tests/src/handover. Runs until its input ends. */
public class Handover {
  static void topology(StreamsBuilder builder, String app) {
    KStream<String, String> words = builder.stream(app + "-words");
    words.groupBy((key, word) -> word)
        .count(Materialized.as("counts"))
        .toStream()
        .to(app + "-totals", Produced.with(Serdes.String(), Serdes.Long()));
    KGroupedStream<String, String> byKey = words.groupByKey();
    byKey.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofMinutes(1)))
        .count(Materialized.as("per-window"))
        .toStream((window, count) -> window.key() + "@" + window.window().start())
        .to(app + "-windows", Produced.with(Serdes.String(), Serdes.Long()));
    byKey.windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(1), Duration.ofMinutes(1)))
        .count(Materialized.as("sessions"))
        .toStream((window, count) -> window.key() + "@" + window.window().start() + "-" + window.window().end())
        .to(app + "-sessions", Produced.with(Serdes.String(), Serdes.Long()));
    KTable<String, String> rows = builder.table(app + "-rows", Materialized.as("rows"));
    rows.groupBy((row, group) -> KeyValue.pair(group, row))
        .count(Materialized.as("groups"))
        .toStream()
        .to(app + "-groups", Produced.with(Serdes.String(), Serdes.Long()));
  }

  public static void main(String[] args) throws Exception {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[1]);
    p.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
    p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
    p.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    // It does not leave its group when it is stopped: its successor waits for this long.
    p.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000);
    p.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
    StreamsBuilder builder = new StreamsBuilder();
    topology(builder, args[3]);
    KafkaStreams streams = new KafkaStreams(builder.build(), p);
    streams.setUncaughtExceptionHandler(e -> {
      e.printStackTrace();
      System.exit(1);
      return null;
    });
    streams.start();
    System.in.readAllBytes();
    if (!streams.close(Duration.ofSeconds(60))) System.exit(2);
  }
}
