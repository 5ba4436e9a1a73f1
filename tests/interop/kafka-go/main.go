// What segmentio's kafka-go users do first: a writer, a reader in a group, a reader of one partition.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func must(err error) {
	if err != nil {
		fmt.Println(err)
		log.Fatal(err)
	}
}

func check(holds bool, what string) {
	if !holds {
		must(fmt.Errorf("wrong: %s", what))
	}
}

func main() {
	bootstrap := os.Getenv("BOOTSTRAP")
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()

	connection, err := kafka.Dial("tcp", bootstrap)
	must(err)
	must(connection.CreateTopics(kafka.TopicConfig{Topic: "orders", NumPartitions: 2, ReplicationFactor: 1}))
	partitions, err := connection.ReadPartitions("orders")
	must(err)
	check(len(partitions) == 2, "two partitions")
	fmt.Println("ok create a topic and read its partitions")

	writer := &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: "orders", RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4,
		Balancer: &kafka.Hash{}, BatchTimeout: 5 * time.Millisecond,
	}
	var messages []kafka.Message
	for n := 0; n < 500; n++ {
		messages = append(messages, kafka.Message{Key: fmt.Appendf(nil, "k%d", n%7), Value: fmt.Append(nil, n)})
	}
	must(writer.WriteMessages(ctx, messages...))
	must(writer.Close())
	fmt.Println("ok write 500 messages with lz4")

	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: "readers", Topic: "orders", StartOffset: kafka.FirstOffset,
		MaxWait: 100 * time.Millisecond,
	})
	for n := 0; n < 500; n++ {
		message, err := reader.FetchMessage(ctx)
		must(err)
		must(reader.CommitMessages(ctx, message))
	}
	must(reader.Close())
	client := &kafka.Client{Addr: kafka.TCP(bootstrap)}
	committed, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: "readers", Topics: map[string][]int{"orders": {0, 1}},
	})
	must(err)
	total := int64(0)
	for _, partition := range committed.Topics["orders"] {
		total += partition.CommittedOffset
	}
	check(total == 500, "500 messages committed")
	fmt.Println("ok read in a group, committing each")

	single := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: "orders", Partition: 0})
	must(single.SetOffset(3))
	message, err := single.ReadMessage(ctx)
	must(err)
	check(message.Offset == 3, "the offset asked for")
	must(single.SetOffsetAt(ctx, time.Now().Add(-time.Hour)))
	message, err = single.ReadMessage(ctx)
	must(err)
	check(message.Offset == 0, "the first record of the hour")
	must(single.Close())
	fmt.Println("ok one partition: from an offset, from a time")

	must(connection.DeleteTopics("orders"))
	must(connection.Close())
	fmt.Println("ok delete the topic")
}
