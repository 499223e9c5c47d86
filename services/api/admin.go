package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// Administrator does what administrators ask for, see [admin.Service].
type Administrator interface {
	Create(ctx context.Context, in admin.Creation) (*identity.Identity, error)
	CreateEach(ctx context.Context, all []admin.Creation) ([]admin.Created, error)
	CreateAll(ctx context.Context, all []admin.Creation) ([]*identity.Identity, error)
	Update(ctx context.Context, in admin.Update) (*identity.Identity, error)
	Delete(ctx context.Context, id uuid.UUID, by admin.Author) error
	RemoveCredential(ctx context.Context, in admin.Removal) error
	RevokeSession(ctx context.Context, id uuid.UUID, by admin.Author) error
	DeleteSessions(ctx context.Context, identityID uuid.UUID, by admin.Author) error
	ExtendSession(ctx context.Context, id uuid.UUID) (*session.Session, error)
	Recover(ctx context.Context, in admin.Recovery) (*admin.Begun, error)
}

const (
	usualPage = 250
	maxPage   = 1000
	maxIDs    = 500
)

// author is who asks, for the events.
func (x *exchange) author() audit.Author {
	return audit.Author{Actor: x.actor, RequestID: x.id, TraceParent: x.traceParent()}
}

// pathID gives the id in the path, or missing: what cannot be an id is none of
// anything.
func (x *exchange) pathID(missing error) (uuid.UUID, error) {
	id, err := parseID(x.r.PathValue("id"))
	if err != nil {
		return uuid.Nil, missing
	}
	return id, nil
}

// mended makes an error of an administrator's input one that says what is wrong.
func mended(err error) error {
	var invalid *flow.Invalid
	if errors.As(err, &invalid) {
		return refuse("%s", reasons(invalid.Form))
	}
	return err
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

// includeCredential asks for the credentials of some kinds besides.
const includeCredential = "include_credential"

// viewForAdmin is an identity with its credentials, their secrets where the
// query asks for them.
func (x *exchange) viewForAdmin(i *identity.Identity) adminView {
	secret := x.r.URL.Query()[includeCredential]
	return adminView{
		identityView:  x.settings.viewIdentity(i),
		Credentials:   viewCredentials(i.Credentials, func(kind string) bool { return slices.Contains(secret, kind) }),
		MetadataAdmin: i.MetadataAdmin,
	}
}

// showIdentity gives one identity.
func (s *Server) showIdentity(x *exchange) error {
	id, err := x.pathID(identity.ErrNotFound)
	if err != nil {
		return err
	}
	i, err := s.Identities.Identity(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("show identity: %w", err)
	}
	return x.encode(http.StatusOK, x.viewForAdmin(i))
}

// showIdentityByExternalID gives the one that another system calls so. It is told of by
// its own id, as what was looked for in vain is not.
func (s *Server) showIdentityByExternalID(x *exchange) error {
	i, err := s.Identities.IdentityByExternalID(x.r.Context(), x.r.PathValue("externalID"))
	if err != nil && !errors.Is(err, identity.ErrNotFound) {
		return fmt.Errorf("show identity by external id: %w", err)
	}
	target := ""
	if i != nil {
		target = i.ID.String()
	}
	if err := errors.Join(s.acted(x, readIdentity, target), err); err != nil {
		return err
	}
	return x.encode(http.StatusOK, x.viewForAdmin(i))
}

// listIdentities gives a page of identities, or those that a filter means, by id.
func (s *Server) listIdentities(x *exchange) error {
	filter, err := x.filter()
	if err != nil {
		return err
	}
	var found []identity.Identity
	ctx := x.r.Context()
	switch {
	case filter == byIDs:
		found, err = s.identitiesByID(x)
	case filter == byIdentifier:
		found, err = s.identitiesByIdentifier(ctx, x.query(byIdentifier))
	case filter == bySimilar:
		found, err = s.similarIdentities(x)
	case filter == byOrganization:
		found, err = nil, x.organization() // nobody is of one
	case x.byNumber():
		found, err = s.numberedIdentities(x)
	default:
		found, err = x.identitiesBehind(s.Identities.Identities, includeCredential)
	}
	if err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	withCredentials := filter == byIdentifier || filter == bySimilar || len(x.r.URL.Query()[includeCredential]) > 0
	views := make([]adminView, len(found))
	for n := range found {
		views[n] = x.viewForAdmin(&found[n])
		if !withCredentials {
			views[n].Credentials = nil
		}
	}
	return x.encode(http.StatusOK, views)
}

// Filters of the list, by their parameters. byExternal is none, and was taken for one.
const (
	byExternal     = "external_id"
	byIDs          = "ids"
	byIdentifier   = "credentials_identifier"
	bySimilar      = "preview_credentials_identifier_similar"
	byOrganization = "organization_id"
)

// filter gives the one filter that is set, "" for none. One that was ignored
// would show more than was asked for.
func (x *exchange) filter() (set string, err error) {
	if x.r.URL.Query().Has(byExternal) {
		return "", refuse("the parameter %s is not supported: use GET %s{externalID}", byExternal, routeExternal)
	}
	for _, name := range []string{byIDs, byIdentifier, bySimilar, byOrganization} {
		if len(x.queryAll(name)) == 0 {
			continue
		}
		if set != "" {
			return "", refuse("only one filter at a time: %s or %s", set, name)
		}
		set = name
	}
	return set, nil
}

// identitiesByIdentifier gives who signs in with an identifier: by entering it, or as an
// account at a provider.
func (s *Server) identitiesByIdentifier(ctx context.Context, identifier string) ([]identity.Identity, error) {
	found, err := s.Identities.IdentitiesByIdentifier(ctx, identity.CanonicalIdentifier(identifier))
	if _, account := identity.AccountOf(identifier); err != nil || !account {
		return found, err
	}
	others, err := s.Identities.IdentitiesByIdentifier(ctx, identity.Handle(identity.MethodOIDC, identifier))
	if err != nil || len(others) == 0 || len(found) == 1 && found[0].ID == others[0].ID {
		return found, err
	}
	found = append(found, others...)
	slices.SortFunc(found, func(a, b identity.Identity) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return found, nil
}

func (s *Server) identitiesByID(x *exchange) ([]identity.Identity, error) {
	texts := x.queryAll(byIDs)
	if len(texts) > maxIDs {
		return nil, refuse("at most %d ids can be asked for at once", maxIDs)
	}
	ids := make([]uuid.UUID, len(texts))
	for n, text := range texts {
		var err error
		if ids[n], err = parseID(text); err != nil {
			return nil, refuse("ids holds what is no id")
		}
	}
	return s.Identities.IdentitiesByID(x.r.Context(), ids)
}

// minSimilar and maxSimilar bound in bytes what is looked for within identifiers: less is
// in nearly all of them, more in none.
const (
	minSimilar = 3
	maxSimilar = 254
)

// similarIdentities gives a page of those of whom an identifier holds a text.
func (s *Server) similarIdentities(x *exchange) ([]identity.Identity, error) {
	text := strings.TrimSpace(x.query(bySimilar))
	if len(text) < minSimilar || len(text) > maxSimilar {
		return nil, refuse("%s: want %d to %d bytes of an identifier", bySimilar, minSimilar, maxSimilar)
	}
	if x.byNumber() {
		return nil, refuse("%s goes by page_size and page_token, not by page", bySimilar)
	}
	return x.identitiesBehind(func(ctx context.Context, after uuid.UUID, limit int) ([]identity.Identity, error) {
		return s.Identities.IdentitiesLike(ctx, text, after, limit)
	}, includeCredential, bySimilar)
}

// organization refuses what cannot be the id of an organization.
func (x *exchange) organization() error {
	if _, err := parseID(x.query(byOrganization)); err != nil {
		return refuse("%s holds what is no id", byOrganization)
	}
	return nil
}

// identitiesBehind gives a page by key of what read gives. Its links keep the parameters.
func (x *exchange) identitiesBehind(read func(ctx context.Context, after uuid.UUID, limit int) ([]identity.Identity, error), kept ...string) ([]identity.Identity, error) {
	size, after, err := x.keyPage()
	if err != nil {
		return nil, err
	}
	// One more than asked for tells whether there is a next page.
	found, err := read(x.r.Context(), after, size+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(found) > size {
		found = found[:size]
		next = keyToken(found[size-1].ID)
	}
	x.linkKeyPages(size, next, kept...)
	return found, nil
}

// numberedIdentities gives a page of the older kind.
func (s *Server) numberedIdentities(x *exchange) ([]identity.Identity, error) {
	page, err := x.numberedPage()
	if err != nil {
		return nil, err
	}
	found, total, err := s.Identities.IdentitiesAt(x.r.Context(), page.offset(), page.size)
	if err != nil {
		return nil, err
	}
	x.linkNumberedPages(page, total, includeCredential)
	return found, nil
}
