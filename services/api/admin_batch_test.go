package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

type batchEntry struct {
	Action   string
	Identity *uuid.UUID
	PatchID  *string `json:"patch_id"`
	Error    *struct {
		Code   int
		Reason string
	}
}

type batchAnswer struct{ Identities []batchEntry }

func (g got) batch(t *testing.T) (a batchAnswer) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &a); err != nil || g.status != 200 {
		t.Fatalf("answer %d %s, want that of a batch", g.status, g.body)
	}
	return a
}

// Each entry is made, or refused, by itself, and has its own event.
func TestCreateIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	c.postJSON("/admin/identities", `{"traits":{"email":"anna@example.org"}}`)
	a := c.patch("/admin/identities", `{"identities":[
		{"patch_id":"3f8f6c1e-0000-4000-8000-000000000000","create":{"traits":{"email":"ben@example.org"},"external_id":"crm-7","state":"inactive","metadata_admin":{"a":1},
			"credentials":{"password":{"config":{"password":"short"}}},"verifiable_addresses":[{"value":"ben@example.org","via":"email","verified":true}]}},
		{"patch_id":"taken","create":{"traits":{"email":"Anna@example.org"}}},
		{"create":{"traits":{"email":"no"}}},
		{"create":{"traits":{"email":"carl@example.org"},"nick":"carl"}},
		{"create":{"traits":{"email":"carl@example.org"},"external_id":"crm-7"}},
		{"patch_id":"empty"},
		{"create":null},
		{"create":{"traits":{"email":"carl@example.org"},"metadata_public":"`+strings.Repeat("x", 65<<10)+`"}},
		{"create":{"traits":{"email":"carl@example.org"}}}]}`).batch(t)
	wants := []int{0, 409, 400, 400, 409, 400, 400, 400, 0}
	for n, e := range a.Identities {
		if made := wants[n] == 0; made != (e.Action == "create") || made != (e.Identity != nil) || made != (e.Error == nil) || !made && (e.Error.Code != wants[n] || e.Error.Reason == "") {
			t.Errorf("entry %d = %+v %+v, want %d", n, e, e.Error, wants[n])
		}
	}
	if len(a.Identities) != len(wants) || *a.Identities[0].PatchID != "3f8f6c1e-0000-4000-8000-000000000000" || *a.Identities[1].PatchID != "taken" || a.Identities[2].PatchID != nil {
		t.Errorf("answer = %+v, want each with its own patch_id", a)
	}
	ben := w.identities[*a.Identities[0].Identity]
	if ben.ExternalID != "crm-7" || ben.State != "inactive" || string(ben.MetadataAdmin) != `{"a":1}` || !ben.Addresses[0].Verified || string(ben.Credentials[0].Config) != `{"hashed_password":"hash of short"}` {
		t.Errorf("stored %+v, want what was asked for", ben)
	}
	if len(w.identities) != 3 || len(w.told) != 2 || w.told[0].Type != "identity.created" || w.told[0].Subject != ben.ID.String() || w.told[0].Actor != "admin:local" {
		t.Errorf("%d stored, told %+v, want the events of two", len(w.identities), w.told)
	}
	if g := c.patch("/admin/identities", `{}`); g.status != 200 || g.body != `{"identities":[]}` {
		t.Errorf("a batch of none = %d %s, want none", g.status, g.body)
	}
}

// All or none, where that is asked for.
func TestCreateIdentitiesTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	together := func(second string) got {
		return c.patch("/admin/identities", `{"with_partial_inserts":false,"identities":[{"create":{"traits":{"email":"anna@example.org"}}},{"patch_id":"b","create":`+second+`}]}`)
	}
	c.postJSON("/admin/identities", `{"traits":{"email":"ben@example.org"}}`)
	for second, want := range map[string]int{
		`{"traits":{"email":"Ben@example.org"}}`: 409, `{"traits":{"email":"no"}}`: 400, `{"traits":{"email":"carl@example.org"},"nick":1}`: 400, `null`: 400,
	} {
		if g := together(second); g.status != want || len(w.identities) != 1 {
			t.Errorf("with %s = %d %s, %d stored, want %d and one", second, g.status, g.body, len(w.identities), want)
		} else if details := g.shown(t).Error.Details; details["index"] != 1.0 || details["patch_id"] != "b" {
			t.Errorf("with %s the details are %v, want those of the second", second, details)
		}
	}
	a := together(`{"traits":{"email":"carl@example.org"}}`).batch(t)
	if len(w.identities) != 3 || len(a.Identities) != 2 || a.Identities[1].Action != "create" || *a.Identities[1].PatchID != "b" || w.identities[*a.Identities[1].Identity].Addresses[0].Value != "carl@example.org" {
		t.Errorf("answer = %+v, %d stored, want both", a, len(w.identities))
	}
}

// Nothing of a batch that is refused as a whole is stored.
func TestCreateIdentitiesRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	entries := func(count int, rest string) string {
		all := make([]string, count)
		for n := range all {
			all[n] = fmt.Sprintf(`{"create":{"traits":{"email":"p%d@example.org"}%s}}`, n, rest)
		}
		return `{"identities":[` + strings.Join(all, ",") + `]}`
	}
	password := `,"credentials":{"password":{"config":{"password":"x"}}}`
	for name, body := range map[string]string{
		"too many": entries(1001, ""), "too many passwords": entries(201, password), "no list": `{"identities":{}}`, "no object": `[]`, "broken": `{"identities":[`,
		"unknown member": `{"identities":[],"others":[]}`, "unknown member of an entry": `{"identities":[{"update":{}}]}`, "too large": entries(1, `,"metadata_public":"`+strings.Repeat("x", 4<<20)+`"`),
		"twice": `{"identities":[{"create":{"traits":{"email":"a@b.example","email":"c@d.example"}}}]}`, "wrong type": `{"identities":[{"create":{"traits":{"email":"a@b.example"}},"patch_id":7}]}`,
	} {
		if g := c.patch("/admin/identities", body); g.status != 400 || g.shown(t).Error.Reason == "" {
			t.Errorf("%s: %d %.200s, want 400 with a reason", name, g.status, g.body)
		}
	}
	if len(w.identities) != 0 {
		t.Errorf("%d are stored", len(w.identities))
	}
	for name, count := range map[string]int{"": 1000, password: 200} {
		w := newWorld(t)
		a := w.admin().patch("/admin/identities", entries(count, name)).batch(t)
		if slices.ContainsFunc(a.Identities, func(e batchEntry) bool {
			return e.Error != nil
		}) || len(w.identities) != count {
			t.Errorf("%d of %d are stored", len(w.identities), count)
		}
	}
	w.broken = down{errors.New("down")}
	if g := c.patch("/admin/identities", entries(1, "")); g.status != 503 {
		t.Errorf("without a store = %d %s, want 503", g.status, g.body)
	}
}
