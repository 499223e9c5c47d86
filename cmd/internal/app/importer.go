package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/importer"
	"github.com/usher-auth/usher/services/store"
)

// NewImporter gives what imports into a database, by the schemas and the hasher of
// the configuration. It asks nothing of a running server. Without a database it can
// only check.
func NewImporter(cfg *config.Config, s *store.Store) (*importer.Service, error) {
	compiled, err := compileSchemas(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := passwords(cfg, nil)
	if err != nil {
		return nil, err
	}
	var into importer.Store = nowhere{}
	if s != nil {
		into = s
	}
	configured := []string{}
	for _, p := range cfg.OIDCProviders() {
		configured = append(configured, p.ID)
	}
	return &importer.Service{
		Providers:     configured,
		Store:         into,
		Maker:         admin.Maker{Schemas: compiled, Passwords: pool, Now: time.Now},
		DefaultSchema: cfg.Identity.DefaultSchemaID,
		Now:           time.Now,
	}, nil
}

// nowhere is the database of a check that has none: nobody is in it.
type nowhere struct{}

func (nowhere) CreateIdentities(context.Context, []*identity.Identity, []events.Event) error {
	return errors.New("there is no database to import into")
}

func (nowhere) IdentitiesByID(context.Context, []uuid.UUID) ([]identity.Identity, error) {
	return nil, nil
}

func (nowhere) Taken(context.Context, []*identity.Identity) (map[uuid.UUID]bool, error) {
	return nil, nil
}

func (nowhere) ImportID(text []byte) (uuid.UUID, error) { return uuid.NewSHA1(uuid.Nil, text), nil }
