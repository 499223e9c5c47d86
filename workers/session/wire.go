package session

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/session"
)

// refusals are the errors that survive the bus, and their codes.
var refusals = []struct {
	err  error
	code string
}{
	{session.ErrGrantUsed, events.CodeGrantUsed},
	{session.ErrIdentityGone, events.CodeIdentityGone},
	{session.ErrIdentityInactive, events.CodeIdentityInactive},
	{session.ErrLate, events.CodeLate},
	{session.ErrInvalid, events.CodeInvalid},
}

// refusal is what of err crosses the bus. An error without a code stays as it
// is; the service logs it and says only that it failed.
func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &events.Refused{Code: r.code, Text: r.err.Error()}
		}
	}
	return err
}

// understood is the session's error for one of [events.Ask]. Whatever leaves
// open whether a session was stored is [session.ErrUnavailable].
func understood(err error) error {
	var refused *events.Refused
	if errors.As(err, &refused) {
		for _, r := range refusals {
			if refused.Code == r.code {
				return fmt.Errorf("session worker: %w", r.err)
			}
		}
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

func encodeRequest(r session.Request) ([]byte, error) {
	return json.Marshal(events.SessionIssue{
		GrantID:     text(r.GrantID),
		FlowID:      text(r.FlowID),
		IdentityID:  r.IdentityID.String(),
		Method:      r.Method,
		Provider:    r.Provider,
		Linked:      r.Linked,
		AAL:         r.AAL,
		Digest:      r.Digest.String(),
		Epoch:       r.Epoch,
		LifespanMS:  r.Lifespan.Milliseconds(),
		ClientAddr:  r.ClientAddr,
		UserAgent:   r.UserAgent,
		HTTPRequest: r.HTTPRequest,
		TraceParent: r.TraceParent,
		RequestedAt: r.RequestedAt,
		Sequence:    r.Sequence,
		Verified:    r.Verified,
		Bypass:      r.Bypass,
		Login:       text(r.Login),
		Refresh:     text(r.Refresh),
		Again:       r.Again,
	})
}

// decodeRequest reads what [encodeRequest] wrote; what cannot be read is
// [session.ErrInvalid].
func decodeRequest(in events.Request) (session.Request, error) {
	var w events.SessionIssue
	if err := json.Unmarshal(in.Data, &w); err != nil {
		return session.Request{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	r := session.Request{
		ID:          in.ID,
		Deadline:    in.Deadline,
		Method:      w.Method,
		Provider:    w.Provider,
		Linked:      w.Linked,
		AAL:         w.AAL,
		Epoch:       w.Epoch,
		ClientAddr:  w.ClientAddr,
		UserAgent:   w.UserAgent,
		HTTPRequest: w.HTTPRequest,
		TraceParent: w.TraceParent,
		RequestedAt: w.RequestedAt,
		Sequence:    w.Sequence,
		Verified:    w.Verified,
		Bypass:      w.Bypass,
		Again:       w.Again,
	}
	// Beyond the longest it is refused as it is; a product that wraps round might not be.
	r.Lifespan = time.Duration(min(w.LifespanMS, session.MaxLifespan.Milliseconds()+1)) * time.Millisecond
	err := errors.Join(
		parse(w.GrantID, &r.GrantID),
		parse(w.FlowID, &r.FlowID),
		parse(w.IdentityID, &r.IdentityID),
		parse(w.Login, &r.Login),
		parse(w.Refresh, &r.Refresh),
		parseDigest(w.Digest, &r.Digest),
	)
	if err != nil {
		return session.Request{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return r, nil
}

func encodeSession(s *session.Session) ([]byte, error) {
	w := events.IssuedSession{
		ID:              s.ID.String(),
		IdentityID:      s.IdentityID.String(),
		AAL:             s.AAL,
		Methods:         make([]events.SessionMethod, len(s.Methods)),
		Devices:         make([]events.SessionDevice, len(s.Devices)),
		AuthenticatedAt: s.AuthenticatedAt,
		IssuedAt:        s.IssuedAt,
		ExpiresAt:       s.ExpiresAt,
	}
	for n, m := range s.Methods {
		w.Methods[n] = events.SessionMethod(m)
	}
	for n, d := range s.Devices {
		w.Devices[n] = events.SessionDevice{ID: d.ID.String(), Address: d.Address, UserAgent: d.UserAgent, Location: d.Location}
	}
	return json.Marshal(w)
}

// decodeSession reads the answer to r, and refuses one that does not answer it.
func decodeSession(data []byte, r session.Request) (*session.Session, error) {
	var w events.IssuedSession
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, err
	}
	s := &session.Session{
		AAL:             w.AAL,
		Methods:         make([]session.Method, len(w.Methods)),
		Devices:         make([]session.Device, len(w.Devices)),
		Epoch:           r.Epoch, // the worker has compared it
		AuthenticatedAt: w.AuthenticatedAt,
		IssuedAt:        w.IssuedAt,
		ExpiresAt:       w.ExpiresAt,
	}
	err := errors.Join(parse(w.ID, &s.ID), parse(w.IdentityID, &s.IdentityID))
	for n, m := range w.Methods {
		s.Methods[n] = session.Method(m)
	}
	for n, d := range w.Devices {
		s.Devices[n] = session.Device{Address: d.Address, UserAgent: d.UserAgent, Location: d.Location}
		err = errors.Join(err, parse(d.ID, &s.Devices[n].ID))
	}
	switch {
	case err != nil:
		return nil, err
	case s.ID == uuid.Nil:
		return nil, errors.New("the session has no id")
	case s.IdentityID != r.IdentityID:
		return nil, errors.New("the session is another identity's")
	case s.AAL != r.AAL, !s.ExpiresAt.After(s.IssuedAt), !fits(s, r):
		return nil, errors.New("the session is not the one that was asked for")
	}
	return s, nil
}

// fits tells whether s is the session that r names, or one that lives no longer
// than r says: how long a refreshed one lives was decided before.
func fits(s *session.Session, r session.Request) bool {
	if r.Refresh != uuid.Nil {
		return s.ID == r.Refresh
	}
	return s.ExpiresAt.Sub(s.IssuedAt) <= r.Lifespan
}

// text is the zero id as "", and parse the other way round.
func text(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func parse(text string, id *uuid.UUID) (err error) {
	if text != "" {
		*id, err = uuid.Parse(text)
	}
	return err
}

func parseDigest(text string, d *session.Digest) error {
	if hex.DecodedLen(len(text)) != len(d) {
		return errors.New("digest has the wrong length")
	}
	_, err := hex.Decode(d[:], []byte(text))
	return err
}
