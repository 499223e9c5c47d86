//go:build !crash

package app

import (
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/verification"
	workerwebhook "github.com/usher-auth/usher/workers/webhook"
)

// Without the build tag "crash" there are no crash points, see crash_on.go.

func crashRegistrations(s registration.Store) registration.Store       { return s }
func crashSessions(s session.Store) session.Store                      { return s }
func crashRecoveries(s recovery.Store) recovery.Store                  { return s }
func crashVerifications(s verification.Store) verification.Store       { return s }
func crashChanges(s settings.Store) settings.Store                     { return s }
func crashMessages(s courier.Store) courier.Store                      { return s }
func crashOutbox(s relay.Store) relay.Store                            { return s }
func crashPublisher(p relay.Publisher) relay.Publisher                 { return p }
func crashEndpoints(e workerwebhook.Endpoints) workerwebhook.Endpoints { return e }
func crashHeads(h audit.Heads) audit.Heads                             { return h }
