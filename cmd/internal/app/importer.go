package app

import (
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/importer"
	"github.com/usher-auth/usher/services/store"
)

// NewImporter gives what imports into a database, by the schemas and the hasher of
// the configuration. It asks nothing of a running server.
func NewImporter(cfg *config.Config, s *store.Store) (*importer.Service, error) {
	compiled, err := compileSchemas(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := passwords(cfg, nil)
	if err != nil {
		return nil, err
	}
	return &importer.Service{
		Store:         s,
		Maker:         &admin.Service{Schemas: compiled, Passwords: pool, Now: time.Now},
		DefaultSchema: cfg.Identity.DefaultSchemaID,
		Now:           time.Now,
	}, nil
}
