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
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
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
	for _, name := range names {
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
		var i Instance
		name := strings.TrimPrefix(m.Subject, inbox+".")
		if json.Unmarshal(m.Data, &i) == nil && i.ID != "" {
			i.ID, i.Version = CleanReason(i.ID), CleanReason(i.Version) // a terminal will show them
			found[name] = append(found[name], i)
		}
	}
}
