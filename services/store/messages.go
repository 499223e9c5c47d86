package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

type messageRow struct {
	ID           uuid.UUID     `db:"id"`
	EventID      uuid.UUID     `db:"event_id"`
	IdentityID   uuid.NullUUID `db:"identity_id"`
	Status       string        `db:"status"`
	Template     string        `db:"template"`
	Recipient    []byte        `db:"recipient"` // sealed, as the content is
	RecipientKey []byte        `db:"recipient_key"`
	Content      []byte        `db:"content"`
	Attempts     int           `db:"attempts"`
	LastError    string        `db:"last_error"`
	ExpiresAt    moment        `db:"expires_at"`
	CreatedAt    moment        `db:"created_at"`
	UpdatedAt    moment        `db:"updated_at"`
}

var messages = tableOf[messageRow]("messages")

// foundMessage is a message with its number, which the database gives.
type foundMessage struct {
	N int64 `db:"n"`
	messageRow
}

const channel = "email" // the only one so far

// about binds a sealed column to its row.
func (r messageRow) about(column string) []byte { return append(r.ID[:], column...) }

// content is what is sealed of a [courier.Content].
type content struct {
	Subject string `json:"subject"`
	Plain   string `json:"plain"`
	HTML    string `json:"html,omitempty"`
	Data    string `json:"data,omitempty"`
}

func (k *keyring) newMessageRow(m courier.Message) (messageRow, error) {
	r := messageRow{
		ID:           m.ID,
		EventID:      m.EventID,
		IdentityID:   uuid.NullUUID{UUID: m.IdentityID, Valid: m.IdentityID != uuid.Nil},
		Status:       string(m.Status),
		Template:     m.Template,
		RecipientKey: k.addressKey(channel, m.Recipient),
		Attempts:     m.Attempts,
		LastError:    m.LastError,
		ExpiresAt:    moment{m.ExpiresAt},
		CreatedAt:    moment{m.CreatedAt},
		UpdatedAt:    moment{m.UpdatedAt},
	}
	c := m.Content
	plain, err := json.Marshal(content{Subject: c.Subject.Reveal(), Plain: c.Plain.Reveal(), HTML: c.HTML.Reveal(), Data: c.Data.Reveal()})
	if err != nil {
		return messageRow{}, fmt.Errorf("content: %w", err)
	}
	r.Recipient = k.seal([]byte(m.Recipient), r.about("recipient"))
	r.Content = k.seal(plain, r.about("content"))
	return r, nil
}

func (k *keyring) openMessage(f foundMessage) (courier.Message, error) {
	r := f.messageRow
	m := courier.Message{
		N:          f.N,
		ID:         r.ID,
		EventID:    r.EventID,
		IdentityID: r.IdentityID.UUID,
		Status:     courier.Status(r.Status),
		Template:   r.Template,
		Attempts:   r.Attempts,
		LastError:  r.LastError,
		ExpiresAt:  r.ExpiresAt.Time,
		CreatedAt:  r.CreatedAt.Time,
		UpdatedAt:  r.UpdatedAt.Time,
	}
	recipient, err := k.open(r.Recipient, r.about("recipient"))
	if err != nil {
		return m, fmt.Errorf("recipient: %w", err)
	}
	m.Recipient = string(recipient)
	if r.Content == nil {
		return m, nil
	}
	plain, err := k.open(r.Content, r.about("content"))
	if err != nil {
		return m, fmt.Errorf("content: %w", err)
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return m, fmt.Errorf("content: %w", err)
	}
	m.Content = courier.Content{Subject: secret(c.Subject), Plain: secret(c.Plain), HTML: secret(c.HTML), Data: secret(c.Data)}
	return m, nil
}

// secret gives the zero Secret for no text.
func secret(text string) courier.Secret {
	if text == "" {
		return courier.Secret{}
	}
	return courier.NewSecret(text)
}

// Message gives the message of an event with its content, or [courier.ErrNotFound].
func (s *Store) Message(ctx context.Context, eventID uuid.UUID) (*courier.Message, error) {
	return s.oneMessage(ctx, `event_id = ?`, eventID)
}

// MessageByID gives a message with its content, or [courier.ErrNotFound].
func (s *Store) MessageByID(ctx context.Context, id uuid.UUID) (*courier.Message, error) {
	return s.oneMessage(ctx, `id = ?`, id)
}

func (s *Store) oneMessage(ctx context.Context, condition string, id uuid.UUID) (*courier.Message, error) {
	found, err := s.messages(ctx, condition, id)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if len(found) == 0 {
		return nil, courier.ErrNotFound
	}
	return &found[0], nil
}

// Messages gives the messages that q selects, newest first, with their content.
func (s *Store) Messages(ctx context.Context, q courier.Query) ([]courier.Message, error) {
	where, args := []string{`1 = 1`}, []any{}
	if q.Before > 0 {
		where, args = append(where, `n < ?`), append(args, q.Before)
	}
	switch q.Status {
	case "":
	case courier.Sent: // as most are
		where = append(where, `status = 'sent'`)
	default:
		where, args = append(where, `status <> 'sent' AND status = ?`), append(args, string(q.Status)) // by its index
	}
	if q.Recipient != "" {
		ring, err := s.keyring()
		if err != nil {
			return nil, fmt.Errorf("messages: %w", err)
		}
		where, args = append(where, `recipient_key = ?`), append(args, ring.addressKey(channel, q.Recipient))
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	found, err := s.messages(ctx, strings.Join(where, ` AND `)+` ORDER BY n DESC LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	return found, nil
}

func (s *Store) messages(ctx context.Context, condition string, args ...any) ([]courier.Message, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, err
	}
	var rows []foundMessage
	if err := s.reads.list(ctx, &rows, `SELECT n, `+messages.list()+` FROM messages WHERE `+condition, args...); err != nil {
		return nil, err
	}
	all := make([]courier.Message, len(rows))
	for n, r := range rows {
		if all[n], err = ring.openMessage(r); err != nil {
			return nil, fmt.Errorf("%s: %w", r.ID, err)
		}
	}
	return all, nil
}

// Recipient finds whom r is about, or gives [courier.ErrNotFound]: the flow, the
// identity or its address is gone, the person is deactivated, whom no code is good
// for, or the flow is over or has passed already. Where only the flow knows the address, that may be nobody's.
func (s *Store) Recipient(ctx context.Context, r courier.Request) (courier.Recipient, error) {
	f, err := s.Flow(ctx, r.FlowID)
	switch {
	case errors.Is(err, flow.ErrNotFound):
		return courier.Recipient{}, courier.ErrNotFound
	case err != nil:
		return courier.Recipient{}, fmt.Errorf("recipient: %w", err)
	case f.Purpose() == "", f.State == flow.PassedChallenge, f.Expired(s.now()):
		return courier.Recipient{}, courier.ErrNotFound
	}
	found := courier.Recipient{FlowID: f.ID, FlowExpiresAt: f.ExpiresAt, Purpose: f.Purpose(), Languages: f.Languages}
	good := `a.state = 'owned'`
	if f.Kind == flow.Recovery {
		good += ` AND a.recovery`
	}
	if r.IdentityID != uuid.Nil || r.AddressID != uuid.Nil {
		known, _, err := s.recipientWhere(ctx, found, good+` AND a.id = ? AND a.identity_id = ?`, r.AddressID, r.IdentityID)
		return known, err
	}
	entered, _ := f.Form.Values["email"].(string)
	if found.Address, err = identity.Canonical(entered); err != nil {
		return courier.Recipient{}, courier.ErrNotFound // nobody can be written to there
	}
	ring, err := s.keyring()
	if err != nil {
		return courier.Recipient{}, fmt.Errorf("recipient: %w", err)
	}
	known, nobodys, err := s.recipientWhere(ctx, found, good+` AND a.address_key = ?`, ring.addressKey(channel, found.Address))
	if nobodys {
		return found, nil
	}
	return known, err
}

// recipientWhere adds to r whose address a condition names. [courier.ErrNotFound]
// says that there is nobody to write to; nobodys, that the address is.
func (s *Store) recipientWhere(ctx context.Context, r courier.Recipient, condition string, args ...any) (_ courier.Recipient, nobodys bool, err error) {
	var row struct {
		AddressID  uuid.UUID `db:"id"`
		IdentityID uuid.UUID `db:"identity_id"`
		Value      string    `db:"value"`
		Traits     document  `db:"traits"`
		State      string    `db:"state"`
	}
	err = s.reads.get(ctx, &row, `SELECT a.id, a.identity_id, a.value, i.traits, i.state FROM addresses a
		JOIN identities i ON i.id = a.identity_id WHERE `+condition, args...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return courier.Recipient{}, true, courier.ErrNotFound
	case err != nil:
		return courier.Recipient{}, false, fmt.Errorf("recipient: %w", err)
	case row.State != string(identity.Active):
		return courier.Recipient{}, false, courier.ErrNotFound
	}
	r.Address, r.IdentityID, r.AddressID, r.Traits = row.Value, row.IdentityID, row.AddressID, json.RawMessage(row.Traits)
	return r, false, nil
}

// Queue stores a message, its code in place of the flow's former one, and that
// the address was sent something, in one durable commit. code is nil where the
// address is nobody's. A message of the same event gives the stored one, with
// nothing changed. [courier.ErrNotFound] says that the person is gone,
// [courier.ErrOutdated] that the code was asked for too early.
func (s *Store) Queue(ctx context.Context, m courier.Message, code *courier.Code) (*courier.Message, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, fmt.Errorf("queue message: %w", err)
	}
	row, err := ring.newMessageRow(m)
	if err != nil {
		return nil, fmt.Errorf("queue message %s: %w", m.ID, err)
	}
	err = s.durable.commit(ctx, func(tx *tx) error {
		if err := stillWanted(tx, code); err != nil {
			return err
		}
		if err := tx.insert(messages.insert(row)); err != nil || code == nil {
			return err
		}
		// The digest is that of the address which the mail goes to, whatever the
		// person makes of it meanwhile.
		digest := ring.codeDigests(code.Purpose, code.FlowID, row.RecipientKey, code.Text.Reveal())[0]
		return queueCode(tx, code, digest, row.CreatedAt)
	})
	if err != nil && takenColumn(err) != "messages.event_id" {
		return nil, fmt.Errorf("queue message %s: %w", m.ID, err)
	}
	return s.Message(ctx, m.EventID)
}

// Mailed counts the messages to an address since the given time.
func (s *Store) Mailed(ctx context.Context, address string, since time.Time) (n int, err error) {
	ring, err := s.keyring()
	if err != nil {
		return 0, fmt.Errorf("mailed: %w", err)
	}
	err = s.reads.get(ctx, &n, `SELECT count(*) FROM messages WHERE recipient_key = ? AND created_at > ?`, ring.addressKey(channel, address), moment{since})
	if err != nil {
		return 0, fmt.Errorf("mailed: %w", err)
	}
	return n, nil
}

// Claim makes a message the caller's to send until so long a lease from now, see
// [courier.Store]. The time of the claim is that of the message's last update.
// It does not wait for the disk: a power cut gives the message back.
func (s *Store) Claim(ctx context.Context, id uuid.UUID, held time.Time, lease time.Duration) (time.Time, error) {
	at := moment{s.now().UTC().Truncate(time.Microsecond)}
	claimed, err := s.relaxed.exec(ctx, `UPDATE messages SET status = 'processing', updated_at = ? WHERE id = ?
		AND (status = 'queued' OR status = 'processing' AND (updated_at = ? OR updated_at <= ?))`, at, id, moment{held}, moment{at.Add(-lease)})
	if err != nil {
		return time.Time{}, fmt.Errorf("claim message %s: %w", id, err)
	}
	if claimed > 0 {
		return at.Time, nil
	}
	var others bool
	if err := s.reads.get(ctx, &others, `SELECT EXISTS (SELECT 1 FROM messages WHERE id = ? AND status NOT IN ('sent', 'abandoned'))`, id); err != nil {
		return time.Time{}, fmt.Errorf("claim message %s: %w", id, err)
	}
	if others {
		return time.Time{}, courier.ErrClaimed
	}
	return time.Time{}, courier.ErrNotFound
}

// Useful tells whether what m says is still of use: its flow is open, and if m
// holds a code or link, that is the one that passes there, for a person who is not
// deactivated, and where it verifies the address nobody has done so since. The code
// of a flow is that of the newest message, written at the same time.
func (s *Store) Useful(ctx context.Context, m *courier.Message, flowID uuid.UUID) (useful bool, err error) {
	f, err := s.Flow(ctx, flowID)
	switch {
	case errors.Is(err, flow.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("message %s: %w", m.ID, err)
	case f.State == flow.PassedChallenge, f.Expired(s.now()):
		return false, nil
	case !courier.Carries(m.Template):
		return true, nil
	}
	err = s.reads.get(ctx, &useful, `SELECT EXISTS (SELECT 1 FROM messages m
		JOIN codes c ON c.flow_id = ? AND c.created_at = m.created_at AND c.used_at IS NULL
		JOIN addresses a ON a.id = c.address_id AND a.identity_id = c.identity_id AND a.address_key = m.recipient_key AND a.state = 'owned'
		JOIN identities i ON i.id = a.identity_id AND i.state = 'active'
		WHERE m.id = ? AND (? OR a.verified_at IS NULL OR a.verified_at < m.created_at))`, flowID, m.ID, f.Kind == flow.Recovery)
	if err != nil {
		return false, fmt.Errorf("message %s: %w", m.ID, err)
	}
	return useful, nil
}

// Settle stores how far a message is and appends the event, nil for none, in
// one durable commit. Its content is deleted unless keep says otherwise. One that
// was sent or abandoned before stays as it is: [courier.ErrNotFound].
func (s *Store) Settle(ctx context.Context, id uuid.UUID, status courier.Status, attempts int, keep bool, e *events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		// The event first: it locks the identity, as whoever deletes one does before
		// the messages go.
		if e != nil {
			if err := appendEvent(tx, *e); err != nil {
				return err
			}
		}
		changed, err := tx.exec(`UPDATE messages SET status = ?, attempts = ?, updated_at = ?, content = CASE WHEN ? THEN content END
			WHERE id = ? AND status NOT IN ('sent', 'abandoned')`, string(status), attempts, moment{s.now()}, keep, id)
		if err == nil && changed == 0 {
			err = courier.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("settle message %s: %w", id, err)
	}
	return nil
}

// MessageFailed keeps why the last attempt at a message failed, without waiting
// for the disk. A message that is gone is no error.
func (s *Store) MessageFailed(ctx context.Context, id uuid.UUID, why string) error {
	if _, err := s.relaxed.exec(ctx, `UPDATE messages SET last_error = ?, updated_at = ? WHERE id = ?`, why, moment{s.now()}, id); err != nil {
		return fmt.Errorf("failure of message %s: %w", id, err)
	}
	return nil
}

// DeleteMessages deletes at most limit messages that were sent or abandoned, or
// are over, and are older than the given time, the oldest first, and tells how many.
func (s *Store) DeleteMessages(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM messages WHERE n IN (SELECT n FROM messages
		WHERE created_at < ? AND (status IN ('sent', 'abandoned') OR expires_at < ?) ORDER BY created_at LIMIT ?)`, moment{before}, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete messages: %w", err)
	}
	return int(deleted), nil
}
