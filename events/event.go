package events

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
)

// Event is a CloudEvents 1.0 event in structured JSON mode. It carries no
// traits, no addresses and no secret, so that erasing a person is deleting rows.
type Event struct {
	// ID is a UUIDv7. It is the message id on the bus and what handlers are
	// idempotent by.
	ID          string    `json:"id"`
	SpecVersion string    `json:"specversion"`       // "1.0"
	Source      string    `json:"source"`            // "/usher/<part>"
	Type        string    `json:"type"`              // "identity.created"
	Subject     string    `json:"subject,omitempty"` // identity id
	Time        time.Time `json:"time"`
	// Sequence counts the events of one identity from "1"; empty where there is none.
	Sequence        string `json:"sequence,omitempty"`
	DataContentType string `json:"datacontenttype"`
	DataSchema      string `json:"dataschema"` // "urn:usher:event:identity.created:1"
	RequestID       string `json:"requestid,omitempty"`
	Actor           string `json:"actor"` // "person:<id>", "admin:<name>", "client", "system:<part>"
	// TraceParent is the W3C trace context of the request that caused the event.
	TraceParent string          `json:"traceparent,omitempty"`
	Data        json.RawMessage `json:"data"`
}

// Payload is the data of one type of event.
type Payload interface {
	// EventType is the type, such as "identity.created".
	EventType() string
}

// About is what an event says besides its payload.
type About struct {
	Source, Subject, Actor, RequestID, TraceParent string
}

// New makes the event of a payload with a fresh ID. It panics when the payload
// cannot be encoded, which is a bug of its type.
func New(p Payload, now time.Time, about About) Event {
	data, err := json.Marshal(p)
	if err != nil {
		panic("events: " + p.EventType() + ": " + err.Error())
	}
	return Event{
		ID:              uuid.Must(uuid.NewV7()).String(),
		SpecVersion:     "1.0",
		Source:          about.Source,
		Type:            p.EventType(),
		Subject:         about.Subject,
		Time:            now.UTC().Truncate(time.Microsecond),
		DataContentType: "application/json",
		DataSchema:      "urn:usher:event:" + p.EventType() + ":1",
		RequestID:       about.RequestID,
		Actor:           about.Actor,
		TraceParent:     about.TraceParent,
		Data:            data,
	}
}

// Encode gives e as canonical JSON (RFC 8785): the bytes that are stored,
// hashed into the event log and published.
func (e Event) Encode() ([]byte, error) {
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(plain)
}

// Decode reads an event. Unknown members are ignored, so that a newer
// publisher does not stop an older reader.
func Decode(data []byte) (Event, error) {
	var e Event
	err := json.Unmarshal(data, &e)
	return e, err
}

// Network is what events say of a client's address: its /24, or /48 of IPv6;
// empty when addr is not an address.
func Network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		with, err := netip.ParseAddrPort(addr)
		if err != nil {
			return ""
		}
		ip = with.Addr()
	}
	bits := 48
	if ip = ip.Unmap(); ip.Is4() {
		bits = 24
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// Subject is the subject on the bus of an event type: "usher.evt.v1.identity.created".
func Subject(eventType string) string { return EventPrefix + eventType }
