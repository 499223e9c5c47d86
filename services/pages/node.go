package pages

import (
	"encoding/json"
	"strings"
)

// ui, node and message are the contract's, as far as they are drawn.
type ui struct {
	Action   string    `json:"action"`
	Method   string    `json:"method"`
	Nodes    []node    `json:"nodes"`
	Messages []message `json:"messages"`
}

type message struct {
	ID      int64          `json:"id"`
	Text    string         `json:"text"`
	Type    string         `json:"type"` // "info", "error", "success"
	Context map[string]any `json:"context"`
}

// Messages that tell what a flow is about.
const (
	linkAccount   = 1010016 // of the whole flow
	goOnSigningUp = 1040003 // the label of a provider's button
	goBack        = 1040008 // the label of the button of a second step
	recovered     = 1060001 // of the whole flow: the settings that a recovery leads to

	recoveryCodeSent = 1060003 // of the whole flow: a mail with a code is on its way
	fieldTitle       = 1070002 // the label of a field, which the identity schema has
)

func (m message) faulty() bool { return m.Type == "error" }

type node struct {
	Type       string     `json:"type"`
	Group      string     `json:"group"`
	Attributes attributes `json:"attributes"`
	Messages   []message  `json:"messages"`
	Meta       struct {
		Label message `json:"label"`
	} `json:"meta"`
}

// attributes are those of all types of nodes. A pattern and a maximal length
// are not among them: schemas and browsers read patterns differently, and what
// is too long must be told, not cut off.
type attributes struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Value        any      `json:"value"`
	Required     bool     `json:"required"`
	Disabled     bool     `json:"disabled"`
	Autocomplete string   `json:"autocomplete"`
	Options      []option `json:"options"`
	Href         string   `json:"href"`
	Title        message  `json:"title"`
	Text         message  `json:"text"`
	Src          string   `json:"src"`
	Width        int      `json:"width"`
	Height       int      `json:"height"`
}

type option struct {
	Value any `json:"value"`
}

// kind says how a node is drawn.
type kind int

const (
	undrawn kind = iota
	hidden
	field
	checkbox
	choice
	button
	link
	text
	image
)

// kind of n. Scripts have no place here, and neither has an input of type
// "button", which does nothing without one; types of later days are left out.
func (n *node) kind() kind {
	switch n.Type {
	case "a":
		return link
	case "text":
		return text
	case "img":
		return image
	case "input":
	default:
		return undrawn
	}
	switch n.Attributes.Type {
	case "hidden":
		return hidden
	case "submit":
		return button
	case "button":
		return undrawn
	case "checkbox":
		return checkbox
	}
	if len(n.Attributes.Options) > 0 {
		return choice
	}
	return field
}

// entered tells whether a person enters something at n.
func (n *node) entered() bool {
	k := n.kind()
	return k == field || k == checkbox || k == choice
}

// ofTraits tells whether n is of the identity itself.
func (n *node) ofTraits() bool {
	return n.Attributes.Name == "traits" || strings.HasPrefix(n.Attributes.Name, "traits.")
}

// label is what n is called: what the API says, else what its name says.
func (n *node) label() string {
	switch {
	case n.Meta.Label.Text != "":
		return n.Meta.Label.Text
	case n.Attributes.Title.Text != "":
		return n.Attributes.Title.Text
	}
	return readable(n.Attributes.Name[strings.LastIndexByte(n.Attributes.Name, '.')+1:])
}

// purpose is what browsers and password managers know a value by. Where the API
// says none, the contract's names and types do.
func (n *node) purpose() string {
	switch {
	case n.Attributes.Autocomplete != "":
		return n.Attributes.Autocomplete
	case n.Attributes.Name == "identifier":
		return "username"
	case n.Attributes.Type == "email":
		return "email"
	}
	return ""
}

func (n *node) value() string { return written(n.Attributes.Value) }

func (n *node) checked() bool {
	v := n.value()
	return v == "true" || v == "on"
}

func (n *node) faulty() bool {
	for _, m := range n.Messages {
		if m.faulty() {
			return true
		}
	}
	return false
}

// written is a value as a form carries it.
func written(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(value)
	if err != nil {
		return "" // cannot be: it was decoded from JSON
	}
	return string(b)
}
