package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/strictjson"
)

// messages are those of a refusal; none if the answer holds no refusal.
func (a answer) messages() []Message {
	said, _ := readMessages(a.body) // what is no refusal holds none
	return said
}

// readMessages gives the messages of an answer of the form {"messages": […]}.
func readMessages(answer []byte) ([]Message, error) {
	var body struct {
		Messages []struct {
			Pointer  string `json:"instance_ptr"`
			Messages []struct {
				ID      int64           `json:"id"`
				Text    string          `json:"text"`
				Type    string          `json:"type"`
				Context json.RawMessage `json:"context"`
			} `json:"messages"`
		} `json:"messages"`
	}
	if json.Unmarshal(answer, &body) != nil {
		return nil, errors.New("answer: messages: not the JSON of messages at nodes") // the cause may quote it
	}
	var all []Message
	for _, at := range body.Messages {
		for _, m := range at.Messages {
			said := Message{Node: node(at.Pointer), ID: m.ID, Text: m.Text, Type: m.Type, Context: m.Context}
			if said.Type == "" {
				said.Type = "error"
			}
			all = append(all, said)
		}
	}
	return all, nil
}

// node turns a JSON pointer, as a fragment or plain, into the name of a node:
// "#/traits/email" is "traits.email".
func node(pointer string) string {
	path := pointer
	if fragment, ok := strings.CutPrefix(pointer, "#"); ok {
		decoded, err := url.PathUnescape(fragment)
		if err != nil {
			return ""
		}
		path = decoded
	}
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return ""
	}
	parts := strings.Split(path, "/")
	for n := range parts {
		parts[n] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[n])
	}
	return strings.Join(parts, ".")
}

// override is what a parsing endpoint may say about the identity. Addresses
// are derived from the traits, so of them it says what is verified only.
type override struct {
	ExternalID     *string         `json:"external_id"`
	SchemaID       string          `json:"schema_id"`
	State          identity.State  `json:"state"`
	Traits         json.RawMessage `json:"traits"`
	MetadataPublic json.RawMessage `json:"metadata_public"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin"`
	Verifiable     []struct {
		Value      string    `json:"value"`
		Via        string    `json:"via"`
		Verified   bool      `json:"verified"`
		VerifiedAt time.Time `json:"verified_at"`
	} `json:"verifiable_addresses"`
}

// change applies an answer of the form {"identity": {…}} to i. What it does not
// name stays; null empties metadata.
func change(i *identity.Identity, body []byte, now time.Time) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var said struct {
		Identity *override `json:"identity"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return errors.New("answer is not the JSON of an identity") // err may quote it
	}
	o := said.Identity
	if o == nil {
		return nil
	}
	// Traits and metadata are kept as they were said.
	if err := strictjson.Named(body, strictjson.MaxKept, func(string) bool { return false }); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	switch o.State {
	case "", i.State:
	case identity.Active, identity.Inactive:
		i.State, i.StateChangedAt = o.State, now.UTC()
	default:
		return fmt.Errorf("answer: identity.state: want %q or %q", identity.Active, identity.Inactive)
	}
	if o.ExternalID != nil {
		if err := identity.CheckExternalID(*o.ExternalID); err != nil {
			return fmt.Errorf("answer: identity: %w", err)
		}
		i.ExternalID = *o.ExternalID
	}
	if o.SchemaID != "" {
		i.SchemaID = o.SchemaID
	}
	brought := len(o.Traits) > 0 && !bytes.Equal(o.Traits, i.Traits)
	if brought {
		i.Traits = o.Traits
	}
	if o.MetadataPublic != nil {
		i.MetadataPublic = orNothing(o.MetadataPublic)
	}
	if o.MetadataAdmin != nil {
		i.MetadataAdmin = orNothing(o.MetadataAdmin)
	}
	o.verify(i, brought, now)
	return nil
}

// verify takes over which addresses are verified. An address that i does not
// have yet counts only if the same answer brought traits, which may hold it.
func (o *override) verify(i *identity.Identity, brought bool, now time.Time) {
	for _, said := range o.Verifiable {
		value, err := identity.Canonical(said.Value)
		if err != nil {
			continue
		}
		at := slices.IndexFunc(i.Addresses, func(a identity.Address) bool { return a.Via == said.Via && a.Value == value })
		if at < 0 {
			if !brought {
				continue
			}
			i.Addresses = append(i.Addresses, identity.Address{Via: said.Via, Value: value, Verifiable: true})
			at = len(i.Addresses) - 1
		}
		a := &i.Addresses[at]
		a.Verified, a.VerifiedAt, a.Status = said.Verified, time.Time{}, identity.AddressPending
		if said.Verified {
			a.Status, a.VerifiedAt = identity.AddressCompleted, said.VerifiedAt.UTC()
			if said.VerifiedAt.IsZero() {
				a.VerifiedAt = now.UTC()
			}
		}
	}
}

// orNothing makes JSON null nil.
func orNothing(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
