package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/settings"
)

// taken is for somebody whose address or identifier has an account here already:
// another request was faster, or it is the same person, who can link the two, or
// another one.
func (s *Server) taken(x *exchange, b back, traits json.RawMessage, why error) error {
	in := x.returning(b)
	result, err := x.Login.LoginProven(x.r.Context(), in, b.account.Account)
	if !errors.Is(err, identity.ErrNotFound) {
		return s.entered(x, b, result, err)
	}
	link, err := s.linkable(x, b, traits)
	if err != nil {
		return err
	}
	if link == nil {
		return s.unregistered(x, b, why)
	}
	if b.provider.Linking() == oidc.LinkAutomatic && slices.Contains(vouched(b.account), link.Duplicate) {
		result, err := x.Login.LoginLinking(x.r.Context(), in, *link)
		if !errors.Is(err, identity.ErrNotFound) {
			return s.entered(x, b, result, err)
		}
	}
	return s.offerLink(x, b, *link)
}

// linkable gives the account that has one of the provider's addresses or
// identifiers, nil if none has.
func (s *Server) linkable(x *exchange, b back, traits json.RawMessage) (*flow.Link, error) {
	schema, ok := x.Schemas.Schema(b.flow.SchemaID)
	if !ok {
		return nil, nil
	}
	_, identifiers := schema.Extract(traits)
	for _, value := range identifiers {
		if !x.claimed(b.flow.SchemaID, b.account.Identity.Traits, value) {
			continue
		}
		found, err := s.Identities.IdentitiesByIdentifier(x.r.Context(), value)
		if err != nil {
			return nil, fmt.Errorf("whose identifier: %w", err)
		}
		if len(found) == 0 {
			continue
		}
		l := &flow.Link{Account: b.account.Account, Duplicate: value, Providers: settings.Linked(&found[0])}
		for _, c := range found[0].Credentials {
			l.Methods = append(l.Methods, c.Type)
		}
		return l, nil
	}
	return nil, nil
}

// linkLife is how long after the proof at a provider an account can be linked (S41),
// and how long the proof waits for an app.
const linkLife = 10 * time.Minute

// offerLink begins a login that links the provider's account to the one here.
func (s *Server) offerLink(x *exchange, b back, link flow.Link) error {
	f := x.newFlow(flow.Login, b.flow.Type)
	f.RequestURL = x.settings.begins(f)
	f.ReturnTo, f.SchemaID, f.Exchange, f.Link = b.flow.ReturnTo, b.flow.SchemaID, b.flow.Exchange, &link
	if end := x.at.Add(linkLife).UTC().Truncate(time.Microsecond); end.Before(f.ExpiresAt) {
		f.ExpiresAt = end
	}
	if err := s.Flows.CreateFlow(x.r.Context(), f); err != nil {
		return fmt.Errorf("begin login that links: %w", err)
	}
	if x.page {
		x.redirect(http.StatusSeeOther, withQuery(x.settings.page(f), "no_org_ui", "true"))
		return nil
	}
	return s.show(x, refusedStatus(f), f, nil)
}

// claimed tells whether an address or identifier is among those that a provider's
// traits hold: what was only typed proves nothing.
func (x *exchange) claimed(schemaID string, traits json.RawMessage, value string) bool {
	schema, ok := x.Schemas.Schema(schemaID)
	if !ok {
		return false
	}
	addresses, identifiers := schema.Extract(orEmpty(traits))
	for _, a := range addresses {
		identifiers = append(identifiers, a.Value)
	}
	return slices.Contains(identifiers, value)
}
