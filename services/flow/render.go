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
	// Password says that the method password is on.
	Password bool
}

// Render gives what f shows: a node per field in the schema's order with the
// value that was entered, then the nodes of the methods, and each message at
// its node. A message for "traits" gets a node of its own; a message for any
// other node that is not there is said of the whole flow. No password is ever shown.
func Render(f *Flow, fields []identity.Field, o Options) UI {
	ui := UI{Action: o.Action, Method: "POST", Nodes: make([]Node, 0, len(fields)+4)}
	ui.add(f, input(GroupDefault, Input{Name: "csrf_token", Type: "hidden", Value: o.CSRF, Required: true}, nil))
	for i := range fields {
		ui.add(f, trait(&fields[i], f.Form.Values))
	}
	if len(f.Form.Messages["traits"]) > 0 {
		ui.add(f, input(GroupDefault, Input{Name: "traits", Type: "text"}, nil))
	}
	if o.Password {
		password, submit := say(labelPassword, nil), say(signUp, nil)
		ui.add(f, input(GroupPassword, Input{Name: "password", Type: "password", Required: true, Autocomplete: "new-password"}, &password))
		ui.add(f, input(GroupPassword, Input{Name: "method", Type: "submit", Value: "password"}, &submit))
	}
	ui.Messages = f.Form.elsewhere(ui.Nodes)
	return ui
}

// add appends a node with the messages that f has for it.
func (ui *UI) add(f *Flow, n Node) {
	if said := f.Form.Messages[n.Attributes.Name]; len(said) > 0 {
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
	label := say(labelTitle, map[string]any{"title": f.Title, "name": f.Name})
	label.Text = f.Title
	return input(GroupDefault, a, &label)
}

// elsewhere are the messages that none of the nodes shows: first those of the
// whole flow, then the others by the name of their node.
func (f Form) elsewhere(nodes []Node) []Message {
	if len(f.Messages) == 0 {
		return nil
	}
	var messages []Message
	for _, name := range slices.Sorted(maps.Keys(f.Messages)) {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Attributes.Name == name }) {
			messages = append(messages, f.Messages[name]...)
		}
	}
	return messages
}
