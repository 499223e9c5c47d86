package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Instance is a running program, as it shows itself to discovery ($SRV). What a
// program does not say is zero.
type Instance struct {
	ID      string
	Version string
	Started time.Time
	// RoundTrip is the time from the question to its answer.
	RoundTrip time.Duration
	// Counts are what it says of its work since it started, by name. Those of a
	// [Service] are answered, refused, late, failed, stray, running and
	// nanoseconds; those of a worker of this module done, skipped, retry, dead,
	// unreported, given_up, running and concurrency.
	Counts map[string]int64
}

// shown is an instance as it answers.
type shown struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Endpoints []struct {
		Data json.RawMessage `json:"data"`
	} `json:"endpoints"`
}

// instance reads an answer; false: it is none.
func instance(data []byte) (Instance, bool) {
	var s shown
	if json.Unmarshal(data, &s) != nil || s.ID == "" {
		return Instance{}, false
	}
	i := Instance{ID: CleanReason(s.ID), Version: CleanReason(s.Version), Started: s.Started} // a terminal will show them
	if len(s.Endpoints) > 0 && json.Unmarshal(s.Endpoints[0].Data, &i.Counts) != nil {
		i.Counts = nil // a program of somebody else counts as it likes
	}
	return i, true
}

// Instances gives the running programs of each of the names, as far as they have
// answered within wait. Each is asked by its name, which nobody else hears. A
// program need not be seen by discovery to work. The users [UserAdminEvents] and
// [UserAdminAuth] may ask, for the programs of their account.
func Instances(ctx context.Context, nc *nats.Conn, names []string, wait time.Duration) (map[string][]Instance, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox + ".*")
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	asked := make(map[string]time.Time, len(names))
	for _, name := range names {
		asked[name] = time.Now()
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("discover: %w", err)
		}
		if err := nc.PublishRequest("$SRV.STATS."+name, inbox+"."+name, nil); err != nil {
			return nil, fmt.Errorf("discover: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	found := map[string][]Instance{}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err != nil {
			return found, nil //nolint:nilerr // the time is over
		}
		name := strings.TrimPrefix(m.Subject, inbox+".")
		if i, ok := instance(m.Data); ok {
			i.RoundTrip = time.Since(asked[name])
			found[name] = append(found[name], i)
		}
	}
}
