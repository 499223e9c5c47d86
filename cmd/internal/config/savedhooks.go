package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/hook"
)

// list is a hook list that can be changed.
type list struct {
	key   string
	hooks *[]Hook
}

// lists are the hook lists of all flows.
func (c *Config) lists() []list {
	r, l, s := &c.SelfService.Flows.Registration, &c.SelfService.Flows.Login.After, &c.SelfService.Flows.Settings.After
	return []list{
		{beforeHooks, &r.Before.Hooks},
		{globalHooks, &r.After.Hooks},
		{passwordHooks, &r.After.Password.Hooks},
		{oidcHooks, &r.After.OIDC.Hooks},
		{loginHooks, &l.Hooks},
		{loginPassword, &l.Password.Hooks},
		{loginOIDC, &l.OIDC.Hooks},
		{verifiedHooks, &c.SelfService.Flows.Verification.After.Hooks},
		{recoveredHooks, &c.SelfService.Flows.Recovery.After.Hooks},
		{changedHooks, &s.Hooks},
		{settingsHooks("profile"), &s.Profile.Hooks},
		{settingsHooks("password"), &s.Password.Hooks},
		{settingsHooks("oidc"), &s.OIDC.Hooks},
	}
}

// only gives the lists with these keys.
func (c *Config) only(keys ...string) []list {
	return slices.DeleteFunc(c.lists(), func(l list) bool { return !slices.Contains(keys, l.key) })
}

func (l list) has(kind string) bool {
	return slices.ContainsFunc(*l.hooks, func(h Hook) bool { return h.Kind == kind })
}

// signedIn are the lists that need session for all to be signed in: social sign-in
// does it by itself, or is told not to, unless there is no other method.
func (c *Config) signedIn() []list {
	if c.SelfService.Methods.Password.Enabled || !c.SelfService.Methods.OIDC.signsIn() {
		return c.only(passwordHooks)
	}
	if c.SelfService.Flows.Registration.After.OIDC.AutoSession {
		return nil
	}
	return c.only(oidcHooks)
}

// signsIn tells whether registrations sign people in.
func (c *Config) signsIn() bool {
	return !slices.ContainsFunc(c.signedIn(), func(l list) bool { return !l.has(hook.KindSession) })
}

// signIn adds session as the last entry where it is missing, or takes it out of
// every list.
func (o *overlay) signIn(on bool) {
	if !on {
		for _, l := range o.only(passwordHooks, oidcHooks) {
			o.remove(l, hook.KindSession)
		}
		return
	}
	for _, l := range o.signedIn() {
		if !l.has(hook.KindSession) {
			o.insert(l, len(*l.hooks), hook.KindSession)
		}
	}
}

// gated tells whether a login needs a verified address, with whatever method.
func (c *Config) gated() bool {
	gates := c.gates()
	return len(gates) > 0 && !slices.ContainsFunc(gates, func(l list) bool { return !l.has(hook.KindRequireVerified) })
}

// gates are the lists that count at a login: a method's own takes the place of the
// one for all.
func (c *Config) gates() []list {
	var counting []string
	for _, method := range c.Methods() {
		counting = append(counting, c.gateOf(method))
	}
	return c.only(counting...)
}

// gateOf is the list that counts at a login with a method.
func (c *Config) gateOf(method string) string {
	if len(c.LoginLists(method).Method) == 0 {
		return loginHooks
	}
	return map[string]string{"password": loginPassword, "oidc": loginOIDC}[method]
}

// having gives the methods in use whose list has a hook of a kind.
func (c *Config) having(kind string, lists map[string]string) (methods []string) {
	for _, method := range c.Methods() {
		for _, l := range c.only(lists[method]) {
			if l.has(kind) {
				methods = append(methods, method)
			}
		}
	}
	return methods
}

// gate adds require_verified_address to the lists that count, or takes it out of all.
func (o *overlay) gate(on bool) {
	if !on {
		for _, l := range o.only(loginHooks, loginPassword, loginOIDC) {
			o.remove(l, hook.KindRequireVerified)
		}
		return
	}
	for _, l := range o.gates() {
		if !l.has(hook.KindRequireVerified) {
			// Behind what may refuse, which runs before it wherever it stands.
			at := 0
			for i, h := range *l.hooks {
				if h.Kind == hook.KindWorker || h.Kind == hook.KindWebHook && h.Config.timing() == hook.Refusing {
					at = i + 1
				}
			}
			o.insert(l, at, hook.KindRequireVerified)
		}
	}
}

// isNew stands for where an entry stood that was not there.
const isNew = -1

// insert puts a hook into a list.
func (o *overlay) insert(l list, at int, kind string) {
	was := slices.Insert(upTo(len(*l.hooks)), at, isNew)
	*l.hooks = slices.Insert(*l.hooks, at, Hook{Kind: kind})
	o.moved(l.key, was)
}

// remove takes the hooks of a kind out of a list.
func (o *overlay) remove(l list, kind string) {
	was := slices.DeleteFunc(upTo(len(*l.hooks)), func(i int) bool { return (*l.hooks)[i].Kind == kind })
	*l.hooks = slices.DeleteFunc(*l.hooks, func(h Hook) bool { return h.Kind == kind })
	o.moved(l.key, was)
}

// upTo gives 0 to n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// moved keeps lines and places with the entries of a list, by where they stood.
func (o *overlay) moved(key string, was []int) {
	lines, places := map[string]int{}, map[string]place{}
	for i, before := range was {
		now, old := entry(key, i), entry(key, max(0, before))
		if before == isNew {
			places[now] = place{source: fromSaved}
			continue
		}
		lines[now] = o.lines[old]
		for _, in := range o.layers {
			for name, p := range in.places {
				if name == old || strings.HasPrefix(name, old+".") {
					places[now+strings.TrimPrefix(name, old)] = p
				}
			}
		}
	}
	maps.DeleteFunc(o.lines, func(name string, _ int) bool { return strings.HasPrefix(name, key+"[") })
	maps.Copy(o.lines, lines)
	for n := range o.layers {
		o.layers[n].places = maps.Clone(o.layers[n].places)
		maps.DeleteFunc(o.layers[n].places, func(name string, _ place) bool { return strings.HasPrefix(name, key+"[") })
	}
	o.layers = append(o.layers, layer{places: places})
}
