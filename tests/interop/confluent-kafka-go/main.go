// What confluent-kafka-go's tutorials show: a consumer started before its topic, a regex subscription, delivery events.
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// As the tutorials say it: `localhost`, where the broker stands at Kafka's port.
var bootstrap = os.Getenv("LOCALHOST")

func must(err error) {
	if err != nil {
		fmt.Println(err)
		log.Fatal(err)
	}
}

func consumer(group string, topics ...string) *kafka.Consumer {
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
		"topic.metadata.refresh.interval.ms": 500, "allow.auto.create.topics": true,
	})
	must(err)
	must(c.SubscribeTopics(topics, nil))
	return c
}

func read(c *kafka.Consumer, count int) {
	deadline := time.Now().Add(60 * time.Second)
	for seen := 0; seen < count; {
		message, err := c.ReadMessage(time.Second)
		if err == nil {
			seen++
			continue
		}
		if code := err.(kafka.Error).Code(); code != kafka.ErrTimedOut && code != kafka.ErrUnknownTopicOrPart {
			must(err)
		}
		if time.Now().After(deadline) {
			must(fmt.Errorf("%d of %d messages came; the last is %v", seen, count, message))
		}
	}
}

func main() {
	early := consumer("early", "myTopic")
	_, err := early.ReadMessage(500 * time.Millisecond)
	if err == nil {
		must(fmt.Errorf("a message from a topic that does not exist"))
	}

	producer, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": bootstrap})
	must(err)
	delivered := make(chan error, 100)
	go func() {
		for event := range producer.Events() {
			if message, ok := event.(*kafka.Message); ok {
				delivered <- message.TopicPartition.Error
			}
		}
	}()
	topic := "myTopic"
	for n := 0; n < 100; n++ {
		must(producer.Produce(&kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny}, Value: fmt.Append(nil, n),
		}, nil))
	}
	if left := producer.Flush(15_000); left != 0 {
		must(fmt.Errorf("%d messages were not flushed", left))
	}
	for n := 0; n < 100; n++ {
		must(<-delivered)
	}
	producer.Close()
	fmt.Println("ok bare localhost: produce, delivery events, flush")

	read(early, 100)
	must(early.Close())
	fmt.Println("ok a consumer started before its topic existed")

	regex := consumer("regex", "myTopic", "^aRegex.*[Tt]opic", "^my.*")
	read(regex, 100)
	must(regex.Close())
	fmt.Println("ok a regex subscription")
}
