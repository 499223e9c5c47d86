package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// middle is the same place in any number of random ids.
var middle = uuid.MustParse("80000000-0000-4000-8000-000000000000")

// A page of identities costs the same however many there are,
// and so does a filter, but for a part of an identifier that few have; one from
// anywhere among a million also costs what is not in the caches yet.
func BenchmarkIdentities(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		for _, people := range []int{10_000, 1_000_000} {
			o := store.Options{DataDir: b.TempDir()}
			source := filepath.Join(o.DataDir, "usher.db")
			if name == "postgres" {
				o.DSN = storetest.PostgreSQL(b)
				source = o.DSN
			}
			s := open(b, o)
			fill(b, name, source, people)
			for call, run := range map[string]func(context.Context) (int, error){
				"same page": func(ctx context.Context) (int, error) {
					found, err := s.Identities(ctx, middle, 251)
					return len(found), err
				},
				"page": func(ctx context.Context) (int, error) {
					found, err := s.Identities(ctx, uuid.New(), 251)
					return len(found), err
				},
				"ids": func(ctx context.Context) (int, error) {
					found, err := s.IdentitiesByID(ctx, []uuid.UUID{uuid.New(), uuid.New(), uuid.New()})
					return len(found) + 1, err
				},
				"identifier": func(ctx context.Context) (int, error) {
					found, err := s.IdentitiesByIdentifier(ctx, fmt.Sprintf("handle%d", rand.IntN(people)))
					return len(found), err
				},
				"part of an identifier": func(ctx context.Context) (int, error) {
					found, err := s.IdentitiesLike(ctx, fmt.Sprintf("andle%d", rand.IntN(people)), uuid.UUID{}, 251)
					return len(found), err
				},
			} {
				b.Run(fmt.Sprintf("%s-%d-%s", name, people, call), func(b *testing.B) {
					for b.Loop() {
						if n, err := run(b.Context()); err != nil || n == 0 && call != "page" {
							b.Fatalf("%d found, %v", n, err)
						}
					}
				})
			}
		}
	}
}

// fill makes identities with an address, a password and a handle each.
func fill(b *testing.B, name, source string, people int) {
	b.Helper()
	db, err := sql.Open(name, source)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	numbers, id, blob := fmt.Sprintf(`generate_series(0, %d) AS g(n)`, people-1), `gen_random_uuid()`, `decode(md5(random()::text), 'hex')`
	if name == "sqlite" {
		numbers = fmt.Sprintf(`(WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g WHERE n < %d) SELECT n FROM g)`, people-1)
		id = `lower(substr(hex(randomblob(4)), 1, 8) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`
		blob = `randomblob(32)`
	}
	for _, statement := range []string{
		`CREATE TABLE people AS SELECT n, ` + id + ` AS id FROM ` + numbers,
		`INSERT INTO identities (id, schema_id, state, state_changed_at, traits, epoch, sequence, created_at, updated_at)
			SELECT id, 'default', 'active', 1, '{"email":"somebody@example.org"}', 0, 1, 1, 1 FROM people`,
		`INSERT INTO credentials (identity_id, type, identifiers, config, created_at, updated_at) SELECT id, 'password', '["somebody@example.org"]', '{"hashed_password":"x"}', 1, 1 FROM people`,
		`INSERT INTO addresses (id, identity_id, position, via, value, address_key, state, verifiable, recovery, identifier, verified, status, created_at, updated_at)
			SELECT ` + id + `, id, 0, 'email', 'somebody@example.org', ` + blob + `, 'owned', true, true, true, false, 'pending', 1, 1 FROM people`,
		`INSERT INTO handles (value, identity_id, created_at) SELECT 'handle' || n, id, 1 FROM people`,
		`ANALYZE`,
	} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatalf("%s: %v", statement, err)
		}
	}
}
