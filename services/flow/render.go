package flow

import (
	"maps"
	"slices"

	"github.com/usher-auth/usher/services/identity"
)

// Options are what a flow shows besides itself.
type Options struct {
	// Action is the absolute URL that the form is submitted to.
	Action string
	// CSRF is the masked token; empty for api flows, which show an empty node.
	CSRF string
	// Password, Code, Link and Profile say that the method is on. With the last a
	// registration takes two steps.
	Password, Code, Link, Profile bool
	// Traits are what is stored, by the names of nodes, for settings.
	Traits map[string]any
	// Providers are those that people may sign in with.
	Providers []Provider
	// Linked are those whose accounts are linked and may be removed, for settings:
	// Providers are those that may be linked there.
	Linked []Provider
	// NewLogin is where another login is begun, for who does not want to link.
	NewLogin string
	// Continue is where a verification that has passed leads to.
	Continue string
}

// Render gives what f shows by its kind and state, and each message at its
// node. A message for any other node that is not there is said of the whole
// flow. The fields are those of the identity schema, in its order; a verification
// and a recovery show none. No password is ever shown. A login with a link says
// so beside whatever else it says.
func Render(f *Flow, fields []identity.Field, o Options) UI {
	ui := UI{Action: o.Action, Method: "POST", Nodes: make([]Node, 0, len(fields)+5)}
	ui.add(f, input(GroupDefault, Input{Name: "csrf_token", Type: "hidden", Value: o.CSRF, Required: true}, nil))
	var state int64 // the id of the message that the state itself has
	switch f.Kind {
	case Login:
		state = ui.login(f, fields, o)
	case Verification:
		state = ui.verification(f, o)
	case Recovery:
		state = ui.recovery(f, o)
	case Settings:
		state = ui.settings(f, fields, o)
	default:
		state = ui.registration(f, fields, o)
	}
	ui.Messages = f.Form.elsewhere(ui.Nodes)
	switch {
	case f.Kind == Login && f.Link != nil:
		ui.Messages = append([]Message{f.Link.message(o)}, ui.Messages...)
	case state != 0 && (len(ui.Messages) == 0 || f.State == PassedChallenge):
		ui.Messages = []Message{say(state, nil)}
	}
	return ui
}

// login shows one identifier for all traits that people sign in with. Who only
// confirms to be there still, or links an account, has no choice of it.
func (ui *UI) login(f *Flow, fields []identity.Field, o Options) (state int64) {
	id := Input{Name: "identifier", Type: "text", Value: "", Required: true}
	if entered, ok := f.Form.Values["identifier"].(string); ok {
		id.Value = entered
	}
	submit := int64(signInWithPassword)
	if f.Refresh {
		state, submit = confirmItIsYou, signIn
	}
	if f.Link != nil {
		id.Value, o = f.Link.Duplicate, f.Link.leave(o)
	}
	if (f.Refresh || f.Link != nil) && id.Value != "" {
		id.Type = "hidden"
		ui.add(f, input(GroupDefault, id, nil))
	} else {
		ui.add(f, input(GroupDefault, id, identifierLabel(fields)))
	}
	ui.providers(f, o.Providers, signInWith)
	if o.Password {
		ui.password(f, "current-password", submit)
	}
	return state
}

// identifierLabel is the title of the trait that people sign in with, if there
// is one such trait and it has one.
func identifierLabel(fields []identity.Field) *Message {
	var only *identity.Field
	for i := range fields {
		switch {
		case !fields[i].Identifier:
		case only != nil:
			return label(labelID)
		default:
			only = &fields[i]
		}
	}
	if only == nil || only.Title == "" {
		return label(labelID)
	}
	return title(only)
}

// password shows the nodes of the method password.
func (ui *UI) password(f *Flow, autocomplete string, submit int64) {
	ui.add(f, input(GroupPassword, Input{Name: "password", Type: "password", Required: true, Autocomplete: autocomplete}, label(labelPassword)))
	ui.add(f, input(GroupPassword, Input{Name: "method", Type: "submit", Value: "password"}, label(submit)))
}

// verification asks for an address, then for the code that was sent to it, and
// leads on in the end.
func (ui *UI) verification(f *Flow, o Options) (state int64) {
	switch {
	case f.State == PassedChallenge:
		ui.Action, ui.Method = o.Continue, "GET"
		ui.add(f, anchor(GroupCode, Anchor{Href: o.Continue, Title: say(goOn, nil), ID: "continue"}))
		return addressVerified
	case f.State == SentEmail && f.Active == MethodLink && o.Link:
		ui.address(f, o)
		return linkSent
	case f.State == SentEmail && o.Code:
		ui.code(f, labelCode)
		return codeSent
	}
	ui.address(f, o)
	return 0
}

// recovery asks for an address, then for the code that was sent to it. What comes then
// is the flow of settings.
func (ui *UI) recovery(f *Flow, o Options) (state int64) {
	switch {
	case f.State == PassedChallenge:
		return 0
	case f.State == SentEmail && f.Active == MethodLink && o.Link:
		ui.address(f, o)
		return recoveryLinkSent
	case f.State == SentEmail && o.Code:
		ui.code(f, labelRecoveryCode)
		return recoveryCodeSent
	}
	ui.address(f, o)
	return 0
}

// address asks whom a code or link is to go to, where one of them is on.
func (ui *UI) address(f *Flow, o Options) {
	group, method := GroupCode, MethodCode
	switch {
	case o.Link:
		group, method = GroupLink, MethodLink
	case !o.Code:
		return
	}
	email := Input{Name: "email", Type: "email", Value: f.Form.Values["email"], Required: true}
	ui.add(f, input(group, email, label(labelEmail)))
	ui.add(f, input(group, Input{Name: "method", Type: "submit", Value: method}, label(goOn)))
}

// code shows where the code is entered, and a button that asks for another one
// where it is known who is to get it.
func (ui *UI) code(f *Flow, named int64) {
	ui.add(f, input(GroupCode, Input{Name: "method", Type: "hidden", Value: "code"}, nil))
	code := Input{Name: "code", Type: "text", Value: f.Form.Values["code"], Required: true, Autocomplete: "one-time-code"}
	ui.add(f, input(GroupCode, code, label(named)))
	ui.add(f, input(GroupCode, Input{Name: "method", Type: "submit", Value: "code"}, label(goOn)))
	if address := f.Form.Values["email"]; address != nil {
		ui.add(f, input(GroupCode, Input{Name: "email", Type: "submit", Value: address}, label(resendCode)))
	}
}

// add appends a node with the messages that f has for it.
func (ui *UI) add(f *Flow, n Node) {
	if said := f.Form.Messages[n.Attributes.name()]; len(said) > 0 {
		n.Messages = said
	}
	ui.Nodes = append(ui.Nodes, n)
}

// trait is the node of a schema's field.
func trait(f *identity.Field, values map[string]any) Node {
	a := Input{
		Name:         f.Name,
		Type:         f.Type,
		Value:        values[f.Name],
		Required:     f.Required,
		Autocomplete: f.Autocomplete,
		Pattern:      f.Pattern,
	}
	for _, value := range f.Enum {
		a.Options = append(a.Options, Option{Value: value})
	}
	if f.Title == "" {
		return input(GroupDefault, a, nil)
	}
	return input(GroupDefault, a, title(f))
}

// title labels a node with what the schema calls its field.
func title(f *identity.Field) *Message {
	m := say(labelTitle, map[string]any{"title": f.Title, "name": f.Name})
	m.Text = f.Title
	return &m
}

func label(id int64) *Message {
	m := say(id, nil)
	return &m
}

// elsewhere are the messages that none of the nodes shows: first those of the
// whole flow, then the others by the name of their node.
func (f Form) elsewhere(nodes []Node) []Message {
	if len(f.Messages) == 0 {
		return nil
	}
	var messages []Message
	for _, name := range slices.Sorted(maps.Keys(f.Messages)) {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Attributes.name() == name }) {
			messages = append(messages, f.Messages[name]...)
		}
	}
	return messages
}
