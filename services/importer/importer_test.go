package importer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/importer"
)

// people are the lines of n, the first with the number 0.
func people(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(`{"id":%q,"traits":{"email":"%d@example.org"}}`, idOf(i), i))
	}
	return all
}

func idOf(i int) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, i)) }

func lines(all ...string) string { return strings.Join(all, "\n") }

// published are the ids of all events, in their order, and the numbers of the batches.
func (w *world) published() (ids []string, batches []int) {
	for _, e := range w.events {
		if e.Type == (events.IdentityCreated{}).EventType() {
			ids = append(ids, e.Subject)
			continue
		}
		var p events.IdentitiesImported
		if err := json.Unmarshal(e.Data, &p); err != nil {
			w.t.Fatal(err)
		}
		if p.Count != len(p.IDs) {
			w.t.Errorf("identities.imported has the count %d and %d ids", p.Count, len(p.IDs))
		}
		ids, batches = append(ids, p.IDs...), append(batches, p.Batch)
	}
	return ids, batches
}

// everyEventOnce checks that who is stored by an import has one event, and nobody else.
func (w *world) everyEventOnce(others ...uuid.UUID) {
	w.t.Helper()
	var want []string
	for id := range w.stored {
		if !slices.Contains(others, id) {
			want = append(want, id.String())
		}
	}
	got, _ := w.published()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("events of %v, want of %v", got, want)
	}
}

func TestTheSameAgainStoresNothing(t *testing.T) {
	t.Parallel()
	for _, each := range []bool{false, true} {
		w := newWorld(t)
		w.service.Each = each
		text := lines(people(10)...)
		if got, want := w.all(text), (importer.Summary{Lines: 10, Imported: 10}); got != want {
			t.Errorf("Run = %+v, want %+v", got, want)
		}
		if got, want := w.all(text), (importer.Summary{Lines: 10, There: 10}); got != want {
			t.Errorf("Run again = %+v, want %+v", got, want)
		}
		if _, batches := w.published(); !each && !slices.Equal(batches, []int{1, 2, 3}) {
			t.Errorf("batches %v, want 1, 2, 3", batches)
		}
		w.everyEventOnce()
	}
}

// While one batch is stored the next one is judged: nobody of it is seen by who looks.
func TestDuplicatesOfBatchesInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	looks, second := 0, make(chan struct{})
	w.looked = func() {
		if looks++; looks == 2 {
			close(second)
		}
	}
	w.committing = func() error {
		<-second
		return nil
	}
	all := people(12)
	all[5] = strings.Replace(all[5], "5@", "3@", 1)
	all[6] = all[2]
	all[11] = strings.Replace(all[11], "11@", "1@", 1)
	sum := w.all(lines(all...))
	if want := (importer.Summary{Lines: 12, Imported: 9, Refused: 3}); sum != want {
		t.Errorf("Run = %+v, want %+v", sum, want)
	}
	want := []string{"line 6: line 4 has the same identifier, address or external_id", "line 7: line 3 is of the same identity", strings.Replace(taken, "1", "12", 1)}
	if got := w.reasons(); !slices.Equal(got, want) {
		t.Errorf("refused %q, want %q", got, want)
	}
	if want := []int{4, 2, 3}; !slices.Equal(w.commits, want) {
		t.Errorf("commits of %v, want %v", w.commits, want)
	}
	w.everyEventOnce()
}

const taken = "line 1: an identity with the same identifier, address or external_id is there"

// Somebody takes an address after it was looked up.
func TestSomebodyIsFaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.Batch = 100
	w.committing = func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken["a0@example.org"] = true
		return nil
	}
	if sum, want := w.all(lines(people(100)...)), (importer.Summary{Lines: 100, Imported: 99, Refused: 1}); sum != want {
		t.Errorf("Run = %+v, want %+v", sum, want)
	}
	if got := w.reasons(); !slices.Equal(got, []string{taken}) {
		t.Errorf("refused %q, want %q", got, taken)
	}
	if want := []int{100, 99}; !slices.Equal(w.commits, want) {
		t.Errorf("commits of %v, want %v", w.commits, want)
	}
	if _, batches := w.published(); !slices.Equal(batches, []int{1}) {
		t.Errorf("batches %v, want 1", batches)
	}
	w.everyEventOnce()
}

// The same import runs twice at once.
func TestAnotherImportIsFaster(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	text := lines(people(4)...)
	other.all(lines(people(2)...))
	w.committing = func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for id, i := range other.stored {
			w.stored[id] = i
		}
		return nil
	}
	if sum, want := w.all(text), (importer.Summary{Lines: 4, Imported: 2, There: 2}); sum != want {
		t.Errorf("Run = %+v, want %+v", sum, want)
	}
	w.everyEventOnce(idOf(0), idOf(1))
}

// What is taken is not seen by who looks: the batch is halved, and not stored one by one.
func TestHalving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.Batch = 8
	w.blind = true
	w.taken["a2@example.org"] = true
	if sum, want := w.all(lines(people(8)...)), (importer.Summary{Lines: 8, Imported: 7, Refused: 1}); sum != want {
		t.Errorf("Run = %+v, want %+v", sum, want)
	}
	if got, want := w.reasons(), strings.Replace(taken, "1", "3", 1); !slices.Equal(got, []string{want}) {
		t.Errorf("refused %q, want %q", got, want)
	}
	if want := []int{8, 4, 2, 2, 1, 1, 4}; !slices.Equal(w.commits, want) {
		t.Errorf("commits of %v, want %v", w.commits, want)
	}
	if _, batches := w.published(); !slices.Equal(batches, []int{1, 2, 3}) {
		t.Errorf("batches %v, want 1, 2, 3", batches)
	}
	w.everyEventOnce()
}

// What fails ends the import, and what was stored before it is told.
func TestWhatEndsAnImport(t *testing.T) {
	t.Parallel()
	gone := errors.New("the database is gone")
	for name, c := range map[string]struct {
		change func(*world)
		text   string
		want   string
		sum    importer.Summary
	}{
		"the second commit": {func(w *world) {
			w.committing = func() error {
				if len(w.commits) == 2 {
					return gone
				}
				return nil
			}
		}, lines(people(20)...), gone.Error(), importer.Summary{Lines: 4, Imported: 4}},
		"the report": {func(w *world) {
			w.service.Refused = func(importer.Refusal) error { return gone }
		}, lines(append(people(5), "{", people(1)[0])...), gone.Error(), importer.Summary{Lines: 7, Imported: 5, Refused: 1}},
		"the input": {func(*world) {}, "[" + strings.Join(people(6), ",") + ",", "no end", importer.Summary{Lines: 6, Imported: 6}},
	} {
		w := newWorld(t)
		c.change(w)
		sum, err := w.run(strings.NewReader(c.text), 1)
		if err == nil || !strings.Contains(err.Error(), c.want) || sum != c.sum {
			t.Errorf("%s: Run = %+v, %v, want %+v, %s", name, sum, err, c.sum, c.want)
		}
		w.everyEventOnce()
	}
}

func TestCheckOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.CheckOnly = true
	if err := w.CreateIdentities(t.Context(), []*identity.Identity{{ID: idOf(1), State: identity.Active, Traits: []byte(`{"email":"1@example.org"}`)}}, nil); err != nil {
		t.Fatal(err)
	}
	if sum, want := w.all(lines(append(people(9), "{")...)), (importer.Summary{Lines: 10, Imported: 8, There: 1, Refused: 1}); sum != want {
		t.Errorf("Run = %+v, want %+v", sum, want)
	}
	if len(w.commits) != 1 {
		t.Errorf("%d commits, want none but that of the test", len(w.commits))
	}
}

// Done is told of each batch once, Refused in the order of the lines.
func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var done []int
	w.service.Done = func(s importer.Summary) { done = append(done, s.Lines) }
	all := people(10)
	all[7], all[1], all[2] = "{", "{", "{"
	w.all(lines(all...))
	if want := []int{4, 8, 10}; !slices.Equal(done, want) {
		t.Errorf("Done of %v lines, want %v", done, want)
	}
	var at []int
	for _, r := range w.refused {
		at = append(at, r.Line)
	}
	if want := []int{2, 3, 8}; !slices.Equal(at, want) {
		t.Errorf("refused %v, want %v", at, want)
	}
}

// A rate holds back what is stored, not what is there already.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Rate, w.service.Batch = 2, 4
		text := lines(people(10)...)
		for _, want := range []time.Duration{4 * time.Second, 0} { // the first two need not wait
			began := time.Now()
			w.all(text)
			if took := time.Since(began).Round(time.Millisecond); took != want {
				t.Errorf("10 people at 2 a second took %v, want %v", took, want)
			}
		}
		if want := []int{2, 2, 2, 2, 2}; !slices.Equal(w.commits, want) {
			t.Errorf("commits of %v, want %v", w.commits, want)
		}
	})
}
