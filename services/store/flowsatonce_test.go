package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// Two that begin a flow first, such as a server and a command, make the file once.
func TestFlowsAreMadeByTwo(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		var stores []*store.Store
		for range 2 {
			s, err := store.Open(t.Context(), store.Options{DataDir: dir, CipherSecrets: []string{storetest.Secret}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			stores = append(stores, s)
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var begun sync.WaitGroup
		for _, s := range stores {
			begun.Go(func() {
				f := &flow.Flow{ID: uuid.New(), Kind: flow.Login, Type: flow.API, State: flow.ChooseMethod, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
				if err := s.CreateFlow(t.Context(), f); err != nil {
					t.Errorf("CreateFlow at once: %v", err)
				}
			})
		}
		begun.Wait()
	}
}
