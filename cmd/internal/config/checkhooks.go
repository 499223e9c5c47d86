package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/hook"
)

// allowedHooks are the kinds that a list may hold.
var allowedHooks = map[string][]string{
	beforeHooks:    {hook.KindWebHook, hook.KindWorker},
	globalHooks:    {hook.KindWebHook, hook.KindWorker},
	passwordHooks:  {hook.KindSession, hook.KindWebHook, hook.KindWorker, hook.KindShowVerification},
	oidcHooks:      {hook.KindSession, hook.KindWebHook, hook.KindWorker, hook.KindShowVerification},
	loginHooks:     atLogin,
	loginPassword:  atLogin,
	loginOIDC:      atLogin,
	verifiedHooks:  {hook.KindWebHook},
	recoveredHooks: {hook.KindWebHook, hook.KindRevoke}, // which a recovery does by itself
	changedHooks:   {hook.KindWebHook},

	settingsHooks("profile"):  {hook.KindWebHook, hook.KindShowVerification},
	settingsHooks("password"): {hook.KindWebHook, hook.KindRevoke, hook.KindShowVerification},
	settingsHooks("oidc"):     {hook.KindWebHook, hook.KindShowVerification},
}

// done says of the lists behind a commit what is done by then.
var done = map[string]string{
	verifiedHooks:             "the address is verified",
	recoveredHooks:            "the account is recovered",
	changedHooks:              "the settings are changed",
	settingsHooks("profile"):  "the settings are changed",
	settingsHooks("password"): "the settings are changed",
	settingsHooks("oidc"):     "the settings are changed",
}

var atLogin = []string{
	hook.KindRequireVerified, hook.KindRevoke, hook.KindWebHook, hook.KindWorker, hook.KindVerification, hook.KindShowVerification,
}

// checkHooks checks each entry of the hook lists, then their names together.
func (l *loader) checkHooks(c *Config) {
	for _, list := range c.hookLists() {
		for i := range list.hooks {
			l.checkHook(list.key, entry(list.key, i), &list.hooks[i])
		}
	}
	l.nameEndpoints(c)
}

func (l *loader) checkHook(list, key string, h *Hook) {
	refuse := func(name, format string, args ...any) { l.refuseKey(key+name, format, args...) }
	allowed := allowedHooks[list]
	switch {
	case h.Kind == hook.KindWorker && done[list] != "":
		refuse(".hook", "%s by then: a worker answers before a commit only, and never touches what comes behind it", done[list])
	case !slices.Contains(allowed, h.Kind):
		l.refuseKind(list, key+".hook", h.Kind)
	case h.Kind == hook.KindWorker:
		l.checkWorker(key+".config", &h.Config)
	case h.Kind != hook.KindWebHook:
		if !reflect.DeepEqual(h.Config, WebHook{}) {
			refuse(".config", "%s has no config", h.Kind)
		}
	default:
		l.checkWebHook(key+".config", &h.Config)
		timing := h.Config.timing()
		if list == beforeHooks && timing == hook.Background {
			refuse(".config.response.ignore", "before the commit there is no event yet that could run it: move the hook to %s", globalHooks)
		}
		if done[list] != "" && timing == hook.Refusing {
			refuse(".config", "%s by then and nothing can be refused: leave out response.parse and can_interrupt", done[list])
		}
	}
}

// refuseKind says why a list cannot hold a kind of hook, and which can.
func (l *loader) refuseKind(list, key, kind string) {
	var elsewhere []string
	known := []string{}
	for _, other := range slices.Sorted(maps.Keys(allowedHooks)) {
		if slices.Contains(allowedHooks[other], kind) {
			elsewhere = append(elsewhere, other)
		}
		known = append(known, allowedHooks[other]...)
	}
	if len(elsewhere) > 0 {
		l.refuseKey(key, "%s does not stand here, but in %s", kind, strings.Join(elsewhere, ", "))
		return
	}
	suggestion := ""
	if near := nearest(kind, known); near != "" {
		suggestion = "; did you mean " + near + "?"
	}
	l.refuseKey(key, "unknown hook %q%s", kind, suggestion)
}

// longestAnswer is how long the bus lets an answer through.
const longestAnswer = 5 * time.Second

func (l *loader) checkWorker(key string, w *WebHook) {
	if err := events.CheckName(w.Name); err != nil {
		l.refuseKey(key+".name", "want the name of an answering worker: %w", err)
	}
	asked := w.asked()
	l.between(key+".timeout", asked.Timeout, 10*time.Millisecond, longestAnswer)
	if asked.OnMissing != hook.Refuse && asked.OnMissing != hook.Continue {
		l.refuseKey(key+".on_missing", "want refuse or continue, not %q", asked.OnMissing)
	}
	if !reflect.DeepEqual(*w, WebHook{Name: w.Name, Timeout: w.Timeout, OnMissing: w.OnMissing}) {
		l.refuseKey(key, "a worker has name, timeout and on_missing; it answers before the commit and never touches what comes behind it")
	}
}

func (l *loader) checkWebHook(key string, w *WebHook) {
	refuse := func(name string, err error) {
		if err != nil {
			l.refuseKey(key+name, "%w", err)
		}
	}
	if w.Name != "" || w.Timeout != 0 || w.OnMissing != "" {
		refuse("", errors.New("name, timeout and on_missing are a worker's: a web_hook has id"))
	}
	if w.Response.Ignore && (w.Response.Parse || w.CanInterrupt) {
		refuse(".response.ignore", errors.New("nobody waits for a background hook: leave out response.parse and can_interrupt"))
	}
	l.checkRequest(key, w.URL, w.Method, w.Headers, &w.Auth)
}

// checkRequest checks how an endpoint is called.
func (l *loader) checkRequest(key string, address Address, method string, headers map[string]Secret, auth *EndpointAuth) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		l.refuseKey(key+".url", "want an absolute http or https URL") // it may hold a password
	}
	if method != strings.ToUpper(method) || strings.ContainsFunc(method, notInToken) {
		l.refuseKey(key+".method", "%q is not an HTTP method", method)
	}
	for name, value := range headers {
		if name == "" || strings.ContainsFunc(name, notInToken) || strings.ContainsAny(value.Reveal(), "\r\n\x00") {
			l.refuseKey(key+".headers."+name, "want a header of one line")
		}
	}
	if err := auth.check(); err != nil {
		l.refuseKey(key+".auth", "%w", err)
	}
}

func (a *EndpointAuth) check() error {
	switch a.Type {
	case "":
		if !reflect.ValueOf(a.Config).IsZero() {
			return errors.New("want type: api_key or basic_auth")
		}
	case "basic_auth":
		if a.Config.User == "" {
			return errors.New("basic_auth wants config.user and config.password")
		}
	case "api_key":
		if a.Config.Name == "" || a.Config.Value.Reveal() == "" {
			return errors.New("api_key wants config.name and config.value")
		}
		if !slices.Contains([]string{"", "header", "cookie"}, a.Config.In) {
			return fmt.Errorf("in: want header or cookie, not %q", a.Config.In)
		}
	default:
		return fmt.Errorf("unknown type %q: want api_key or basic_auth", a.Type)
	}
	return nil
}

// nameEndpoints sees to it that one name is one endpoint. Hooks without an id
// that call one URL in different ways are told apart by a digest of the way;
// the names then change with it, which is why it is warned of.
func (l *loader) nameEndpoints(c *Config) {
	hooks := c.webHooks()
	for _, w := range ambiguous(hooks) {
		if w.ID == "" {
			w.label = w.digest()
			l.warn(w.key+".url", "several web_hooks call this URL in different ways: give each an id, or its name changes with its settings")
		}
	}
	known := map[string]keyedHook{}
	for _, w := range hooks {
		name := w.endpoint().Name()
		first, taken := known[name]
		switch {
		case !taken:
			known[name] = w
		case !same(first, w):
			l.refuse(l.at(w.key), w.key+".id", "another web_hook%s is called %s too: give each an id of its own", l.inLine(first.key), name)
		}
	}
}

// ambiguous gives the hooks that share their name with a different one.
func ambiguous(hooks []keyedHook) []keyedHook {
	var found []keyedHook
	for _, w := range hooks {
		name := w.endpoint().Name()
		if slices.ContainsFunc(hooks, func(o keyedHook) bool { return o.endpoint().Name() == name && !same(w, o) }) {
			found = append(found, w)
		}
	}
	return found
}

// same tells whether two hooks are called in the same way.
func same(a, b keyedHook) bool { return reflect.DeepEqual(a.endpoint(), b.endpoint()) }

func (l *loader) inLine(key string) string {
	if p := l.at(key); p.line > 0 {
		return fmt.Sprintf(" (line %d)", p.line)
	}
	return ""
}
