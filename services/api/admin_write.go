package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// wantedIdentity is the body that makes or replaces an identity.
type wantedIdentity struct {
	ExternalID          string            `json:"external_id"`
	SchemaID            string            `json:"schema_id"`
	Traits              json.RawMessage   `json:"traits"`
	State               identity.State    `json:"state"`
	MetadataPublic      json.RawMessage   `json:"metadata_public"`
	MetadataAdmin       json.RawMessage   `json:"metadata_admin"`
	Credentials         wantedCredentials `json:"credentials"`
	VerifiableAddresses []wantedAddress   `json:"verifiable_addresses"`
	RecoveryAddresses   []wantedAddress   `json:"recovery_addresses"`
	// Known to the contract, but nothing that is built could keep it.
	OrganizationID *string `json:"organization_id"`
}

type wantedCredentials struct {
	Password *struct {
		Config struct {
			Password       string `json:"password"`
			HashedPassword string `json:"hashed_password"`
		} `json:"config"`
	} `json:"password"`
	OIDC *struct {
		Config struct {
			Providers []wantedAccount `json:"providers"`
		} `json:"config"`
	} `json:"oidc"`
}

// wantedAccount is one at a provider.
type wantedAccount struct {
	identity.Account
	// Known to the contract, but nothing that is built could keep them.
	Organization *string `json:"organization"`
	AutoLink     bool    `json:"use_auto_link"`
}

type wantedAddress struct {
	Value    string `json:"value"`
	Via      string `json:"via"`
	Verified bool   `json:"verified"`
	Status   string `json:"status"`
}

// createIdentity makes an identity that an administrator describes.
func (s *Server) createIdentity(x *exchange) error {
	in, err := decodeIdentity(x)
	if err != nil {
		return err
	}
	i, err := x.Administrator.Create(x.r.Context(), x.creation(in))
	if err != nil {
		return fmt.Errorf("create identity: %w", mended(err))
	}
	x.w.Header()["Location"] = []string{x.settings.admin + routeIdentities + "/" + i.ID.String()}
	return x.encode(http.StatusCreated, x.viewForAdmin(i))
}

// creation is what the body asks for.
func (x *exchange) creation(in wantedIdentity) admin.Creation {
	c := admin.Creation{
		ExternalID:     in.ExternalID,
		SchemaID:       in.SchemaID,
		Traits:         in.Traits,
		State:          in.State,
		MetadataPublic: unlessNull(in.MetadataPublic),
		MetadataAdmin:  unlessNull(in.MetadataAdmin),
		Author:         x.author(),
	}
	if c.SchemaID == "" {
		c.SchemaID = x.settings.DefaultSchema
	}
	c.Password, c.HashedPassword = in.password()
	c.Accounts = in.accounts()
	for _, a := range in.VerifiableAddresses {
		if a.Verified {
			c.Verified = append(c.Verified, a.Value)
		}
	}
	for _, a := range in.RecoveryAddresses {
		c.Recovery = append(c.Recovery, a.Value)
	}
	return c
}

// replaceIdentity makes an identity what an administrator describes. What was
// left out is gone, but the schema, the state and the ways to sign in stay.
func (s *Server) replaceIdentity(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	in, err := decodeIdentity(x)
	if err != nil {
		return err
	}
	if len(in.VerifiableAddresses) > 0 || len(in.RecoveryAddresses) > 0 {
		return refuse("addresses of an identity that exists follow its traits")
	}
	u := admin.Update{ID: id, Author: x.author(), Want: func(*identity.Identity) (admin.Wanted, error) {
		return admin.Wanted{
			ExternalID:     in.ExternalID,
			SchemaID:       in.SchemaID,
			State:          in.State,
			Traits:         in.Traits,
			MetadataPublic: unlessNull(in.MetadataPublic),
			MetadataAdmin:  unlessNull(in.MetadataAdmin),
		}, nil
	}}
	u.Password, u.HashedPassword = in.password()
	u.Accounts = in.accounts()
	return s.update(x, u)
}

// patchIdentity changes parts of an identity, see [decodePatch].
func (s *Server) patchIdentity(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	body, err := x.bodyOf(typeJSON, "application/json-patch+json")
	if err != nil {
		return err
	}
	p, err := decodePatch(body)
	if err != nil {
		return err
	}
	return s.update(x, admin.Update{ID: id, Author: x.author(), Want: p.apply})
}

func (s *Server) update(x *exchange, u admin.Update) error {
	i, err := x.Administrator.Update(x.r.Context(), u)
	if err != nil {
		return fmt.Errorf("update identity: %w", mended(err))
	}
	return x.encode(http.StatusOK, x.viewForAdmin(i))
}

// deleteIdentity deletes an identity and all that belongs to it.
func (s *Server) deleteIdentity(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	if err := x.Administrator.Delete(x.r.Context(), id, x.author()); err != nil {
		return fmt.Errorf("delete identity: %w", err)
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// removeCredential takes a way to sign in away from an identity.
func (s *Server) removeCredential(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	in := admin.Removal{ID: id, Type: x.r.PathValue("type"), Identifier: x.query("identifier"), SignsIn: s.ways(x).SignIn, Author: x.author()}
	if in.Type == identity.MethodOIDC && in.Identifier == "" {
		return refuse("the query parameter identifier must say which account at a provider is to go: provider:subject")
	}
	if err := x.Administrator.RemoveCredential(x.r.Context(), in); err != nil {
		return fmt.Errorf("remove credential: %w", err)
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

func decodeIdentity(x *exchange) (in wantedIdentity, err error) {
	if err := x.decode(&in); err != nil {
		return in, err
	}
	return in, in.check()
}

// check refuses what is no description of an identity, and what nothing that is built
// could keep. The rest is judged by who makes people.
func (in *wantedIdentity) check() error {
	switch {
	case len(in.Traits) == 0 || in.Traits[0] != '{':
		return refuse("traits must be an object")
	case in.OrganizationID != nil:
		return refuse("organization_id is not supported")
	}
	if o := in.Credentials.OIDC; o != nil {
		for _, a := range o.Config.Providers {
			if a.Organization != nil || a.AutoLink {
				return refuse("organization and use_auto_link are not supported")
			}
		}
	}
	for _, a := range slices.Concat(in.VerifiableAddresses, in.RecoveryAddresses) {
		if a.Via != "" && a.Via != "email" {
			return refuse("via must be email")
		}
	}
	return nil
}

// password gives what is set of the two, or neither.
func (in *wantedIdentity) password() (plain password.Plain, hash string) {
	p := in.Credentials.Password
	if p == nil {
		return plain, ""
	}
	if p.Config.Password != "" {
		plain = password.New(p.Config.Password)
	}
	return plain, p.Config.HashedPassword
}

func (in *wantedIdentity) accounts() (all []identity.Account) {
	if in.Credentials.OIDC == nil {
		return nil
	}
	for _, a := range in.Credentials.OIDC.Config.Providers {
		all = append(all, a.Account)
	}
	return all
}

// unlessNull gives nil for a member that is absent or null.
func unlessNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
