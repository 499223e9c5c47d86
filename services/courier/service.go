package courier

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/tracing"
)

// settleTimeout bounds storing what became of an attempt, which goes on when the
// courier ends: what a mail server has taken must not be sent again.
const settleTimeout = 5 * time.Second

// Service writes and sends the mails that events ask for. All fields but the
// booleans are needed; it is safe for concurrent use.
type Service struct {
	Store     Store
	Sender    Sender
	Templates *Templates
	// CodeLifespan and LinkLifespan are how long a code or link is good for, if its flow
	// lives that long.
	CodeLifespan, LinkLifespan time.Duration
	// MaxAttempts is how often a message is tried at a server that does not take it.
	MaxAttempts int
	// PublicURL is the base of the links in mails; LinkURL takes its place in those that
	// do their work when they are opened, unless it is empty.
	PublicURL, LinkURL string
	// NotifyUnknown also writes to addresses that are nobody's, that they are, by the
	// kind of flow.
	NotifyUnknown map[flow.Kind]bool
	// KeepContent keeps what a message says when it is sent or abandoned, for
	// the mailbox of development.
	KeepContent bool
	Now         func() time.Time
	// Observe is told of each attempt and what became of it, one of the constants
	// [ObservedSent] and so on; nil is fine.
	Observe func(outcome string)
	// Taken outlives the service where another one takes its place.
	Taken *Taken
}

// What becomes of an attempt at a mail.
const (
	ObservedSent        = "sent"
	ObservedDeferred    = "deferred"    // the server wants it later
	ObservedUnreachable = "unreachable" // no server took it, or said that it does not
	ObservedAbandoned   = "abandoned"
	ObservedOutdated    = "outdated" // never made, see [ErrOutdated]
)

func (s *Service) observe(outcome string) {
	if s.Observe != nil {
		s.Observe(outcome)
	}
}

// Deferred is the error of a message that a mail server has seen and not taken.
// It is tried again when its event comes again.
type Deferred struct {
	Attempts int // so far
	Err      error
}

func (d *Deferred) Error() string { return fmt.Sprintf("attempt %d: %v", d.Attempts, d.Err) }

// Unwrap gives why it was not taken.
func (d *Deferred) Unwrap() error { return d.Err }

// Write makes the message of an event, unless it is there already, and
// sends it, unless that is done. It is nil when nothing is left to do for the
// event: sent, abandoned, nobody to write to. Any error means that the event is
// to come again; a [*Deferred] says that this attempt counts.
//
// A message that has waited until its code passes no more, or its flow has passed,
// is abandoned.
//
// A message is sent twice only if the server's answer, or that it was given,
// was lost; both then have the same Message-ID. Two that handle the same event
// do not both send: the message is claimed before, and who dies with it loses
// it with the lease.
func (s *Service) Write(ctx context.Context, r Request) error {
	m, err := s.Store.Message(ctx, r.EventID)
	if errors.Is(err, ErrNotFound) {
		m, err = s.write(ctx, r)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("message of the event: %w", err)
	}
	if m.Status == Sent || m.Status == Abandoned {
		return nil
	}
	return s.send(ctx, m, r)
}

// write makes and stores the message that r asks for. [ErrNotFound] says that
// there is nobody to write to.
func (s *Service) write(ctx context.Context, r Request) (*Message, error) {
	to, err := s.Store.Recipient(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("find recipient: %w", err)
	}
	now := s.Now().UTC().Truncate(time.Microsecond) // as the store gives it back
	address, err := identity.Canonical(to.Address)
	unknown := to.IdentityID == uuid.Nil
	if err != nil || unknown && !s.NotifyUnknown[to.Purpose.Kind()] || !now.Before(to.FlowExpiresAt) {
		return nil, ErrNotFound
	}
	if spent, err := s.spent(ctx, address, now); err != nil || spent {
		return nil, cmp.Or(err, ErrNotFound)
	}
	lifespan := s.CodeLifespan
	if to.Purpose.IsLink() {
		lifespan = s.LinkLifespan
	}
	m := Message{
		ID: uuid.New(), EventID: r.EventID, IdentityID: to.IdentityID, Status: Queued,
		Template: Kinds[to.Purpose] + invalid, Recipient: address,
		ExpiresAt: earlier(now.Add(lifespan), to.FlowExpiresAt), CreatedAt: now, UpdatedAt: now,
	}
	var code *Code
	if unknown {
		m.Content, err = s.Templates.unknown(to.Purpose, to.Languages, address)
	} else {
		m.Template = Kinds[to.Purpose] + valid
		code = &Code{Purpose: to.Purpose, FlowID: to.FlowID, IdentityID: to.IdentityID, AddressID: to.AddressID, AskedAt: r.At, ExpiresAt: m.ExpiresAt}
		m.Content, err = s.carrying(code, address, to, m.ExpiresAt.Sub(now))
	}
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", m.Template, err)
	}
	stored, err := s.Store.Queue(ctx, m, code)
	if errors.Is(err, ErrOutdated) { // or the clocks of two machines are apart
		s.observe(ObservedOutdated)
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return stored, nil
}

// An address gets so many mails at most, whoever asks for them: mails are no
// weapon, and each code is a few tries at a million (S74).
const (
	mailsAnHour = 10
	mailsADay   = 30
)

// spent tells whether an address has had all the mails that it gets for now.
func (s *Service) spent(ctx context.Context, address string, now time.Time) (bool, error) {
	for _, budget := range []struct {
		most int
		over time.Duration
	}{{mailsAnHour, time.Hour}, {mailsADay, 24 * time.Hour}} {
		n, err := s.Store.Mailed(ctx, address, now.Add(-budget.over))
		if err != nil || n >= budget.most {
			return true, err
		}
	}
	return false, nil
}

// carrying makes a code or a link's token, and what the mail with it says.
func (s *Service) carrying(code *Code, address string, to Recipient, lives time.Duration) (Content, error) {
	var err error
	if code.Text, err = NewText(to.Purpose); err != nil {
		return Content{}, err
	}
	text := code.Text.Reveal()
	person, err := person(to)
	if err != nil {
		return Content{}, err
	}
	return s.Templates.known(to.Purpose, to.Languages, contentOf(to.Purpose, common{
		To: address, Identity: person,
		ExpiresInMinutes: max(1, int(lives.Round(time.Minute)/time.Minute)),
	}, text, s.link(to, text)))
}

// link leads to the flow: with a code to where that is entered, with a token to where
// it does its work.
func (s *Service) link(to Recipient, text string) string {
	if to.Purpose.IsLink() {
		return TokenLink(cmp.Or(s.LinkURL, s.PublicURL), to.Purpose, to.FlowID, text)
	}
	return strings.TrimRight(s.PublicURL, "/") + "/self-service/" + string(to.Purpose.Kind()) + "?code=" + text + "&flow=" + to.FlowID.String()
}

// TokenLink is a link that does its work when it is opened. It holds the token: a secret.
func TokenLink(base string, p flow.Purpose, flowID uuid.UUID, token string) string {
	return strings.TrimRight(base, "/") + "/self-service/" + string(p.Kind()) + "?flow=" + flowID.String() + "&token=" + token
}

// NewText makes the text of a code of some purpose, or the token of a link.
func NewText(p flow.Purpose) (Secret, error) {
	if p.IsLink() {
		return NewSecret(rand.Text()), nil
	}
	text, err := newCode()
	return NewSecret(text), err
}

// newCode makes a code of six decimal digits, each code as likely as any other.
func newCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("make code: %w", err)
	}
	return fmt.Sprintf("%06d", n), nil
}

// send makes one attempt at a message and stores what became of it.
func (s *Service) send(ctx context.Context, m *Message, r Request) error {
	if attempts, ok := s.Taken.attempts(m.ID); ok {
		return s.sent(ctx, m, r, attempts)
	}
	if !s.Now().Before(m.ExpiresAt) {
		return s.abandon(ctx, m, r, m.Attempts, "expired")
	}
	release, err := s.claim(ctx, m)
	if errors.Is(err, ErrNotFound) {
		return nil // done meanwhile
	}
	if err != nil {
		return fmt.Errorf("claim message %s: %w", m.ID, err)
	}
	useful, err := s.Store.Useful(ctx, m, r.FlowID)
	if err == nil && useful {
		err = tracing.Do(ctx, "mail", func(ctx context.Context) error { return s.Sender.Send(ctx, m) })
		if err != nil && ctx.Err() == nil {
			s.noteFailure(ctx, m, err)
		}
	}
	release()
	if err == nil && !useful {
		return s.abandon(ctx, m, r, m.Attempts, "superseded")
	}
	attempts := m.Attempts + 1
	var refused *Refused
	switch {
	case err == nil:
		s.Taken.add(m.ID, attempts)
		return s.sent(ctx, m, r, attempts)
	case !errors.As(err, &refused):
		s.observe(ObservedUnreachable)
		err = errors.Join(err, s.settle(ctx, m, Queued, m.Attempts, nil))
		return fmt.Errorf("send message %s: %w", m.ID, err)
	case refused.Permanent:
		return s.abandon(ctx, m, r, attempts, "refused")
	case attempts >= s.MaxAttempts:
		return s.abandon(ctx, m, r, attempts, "attempts")
	}
	s.observe(ObservedDeferred)
	if err := s.settle(ctx, m, Queued, attempts, nil); err != nil {
		return err
	}
	return fmt.Errorf("send message %s: %w", m.ID, &Deferred{Attempts: attempts, Err: err})
}

// noteFailure keeps for operators why an attempt failed. Senders name no
// recipient; should one do, it does not stay. That it cannot be kept is no reason
// to give up the message.
func (s *Service) noteFailure(ctx context.Context, m *Message, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_ = s.Store.MessageFailed(ctx, m.ID, oneLine(strings.ReplaceAll(err.Error(), m.Recipient, "[recipient]")))
}

func (s *Service) sent(ctx context.Context, m *Message, r Request, attempts int) error {
	e := s.event(m, r, events.MailSent{MessageID: m.ID.String(), Template: m.Template, Attempts: attempts})
	err := s.settle(ctx, m, Sent, attempts, &e)
	if err == nil {
		s.observe(ObservedSent)
		s.Taken.remove(m.ID)
	}
	return err
}

func (s *Service) abandon(ctx context.Context, m *Message, r Request, attempts int, reason string) error {
	e := s.event(m, r, events.MailAbandoned{
		MessageID: m.ID.String(), Template: m.Template, Attempts: attempts, Reason: reason,
	})
	err := s.settle(ctx, m, Abandoned, attempts, &e)
	if err == nil {
		s.observe(ObservedAbandoned)
	}
	return err
}

// settle stores how far m is. One that was deleted meanwhile, with its person,
// is no error.
func (s *Service) settle(ctx context.Context, m *Message, status Status, attempts int, e *events.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	keep := s.KeepContent || status == Queued
	err := s.Store.Settle(ctx, m.ID, status, attempts, keep, e)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("settle message %s as %s: %w", m.ID, status, err)
	}
	return nil
}

func (s *Service) event(m *Message, r Request, p events.Payload) events.Event {
	about := events.About{
		Source: "/usher/courier", Actor: "system:courier", RequestID: r.RequestID, TraceParent: r.TraceParent,
	}
	if m.IdentityID != uuid.Nil {
		about.Subject = m.IdentityID.String()
	}
	return events.New(p, s.Now(), about)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
