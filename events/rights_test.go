package events_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// parts are Usher's own users.
var parts = []string{
	events.UserAPIAuth, events.UserSession, events.UserAdminAuth,
	events.UserSessionEvents, events.UserAPIEvents, events.UserProvision, events.UserHooks, events.UserDelivery, events.UserAdminEvents,
	events.UserSystem, events.UserSystemAdmin,
}

// everybody are also two workers with credentials of their own, and one that answers.
var everybody = append(slices.Clone(parts), "crm", "mail", answering)

// answering is the name of an answering worker.
const answering = "gate"

// try is something to publish or to subscribe to, and who may.
type try struct {
	subject, queue string
	may            []string
}

func (t try) String() string { return strings.TrimSpace(t.subject + " " + t.queue) }

// only is who may.
func only(users ...string) []string { return users }

var publishing = append([]try{
	{subject: "usher.svc.v1.session.issue", may: only("api-auth")},
	{subject: "usher.svc.v1.session.other"},
	{subject: "usher.svc.v1.hook.answer.gate", may: only("api-auth")},
	{subject: "usher.svc.v1.hook.answer.crm", may: only("api-auth")},
	{subject: "usher.svc.v1.hook.failed.crm", may: only("hooks", "crm")},
	{subject: "usher.svc.v1.hook.failed.mail", may: only("hooks", "mail")},
	{subject: "usher.svc.v1.hook.failed.gate", may: only("hooks")},
	{subject: "usher.svc.v1.identity.get.crm", may: only("hooks", "crm")},
	{subject: "usher.svc.v1.identity.get.mail", may: only("hooks", "mail")},
	{subject: "usher.svc.v1.identity.get.gate", may: only("hooks")},
	{subject: "$SRV.PING.session", may: only("api-auth", "admin-auth", "admin-events")},
	{subject: "$SRV.PING.crm", may: only("admin-auth", "admin-events")},
	{subject: "$SRV.STATS.session", may: only("admin-auth", "admin-events")},
	{subject: "$SRV.INFO", may: only("admin-auth", "admin-events")},

	{subject: "usher.evt.v1.identity.created", may: only("api-events")},
	{subject: "usher.hook.v1.crm.retry", may: only("delivery")},
	{subject: "usher.hook.v1.mail.retry", may: only("delivery")},
	{subject: "usher.hook.v1.crm.other"},
	{subject: "usher.ctl.v1.outbox.kick", may: only("session-events", "api-events", "hooks", "delivery")},
	{subject: "usher.ctl.v1.session.revoked", may: only("api-events")},
	{subject: "usher.ctl.v1.identity.updated", may: only("api-events")},
	{subject: "usher.ctl.v1.settings.changed", may: only("api-events")},
	{subject: "usher.ctl.v1.stats", may: only("session-events", "api-events", "delivery")},
	{subject: "usher.ctl.v1.database", may: only("api-events")},
	{subject: "usher.ctl.v1.anything"},

	{subject: "$JS.ACK.USHER_EVENTS.crm.1.2.3.4.5", may: only("hooks", "crm")},
	{subject: "$JS.ACK.USHER_EVENTS.mail.1.2.3.4.5", may: only("hooks", "mail")},
	{subject: "$JS.ACK.USHER_EVENTS.crm.1.2.3.4"},
	{subject: "$JS.ACK._.account.USHER_EVENTS.crm.1.2.3.4.5"},
	{subject: "$JS.ACK._.account.USHER_EVENTS.mail.1.2.3.4.5"},
	{subject: "$JS.ACK.USHER_EVENTS.mail.USHER_EVENTS.crm.1.2.3", may: only("hooks", "mail")}, // of mail, whatever it says
	{subject: "$JS.ACK.OTHER.crm.1.2.3.4.5"},
	{subject: "$JS.EVENT.METRIC.CONSUMER.ACK.USHER_EVENTS.crm"},
	{subject: "$JS.FC.USHER_EVENTS.crm.x"},

	{subject: "_INBOX_api-auth.x"},
	{subject: "_INBOX_api-events.x"},
	{subject: "_INBOX_delivery.x"},
	{subject: "_INBOX_crm.x"},
	{subject: "_INBOX_mail.x"},
	{subject: "_R_.x"},
	{subject: "$SYS.REQ.SERVER.PING", may: only("system", "system-admin")},
	{subject: "$SYS.REQ.USER.INFO", may: only("system-admin")},
	{subject: "$SYS.REQ.SERVER.NONE.KICK", may: only("system-admin")},
	{subject: "$SYS.REQ.SERVER.NONE.RELOAD", may: only("system-admin")},
	{subject: "$SYS.REQ.ACCOUNT.NONE.CONNZ", may: only("system-admin")},
	{subject: "$SYS.REQ.CLAIMS.LIST", may: only("system-admin")},
	{subject: "$SYS.ACCOUNT.NONE.CONNECT"},
}, append(reports(), api()...)...)

// reports are what servers are asked for.
func reports() (tries []try) {
	for _, name := range []string{"STATSZ", "VARZ", "HEALTHZ", "IDZ", "JSZ", "ROUTEZ", "CONNZ", "ACCOUNTZ"} {
		tries = append(tries, try{subject: "$SYS.REQ.SERVER.PING." + name, may: only("system", "system-admin")})
	}
	return append(tries, try{subject: "$SYS.REQ.SERVER.PING.PROFILEZ", may: only("system-admin")})
}

// api are all verbs of JetStream's API, the deadly ones last.
func api() (tries []try) {
	for verb, may := range map[string][]string{
		"CONSUMER.INFO.USHER_EVENTS.crm":      only("hooks", "delivery", "crm"),
		"CONSUMER.INFO.USHER_EVENTS.mail":     only("hooks", "delivery", "mail"),
		"CONSUMER.MSG.NEXT.USHER_EVENTS.crm":  only("hooks", "crm"),
		"CONSUMER.MSG.NEXT.USHER_EVENTS.mail": only("hooks", "mail"),
		"CONSUMER.LIST.USHER_EVENTS":          only("delivery"),
		"CONSUMER.PAUSE.USHER_EVENTS.crm":     only("delivery"),
		"CONSUMER.PAUSE.USHER_EVENTS.mail":    only("delivery"),
		"STREAM.INFO.USHER_EVENTS":            only("delivery"),
	} {
		tries = append(tries, try{subject: "$JS.API." + verb, may: append(may, "provision")})
	}
	slices.SortFunc(tries, func(a, b try) int { return strings.Compare(a.subject, b.subject) })
	for _, verb := range []string{
		"INFO", "ACCOUNT.PURGE.x", "ACCOUNT.STREAM.MOVE.x.y", "ACCOUNT.STREAM.CANCEL_MOVE.x.y",
		"META.LEADER.STEPDOWN", "META.RESCUE", "SERVER.REMOVE", "SERVER.EVACUATE",
		"STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.OTHER", "STREAM.CREATE.SPY", "STREAM.UPDATE.USHER_EVENTS",
		"STREAM.MSG.GET.USHER_EVENTS", "STREAM.MSG.DELETE.USHER_EVENTS", "STREAM.SNAPSHOT.USHER_EVENTS", "STREAM.RESTORE.USHER_EVENTS",
		"STREAM.PEER.REMOVE.USHER_EVENTS", "STREAM.PEER.EVACUATE.USHER_EVENTS", "STREAM.CANCEL_MOVE.USHER_EVENTS", "STREAM.LEADER.STEPDOWN.USHER_EVENTS",
		"DIRECT.GET.USHER_EVENTS", "DIRECT.GET.USHER_EVENTS.usher.evt.v1.identity.created",
		"CONSUMER.NAMES.USHER_EVENTS", "CONSUMER.LIST.OTHER", "CONSUMER.INFO.OTHER.crm", "CONSUMER.MSG.NEXT.OTHER.crm", "CONSUMER.PAUSE.OTHER.crm",
		"CONSUMER.CREATE.USHER_EVENTS", "CONSUMER.CREATE.USHER_EVENTS.crm", "CONSUMER.CREATE.USHER_EVENTS.crm.usher.evt.v1.identity.created",
		"CONSUMER.DURABLE.CREATE.USHER_EVENTS.crm", "CONSUMER.RESET.USHER_EVENTS.crm", "CONSUMER.UNPIN.USHER_EVENTS.crm",
		"CONSUMER.LEADER.STEPDOWN.USHER_EVENTS.crm", "CONSUMER.PEER.REMOVE.USHER_EVENTS.crm", "CONSUMER.PEER.EVACUATE.USHER_EVENTS.crm",
		"CONSUMER.DELETE.USHER_EVENTS.crm", "STREAM.PURGE.USHER_EVENTS", "STREAM.DELETE.USHER_EVENTS",
	} {
		may := only("provision")
		if slices.Contains([]string{"META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.STREAM.MOVE.x.y"}, verb) {
			may = append(may, "system-admin")
		}
		tries = append(tries, try{subject: "$JS.API." + verb, may: may})
	}
	return tries
}

var subscribing = append([]try{
	{subject: ">"},
	{subject: "*.>"},
	{subject: "usher.>"},
	{subject: "usher.evt.v1.>"},
	{subject: "usher.evt.v1.identity.created"},
	{subject: "usher.hook.v1.crm.retry"},
	{subject: "usher.svc.>"},
	{subject: "usher.svc.v1.session.issue"},
	{subject: "usher.svc.v1.session.issue", queue: "spy"},
	{subject: "usher.svc.v1.session.issue", queue: "q", may: only("session")},
	{subject: "usher.svc.v1.hook.answer.*", queue: "q"},
	{subject: "usher.svc.v1.hook.answer.crm", queue: "q"}, // a worker of that name does not answer
	{subject: "usher.svc.v1.hook.answer.gate", queue: "q", may: only(answering)},
	{subject: "usher.svc.v1.hook.failed.*"},
	{subject: "usher.svc.v1.hook.failed.*", queue: "spy"},
	{subject: "usher.svc.v1.hook.failed.*", queue: "q", may: only("delivery")},
	{subject: "usher.svc.v1.hook.failed.crm"},
	{subject: "usher.svc.v1.identity.get.*"},
	{subject: "usher.svc.v1.identity.get.*", queue: "spy"},
	{subject: "usher.svc.v1.identity.get.*", queue: "q", may: only("delivery")},
	{subject: "usher.svc.v1.identity.get.crm"},
	{subject: "$SRV.PING", may: only("session", "hooks", "delivery", "crm", "mail", answering)},
	{subject: "$SRV.PING.crm", may: only("session", "hooks", "delivery", "crm")},
	{subject: "$SRV.INFO.crm.id", may: only("session", "hooks", "delivery", "crm")},
	{subject: "$SRV.STATS.gate.id", may: only("session", "hooks", "delivery", answering)},
	{subject: "$SRV.STATS.*.*", may: only("session", "hooks", "delivery")},
	{subject: "$SRV.>", may: only("session", "delivery")},
	{subject: "usher.ctl.v1.outbox.kick", may: only("api-events")},
	{subject: "usher.ctl.v1.session.revoked", may: only("api-events")},
	{subject: "usher.ctl.v1.identity.updated", may: only("api-events")},
	{subject: "usher.ctl.v1.settings.changed", may: only("api-events", "session-events", "hooks")},
	{subject: "usher.ctl.v1.stats", may: only("api-events")},
	{subject: "usher.ctl.v1.database", may: only("api-events")},
	{subject: "usher.ctl.v1.>"},
	{subject: "$JS.>"},
	{subject: "$JS.API.>"},
	{subject: "$JS.ACK.>"},
	{subject: "$JS.EVENT.>"},
	{subject: "$JS.EVENT.METRIC.CONSUMER.ACK.USHER_EVENTS.*", may: only("delivery")},
	{subject: "_INBOX.>"},
	{subject: "_R_.>"},
	{subject: "$SYS.>"},
	{subject: "$SYS.SERVER.>", may: only("system-admin")},
	{subject: "$SYS.ACCOUNT.>", may: only("system-admin")},
	{subject: "$SYS.REQ.>"},
}, inboxes()...)

// inboxes are everybody's, each for its owner alone. An answering worker asks
// nobody and has none.
func inboxes() (tries []try) {
	for _, user := range everybody {
		inbox := try{subject: "_INBOX_" + user + ".>"}
		if user != answering {
			inbox.may = only(user)
		}
		tries = append(tries, inbox)
	}
	return tries
}

// denied tells whether the bus refuses what do does. A refusal comes before the
// answer to the flush behind it.
func denied(t *testing.T, nc *nats.Conn, want string, do func() error) bool {
	t.Helper()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	last := nc.LastError()
	return last != nil && strings.HasSuffix(strings.ToLower(last.Error()), strings.ToLower(want))
}

func (try try) publish(t *testing.T, nc *nats.Conn) (refused bool) {
	return denied(t, nc, fmt.Sprintf("for publish to %q", try.subject), func() error {
		return nc.Publish(try.subject, []byte("{}"))
	})
}

func (try try) subscribe(t *testing.T, nc *nats.Conn) (refused bool) {
	want := fmt.Sprintf("for subscription to %q", try.subject)
	if try.queue != "" {
		want += fmt.Sprintf(" using queue %q", try.queue)
	}
	return denied(t, nc, want, func() error {
		_, err := nc.QueueSubscribe(try.subject, try.queue, func(*nats.Msg) {})
		return err
	})
}

// TestRightsMatrix has everybody try everything: with -v it prints who may.
func TestRightsMatrix(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	m := &matrix{granted: map[cell]int{}, tries: map[int]int{}}
	for _, user := range everybody {
		nc := b.connect(user)
		for n, of := range [][]try{publishing, subscribing} {
			do := try.publish
			if n == 1 {
				do = try.subscribe
			}
			for _, row := range of {
				refused := do(row, t, nc)
				if may := slices.Contains(row.may, user); may == refused {
					t.Errorf("%s: %s %s: refused %t, want %t", user, []string{"publish", "subscribe"}[n], row, refused, !may)
				}
				m.count(user, n == 1, row, !refused)
			}
		}
	}
	t.Log(m)
}

// TestRightsMatrixHoldsEveryRight: a right that nobody tries would be seen by
// nobody. What is granted is read from the tokens that the bus gets.
func TestRightsMatrixHoldsEveryRight(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	granted := map[string]jwt.Permissions{}
	for _, part := range parts {
		token, err := jwt.ParseDecoratedJWT(b.credentials(part))
		if err != nil {
			t.Fatal(err)
		}
		claims, err := jwt.DecodeUserClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		granted[part] = claims.Permissions
	}
	for _, token := range regexp.MustCompile(`(?m)^  A[A-Z0-9]{55}: (\S+)$`).FindAllStringSubmatch(b.config, -1) {
		account, err := jwt.DecodeAccountClaims(token[1])
		if err != nil {
			t.Fatal(err)
		}
		for scope := range maps.Values(account.SigningKeys) {
			if scope, ok := scope.(*jwt.UserScope); ok {
				granted[map[string]string{"worker": "crm", "answer": answering}[scope.Role]] = scope.Template.Permissions
			}
		}
	}
	if len(granted) != len(everybody)-1 {
		t.Fatalf("rights of %v, want those of all but the second worker", slices.Sorted(maps.Keys(granted)))
	}
	for user, p := range granted {
		if len(p.Pub.Allow) == 0 && !slices.Contains(p.Pub.Deny, ">") {
			t.Errorf("%s may publish anything", user)
		}
		for what, lists := range map[string]struct {
			allow jwt.StringList
			rows  []try
		}{"publish": {p.Pub.Allow, publishing}, "subscribe": {p.Sub.Allow, subscribing}} {
			for _, right := range lists.allow {
				right = strings.ReplaceAll(right, "{{name()}}", user)
				tried := slices.ContainsFunc(lists.rows, func(try try) bool {
					return slices.Contains(try.may, user) && covers(right, try)
				})
				// Nine subjects of discovery are one right.
				if !tried && !strings.HasPrefix(right, "$SRV.") {
					t.Errorf("%s may %s %s, which the matrix does not try", user, what, right)
				}
			}
		}
	}
}

// covers tells whether a try is within a right, "subject queue".
func covers(right string, try try) bool {
	subject, queue, _ := strings.Cut(right, " ")
	if queue != "" && queue != try.queue {
		return false
	}
	want, is := strings.Split(subject, "."), strings.Split(try.subject, ".")
	for n, token := range want {
		if token == ">" {
			return len(is) > n
		}
		if n >= len(is) || token != "*" && token != is[n] {
			return false
		}
	}
	return len(want) == len(is)
}
