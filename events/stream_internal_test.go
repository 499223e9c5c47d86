package events

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// moving is a bus whose stream refuses to be changed.
type moving struct {
	jetstream.JetStream
	refusal error
}

func (moving) Stream(context.Context, string) (jetstream.Stream, error) { return unchanged{}, nil }

func (m moving) UpdateStream(context.Context, jetstream.StreamConfig) (jetstream.Stream, error) {
	return nil, m.refusal
}

type unchanged struct{ jetstream.Stream }

func (unchanged) CachedInfo() *jetstream.StreamInfo { return &jetstream.StreamInfo{} }

// TestAStreamThatMovesIsLeftAlone: it is no fault that it cannot be mended just now.
func TestAStreamThatMovesIsLeftAlone(t *testing.T) {
	t.Parallel()
	for id, busy := range map[server.ErrorIdentifier]bool{
		server.JSStreamMoveInProgressErr:        true,
		server.JSStreamReconfigureInProgressErr: true,
		server.JSStorageResourcesExceededErr:    false,
	} {
		is := server.ApiErrors[id]
		refusal := &jetstream.APIError{Code: is.Code, ErrorCode: jetstream.ErrorCode(is.ErrCode), Description: is.Description}
		change, err := provisionStream(t.Context(), moving{refusal: refusal}, StreamOptions{})
		if change != "" || (err == nil) != busy || !busy && !errors.Is(err, ErrKept) {
			t.Errorf("provisionStream where the bus says %q = %q, %v, want an error: %t", is.Description, change, err, !busy)
		}
	}
}
