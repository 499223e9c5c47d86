package api_test

import (
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/stats"
)

const personSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {"traits": {
    "type": "object",
    "properties": {
      "email": {"type": "string", "format": "email", "title": "E-mail", "ory.sh/kratos": {
        "credentials": {"password": {"identifier": true}}, "verification": {"via": "email"}, "recovery": {"via": "email"}}},
      "age": {"type": "integer", "minimum": 0},
      "name": {"type": "object", "properties": {"first": {"type": "string", "maxLength": 40}}}
    },
    "required": ["email"],
    "additionalProperties": false
  }}
}`

// world is a server whose stores are memory.
type world struct {
	t        testing.TB
	settings api.Settings
	compiled *api.Compiled
	options  api.Options
	inForce  api.InForce
	server   *api.Server
	log      *syncBuffer

	public, adminBase func() string // where the listeners are

	mu         sync.Mutex
	flows      map[uuid.UUID]flow.Flow
	overtake   func(f *flow.Flow) // what another request does before the next flow is saved
	grants     map[uuid.UUID]registration.Grant
	identities map[uuid.UUID]*identity.Identity
	sessions   map[session.Digest]*api.Who
	errors     map[uuid.UUID]json.RawMessage
	tries      map[uuid.UUID]int        // of codes, by flow
	recoveries []recovery.Submit        // what was asked for
	noRecovery error                    // why a recovery has no session
	handed     map[uuid.UUID]handedOver // by flow
	changed    []uuid.UUID              // what the cache was told to forget
	revoked    []string                 // "actor reason", of each session that was ended
	told       []events.Event           // by administrators, of identities
	codes      []string                 // that administrators were handed
	ledger     ledger
	mails      mailbox
	journal    journal
	memory     *memoryLog // what Events reads; nil: five of a kind
	broken     error      // what every store answers, if it is set
}

// newWorld makes a server; change, if given, has the last word about what it is made of.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	schema, err := identity.Compile("person", []byte(personSchema))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, settings: newSettings(t), log: &syncBuffer{},
		flows:      map[uuid.UUID]flow.Flow{},
		grants:     map[uuid.UUID]registration.Grant{},
		identities: map[uuid.UUID]*identity.Identity{},
		sessions:   map[session.Digest]*api.Who{},
		errors:     map[uuid.UUID]json.RawMessage{},
		tries:      map[uuid.UUID]int{},
		handed:     map[uuid.UUID]handedOver{},
	}
	w.inForce = api.InForce{
		Schemas: schemas{{schema, api.Schema{ID: "person", Raw: schema.Raw()}}},
		Login:   memoryLogin{w}, Verification: memoryVerification{w}, Recovery: memoryRecovery{w},
		Registration: &registration.Service{
			Store: w, Schemas: schemas{{schema, api.Schema{ID: "person", Raw: schema.Raw()}}}, Policy: policy{}, Passwords: hasher{}, Hooks: noHooks{}, Sessions: w,
			Plan: func(string) hook.Plan { return hook.Plan{Session: hook.Session{On: true}} },
			Now:  time.Now, Lifespan: time.Hour, IssueTimeout: time.Second,
		},
		Changes: &settings.Service{
			Store: w, Schemas: schemas{{schema, api.Schema{ID: "person", Raw: schema.Raw()}}}, Policy: policy{}, Passwords: hasher{}, Hooks: noHooks{},
			Plan: func(string) hook.SettingsPlan { return hook.SettingsPlan{} }, Now: time.Now,
		},
		Administrator: &admin.Service{
			Maker: admin.Maker{Schemas: schemas{{schema, api.Schema{ID: "person", Raw: schema.Raw()}}}, Passwords: hasher{}, Now: time.Now},
			Store: w, Batches: w, Sessions: &w.ledger, Lifespan: time.Hour,
			Recoveries: w, CodeLifespan: time.Hour, LinkLifespan: time.Hour, LinkURL: "https://id.example.org",
		},
	}
	w.options = api.Options{
		Current: func() api.InForce { now := w.inForce; now.Settings = w.compiled; return now },
		PublicOptions: api.PublicOptions{
			Flows: w, OwnSessions: w, Finder: w, Errors: w,
			CSRFKey: []byte("a csrf key that is long enough.."),
		},
		AdminOptions: api.AdminOptions{
			Tokens: w, Ledger: &w.ledger, Messages: &w.mails, Grants: adminGrants{w}, Events: w,
			Audit: auditMemory{w}, AuditCheck: audit.NewCheck(auditMemory{w}, time.Now), Journal: &w.journal,
		},
		OperatorOptions: api.OperatorOptions{
			Webhooks: newWebhooks(), Timelines: timelines{}, Stats: func() stats.Hour { return stats.NewCollector(time.Now).Hour() },
		},
		Sessions: w, Identities: w, Version: "1.2.3", Log: slog.New(slog.NewJSONHandler(w.log, nil)), Now: time.Now,
	}
	for _, c := range change {
		c(w)
	}
	w.compiled = compile(t, w.settings)
	w.server = api.New(w.options)
	w.public, w.adminBase = w.serve(w.server.Public), w.serve(w.server.Admin)
	return w
}
