import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.KeyValueStore;

/** Describe FOLDER: writes what Kafka Streams 4.1.0 says of each topology here into FOLDER/NAME.txt. */
public class Describe {
  static final Consumed<String, String> TEXT = Consumed.with(Serdes.String(), Serdes.String());

  static <T> Materialized<String, T, KeyValueStore<Bytes, byte[]>> store(String name) { return Materialized.as(name); }

  public static void main(String[] args) throws Exception {
    Map<String, Consumer<StreamsBuilder>> all = new LinkedHashMap<>();
    all.put("stateless", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.filter((k, v) -> true).filterNot((k, v) -> false).mapValues(v -> v).peek((k, v) -> {}).to("out");
    });
    all.put("map_and_flat_map", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.map(KeyValue::pair).flatMap((k, v) -> java.util.List.of(KeyValue.pair(k, v))).flatMapValues(v -> java.util.List.of(v)).selectKey((k, v) -> v).foreach((k, v) -> {});
    });
    all.put("two_topics_merged", b -> {
      KStream<String, String> s = b.stream(java.util.List.of("a", "b"), TEXT);
      KStream<String, String> t = b.stream("c", TEXT);
      s.merge(t).to("out");
    });
    all.put("split", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      Map<String, KStream<String, String>> parts = s.split(Named.as("split-")).branch((k, v) -> true, Branched.as("first")).branch((k, v) -> false, Branched.as("second")).defaultBranch(Branched.as("rest"));
      parts.get("split-first").to("one");
      parts.get("split-second").to("two");
      parts.get("split-rest").to("three");
    });
    all.put("split_unnamed", b -> {
      Map<String, KStream<String, String>> parts = b.stream("in", TEXT).split().branch((k, v) -> true).branch((k, v) -> false).defaultBranch();
      int i = 0;
      for (String k : new java.util.TreeSet<>(parts.keySet())) parts.get(k).to("out" + i++);
    });
    all.put("one_topic_twice", b -> {
      b.stream("in", TEXT).mapValues(v -> v).to("x");
      b.stream("in", TEXT).filter((k, v) -> true).to("y");
    });
    all.put("sink_chosen_per_record", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.to((k, v, context) -> v);
    });
    all.put("count_by_key", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().count(store("counts")).toStream().to("out");
    });
    all.put("count_unnamed", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().count().toStream().to("out");
    });
    all.put("word_count", b -> {
      KStream<String, String> s = b.stream("sentences", TEXT);
      s.flatMapValues(v -> java.util.List.of(v.split(" "))).groupBy((k, v) -> v).count(store("words")).toStream().to("counts");
    });
    all.put("group_after_select_key_unnamed", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.selectKey((k, v) -> v).groupByKey().reduce((x, y) -> y).toStream().to("out");
    });
    all.put("aggregate", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().aggregate(() -> "", (k, v, a) -> a + v, store("joined")).toStream().to("out");
    });
    all.put("repartition", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.repartition().to("out");
    });
    all.put("repartition_named", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.selectKey((k, v) -> v).repartition(Repartitioned.as("by-value")).to("out");
    });
    all.put("to_table", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.toTable(store("latest")).toStream().to("out");
    });
    all.put("to_table_after_map", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.map(KeyValue::pair).toTable(store("latest")).toStream().to("out");
    });
    all.put("table", b -> {
      KTable<String, String> t = b.table("in", TEXT, store("rows"));
      t.toStream().to("out");
    });
    all.put("table_unnamed", b -> {
      KTable<String, String> t = b.table("in", TEXT);
      t.filter((k, v) -> true).mapValues(v -> v).toStream().to("out");
    });
    all.put("table_filter_named", b -> {
      KTable<String, String> t = b.table("in", TEXT, store("rows"));
      t.filter((k, v) -> true, store("kept")).filterNot((k, v) -> false).mapValues(v -> v, store("mapped")).toStream().to("out");
    });
    all.put("table_grouped", b -> {
      KTable<String, String> t = b.table("in", TEXT, store("rows"));
      t.groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(Serdes.String(), Serdes.String())).count(store("counts")).toStream().to("out");
    });
    all.put("table_grouped_unnamed", b -> {
      KTable<String, String> t = b.table("in", TEXT);
      t.groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(Serdes.String(), Serdes.String())).aggregate(() -> "", (k, v, a) -> a + v, (k, v, a) -> a).toStream().to("out");
    });
    all.put("stream_table_join", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      KTable<String, String> t = b.table("profiles", TEXT);
      s.join(t, (l, r) -> l + r).to("out");
    });
    all.put("stream_table_left_join_after_select_key", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      KTable<String, String> t = b.table("profiles", TEXT, store("profiles-store"));
      s.selectKey((k, v) -> v).leftJoin(t, (l, r) -> l + r).to("out");
    });
    all.put("two_subtopologies", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.mapValues(v -> v).to("out");
      KStream<String, String> t = b.stream("other", TEXT);
      t.groupByKey().count(store("counts")).toStream().to("counts-out");
    });
    all.put("windowed_count", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10))).count(Materialized.as("windows")).toStream((w, v) -> w.key()).to("out");
    });
    all.put("windowed_reduce_unnamed", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10)).advanceBy(Duration.ofSeconds(5))).reduce((x, y) -> y).toStream((w, v) -> w.key()).to("out");
    });
    all.put("sliding_count_after_select_key", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.selectKey((k, v) -> v).groupByKey().windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(10))).count(Materialized.as("windows")).toStream((w, v) -> w.key()).to("out");
    });
    all.put("session_count_unnamed", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofSeconds(10))).count().toStream((w, v) -> w.key()).to("out");
    });
    all.put("session_reduce_on_close", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofSeconds(10))).emitStrategy(EmitStrategy.onWindowClose()).reduce((x, y) -> y, Materialized.as("sessions")).toStream((w, v) -> w.key()).to("out");
    });
    all.put("windowed_suppress", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10))).count(Materialized.as("windows")).suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())).filter((w, v) -> true).toStream((w, v) -> w.key()).to("out");
    });
    all.put("table_suppress_named", b -> {
      KTable<String, String> t = b.table("in", TEXT);
      t.suppress(Suppressed.<String>untilTimeLimit(Duration.ofSeconds(1), Suppressed.BufferConfig.maxRecords(5)).withName("calm")).toStream().to("out");
    });
    all.put("cogroup", b -> {
      KGroupedStream<String, String> one = b.stream("one", TEXT).groupByKey();
      KGroupedStream<String, String> two = b.stream("two", TEXT).groupByKey();
      one.<String>cogroup((k, v, a) -> a + v).cogroup(two, (k, v, a) -> v).aggregate(() -> "", store("both")).toStream().to("out");
    });
    all.put("cogroup_after_select_key_unnamed", b -> {
      KGroupedStream<String, String> one = b.stream("one", TEXT).selectKey((k, v) -> v).groupByKey();
      KGroupedStream<String, String> two = b.stream("two", TEXT).groupByKey();
      one.<String>cogroup((k, v, a) -> a + v).cogroup(two, (k, v, a) -> v).aggregate(() -> "").toStream().to("out");
    });
    all.put("cogroup_windowed", b -> {
      KGroupedStream<String, String> one = b.stream("one", TEXT).groupByKey();
      KGroupedStream<String, String> two = b.stream("two", TEXT).groupByKey();
      one.<String>cogroup((k, v, a) -> a + v).cogroup(two, (k, v, a) -> v).windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10))).aggregate(() -> "", Materialized.as("both")).toStream((w, v) -> w.key()).to("out");
    });
    all.put("cogroup_sessions_unnamed", b -> {
      KGroupedStream<String, String> one = b.stream("one", TEXT).groupByKey();
      KGroupedStream<String, String> two = b.stream("two", TEXT).groupByKey();
      one.<String>cogroup((k, v, a) -> a + v).cogroup(two, (k, v, a) -> v).windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofSeconds(10))).aggregate(() -> "", (k, x, y) -> x + y).toStream((w, v) -> w.key()).to("out");
    });
    all.put("stream_stream_join", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.join(t, (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5))).to("out");
    });
    all.put("table_table_join", b -> {
      KTable<String, String> s = b.table("left", TEXT);
      KTable<String, String> t = b.table("right", TEXT);
      s.join(t, (l, r) -> l + r, store("joined")).toStream().to("out");
    });
    all.put("stream_stream_left_join", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.leftJoin(t, (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5))).to("out");
    });
    all.put("stream_stream_outer_join", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.outerJoin(t, (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5))).to("out");
    });
    all.put("stream_stream_outer_join_named", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.outerJoin(t, (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5)), StreamJoined.<String, String, String>as("kept").withName("met")).to("out");
    });
    all.put("stream_stream_left_join_named", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.selectKey((k, v) -> v).leftJoin(t.selectKey((k, v) -> v), (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5)), StreamJoined.<String, String, String>as("kept").withName("met")).to("out");
    });
    all.put("stream_stream_join_after_select_key", b -> {
      KStream<String, String> s = b.stream("left", TEXT);
      KStream<String, String> t = b.stream("right", TEXT);
      s.selectKey((k, v) -> v).join(t.map(KeyValue::pair), (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5))).to("out");
    });
    all.put("stream_self_join", b -> {
      KStream<String, String> s = b.stream("in", TEXT);
      s.join(s, (l, r) -> l + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5))).to("out");
    });
    all.put("table_table_join_unnamed", b -> {
      KTable<String, String> s = b.table("left", TEXT);
      KTable<String, String> t = b.table("right", TEXT, store("kept"));
      s.join(t, (l, r) -> l + r).toStream().to("out");
    });
    all.put("table_table_left_join", b -> {
      KTable<String, String> s = b.table("left", TEXT);
      KTable<String, String> t = b.table("right", TEXT);
      s.leftJoin(t, (l, r) -> l + r).filter((k, v) -> true).toStream().to("out");
    });
    all.put("table_table_outer_join", b -> {
      KTable<String, String> s = b.table("left", TEXT);
      KTable<String, String> t = b.table("right", TEXT);
      KTable<String, String> u = b.table("third", TEXT);
      s.outerJoin(t, (l, r) -> l + r).join(u, (l, r) -> l + r).toStream().to("out");
    });
    all.put("foreign_key_join", b -> {
      KTable<String, String> s = b.table("orders", TEXT);
      KTable<String, String> t = b.table("customers", TEXT);
      s.join(t, v -> v, (l, r) -> l + r).toStream().to("out");
    });
    all.put("foreign_key_left_join_stored", b -> {
      KTable<String, String> s = b.table("orders", TEXT, store("orders-kept"));
      KTable<String, String> t = b.table("customers", TEXT, store("customers-kept"));
      s.leftJoin(t, v -> v, (l, r) -> l + r, store("joined")).toStream().to("out");
    });
    all.put("foreign_key_join_named", b -> {
      KTable<String, String> s = b.table("orders", TEXT);
      KTable<String, String> t = b.table("customers", TEXT);
      s.join(t, v -> v, (l, r) -> l + r, TableJoined.as("by-customer"), store("joined")).toStream().to("out");
    });
    all.put("stream_global_join", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      GlobalKTable<String, String> t = b.globalTable("cities", TEXT, store("cities-kept"));
      s.join(t, (k, v) -> v, (l, r) -> l + r).to("out");
    });
    all.put("stream_global_left_join_unnamed", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      GlobalKTable<String, String> t = b.globalTable("cities", TEXT);
      GlobalKTable<String, String> u = b.globalTable("lands", TEXT);
      s.leftJoin(t, (k, v) -> v, (l, r) -> l + r).join(u, (k, v) -> v, (l, r) -> l + r).to("out");
      b.stream("other", TEXT).to("out2");
    });
    all.put("table_versioned", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      KTable<String, String> t = b.table("prices", TEXT, Materialized.as(org.apache.kafka.streams.state.Stores.persistentVersionedKeyValueStore("prices-kept", Duration.ofMinutes(5))));
      s.join(t, (l, r) -> l + r).to("out");
    });
    all.put("stream_table_join_with_grace", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      KTable<String, String> t = b.table("prices", TEXT, Materialized.as(org.apache.kafka.streams.state.Stores.persistentVersionedKeyValueStore("prices-kept", Duration.ofMinutes(5))));
      s.join(t, (l, r) -> l + r, Joined.<String, String, String>with(Serdes.String(), Serdes.String(), Serdes.String(), "timely", Duration.ofSeconds(5))).to("out");
    });
    all.put("stream_table_left_join_with_grace_unnamed", b -> {
      KStream<String, String> s = b.stream("clicks", TEXT);
      KTable<String, String> t = b.table("prices", TEXT, Materialized.as(org.apache.kafka.streams.state.Stores.persistentVersionedKeyValueStore("prices-kept", Duration.ofMinutes(5))));
      s.selectKey((k, v) -> v).leftJoin(t, (l, r) -> l + r, Joined.<String, String, String>with(Serdes.String(), Serdes.String(), Serdes.String()).withGracePeriod(Duration.ofSeconds(5))).to("out");
    });
    for (Map.Entry<String, Consumer<StreamsBuilder>> entry : all.entrySet()) {
      StreamsBuilder builder = new StreamsBuilder();
      entry.getValue().accept(builder);
      Files.writeString(Path.of(args[0], entry.getKey() + ".txt"), builder.build().describe().toString());
    }
  }
}
