package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// Errors of what an administrator asks a recovery for.
var (
	// ErrInactive says that the identity is deactivated: no code would sign it in.
	ErrInactive = errors.New("admin: identity is not active")
	// ErrLifespan says that a code or link would last for no time, or longer than
	// [MaxRecovery].
	ErrLifespan = errors.New("admin: lifespan out of bounds")
)

// MaxRecovery is how long what an administrator hands out is good for at most.
const MaxRecovery = 30 * 24 * time.Hour

// Recoveries keeps flows of recovery and their codes.
type Recoveries interface {
	// CreateFlow stores a flow, without waiting for the disk.
	CreateFlow(ctx context.Context, f *flow.Flow) error
	// HandOut stores the code of a flow that was sent to no address, with its event, in
	// one durable commit: [identity.ErrNotFound], or [ErrInactive].
	HandOut(ctx context.Context, c courier.Code, told Made) error
}

// Recovery is what an administrator begins for somebody who cannot sign in.
type Recovery struct {
	IdentityID uuid.UUID
	// Method is [flow.MethodCode] or [flow.MethodLink].
	Method string
	// Type is who is to finish the flow, RequestURL what it says it was begun by, and
	// ReturnTo where the settings lead to in the end.
	Type                 flow.Type
	RequestURL, ReturnTo string
	// Lifespan is how long flow and code are good for, nil for the usual time.
	Lifespan *time.Duration
	Author   Author
}

// Begun is a recovery that waits for its code or link, of which it has one. That must
// reach nobody but the administrator who has asked for it, and stands nowhere else.
type Begun struct {
	Flow *flow.Flow
	Code courier.Secret
	// Link does its work when it is opened.
	Link courier.Secret
}

// Recover begins a recovery for an identity, with a code or link that no mail takes
// anywhere: whoever has it from the administrator is signed in by it. It needs no
// address, and verifies none. The event says who has begun it, for whom.
func (s *Service) Recover(ctx context.Context, in Recovery) (*Begun, error) {
	code := courier.Code{Purpose: flow.RecoverByCode, FlowID: uuid.New(), IdentityID: in.IdentityID}
	lifespan := s.CodeLifespan
	if in.Method == flow.MethodLink {
		code.Purpose, lifespan = flow.RecoverByLink, s.LinkLifespan
	}
	if in.Lifespan != nil {
		lifespan = *in.Lifespan
	}
	if lifespan <= 0 || lifespan > MaxRecovery {
		return nil, ErrLifespan
	}
	var err error
	if code.Text, err = courier.NewText(code.Purpose); err != nil {
		return nil, fmt.Errorf("begin recovery: %w", err)
	}
	now := s.now()
	code.ExpiresAt = now.Add(lifespan)
	f := &flow.Flow{ // without a digest of a CSRF cookie: no browser has begun it
		ID: code.FlowID, Kind: flow.Recovery, Type: in.Type, State: flow.SentEmail, Active: in.Method,
		RequestURL: in.RequestURL, ReturnTo: in.ReturnTo, IssuedAt: now, ExpiresAt: code.ExpiresAt,
	}
	// The flow first: one without a code is of no use to anybody.
	if err := s.Recoveries.CreateFlow(ctx, f); err != nil {
		return nil, fmt.Errorf("begin recovery: %w", err)
	}
	told := func(sequence int64) events.Event {
		e := in.Author.Acted("recovery."+in.Method, in.IdentityID.String(), now)
		e.Subject, e.Sequence = in.IdentityID.String(), strconv.FormatInt(sequence, 10)
		return e
	}
	if err := s.Recoveries.HandOut(ctx, code, told); err != nil {
		return nil, fmt.Errorf("begin recovery: %w", err)
	}
	if in.Method == flow.MethodLink {
		return &Begun{Flow: f, Link: courier.NewSecret(courier.TokenLink(s.LinkURL, code.Purpose, f.ID, code.Text.Reveal()))}, nil
	}
	return &Begun{Flow: f, Code: code.Text}, nil
}
