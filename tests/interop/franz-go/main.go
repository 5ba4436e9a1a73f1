// What franz-go's users do first: produce, a group with commits, transactions, admin.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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

func client(options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(os.Getenv("BOOTSTRAP")))...)
	must(err)
	return c
}

func consume(ctx context.Context, c *kgo.Client, count int) (values []string) {
	for len(values) < count {
		fetches := c.PollFetches(ctx)
		for _, err := range fetches.Errors() {
			must(err.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()

	plain := client()
	admin := kadm.NewClient(plain)
	_, err := admin.CreateTopic(ctx, 3, 1, nil, "orders")
	must(err)
	topics, err := admin.ListTopics(ctx)
	must(err)
	check(len(topics["orders"].Partitions) == 3, "three partitions")
	fmt.Println("ok create and list topics")

	var records []*kgo.Record
	for n := 0; n < 1000; n++ {
		records = append(records, &kgo.Record{
			Topic: "orders", Key: fmt.Appendf(nil, "k%d", n%11), Value: fmt.Appendf(nil, "v%d", n),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, n)}},
		})
	}
	must(plain.ProduceSync(ctx, records...).FirstErr())
	fmt.Println("ok idempotent produce of 1,000 records")

	reader := client(kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("readers"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(len(consume(ctx, reader, 1000)) == 1000, "1,000 records")
	must(reader.CommitUncommittedOffsets(ctx))
	reader.Close()
	offsets, err := admin.FetchOffsets(ctx, "readers")
	must(err)
	total := int64(0)
	offsets.Each(func(o kadm.OffsetResponse) { total += o.At })
	check(total == 1000, "1,000 records committed")
	fmt.Println("ok consume in a group and commit")

	sender := client(kgo.TransactionalID("payments"), kgo.DefaultProduceTopic("paid"), kgo.AllowAutoTopicCreation())
	for _, value := range []string{"yes", "no", "again"} {
		must(sender.BeginTransaction())
		must(sender.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr())
		must(sender.EndTransaction(ctx, kgo.TransactionEndTry(value != "no")))
	}
	sender.Close()
	auditor := client(kgo.ConsumeTopics("paid"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	paid := consume(ctx, auditor, 2)
	check(len(paid) == 2 && paid[0] == "yes" && paid[1] == "again", "committed records only")
	auditor.Close()
	fmt.Println("ok transactions, committed and aborted")

	described, err := admin.DescribeTopicConfigs(ctx, "orders")
	must(err)
	check(len(described[0].Configs) > 10, "settings described")
	_, err = admin.DeleteGroups(ctx, "readers")
	must(err)
	_, err = admin.DeleteTopics(ctx, "orders")
	must(err)
	plain.Close()
	fmt.Println("ok describe settings, delete the group and the topic")
}
