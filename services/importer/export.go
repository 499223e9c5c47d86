package importer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

// Lister lists identities.
type Lister interface {
	// Identities gives at most limit identities behind the given id, by id.
	Identities(ctx context.Context, after uuid.UUID, limit int) ([]identity.Identity, error)
}

// pageOfExport is how many identities are held at once.
const pageOfExport = 500

// Export writes all identities, each as a line that an import takes, in the order of their
// ids, and tells how many there were, also with an error. Without credentials the lines
// have nothing to sign in with. Who comes or goes meanwhile may be among them or not. Done,
// unless nil, is told after each page.
func Export(ctx context.Context, from Lister, to io.Writer, credentials bool, done func(all int)) (all int, err error) {
	out := bufio.NewWriter(to)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for after := uuid.Nil; ; {
		page, err := from.Identities(ctx, after, pageOfExport)
		if err != nil {
			return all, err
		}
		for n := range page {
			if err := lines.Encode(lineOf(&page[n], credentials)); err != nil {
				return all, fmt.Errorf("export %s: %w", page[n].ID, err)
			}
		}
		all += len(page)
		if done != nil {
			done(all)
		}
		if len(page) < pageOfExport {
			return all, out.Flush()
		}
		after = page[len(page)-1].ID
	}
}

// lineOf is what an import makes i of again.
func lineOf(i *identity.Identity, credentials bool) Line {
	l := Line{
		ID: &i.ID, ExternalID: i.ExternalID, SchemaID: i.SchemaID, State: i.State, StateChangedAt: &i.StateChangedAt,
		Traits: i.Traits, MetadataPublic: i.MetadataPublic, MetadataAdmin: i.MetadataAdmin,
		CreatedAt: &i.CreatedAt, UpdatedAt: &i.UpdatedAt,
	}
	for _, a := range i.Addresses {
		one := Address{Value: a.Value, Via: a.Via, CreatedAt: &a.CreatedAt, UpdatedAt: &a.UpdatedAt}
		if a.Recovery {
			l.RecoveryAddresses = append(l.RecoveryAddresses, one)
		}
		if a.Verifiable {
			one.Verified, one.VerifiedAt, one.Status = a.Verified, unlessZero(a.VerifiedAt), string(a.Status)
			l.VerifiableAddresses = append(l.VerifiableAddresses, one)
		}
	}
	if !credentials {
		return l
	}
	l.Credentials = map[string]Credential{}
	for _, c := range i.Credentials {
		l.Credentials[c.Type] = Credential{Type: c.Type, Identifiers: c.Identifiers, Config: c.Config, CreatedAt: &c.CreatedAt, UpdatedAt: &c.UpdatedAt}
	}
	return l
}

func unlessZero(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
