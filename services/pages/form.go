package pages

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// view is a flow's UI, put in order for a page.
type view struct {
	faults   []fault   // what is wrong anywhere, for the summary
	notes    []message // what else is said of the whole flow
	sections []section
}

// fault is something wrong: at an element, or of the whole flow.
type fault struct {
	id    string // of the element, or empty
	label string // of the element, or empty
	text  string
}

// form is one HTML form.
type form struct {
	action, method string
	group          string
	aside          bool // does something else than the form before it, of the same group
	hidden         []node
	items          []item
}

// submits tells whether there is anything to submit f with. Otherwise it is no
// form, such as the link at the end of a verification.
func (f *form) submits() bool {
	return slices.ContainsFunc(f.items, func(i item) bool { return i.kind() == button || i.entered() })
}

// other tells whether f begins with the word that divides it from the form before.
func (f *form) other() bool { return len(f.items) > 0 && f.items[0].or }

// item is a node as it is drawn.
type item struct {
	node
	id      string // of its element; nothing else on the page has it
	focus   bool   // the cursor stands here at first
	primary bool   // the button that leads on
	or      bool   // another way begins here
	retype  bool   // a password that is not shown again though nothing is wrong with it
	about   string // ids of what is said of the whole flow and is answered here
}

// idFaults is the id of the summary of what is wrong.
const idFaults = "faults"

// noteID is the id of what else is said of the whole flow.
func noteID(n int) string { return "note-" + strconv.Itoa(n) }

// said is the id of the element that holds the messages.
func (i *item) said() string { return i.id + "-said" }

// speaks tells whether there is anything in that element.
func (i *item) speaks() bool { return len(i.Messages) > 0 || i.retype }

// described are the ids of what describes the element, "" if nothing does.
func (i *item) described() string {
	var ids []string
	if i.about != "" {
		ids = append(ids, i.about)
	}
	if i.speaks() {
		ids = append(ids, i.said())
	}
	return strings.Join(ids, " ")
}

// arrange puts a flow in order: its nodes in forms, everything that is wrong in
// the summary, the cursor where it is mended or where the person goes on. No message is
// lost: those of nodes that are not drawn are said of the whole flow.
func arrange(f *selfService, k flowKind, say *words) view {
	var v view
	for _, m := range f.UI.Messages {
		v.say(m)
	}
	v.sections = sections(f, k, say, split(f.UI))
	for i := range v.items() {
		for _, m := range i.Messages {
			if m.faulty() {
				v.faults = append(v.faults, fault{i.id, i.label(), m.Text})
			}
		}
	}
	for n := range f.UI.Nodes {
		if k := f.UI.Nodes[n].kind(); k == hidden || k == undrawn {
			for _, m := range f.UI.Nodes[n].Messages {
				v.say(m)
			}
		}
	}
	if len(v.faults) > 0 {
		sent := func(form *form) bool { return k != settings || form.group == f.Active }
		v.remindOfPasswords(sent)
		v.focus(sent)
	} else if next := f.next(k); next != "" {
		v.goOn(next)
	}
	return v
}

// forms are those of all sections.
func (v *view) forms() iter.Seq[*form] {
	return func(yield func(*form) bool) {
		for _, s := range v.sections {
			for _, f := range s.forms {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// items are those of all forms.
func (v *view) items() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for f := range v.forms() {
			for n := range f.items {
				if !yield(&f.items[n]) {
					return
				}
			}
		}
	}
}

// focus puts the cursor at the first element that is wrong. If none is, but the
// whole flow, such as by a wrong code, it stands where something has to be
// entered again in a form that was sent, and the summary is read there.
func (v *view) focus(sent func(*form) bool) {
	for i := range v.items() {
		if i.entered() && !i.Attributes.Disabled && i.faulty() {
			i.focus = true
			return
		}
	}
	for f := range v.forms() {
		for n := range f.items {
			i := &f.items[n]
			if sent(f) && i.kind() == field && !i.Attributes.Disabled && i.value() == "" {
				i.focus, i.about = true, idFaults
				return
			}
		}
	}
}

// goOn puts the cursor at the field of a name; at the button behind it if that is
// filled in already. What is said of the whole flow is read there.
func (v *view) goOn(name string) {
	var notes []string
	for n := range v.notes {
		notes = append(notes, noteID(n))
	}
	filled := false
	for i := range v.items() {
		filled = filled || i.Attributes.Name == name && i.kind() == field && i.value() != ""
		if !i.Attributes.Disabled && (i.Attributes.Name == name && i.kind() == field && !filled || filled && i.kind() == button) {
			i.focus, i.about = true, strings.Join(notes, " ")
			return
		}
	}
}

// say puts a message where those of the whole flow stand.
func (v *view) say(m message) {
	if m.faulty() {
		v.faults = append(v.faults, fault{text: m.Text})
		return
	}
	v.notes = append(v.notes, m)
}

// remindOfPasswords marks passwords that were right but have to be typed again
// because something else is wrong: the API never gives one back.
func (v *view) remindOfPasswords(sent func(*form) bool) {
	for f := range v.forms() {
		for n := range f.items {
			i := &f.items[n]
			i.retype = sent(f) && i.kind() == field && i.Attributes.Type == "password" && len(i.Messages) == 0
		}
	}
}

// split deals the nodes out to forms: each group with a button of its own gets
// one, so that Enter in a field presses a button that belongs to the field, and
// never the first on the page, such as that of an identity provider. A button of
// another name than the first of its group does something else with what the API
// knows, such as to send a code again: it gets a form of its own, so that nothing
// is sent along that was entered. What belongs to no such group goes into the
// main form; what all of them need, such as the CSRF token, into each. Identity
// providers come last.
func split(u ui) []*form {
	forms, in, asides := formsOf(u)
	main := mainForm(forms, u.Nodes)
	for n, node := range u.Nodes {
		f := in[node.Group]
		switch k := node.kind(); k {
		case undrawn:
		case hidden:
			for _, each := range forms {
				if f == nil || each.group == node.Group {
					each.hidden = append(each.hidden, node)
				}
			}
		default:
			if aside := asides[[2]string{node.Group, node.Attributes.Name}]; k == button && aside != nil {
				f = aside
			}
			if f == nil {
				f = main
			}
			f.items = append(f.items, item{node: node, id: "node-" + strconv.Itoa(n)})
		}
	}
	for _, f := range forms {
		f.choosePrimary()
	}
	return offerProviders(forms, in[groupProviders], main, u.Nodes)
}

// offerProviders puts the identity providers behind what is entered, if anything
// is. Their buttons take along the traits that were entered, which count over the
// provider's; so they stand in the form of these, where Enter presses the button
// before them.
func offerProviders(forms []*form, providers, main *form, nodes []node) []*form {
	if providers == nil || providers == main || len(providers.items) == 0 || providers.items[0].Attributes.Name != "provider" {
		return forms // settings have other buttons for them, which take nothing along
	}
	providers.items[0].or = true
	forms = slices.DeleteFunc(forms, func(f *form) bool { return f == providers })
	if !slices.ContainsFunc(nodes, func(n node) bool { return n.entered() && n.ofTraits() }) {
		return append(forms, providers)
	}
	main.items = append(main.items, providers.items...)
	return forms
}

// formsOf gives the empty forms of a UI in the order of their buttons: all of
// them, those of the groups, and those aside by group and name of the button.
func formsOf(u ui) (forms []*form, in map[string]*form, asides map[[2]string]*form) {
	in, asides = map[string]*form{}, map[[2]string]*form{}
	names := map[string]string{} // of the first button of each group
	for n := range u.Nodes {
		b := &u.Nodes[n]
		if b.kind() != button {
			continue
		}
		f := &form{action: u.Action, method: u.Method, group: b.Group, aside: b.Meta.Label.ID == goBack}
		key := [2]string{b.Group, b.Attributes.Name}
		switch {
		case in[b.Group] == nil:
			in[b.Group], names[b.Group] = f, b.Attributes.Name
		case names[b.Group] != b.Attributes.Name && asides[key] == nil:
			f.aside = true
			asides[key] = f
		default:
			continue
		}
		forms = append(forms, f)
	}
	if len(forms) == 0 {
		forms = append(forms, &form{action: u.Action, method: u.Method})
	}
	return forms, in, asides
}

// mainForm is the first one of a group in which something is entered, else the
// first one that does not lead to an identity provider.
func mainForm(forms []*form, nodes []node) *form {
	for _, f := range forms {
		if slices.ContainsFunc(nodes, func(n node) bool { return n.Group == f.group && n.entered() }) {
			return f
		}
	}
	for _, f := range forms {
		if f.group != groupProviders {
			return f
		}
	}
	return forms[0]
}

// completes tells whether something is entered in f and one button sends it.
func (f *form) completes() bool {
	entered, buttons := 0, 0
	for n := range f.items {
		switch {
		case f.items[n].entered():
			entered++
		case f.items[n].kind() == button:
			buttons++
		}
	}
	return entered > 0 && buttons == 1
}

// Groups of nodes.
const (
	groupProviders = "oidc" // a button for each identity provider
	groupLink      = "link"
	groupPassword  = "password"
	groupProfile   = "profile"
)

// choosePrimary marks the button that leads on: the first. Identity providers
// are equal, unless there is one, and something is entered for it.
func (f *form) choosePrimary() {
	if f.aside || f.group == groupProviders && !f.completes() {
		return
	}
	for n := range f.items {
		if f.items[n].kind() == button {
			f.items[n].primary = true
			return
		}
	}
}
