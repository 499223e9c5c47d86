//go:build unix

package workers_test

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// fill publishes n events.
func (b *bus) fill(n int) {
	b.t.Helper()
	data := encode(b.t, newEvent("customer"))
	for sent := range n {
		if _, err := b.api.PublishAsync(events.Subject("identity.created"), data, jetstream.WithMsgID(strconv.Itoa(sent))); err != nil {
			b.t.Fatal(err)
		}
		if sent%1000 == 999 {
			<-b.api.PublishAsyncComplete()
		}
	}
	<-b.api.PublishAsyncComplete()
}

// byKit handles n events with a worker.
func (b *bus) byKit(name string, n int, options ...workers.Option) {
	b.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	handled := make(chan struct{}, n)
	w := workers.New(name, append([]workers.Option{workers.WithConn(b.worker(name)), workers.Logger(discard)}, options...)...)
	workers.On(w, func(context.Context, created) error { handled <- struct{}{}; return nil })
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for range n {
		<-handled
	}
	end()
	if err := <-ended; err != nil {
		b.t.Fatal(err)
	}
}

// byHand handles n events as a program without the kit would: as many at the
// same time, nothing for what fails.
func (b *bus) byHand(name string, n, concurrency int, ack func(jetstream.Msg) error) {
	b.t.Helper()
	js, err := jetstream.New(b.worker(name))
	if err != nil {
		b.t.Fatal(err)
	}
	consumer, err := js.Consumer(context.Background(), events.Stream, name)
	if err != nil {
		b.t.Fatal(err)
	}
	var all sync.WaitGroup
	for taken := 0; taken < n; {
		batch, err := consumer.Fetch(min(concurrency, n-taken), jetstream.FetchMaxWait(time.Second))
		if err != nil {
			b.t.Fatal(err)
		}
		for m := range batch.Messages() {
			taken++
			all.Go(func() {
				e, err := events.Decode(m.Data())
				var data events.IdentityCreated
				if err == nil {
					err = json.Unmarshal(e.Data, &data)
				}
				if err == nil {
					err = ack(m)
				}
				if err != nil {
					b.t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func doubleAck(m jetstream.Msg) error { return m.DoubleAck(context.Background()) }

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAgainstHand compares the CPU of the kit with that of the same fetch,
// decode and double ack by hand; the server is another process. One op is one
// event handled by each.
func BenchmarkAgainstHand(b *testing.B) {
	const concurrency, rounds = 16, 4
	bus := newBusProcess(b)
	var hand, kit time.Duration
	each := max(b.N/rounds, 1)
	for round := range rounds {
		for _, name := range []string{"hand", "kit"} {
			bus.durable(name+strconv.Itoa(round), time.Minute)
		}
	}
	bus.fill(each)
	b.ResetTimer()
	for round := range rounds {
		before := cpu(b)
		bus.byHand("hand"+strconv.Itoa(round), each, concurrency, doubleAck)
		between := cpu(b)
		bus.byKit("kit"+strconv.Itoa(round), each, workers.Concurrency(concurrency), workers.DoubleAck())
		hand += between - before
		kit += cpu(b) - between
	}
	b.StopTimer()
	b.ReportMetric(float64(hand.Nanoseconds())/float64(each*rounds), "hand-cpu-ns/event")
	b.ReportMetric(float64(kit.Nanoseconds())/float64(each*rounds), "kit-cpu-ns/event")
	b.ReportMetric(kit.Seconds()/hand.Seconds(), "kit/hand")
}

// BenchmarkBacklog takes a backlog that waits, beside the same by hand; one op
// is one event.
func BenchmarkBacklog(b *testing.B) {
	bus := newBusProcess(b)
	bus.durable("w", time.Minute)
	bus.durable("hand", time.Minute)
	bus.fill(b.N)
	began := time.Now()
	bus.byHand("hand", b.N, 16, jetstream.Msg.Ack)
	hand := time.Since(began)
	debug.FreeOSMemory()
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchMemory(stop, peak)
	b.ResetTimer()
	bus.byKit("w", b.N, workers.Concurrency(16))
	b.StopTimer()
	close(stop)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.N)/hand.Seconds(), "hand-events/s")
	b.ReportMetric(float64(<-peak)/(1<<20), "peak-MiB")
}

// watchMemory gives the most that the process has had from the system.
func watchMemory(stop <-chan struct{}, peak chan<- uint64) {
	var most uint64
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.Sys-m.HeapReleased)
		select {
		case <-stop:
			peak <- most
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// BenchmarkLatency takes the time from a publish to the handler.
func BenchmarkLatency(b *testing.B) {
	bus := newBus(b)
	bus.durable("w", time.Minute)
	data := encode(b, newEvent("customer"))
	ctx, end := context.WithCancel(b.Context())
	handled := make(chan struct{})
	w := workers.New("w", workers.WithConn(bus.hooks), workers.Logger(discard))
	workers.On(w, func(context.Context, created) error { handled <- struct{}{}; return nil })
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for b.Loop() {
		bus.publishRaw(string(data))
		<-handled
	}
	end()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
