// The programs that sarama's tutorials show: sync and async producers, a partition consumer, a group, an admin.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"
)

var brokers = []string{os.Getenv("BOOTSTRAP")}

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

func createTopic() {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	admin, err := sarama.NewClusterAdmin(brokers, config)
	must(err)
	must(admin.CreateTopic("orders", &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false))
	topics, err := admin.ListTopics()
	must(err)
	check(topics["orders"].NumPartitions == 3, "three partitions")
	must(admin.Close())
	fmt.Println("ok ClusterAdmin creates a topic")
}

func partitionConsumer() {
	consumer, err := sarama.NewConsumer(brokers, nil)
	must(err)
	newest, err := consumer.ConsumePartition("live", 0, sarama.OffsetNewest)
	must(err)
	producer, err := sarama.NewSyncProducer(brokers, syncConfig())
	must(err)
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: "live", Value: sarama.StringEncoder("now")})
	must(err)
	select {
	case message := <-newest.Messages():
		check(string(message.Value) == "now", "the record written after the start")
	case <-time.After(20 * time.Second):
		must(fmt.Errorf("nothing came from newest"))
	}
	must(newest.Close())
	must(consumer.Close())
	must(producer.Close())
	fmt.Println("ok partition consumer from newest")
}

func syncConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewRandomPartitioner
	config.Producer.Return.Successes = true
	return config
}

func syncProducer() {
	producer, err := sarama.NewSyncProducer(brokers, syncConfig())
	must(err)
	for n := 0; n < 100; n++ {
		message := &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder(fmt.Sprint(n))}
		_, offset, err := producer.SendMessage(message)
		must(err)
		check(offset >= 0, "an offset")
	}
	must(producer.Close())
	fmt.Println("ok sync producer: WaitForAll, random partitions, successes")
}

func asyncProducer() {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.Compression = sarama.CompressionSnappy
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewAsyncProducer(brokers, config)
	must(err)
	go func() {
		for n := 0; n < 400; n++ {
			producer.Input() <- &sarama.ProducerMessage{
				Topic: "orders", Key: sarama.StringEncoder(fmt.Sprint(n % 9)), Value: sarama.StringEncoder("async"),
			}
		}
		producer.AsyncClose()
	}()
	successes := 0
	for range producer.Successes() {
		successes++
	}
	for err := range producer.Errors() {
		must(err)
	}
	check(successes == 400, "400 successes")
	fmt.Println("ok async producer: input, successes and errors channels")
}

type handler struct {
	seen chan int
}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			h.seen <- 1
		case <-session.Context().Done():
			return nil
		}
	}
}

func group() {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	group, err := sarama.NewConsumerGroup(brokers, "readers", config)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	h := handler{seen: make(chan int, 500)}
	done := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{"orders"}, h); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for n := 0; n < 500; n++ {
		select {
		case <-h.seen:
		case <-ctx.Done():
			must(fmt.Errorf("%d of 500 records came", n))
		}
	}
	cancel()
	must(<-done)
	must(group.Close())
	client, err := sarama.NewClient(brokers, config)
	must(err)
	manager, err := sarama.NewOffsetManagerFromClient("readers", client)
	must(err)
	total := int64(0)
	for partition := int32(0); partition < 3; partition++ {
		managed, err := manager.ManagePartition("orders", partition)
		must(err)
		offset, _ := managed.NextOffset()
		total += offset
		must(managed.Close())
	}
	check(total == 500, "500 records committed")
	fmt.Println("ok consumer group: marked offsets, commit interval")
}

func transactions() {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Transaction.ID = "payments"
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer(brokers, config)
	must(err)
	for _, value := range []string{"yes", "no", "again"} {
		must(producer.BeginTxn())
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: "paid", Value: sarama.StringEncoder(value)})
		must(err)
		if value == "no" {
			must(producer.AbortTxn())
		} else {
			must(producer.CommitTxn())
		}
	}
	must(producer.Close())
	reading := sarama.NewConfig()
	reading.Version = sarama.V3_6_0_0
	reading.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(brokers, reading)
	must(err)
	paid, err := consumer.ConsumePartition("paid", 0, sarama.OffsetOldest)
	must(err)
	for _, wanted := range []string{"yes", "again"} {
		select {
		case message := <-paid.Messages():
			check(string(message.Value) == wanted, "committed records only")
		case <-time.After(20 * time.Second):
			must(fmt.Errorf("%s did not come", wanted))
		}
	}
	must(paid.Close())
	must(consumer.Close())
	fmt.Println("ok transactions, committed and aborted")
}

func main() {
	createTopic()
	syncProducer()
	asyncProducer()
	partitionConsumer()
	group()
	transactions()
}
