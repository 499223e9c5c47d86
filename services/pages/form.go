package pages

import (
	"slices"
	"strconv"
)

// view is a flow's UI, put in order for a page.
type view struct {
	faults []fault   // what is wrong anywhere, for the summary
	notes  []message // what else is said of the whole flow
	forms  []*form
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
	hidden         []node
	items          []item
}

// item is a node as it is drawn.
type item struct {
	node
	id      string // of its element; nothing else on the page has it
	focus   bool   // the cursor stands here at first
	primary bool   // the button that leads on
	retype  bool   // a password that is not shown again though nothing is wrong with it
}

// said is the id of the element that holds the messages.
func (i *item) said() string { return i.id + "-said" }

// described is the id of what describes the element, "" if nothing does.
func (i *item) described() string {
	if len(i.Messages) == 0 && !i.retype {
		return ""
	}
	return i.said()
}

// arrange puts a UI in order: its nodes in forms, everything that is wrong in
// the summary, the cursor at the first field that has to be mended. No message
// is lost: those of nodes that are not drawn are said of the whole flow.
func arrange(u ui) view {
	var v view
	for _, m := range u.Messages {
		v.say(m)
	}
	v.forms = split(u)
	focused := false
	for _, f := range v.forms {
		for n := range f.items {
			i := &f.items[n]
			for _, m := range i.Messages {
				if m.faulty() {
					v.faults = append(v.faults, fault{i.id, i.label(), m.Text})
				}
			}
			if i.faulty() && i.entered() && !focused {
				i.focus, focused = true, true
			}
		}
	}
	for n := range u.Nodes {
		if k := u.Nodes[n].kind(); k == hidden || k == undrawn {
			for _, m := range u.Nodes[n].Messages {
				v.say(m)
			}
		}
	}
	v.remindOfPasswords()
	return v
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
func (v *view) remindOfPasswords() {
	if len(v.faults) == 0 {
		return
	}
	for _, f := range v.forms {
		for n := range f.items {
			i := &f.items[n]
			i.retype = i.kind() == field && i.Attributes.Type == "password" && len(i.Messages) == 0
		}
	}
}

// split deals the nodes out to forms: each group with a button of its own gets
// one, so that Enter in a field presses a button that belongs to the field, and
// never the first on the page, such as that of an identity provider. What
// belongs to no such group goes into the main form; what all of them need, such
// as the CSRF token, into each.
func split(u ui) []*form {
	var forms []*form
	in := map[string]*form{}
	for n := range u.Nodes {
		if group := u.Nodes[n].Group; u.Nodes[n].kind() == button && in[group] == nil {
			in[group] = &form{action: u.Action, method: u.Method, group: group}
			forms = append(forms, in[group])
		}
	}
	if len(forms) == 0 {
		forms = append(forms, &form{action: u.Action, method: u.Method})
	}
	main := mainForm(forms, u.Nodes)
	for n, node := range u.Nodes {
		f := in[node.Group]
		switch k := node.kind(); {
		case k == undrawn:
		case k == hidden && f == nil:
			for _, each := range forms {
				each.hidden = append(each.hidden, node)
			}
		case k == hidden:
			f.hidden = append(f.hidden, node)
		default:
			if f == nil {
				f = main
			}
			f.items = append(f.items, item{node: node, id: "node-" + strconv.Itoa(n)})
		}
	}
	for _, f := range forms {
		f.choosePrimary()
	}
	return forms
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

// groupProviders has a button for each identity provider.
const groupProviders = "oidc"

// choosePrimary marks the button that leads on: the first. Identity providers
// are equal.
func (f *form) choosePrimary() {
	if f.group == groupProviders {
		return
	}
	for n := range f.items {
		if f.items[n].kind() == button {
			f.items[n].primary = true
			return
		}
	}
}
