package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// page is the page of documentation of a tree's asyncapi.yaml.
func page(tree fs.FS) ([]byte, error) {
	d, err := readDocument(tree)
	if err != nil {
		return nil, err
	}
	w := &writer{document: d}
	w.linef("<!-- Made from asyncapi.yaml by \"make generate\"; changes belong there. -->\n")
	w.linef("# %s\n\n%s\n", d.Info.Title, d.Info.Description)
	w.linef("%s\n", d.Servers.Bus.Description)
	w.linef("| account | holds |\n| --- | --- |")
	for name, holds := range d.Servers.Bus.Accounts.all() {
		w.linef("| `%s` | %s |", name, holds)
	}
	w.jetStream()
	w.events()
	w.subjects("Retries", "usher.hook.")
	w.subjects("Requests", "usher.svc.")
	w.subjects("Wake-ups", "usher.ctl.")
	return w.text.Bytes(), w.err
}

// writer writes the page until something goes wrong.
type writer struct {
	*document
	text bytes.Buffer
	err  error
}

// prose is a text that is written as it is.
var prose = strings.NewReplacer("<", `\<`, "|", `\|`)

func (w *writer) linef(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }

// check keeps the first error and tells whether there is none.
func (w *writer) check(err error) bool {
	if w.err == nil {
		w.err = err
	}
	return err == nil
}

func (w *writer) jetStream() {
	w.linef("\n## JetStream")
	description, _ := w.JetStream.Durable.find("description")
	for _, part := range []struct {
		about string
		facts members[any]
	}{
		{"One stream keeps all events and retries:", w.JetStream.Stream},
		{fmt.Sprint(description), w.JetStream.Durable},
	} {
		w.linef("\n%s\n\n| setting | value |\n| --- | --- |", part.about)
		for name, value := range part.facts.all() {
			if name != "description" {
				w.linef("| `%s` | %s |", name, values(value))
			}
		}
	}
}

// values are one value or a list.
func values(v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var texts []string
	for _, v := range list {
		texts = append(texts, fmt.Sprintf("`%v`", v))
	}
	return strings.Join(texts, ", ")
}

func (w *writer) events() {
	w.linef("\n## Events\n")
	envelope, err := w.schema(refTo{"events/envelope.schema.json"})
	if !w.check(err) {
		return
	}
	w.linef("%s\n", envelope.Description)
	w.object(envelope)
	w.linef("\nHeaders of the message:\n")
	trait, _ := w.Components.MessageTraits.find("event")
	w.object(trait.Headers)
	w.linef("\n| event | |\n| --- | --- |")
	w.each("usher.evt.", func(name string, _ channel, data object) {
		w.linef("| [`%s`](#%s) | %s |", name, strings.ReplaceAll(name, ".", ""), aboutData(data))
	})
	w.each("usher.evt.", func(name string, c channel, data object) {
		w.linef("\n### %s\n\n%s\n\nSubject `%s`, account %s.\n", name, aboutData(data), c.Address, c.Account)
		w.object(data)
		w.example(name)
	})
}

// each calls f for each channel of events.
func (w *writer) each(prefix string, f func(name string, c channel, data object)) {
	for name, c := range w.Channels.all() {
		if !strings.HasPrefix(c.Address, prefix) {
			continue
		}
		for _, r := range c.Messages.values {
			m, err := w.message(r)
			if !w.check(err) || m.Payload == nil || len(m.Payload.AllOf) != 2 {
				w.check(fmt.Errorf("channel %s: want the payload of an event", name))
				return
			}
			data, err := w.schema(m.Payload.AllOf[1].Properties.Data)
			if !w.check(err) {
				return
			}
			f(name, c, data)
		}
	}
}

func aboutData(data object) string {
	about := strings.TrimPrefix(data.Description, "Data of the event: ")
	return strings.ToUpper(about[:1]) + about[1:]
}

// example shows the golden event of a type.
func (w *writer) example(name string) {
	text, err := fs.ReadFile(w.tree, "events/testdata/golden/"+name+".1.json")
	if !w.check(err) {
		return
	}
	var e struct {
		Data json.RawMessage `json:"data"`
	}
	var pretty bytes.Buffer
	if w.check(json.Unmarshal(text, &e)) && w.check(json.Indent(&pretty, e.Data, "", "  ")) {
		w.linef("\n```json\n%s\n```", pretty.String())
	}
}

// subjects shows the channels whose address begins with prefix, and their replies.
func (w *writer) subjects(title, prefix string) {
	w.linef("\n## %s", title)
	for name, c := range w.Channels.all() {
		if !strings.HasPrefix(c.Address, prefix) {
			continue
		}
		w.linef("\n### %s\n\n%s\n\nSubject `%s`, account %s.", name, prose.Replace(c.Description), c.Address, c.Account)
		w.messages(c)
		if reply, ok := w.Channels.find(name + ".reply"); ok {
			w.messages(reply)
		}
	}
}

func (w *writer) messages(c channel) {
	for _, r := range c.Messages.values {
		m, err := w.message(r)
		if !w.check(err) {
			return
		}
		w.linef("\n**%s.** %s", m.Title, m.Summary)
		if len(m.Headers.Properties.names) > 0 {
			w.linef("\nHeaders:\n")
			w.object(m.Headers)
		}
		if m.Payload != nil {
			w.body(*m.Payload)
		}
	}
}

func (w *writer) body(p payload) {
	if p.Ref == "" {
		w.linef("\nBody: %s.", strings.TrimSpace(p.Type+" "+p.Format))
		return
	}
	if p.Ref == "events/envelope.schema.json" {
		w.linef("\nBody: an [event](#events).")
		return
	}
	o, err := w.schema(p.refTo)
	if !w.check(err) {
		return
	}
	w.linef("\nBody ([schema](%s)): %s", p.Ref, o.Description)
	if len(o.Properties.names) > 0 {
		w.linef("")
		w.object(o)
	}
}

// object is a table of members, those of inner objects behind a dot.
func (w *writer) object(o object) {
	w.linef("| member | type | |\n| --- | --- | --- |")
	w.rows("", o)
}

func (w *writer) rows(at string, o object) {
	for name, member := range o.Properties.all() {
		kind := member.kind()
		if !slices.Contains(o.Required, name) {
			kind += ", optional"
		}
		w.linef("| `%s%s` | %s | %s |", at, name, kind, prose.Replace(member.Description))
		w.rows(at+name+".", member)
		if member.Items != nil {
			w.rows(at+name+"[].", *member.Items)
		}
	}
}

func (o object) kind() string {
	if o.Const != nil {
		return fmt.Sprintf("`%v`", o.Const)
	}
	if len(o.Enum) > 0 {
		return "`" + strings.Join(o.Enum, "`, `") + "`"
	}
	kind := "anything"
	switch t := o.Type.(type) {
	case string:
		kind = t
	case []any:
		var names []string
		for _, name := range t {
			names = append(names, fmt.Sprint(name))
		}
		kind = strings.Join(names, " or ")
	}
	if o.Format != "" {
		kind += ", " + o.Format
	}
	return kind
}
