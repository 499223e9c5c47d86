package flow

import "slices"

// providers shows a button for each identity provider.
func (ui *UI) providers(f *Flow, offered []Provider, label int64) {
	for _, p := range offered {
		ui.provider(f, p, say(label, map[string]any{"provider": p.Label, "provider_id": p.ID}))
	}
}

func (ui *UI) provider(f *Flow, p Provider, label Message) {
	ui.add(f, input(GroupOIDC, Input{Name: "provider", Type: "submit", Value: p.ID}, &label))
}

// cameBack gives the provider that f came back from without all that its schema
// asks for.
func (f *Flow) cameBack(offered []Provider) (Provider, bool) {
	at := slices.IndexFunc(offered, func(p Provider) bool { return f.Form.Values["provider"] == p.ID })
	if at < 0 {
		return Provider{}, false
	}
	return offered[at], true
}

// leave takes from o what does not lead to the account that l waits for: the
// provider that is to be linked, and what its owner has no credential of. Where
// nothing is known of these, everything may.
func (l *Link) leave(o Options) Options {
	known := len(l.Methods) > 0
	o.Password = o.Password && (!known || slices.Contains(l.Methods, "password"))
	var left []Provider
	for _, p := range o.Providers {
		if p.ID != l.Provider && (!known || slices.Contains(l.Providers, p.ID)) {
			left = append(left, p)
		}
	}
	o.Providers = left
	return o
}

// message tells what signing in does, and how people can.
func (l *Link) message(o Options) Message {
	name := l.Provider
	if at := slices.IndexFunc(o.Providers, func(p Provider) bool { return p.ID == name }); at >= 0 {
		name = o.Providers[at].Label
	}
	return say(linkAccount, map[string]any{
		"duplicate_identifier":       l.Duplicate,
		"provider":                   name,
		"new_login_url":              o.NewLogin,
		"available_credential_types": listed(l.Methods),
		"available_providers":        listed(l.Providers),
	})
}

// listed is names as a context has them: clients refuse null.
func listed(names []string) []string { return append([]string{}, names...) }
