package flow

import (
	"strings"

	"github.com/usher-auth/usher/services/identity"
)

// settings shows the traits as they are, or as they were entered where that was
// refused, then a new password, then a button for each account that can be linked or
// removed.
func (ui *UI) settings(f *Flow, fields []identity.Field, o Options) (state int64) {
	if o.Profile {
		ui.profile(f, fields, o)
	}
	if o.Password {
		ui.password(f, "new-password", save)
	}
	for _, b := range []struct {
		name  string
		of    []Provider
		label int64
	}{{"link", o.Providers, linkProvider}, {"unlink", o.Linked, unlinkProvider}} {
		for _, p := range b.of {
			label := say(b.label, map[string]any{"provider": p.Label, "provider_id": p.ID})
			ui.add(f, input(GroupOIDC, Input{Name: b.name, Type: "submit", Value: p.ID}, &label))
		}
	}
	if f.State == Success {
		return settingsSaved
	}
	return 0
}

// profile shows the nodes of the method profile. A message for "traits" gets a node
// of its own.
func (ui *UI) profile(f *Flow, fields []identity.Field, o Options) {
	values := o.Traits
	for name := range f.Form.Values {
		if strings.HasPrefix(name, "traits") {
			values = f.Form.Values
		}
	}
	for i := range fields {
		n := trait(&fields[i], values)
		n.Group = GroupProfile
		ui.add(f, n)
	}
	if len(f.Form.Messages["traits"]) > 0 {
		ui.add(f, input(GroupProfile, Input{Name: "traits", Type: "text"}, nil))
	}
	ui.add(f, input(GroupProfile, Input{Name: "method", Type: "submit", Value: "profile"}, label(save)))
}
