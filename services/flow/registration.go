package flow

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/identity"
)

// Step puts a registration at one of its two steps, ChooseMethod or
// ChooseCredential, with what was entered and nothing to say about it.
func (f *Flow) Step(state string, values map[string]any) {
	f.State, f.Form = state, Form{Values: values}
}

// Turn puts a registration of two steps at the one where what its form says can
// be mended: what is wrong with a trait at the first, also when something is wrong
// with the password too; what is wrong with the password alone at the second.
// Whatever else is said leaves the flow where it is.
func (f *Flow) Turn() {
	switch {
	case f.Kind != Registration:
	case f.Form.ofTraits():
		f.State = ChooseMethod
	case len(f.Form.Messages["password"]) > 0:
		f.State = ChooseCredential
	}
}

// ofTraits tells whether a message is mended by other traits.
func (f Form) ofTraits() bool {
	for name := range f.Messages {
		if name == "traits" || strings.HasPrefix(name, "traits.") {
			return true
		}
	}
	return slices.ContainsFunc(f.Messages[""], func(m Message) bool { return m.ID == identifierTaken || m.ID == noIdentifier })
}

// registration shows the fields, then the ways to sign up: all in one step, or
// traits and the ways that need no more first, and the password in a second step.
// What came back from a provider goes on there and nowhere else.
func (ui *UI) registration(f *Flow, fields []identity.Field, o Options) (state int64) {
	p, back := f.cameBack(o.Providers)
	if o.Profile && !back && f.State == ChooseCredential {
		ui.credential(f, fields, o)
		return chooseCredential
	}
	ui.traits(f, fields)
	if back {
		ui.provider(f, p, say(goOnSigningUp, nil))
		return 0
	}
	ui.providers(f, o.Providers, signUpWith)
	switch {
	case o.Profile:
		ui.add(f, input(GroupProfile, Input{Name: "method", Type: "submit", Value: "profile"}, label(signUp)))
	case o.Password:
		ui.password(f, "new-password", signUp)
	}
	return 0
}

// traits shows a node per field with the value that was entered. A message for
// "traits" gets a node of its own.
func (ui *UI) traits(f *Flow, fields []identity.Field) {
	for i := range fields {
		ui.add(f, trait(&fields[i], f.Form.Values))
	}
	if len(f.Form.Messages["traits"]) > 0 {
		ui.add(f, input(GroupDefault, Input{Name: "traits", Type: "text"}, nil))
	}
}

// credential is the second step: the traits go along unseen, and back is a button.
func (ui *UI) credential(f *Flow, fields []identity.Field, o Options) {
	for i := range fields {
		ui.hidden(f, fields[i].Name, f.Form.Values[fields[i].Name])
	}
	if o.Password {
		ui.password(f, "new-password", signUp)
	}
	ui.add(f, input(GroupProfile, Input{Name: "screen", Type: "submit", Value: "previous"}, label(goBack)))
}

// hidden shows a value as forms carry it: what a list holds by index.
func (ui *UI) hidden(f *Flow, name string, value any) {
	switch v := value.(type) {
	case []any:
		for n, item := range v {
			ui.hidden(f, name+"."+strconv.Itoa(n), item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			ui.hidden(f, name+"."+key, v[key])
		}
	default:
		ui.add(f, input(GroupDefault, Input{Name: name, Type: "hidden", Value: value}, nil))
	}
}
