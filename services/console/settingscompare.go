package console

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/override"
)

// comparison is what a configuration does today and what another would do.
type comparison struct {
	plans   []planPair
	answers []answerPair
	// hooks are the asynchronous hooks that would run no more, or only then: none,
	// or something is wrong.
	hooks []string
	// warnings are those of today, fresh those that are new.
	warnings, fresh []string
}

// differing is c without what stays the same.
func (c comparison) differing() comparison {
	return comparison{plans: only(c.plans, planPair.changed), answers: only(c.answers, answerPair.differs)}
}

// alike is what stays the same.
func (c comparison) alike() comparison {
	return comparison{
		plans:   only(c.plans, func(p planPair) bool { return !p.changed() }),
		answers: only(c.answers, func(a answerPair) bool { return !a.differs() }),
	}
}

func only[T any](list []T, such func(T) bool) (all []T) {
	for _, one := range list {
		if such(one) {
			all = append(all, one)
		}
	}
	return all
}

// planPair are the steps of one flow and method, for the flow types that share them.
type planPair struct {
	flow, method string
	types        []string
	today, after []step
}

// step is one of a plan. Where the two differ it is marked.
type step struct {
	override.Row
	marked bool
}

// changed tells whether the two differ.
func (p planPair) changed() bool {
	isMarked := func(s step) bool { return s.marked }
	return slices.ContainsFunc(p.today, isMarked) || slices.ContainsFunc(p.after, isMarked)
}

// title names the pair.
func (p planPair) title() string {
	name := map[string]string{"registration": "Registration", "login": "Login", "verification": "Verification"}[p.flow]
	return cmp.Or(name, p.flow) + " " + methodPhrase(p.method)
}

// clients says to whom it applies.
func (p planPair) clients() string {
	if len(p.types) > 1 {
		return "Apps and browsers alike"
	}
	if slices.Equal(p.types, []string{"api"}) {
		return "Apps"
	}
	return "Browsers"
}

// methodPhrase is a method in a sentence.
func methodPhrase(method string) string {
	switch method {
	case "password":
		return "with a password"
	case "oidc":
		return "through a provider"
	case "code":
		return "with a code"
	}
	return "with " + method
}

// answerPair is what a client of one method receives.
type answerPair struct {
	method, client string
	today, after   override.Answer
}

// changed tells whether the two differ in shape.
func (a answerPair) changed() bool {
	return !slices.Equal(a.today.Fields, a.after.Fields) || !slices.Equal(a.today.Cookies, a.after.Cookies) ||
		firstLine(a.today.Example) != firstLine(a.after.Example)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// who is the client in a sentence.
func (a answerPair) who() string {
	switch a.client {
	case "app":
		return "An app"
	case "browser (script)":
		return "A script in a browser"
	case "browser (page)":
		return "A page in a browser"
	}
	return a.client
}

// name says who receives it, and for what.
func (a answerPair) name() string { return a.who() + ", " + methodPhrase(a.method) }

// differs tells whether the two differ in anything, such as how long a session lasts.
func (a answerPair) differs() bool { return a.changed() || a.today.Example != a.after.Example }

// verdict says in words what an answer gives.
type verdict struct {
	signedIn bool
	what     string // where it gives no session
	how      string
}

// receives reads what an answer gives from its fields and cookies.
func receives(a override.Answer) verdict {
	cookie := slices.ContainsFunc(a.Cookies, func(name string) bool { return !strings.HasPrefix(name, "csrf_token") })
	status := strings.TrimPrefix(firstLine(a.Example), "HTTP/1.1 ")
	switch {
	case a.Example == "":
		return verdict{what: "nothing", how: "there is no such answer."}
	case slices.Contains(a.Fields, "error"):
		return verdict{what: "refused", how: "an error, " + status + "."}
	case slices.Contains(a.Fields, "session_token"):
		return verdict{signedIn: true, how: "the body carries the session and its token."}
	case slices.Contains(a.Fields, "session") && cookie:
		return verdict{signedIn: true, how: "the body carries the session, and a cookie keeps it."}
	case cookie:
		return verdict{signedIn: true, how: "a cookie keeps the session, and the page goes on."}
	case len(a.Fields) == 0 && len(a.Cookies) == 0:
		return verdict{what: "refused", how: "the page goes to where an error is shown."}
	case len(a.Fields) == 0:
		return verdict{what: "not signed in", how: "registered; the page goes on without a session."}
	}
	return verdict{what: "not signed in", how: "registered; the answer carries no session."}
}

// item is a field or cookie of an answer; mark is "added", "removed" or empty.
type item struct{ name, mark string }

// items are those of one list, marked where another lacks them.
func items(list, other []string, mark string) (all []item) {
	for _, name := range list {
		i := item{name: name}
		if !slices.Contains(other, name) {
			i.mark = mark
		}
		all = append(all, i)
	}
	return all
}

// compare holds two effects against each other.
func compare(today, after override.Effect) comparison {
	c := comparison{
		plans: comparePlans(today.Rows, after.Rows), answers: compareAnswers(today.Answers, after.Answers),
		hooks: affectedHooks(today, after), warnings: today.Warnings,
	}
	c.fresh = only(after.Warnings, func(w string) bool { return !slices.Contains(today.Warnings, w) })
	return c
}

// planKey names the steps that belong together.
type planKey struct{ flow, method, kind string }

func comparePlans(today, after []override.Row) (pairs []planPair) {
	var keys []planKey
	rows := [2]map[planKey][]override.Row{{}, {}}
	for n, list := range [][]override.Row{today, after} {
		for _, r := range list {
			key := planKey{r.Flow, r.Method, r.FlowType}
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			rows[n][key] = append(rows[n][key], r)
		}
	}
	for _, key := range keys {
		p := planPair{flow: key.flow, method: key.method, types: []string{key.kind}}
		p.today, p.after = mark(rows[0][key], rows[1][key])
		if at := slices.IndexFunc(pairs, p.same); at >= 0 {
			pairs[at].types = append(pairs[at].types, key.kind)
			continue
		}
		pairs = append(pairs, p)
	}
	order := []string{"registration", "login"}
	slices.SortStableFunc(pairs, func(a, b planPair) int {
		place := func(p planPair) int { return (slices.Index(order, p.flow) + len(order) + 1) % (len(order) + 1) }
		return cmp.Compare(place(a), place(b))
	})
	return pairs
}

// same tells whether two pairs have the same steps, for other flow types.
func (p planPair) same(other planPair) bool {
	equal := func(a, b step) bool { return a.words() == b.words() && a.marked == b.marked }
	return p.flow == other.flow && p.method == other.method &&
		slices.EqualFunc(p.today, other.today, equal) && slices.EqualFunc(p.after, other.after, equal)
}

// words are what a step is compared by: not the line where it is written.
func (s step) words() string { return s.When + "\x00" + s.Step }

// mark marks of two lists what the other lacks, or has in another order: all that is
// not in the longest run of steps that both have.
func mark(today, after []override.Row) (a, b []step) {
	for _, r := range today {
		a = append(a, step{r, true})
	}
	for _, r := range after {
		b = append(b, step{r, true})
	}
	lengths := make([][]int, len(a)+1) // of the longest common run from here on
	for n := range lengths {
		lengths[n] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			if a[i].words() == b[j].words() {
				lengths[i][j] = lengths[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].words() == b[j].words():
			a[i].marked, b[j].marked = false, false
			i, j = i+1, j+1
		case lengths[i+1][j] >= lengths[i][j+1]:
			i++
		default:
			j++
		}
	}
	return a, b
}

func compareAnswers(today, after []override.Answer) (pairs []answerPair) {
	for n, list := range [][]override.Answer{today, after} {
		for _, a := range list {
			at := slices.IndexFunc(pairs, func(p answerPair) bool { return p.method == a.Method && p.client == a.Client })
			if at < 0 {
				at = len(pairs)
				pairs = append(pairs, answerPair{method: a.Method, client: a.Client})
			}
			if n == 0 {
				pairs[at].today = a
			} else {
				pairs[at].after = a
			}
		}
	}
	return pairs
}

// affectedHooks are the asynchronous hooks that the two do not have in common.
func affectedHooks(today, after override.Effect) []string {
	before, behind := asynchronous(today, after), asynchronous(after, today)
	var all []string
	for _, h := range before {
		if !slices.Contains(behind, h) {
			all = append(all, h+": would not run any more")
		}
	}
	for _, h := range behind {
		if !slices.Contains(before, h) {
			all = append(all, h+": would run from now on")
		}
	}
	return all
}

// asynchronous are the hooks that run from events: those that the effect names, and
// those in its rows where the other has rows of that flow too. A flow that is turned
// off has none, and its hooks stay what they are.
func asynchronous(e, other override.Effect) (all []string) {
	for _, method := range slices.Sorted(maps.Keys(e.Background)) {
		for _, h := range e.Background[method] {
			all = append(all, fmt.Sprintf("%s, %s", h, methodPhrase(method)))
		}
	}
	for _, r := range e.Rows {
		alike := func(o override.Row) bool {
			return o.Flow == r.Flow && o.Method == r.Method && o.FlowType == r.FlowType
		}
		if r.When == fromEvent && slices.ContainsFunc(other.Rows, alike) {
			all = append(all, fmt.Sprintf("%s, %s %s, %s flow", r.Step, r.Flow, methodPhrase(r.Method), r.FlowType))
		}
	}
	return all
}

// fromEvent is when a plan's asynchronous hooks run.
const fromEvent = "from the event"
