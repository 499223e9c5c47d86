package importer_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/importer"
)

// Identities gives those that are stored, by id.
func (w *world) Identities(_ context.Context, after uuid.UUID, limit int) (page []identity.Identity, err error) {
	for id, i := range w.stored {
		if bytes.Compare(id[:], after[:]) > 0 {
			page = append(page, *i)
		}
	}
	slices.SortFunc(page, func(a, b identity.Identity) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return page[:min(limit, len(page))], nil
}

// What is exported is imported as it was, over pages that are full and one that is not.
func TestExport(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 1001} {
		w, other := newWorld(t), newWorld(t)
		all := people(n)
		if n > 1 {
			all[1] = strings.TrimSuffix(all[1], "}") + `,"external_id":"crm:7","state":"inactive","state_changed_at":"2021-01-02T03:04:05.123456Z","created_at":"2020-01-02T03:04:05Z",` +
				`"metadata_admin":{"a":"<&>"},"metadata_public":[1],"verifiable_addresses":[{"value":"1@example.org","verified":true,"verified_at":"2020-02-03T04:05:06Z","created_at":"2020-01-03T04:05:06Z"}],` +
				`"credentials":{"password":{"created_at":"2020-01-02T03:04:06Z","config":{"hashed_password":"$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"}},` +
				`"oidc":{"config":{"providers":[{"provider":"p","subject":"S:1","issuer":"https://p.example"}]}}}}`
		}
		w.service.Batch = admin.MaxBatch
		w.all(lines(all...))
		var first, second strings.Builder
		var told []int
		if got, err := importer.Export(t.Context(), w, &first, true, func(all int) { told = append(told, all) }); err != nil || got != n || told[len(told)-1] != n {
			t.Fatalf("Export = %d, %v, told of %v, want %d", got, err, told, n)
		}
		other.service.Batch = admin.MaxBatch
		if sum := other.all(first.String()); sum.Imported != n || sum.Refused != 0 {
			t.Fatalf("Run = %+v %v, want %d imported", sum, other.reasons(), n)
		}
		if _, err := importer.Export(t.Context(), other, &second, true, nil); err != nil || first.String() != second.String() {
			t.Errorf("Export of what was imported: %v\n%.2000s\nwant\n%.2000s", err, second.String(), first.String())
		}
		if n > 1 && (!strings.Contains(first.String(), `"verified_at":"2020-02-03T04:05:06Z"`) || !strings.Contains(first.String(), `"<&>"`) || !strings.Contains(first.String(), `"external_id":"crm:7"`)) {
			t.Error("the export has not what was imported")
		}
		second.Reset()
		if _, err := importer.Export(t.Context(), w, &second, false, nil); err != nil || strings.Contains(second.String(), "$2a") || strings.Contains(second.String(), "S:1") {
			t.Errorf("Export without credentials has some, or %v", err)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestExportSaysThatItIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.all(lines(people(3)...))
	if _, err := importer.Export(t.Context(), w, fullDisk{}, false, nil); err == nil {
		t.Error("Export to a full disk gives no error")
	}
}
