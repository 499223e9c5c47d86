package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// ServerState is how a server of the bus says that it is.
type ServerState struct {
	Name, Version string
	// Streams tells whether it keeps any, SyncAlways whether it waits for its disk
	// before it acknowledges.
	Streams, SyncAlways bool
	// Store is how much its streams have on its disk, MaxStore how much they may.
	Store, MaxStore uint64
	// Ahead is how far its clock is before that of this machine, Within by how much
	// that may be wrong.
	Ahead, Within time.Duration
}

// Servers gives all servers of the bus, by name, as far as they have answered
// within wait. The user [UserSystem] may ask.
func Servers(ctx context.Context, nc *nats.Conn, wait time.Duration) ([]ServerState, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask servers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	asked := time.Now()
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox, nil); err != nil {
		return nil, fmt.Errorf("ask servers: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var all []ServerState
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			return nil, fmt.Errorf("ask servers: %w", err)
		}
		if err != nil {
			break // the time is over
		}
		if s, ok := serverState(m.Data, asked); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b ServerState) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// serverState reads a server's answer; false: it is none.
func serverState(data []byte, asked time.Time) (s ServerState, ok bool) {
	var said struct {
		Server struct {
			Name    string    `json:"name"`
			Version string    `json:"ver"`
			Time    time.Time `json:"time"`
		} `json:"server"`
		Data struct {
			JetStream struct {
				Config *struct {
					SyncAlways bool  `json:"sync_always"`
					MaxStorage int64 `json:"max_storage"`
				} `json:"config"`
				Stats struct {
					Storage uint64 `json:"storage"`
				} `json:"stats"`
			} `json:"jetstream"`
		} `json:"data"`
	}
	if json.Unmarshal(data, &said) != nil || said.Server.Name == "" {
		return s, false
	}
	s.Name, s.Version = CleanReason(said.Server.Name), CleanReason(said.Server.Version) // a terminal will show them
	if c := said.Data.JetStream.Config; c != nil {
		s.Streams, s.SyncAlways = true, c.SyncAlways
		s.Store, s.MaxStore = said.Data.JetStream.Stats.Storage, uint64(max(0, c.MaxStorage))
	}
	s.Within = time.Since(asked) / 2
	s.Ahead = said.Server.Time.Sub(asked.Add(s.Within))
	return s, true
}
