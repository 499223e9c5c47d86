package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
)

const (
	usualPage = 250
	maxPage   = 1000
)

// listIdentities gives a page of identities, by id.
func (s *Server) listIdentities(x *exchange) error {
	// A filter that is ignored would show more than was asked for.
	for _, filter := range []string{"ids", "credentials_identifier", "preview_credentials_identifier_similar", "organization_id", "page"} {
		if x.query(filter) != "" {
			return refuse("the parameter %s is not supported", filter)
		}
	}
	size, err := x.limit("page_size", usualPage, maxPage)
	if err != nil {
		return err
	}
	var after uuid.UUID
	if token := x.query("page_token"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(raw) != len(after) {
			return refuse("page_token is none of this server")
		}
		after = uuid.UUID(raw)
	}
	// One more than asked for tells whether there is a next page.
	identities, err := s.Identities.Identities(x.r.Context(), after, size+1)
	if err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	links := []string{pageLink("first", size, uuid.Nil)}
	if len(identities) > size {
		identities = identities[:size]
		links = append(links, pageLink("next", size, identities[size-1].ID))
	}
	x.w.Header()["Link"] = []string{strings.Join(links, ",")}
	views := make([]adminView, len(identities))
	for n := range identities {
		views[n] = x.viewForAdmin(&identities[n])
		if len(x.r.URL.Query()["include_credential"]) == 0 {
			views[n].Credentials = nil
		}
	}
	return x.encode(http.StatusOK, views)
}

func pageLink(rel string, size int, after uuid.UUID) string {
	q := url.Values{"page_size": {strconv.Itoa(size)}}
	if after != uuid.Nil {
		q.Set("page_token", base64.RawURLEncoding.EncodeToString(after[:]))
	}
	return "<" + routeIdentities + "?" + q.Encode() + `>; rel="` + rel + `"`
}

// viewForAdmin is an identity with its credentials, their secrets where the
// query asks for them.
func (x *exchange) viewForAdmin(i *identity.Identity) adminView {
	secret := x.r.URL.Query()["include_credential"]
	return adminView{
		identityView:  x.settings.viewIdentity(i),
		Credentials:   viewCredentials(i.Credentials, func(kind string) bool { return slices.Contains(secret, kind) }),
		MetadataAdmin: i.MetadataAdmin,
	}
}

// showIdentity gives one identity.
func (s *Server) showIdentity(x *exchange) error {
	id, err := parseID(x.r.PathValue("id"))
	if err != nil {
		return identity.ErrNotFound
	}
	i, err := s.Identities.Identity(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("show identity: %w", err)
	}
	return x.encode(http.StatusOK, x.viewForAdmin(i))
}

// newIdentity is the body that makes an identity. Members that it does not
// know are refused: an administrator's typing error must not pass as success.
type newIdentity struct {
	SchemaID            string          `json:"schema_id"`
	Traits              json.RawMessage `json:"traits"`
	State               identity.State  `json:"state"`
	MetadataPublic      json.RawMessage `json:"metadata_public"`
	MetadataAdmin       json.RawMessage `json:"metadata_admin"`
	Credentials         newCredentials  `json:"credentials"`
	VerifiableAddresses []newAddress    `json:"verifiable_addresses"`
	// Known to the contract, but nothing that is built could keep them.
	RecoveryAddresses []json.RawMessage `json:"recovery_addresses"`
	ExternalID        string            `json:"external_id"`
	OrganizationID    *string           `json:"organization_id"`
}

type newCredentials struct {
	Password *struct {
		Config struct {
			Password       string `json:"password"`
			HashedPassword string `json:"hashed_password"`
		} `json:"config"`
	} `json:"password"`
}

type newAddress struct {
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
	i, err := s.Creator.Create(x.r.Context(), in)
	var invalid *flow.Invalid
	if errors.As(err, &invalid) {
		return refuse("%s", reasons(invalid.Form))
	}
	if err != nil {
		return fmt.Errorf("create identity: %w", err)
	}
	x.w.Header()["Location"] = []string{x.settings.admin + routeIdentities + "/" + i.ID.String()}
	return x.encode(http.StatusCreated, x.viewForAdmin(i))
}

func decodeIdentity(x *exchange) (registration.Creation, error) {
	var none registration.Creation
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != typeJSON {
		return none, refuse("the Content-Type must be %s", typeJSON)
	}
	body, err := readBody(x.r)
	if err != nil {
		return none, err
	}
	if _, err := scanObject(body); err != nil {
		return none, refuse("%v", err)
	}
	var n newIdentity
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	if err := d.Decode(&n); errors.As(err, &wrong) {
		return none, refuse("%s has the wrong type", wrong.Field)
	} else if err != nil {
		return none, refuse("%s", strings.TrimPrefix(err.Error(), "json: ")) // unknown field "…"
	}
	if err := n.check(); err != nil {
		return none, err
	}
	if n.SchemaID == "" {
		n.SchemaID = x.settings.DefaultSchema
	}
	in := registration.Creation{
		SchemaID:       n.SchemaID,
		Traits:         n.Traits,
		State:          n.State,
		MetadataPublic: unlessNull(n.MetadataPublic),
		MetadataAdmin:  unlessNull(n.MetadataAdmin),
		Actor:          x.actor,
		RequestID:      x.id,
	}
	if p := n.Credentials.Password; p != nil {
		in.HashedPassword = p.Config.HashedPassword
		if p.Config.Password != "" {
			in.Password = password.New(p.Config.Password)
		}
	}
	for _, a := range n.VerifiableAddresses {
		if a.Verified {
			in.Verified = append(in.Verified, a.Value)
		}
	}
	return in, nil
}

func (n *newIdentity) check() error {
	switch {
	case len(n.Traits) == 0 || n.Traits[0] != '{':
		return refuse("traits must be an object")
	case n.State != "" && n.State != identity.Active && n.State != identity.Inactive:
		return refuse("state must be %s or %s", identity.Active, identity.Inactive)
	case len(n.RecoveryAddresses) > 0:
		return refuse("recovery_addresses come from the traits by the identity schema")
	case n.ExternalID != "" || n.OrganizationID != nil:
		return refuse("external_id and organization_id are not supported")
	}
	if p := n.Credentials.Password; p != nil && p.Config.HashedPassword != "" && p.Config.Password != "" {
		return refuse("give either password or hashed_password")
	}
	return nil
}

func unlessNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// reasons are the texts of all messages of a form, by their nodes.
func reasons(form flow.Form) string {
	var all []string
	for _, node := range slices.Sorted(maps.Keys(form.Messages)) {
		for _, m := range form.Messages[node] {
			text := m.Text
			if node != "" {
				text = node + ": " + text
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, " ")
}
