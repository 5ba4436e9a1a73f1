import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.serialization.*;

/** Groups of two and four members on four partitions, a fifth member idle, one leaving; patterns; transactions with offsets; fencing. */
public class Client {
  static String bootstrap;

  static Properties properties(Object... pairs) {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("key.serializer", StringSerializer.class.getName());
    p.put("value.serializer", StringSerializer.class.getName());
    p.put("key.deserializer", StringDeserializer.class.getName());
    p.put("value.deserializer", StringDeserializer.class.getName());
    p.put("auto.offset.reset", "earliest");
    for (int i = 0; i < pairs.length; i += 2) p.put(pairs[i], pairs[i + 1].toString());
    return p;
  }

  static void check(boolean holds, String what) {
    if (!holds) { System.out.println("wrong: " + what); System.exit(1); }
  }

  /** Polls all members in turn until the sizes of their assignments are as wanted. */
  static void settle(List<KafkaConsumer<String, String>> members, Integer... wanted) {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    List<Integer> sizes = List.of();
    while (System.nanoTime() < end) {
      for (var m : members) m.poll(Duration.ofMillis(50));
      sizes = members.stream().map(m -> m.assignment().size()).sorted(Comparator.reverseOrder()).toList();
      if (sizes.equals(List.of(wanted))) return;
    }
    check(false, "assignments " + sizes + " instead of " + List.of(wanted));
  }

  static void groups(String protocol) {
    List<KafkaConsumer<String, String>> two = new ArrayList<>(), four = new ArrayList<>();
    for (int i = 0; i < 2; i++) two.add(member("two-" + protocol, protocol));
    for (int i = 0; i < 4; i++) four.add(member("four-" + protocol, protocol));
    settle(two, 2, 2);
    settle(four, 1, 1, 1, 1);
    four.add(member("four-" + protocol, protocol));
    settle(four, 1, 1, 1, 1, 0);
    var leaving = four.stream().filter(m -> m.assignment().size() == 1).findFirst().get();
    four.remove(leaving);
    leaving.close();
    settle(four, 1, 1, 1, 1);
    two.forEach(KafkaConsumer::close);
    four.forEach(KafkaConsumer::close);
    System.out.println("ok " + protocol + " groups of two and four members, a fifth idle, one leaving");
  }

  static KafkaConsumer<String, String> member(String group, String protocol) {
    Properties p = properties("group.id", group, "group.protocol", protocol);
    if (protocol.equals("classic")) p.put("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
    KafkaConsumer<String, String> c = new KafkaConsumer<>(p);
    c.subscribe(List.of("four"));
    return c;
  }

  /** KIP-848: a pattern of re2's kind, which the broker matches, and one of Java's, which the client does. */
  static void patterns() throws Exception {
    pattern("broker", c -> c.subscribe(new SubscriptionPattern("broker-(eu|us)")));
    pattern("client", c -> c.subscribe(Pattern.compile("client-(eu|us)")));
  }

  static void pattern(String by, java.util.function.Consumer<KafkaConsumer<String, String>> subscribe) throws Exception {
    // A client that matches looks for new topics as often as it asks for metadata.
    var reader = new KafkaConsumer<String, String>(
        properties("group.id", "patterns-" + by, "group.protocol", "consumer", "metadata.max.age.ms", 500));
    subscribe.accept(reader);
    Set<String> wanted = Set.of(by + "-eu", by + "-us"), seen = new TreeSet<>();
    try (Admin admin = Admin.create(properties()); var producer = new KafkaProducer<String, String>(properties())) {
      // One topic after the other, while the member is there.
      for (String name : List.of(by + "-eu", by + "-us", by + "-us-old")) {
        admin.createTopics(List.of(new NewTopic(name, 2, (short) 1))).all().get();
        producer.send(new ProducerRecord<>(name, "k", name)).get();
        reader.poll(Duration.ofMillis(50)).forEach(r -> seen.add(r.value()));
      }
    }
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while ((seen.size() < 2 || reader.assignment().size() < 4) && System.nanoTime() < end)
      reader.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value()));
    check(seen.equals(wanted), "the pattern saw " + seen);
    Set<String> assigned = new TreeSet<>();
    reader.assignment().forEach(p -> assigned.add(p.topic()));
    check(assigned.equals(wanted) && reader.assignment().size() == 4, "the pattern got " + reader.assignment());
    try (Admin admin = Admin.create(properties())) {
      admin.deleteTopics(List.of(by + "-us")).all().get();
    }
    while (reader.assignment().size() > 2 && System.nanoTime() < end) reader.poll(Duration.ofMillis(100));
    check(reader.assignment().size() == 2, "the pattern kept " + reader.assignment());
    reader.close();
    System.out.println("ok a pattern that the " + by + " matches under group.protocol=consumer: topics come and go");
  }

  static void transactions() throws Exception {
    try (var plain = new KafkaProducer<String, String>(properties())) {
      for (int i = 0; i < 10; i++) plain.send(new ProducerRecord<>("in", "k", "" + i)).get();
    }
    var consumer = new KafkaConsumer<String, String>(properties("group.id", "mover", "enable.auto.commit", false));
    consumer.subscribe(List.of("in"));
    var producer = new KafkaProducer<String, String>(properties("transactional.id", "ledger"));
    producer.initTransactions();
    int moved = 0;
    while (moved < 10) {
      var records = consumer.poll(Duration.ofMillis(200));
      if (records.isEmpty()) continue;
      producer.beginTransaction();
      Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
      for (var r : records) {
        producer.send(new ProducerRecord<>("out", r.key(), r.value()));
        offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        moved++;
      }
      producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
      producer.commitTransaction();
    }
    producer.beginTransaction();
    producer.send(new ProducerRecord<>("out", "k", "never"));
    producer.flush();
    producer.abortTransaction();
    var committed = consumer.committed(Set.of(new TopicPartition("in", 0)));
    check(committed.get(new TopicPartition("in", 0)).offset() == 10, "offsets committed with the transaction");
    consumer.close();

    var fencing = new KafkaProducer<String, String>(properties("transactional.id", "ledger"));
    fencing.initTransactions();
    try {
      producer.beginTransaction();
      producer.send(new ProducerRecord<>("out", "k", "zombie"));
      producer.commitTransaction();
      check(false, "a fenced producer committed");
    } catch (ProducerFencedException | InvalidProducerEpochException expected) {
      producer.close();
    }
    fencing.beginTransaction();
    fencing.send(new ProducerRecord<>("out", "k", "last"));
    fencing.commitTransaction();
    fencing.close();

    var reader = new KafkaConsumer<String, String>(properties("group.id", "r", "isolation.level", "read_committed"));
    reader.subscribe(List.of("out"));
    List<String> values = new ArrayList<>();
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (values.size() < 11 && System.nanoTime() < end) reader.poll(Duration.ofMillis(200)).forEach(r -> values.add(r.value()));
    reader.close();
    check(values.equals(List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "last")), "read_committed saw " + values);
    System.out.println("ok transactions with offsets, an abort, a fenced zombie, read_committed");
  }

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    try (Admin admin = Admin.create(properties())) {
      admin.createTopics(List.of(new NewTopic("four", 4, (short) 1), new NewTopic("in", 1, (short) 1), new NewTopic("out", 1, (short) 1))).all().get();
    }
    groups("classic");
    groups("consumer");
    patterns();
    transactions();
  }
}
