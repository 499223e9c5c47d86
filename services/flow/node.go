package flow

// UI is what a flow shows: where its form goes and what is in it.
type UI struct {
	Action   string    `json:"action"`
	Method   string    `json:"method"`
	Nodes    []Node    `json:"nodes"`
	Messages []Message `json:"messages,omitempty"`
}

// Groups of nodes.
const (
	GroupDefault  = "default"
	GroupPassword = "password"
	GroupOIDC     = "oidc"
	GroupProfile  = "profile"
	GroupCode     = "code"
	GroupLink     = "link"
)

// Node is one element of a form. All of its keys are always encoded: clients
// refuse a node without them.
type Node struct {
	Type       string     `json:"type"` // "input", "a"
	Group      string     `json:"group"`
	Attributes Attributes `json:"attributes"`
	Messages   []Message  `json:"messages"` // never nil
	Meta       Meta       `json:"meta"`
}

// Attributes are what a node is made of: an [Input] or an [Anchor].
type Attributes interface {
	// name is what messages find the node by.
	name() string
}

// Meta is what is said about a node.
type Meta struct {
	Label *Message `json:"label,omitempty"`
}

// Input are the attributes of an input node, named as in HTML.
type Input struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Value        any      `json:"value,omitempty"` // nil is none; "" is encoded
	Required     bool     `json:"required,omitempty"`
	Autocomplete string   `json:"autocomplete,omitempty"`
	Pattern      string   `json:"pattern,omitempty"`
	Options      []Option `json:"options,omitempty"`
	Disabled     bool     `json:"disabled"`
	// NodeType repeats the node's type: clients decode the attributes by it.
	NodeType string `json:"node_type"`
}

func (a Input) name() string { return a.Name }

// Anchor are the attributes of a link.
type Anchor struct {
	Href     string  `json:"href"`
	Title    Message `json:"title"`
	ID       string  `json:"id"`
	NodeType string  `json:"node_type"`
}

func (a Anchor) name() string { return a.ID }

// Option is one value that an input may have.
type Option struct {
	Value any `json:"value"`
}

func input(group string, a Input, label *Message) Node {
	a.NodeType = "input"
	return Node{Type: "input", Group: group, Attributes: a, Messages: []Message{}, Meta: Meta{Label: label}}
}

func anchor(group string, a Anchor) Node {
	a.NodeType = "a"
	return Node{Type: "a", Group: group, Attributes: a, Messages: []Message{}, Meta: Meta{Label: &a.Title}}
}
