package events

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Users of the bus, one for each part and account.
const (
	// UserAPIAuth asks the session service, in account AUTH.
	UserAPIAuth = "api-auth"
	// UserSession is the session service, in account AUTH.
	UserSession = "session"
	// UserAdminAuth discovers services in account AUTH.
	UserAdminAuth = "admin-auth"
	// UserSessionEvents wakes the relay when the session service has committed an
	// event, tells what its process has counted, and hears when settings have changed,
	// as UserAPIEvents and UserHooks do.
	UserSessionEvents = "session-events"
	// UserAPIEvents publishes events, as the relay, wakes and empties caches, and
	// hears what all processes have counted.
	UserAPIEvents = "api-events"
	// UserProvision declares the stream and its durable consumers.
	UserProvision = "provision"
	// UserHooks takes events from any durable consumer, reports what failed, and
	// wakes the relay when that has led to another event: Usher's own workers.
	UserHooks = "hooks"
	// UserDelivery answers workers, publishes what they failed at again, and looks
	// at, pauses and resumes their durable consumers: the hooks service.
	UserDelivery = "delivery"
	// UserAdminEvents discovers services in account EVENTS, and workers.
	UserAdminEvents = "admin-events"
	// UserSystem asks the servers how they are, in the system account: for "usher
	// doctor", exporters and dashboards. It changes nothing and sees no message.
	UserSystem = "system"
	// UserSystemAdmin is for people: it may also move leaders, remove a server that
	// is lost for ever, and see what the servers report.
	UserSystemAdmin = "system-admin"
)

// The accounts. What is published in one is not seen in the others, but for what
// inEvents and inWorkers say.
const (
	accountAuth    = "AUTH"
	accountEvents  = "EVENTS"
	accountWorkers = "WORKERS"
	accountSystem  = "SYS"
)

// right is what one user may do; whatever is not listed is denied.
type right struct {
	user, account      string
	publish, subscribe []string
	// answers is how often it may answer each request that it gets; not at all if
	// it is zero.
	answers int
	// asksNobody leaves it without an inbox.
	asksNobody bool
}

const (
	once = 1
	// ofAll is for a connection of several services: discovery asks all of them at
	// the same time, and the server counts a delivery to the second as an answer.
	ofAll = -1
)

// rights is the whole table of Usher's own parts. Each user has its own inbox
// besides. Nobody but provision may create, change or delete a consumer, since
// a consumer publishes where it is told to; nobody at all listens to another's
// inbox. What is asked of a service is taken as one of a queue group, never
// beside it.
var rights = []right{
	{
		user: UserAPIAuth, account: accountAuth,
		publish: []string{SubjectSessionIssue, SubjectHookAnswer("*"), "$SRV.PING.session"},
	},
	{
		user: UserSession, account: accountAuth,
		subscribe: []string{SubjectSessionIssue + " q", "$SRV.>"},
		answers:   once,
	},
	{
		user: UserAdminAuth, account: accountAuth,
		publish: []string{"$SRV.>"},
	},
	{
		user: UserSessionEvents, account: accountEvents,
		publish:   []string{SubjectOutboxKick, SubjectStats},
		subscribe: []string{SubjectSettingsChanged},
	},
	{
		user: UserAPIEvents, account: accountEvents,
		publish:   []string{EventPrefix + ">", SubjectOutboxKick, SubjectSessionRevoked, SubjectIdentityUpdated, SubjectSettingsChanged, SubjectStats, SubjectDatabase},
		subscribe: []string{SubjectOutboxKick, SubjectSessionRevoked, SubjectIdentityUpdated, SubjectSettingsChanged, SubjectStats, SubjectDatabase},
	},
	{
		user: UserProvision, account: accountEvents,
		publish: []string{"$JS.API.>"},
	},
	{
		user: UserHooks, account: accountEvents,
		publish:   append(consume("*"), SubjectHookFailed("*"), SubjectIdentityGet("*"), SubjectOutboxKick),
		subscribe: append(presence("*"), SubjectSettingsChanged),
		answers:   ofAll,
	},
	{
		user: UserDelivery, account: accountEvents,
		publish: []string{
			RetrySubject("*"), SubjectOutboxKick, SubjectStats,
			"$JS.API.STREAM.INFO." + Stream,
			"$JS.API.CONSUMER.LIST." + Stream,
			"$JS.API.CONSUMER.INFO." + Stream + ".*",
			"$JS.API.CONSUMER.PAUSE." + Stream + ".*",
		},
		subscribe: []string{SubjectHookFailed("*") + " q", SubjectIdentityGet("*") + " q", subjectAcks + "*", "$SRV.>"},
		answers:   ofAll,
	},
	{
		user: UserAdminEvents, account: accountEvents,
		publish: []string{"$SRV.>"},
	},
	{
		user: UserSystem, account: accountSystem,
		publish: serverReports("STATSZ", "VARZ", "HEALTHZ", "IDZ", "JSZ", "ROUTEZ", "CONNZ", "ACCOUNTZ"),
	},
	{
		user: UserSystemAdmin, account: accountSystem,
		publish:   []string{"$SYS.REQ.>", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.STREAM.MOVE.*.*"},
		subscribe: []string{"$SYS.SERVER.>", "$SYS.ACCOUNT.>"},
	},
}

// serverReports is where all servers, and each by its id, are asked for reports.
func serverReports(names ...string) []string {
	subjects := []string{"$SYS.REQ.SERVER.PING"}
	for _, name := range names {
		subjects = append(subjects, "$SYS.REQ.SERVER.*."+name) // PING, or the id
	}
	return subjects
}

// roleWorker is what a worker's credential gives: its own durable consumer, its
// reports and questions, and to be seen. The server puts the name of the
// credential's user in.
var roleWorker = right{
	user: roleName, account: accountWorkers,
	publish:   append(consume(roleName), SubjectHookFailed(roleName), SubjectIdentityGet(roleName)),
	subscribe: presence(roleName),
	answers:   once,
}

// roleAnswer is what an answering worker's credential gives: to be asked, and
// seen. The server does not take the form of a queue group where it puts a name
// in; whoever has the credential may answer every question anyway.
var roleAnswer = right{
	user: roleName, account: accountAuth,
	subscribe:  append(presence(roleName), SubjectHookAnswer(roleName)),
	answers:    once,
	asksNobody: true,
}

// roleName is where the server puts the name of a credential's user.
const roleName = "{{name()}}"

// presence is what a program needs that discovery is to show: to be asked
// together with all others, by its name, and by its name and number.
func presence(name string) (subjects []string) {
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		of := "$SRV." + verb
		subjects = append(subjects, of, of+"."+name, of+"."+name+".*")
	}
	return subjects
}

// pulls is where workers ask for events.
const pulls = "$JS.API.CONSUMER.MSG.NEXT." + Stream + ".*"

// inEvents is what WORKERS may ask of EVENTS: what roleWorker lets each worker
// ask. The first is nobody's right; the server takes an account that imports it
// for one whose streams are another's, and leaves the others alone.
var inEvents = append([]string{"$JS.API.INFO"}, everyWorkers(roleWorker.publish)...)

// inWorkers is what EVENTS may ask of WORKERS: who is there.
var inWorkers = everyWorkers(presence(roleName))

// everyWorkers gives subjects of one worker as those of all.
func everyWorkers(subjects []string) (all []string) {
	for _, s := range subjects {
		all = append(all, strings.ReplaceAll(s, roleName, "*"))
	}
	return all
}

// consume is what taking events from a durable consumer needs: look at it, pull,
// and ack. The numbers of an ack are counted: servers listen to a second form of
// ack too, which has two names more before that of the stream, and a subject that
// fits both acks for whatever durable stands in their place. No server uses the
// second form unless it is told to (js_ack_fc_v2).
func consume(durable string) []string {
	return []string{
		"$JS.API.CONSUMER.INFO." + Stream + "." + durable,
		strings.TrimSuffix(pulls, "*") + durable,
		"$JS.ACK." + Stream + "." + durable + ".*.*.*.*.*",
	}
}

// inboxPrefix is where a user gets its replies.
func inboxPrefix(user string) string { return "_INBOX_" + user }

// rightOf finds a user's row.
func rightOf(user string) (right, bool) {
	at := slices.IndexFunc(rights, func(r right) bool { return r.user == user })
	if at < 0 {
		return right{}, false
	}
	return rights[at], true
}

// parts are the names of Usher's parts and services that are no users.
var parts = []string{"api", "audit", "console", "courier", "identity", "relay", "session-worker", "usher", "webhook"}

// reservedPrefix begins the names of the durables of web_hook.
const reservedPrefix = "webhook-"

// Reserved tells whether a name belongs to a part of Usher, so that no worker may
// have it. Names that begin with "webhook-" do: those are web_hook's.
func Reserved(name string) bool {
	_, user := rightOf(name)
	return user || slices.Contains(parts, name) || strings.HasPrefix(name, reservedPrefix)
}

// permissions is r in the bus's own form.
func (r right) permissions() jwt.Permissions {
	var p jwt.Permissions
	if !r.asksNobody {
		p.Sub.Allow.Add(inboxPrefix(r.user) + ".>")
	}
	p.Sub.Allow.Add(r.subscribe...)
	p.Pub.Allow.Add(r.publish...)
	if r.answers != 0 {
		p.Resp = &jwt.ResponsePermission{MaxMsgs: r.answers, Expires: AnswerTime}
	}
	if len(r.publish) == 0 {
		p.Pub.Deny.Add(">") // an empty list of what is allowed is no limit
	}
	return p
}

// rolePermissions is r for credentials whose names are not known: whoever has a
// role's key could choose that of a part of Usher, and is not to get its inbox.
func (r right) rolePermissions() jwt.Permissions {
	p := r.permissions()
	for _, part := range rights {
		p.Sub.Deny.Add(inboxPrefix(part.user) + ".>")
	}
	return p
}

// nothing is the permission of a credential that names none.
func nothing() jwt.Permissions {
	var p jwt.Permissions
	p.Pub.Deny.Add(">")
	p.Sub.Deny.Add(">")
	return p
}
