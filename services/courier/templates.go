package courier

import (
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	text "text/template"
)

// Limits of templates and of what they make, in bytes; of subjects in letters.
const (
	maxTemplate = 256 << 10
	maxBody     = 256 << 10
	maxSubject  = 200
)

//go:embed templates
var builtIn embed.FS

// Texts are the templates of one mail, in the language of text/template and for
// HTML of html/template. An empty one is not given.
type Texts struct{ Subject, Plain, HTML string }

// TemplateOptions say which templates replace the built-in ones.
type TemplateOptions struct {
	// Code and Unknown are given in the configuration; they come before Folder's.
	Code, Unknown Texts
	// Folder holds files such as verification_code/valid/email.subject.gotmpl,
	// email.body.plaintext.gotmpl and email.body.gotmpl; not all need be there.
	// Empty means none.
	Folder string
}

// Templates render mails; [NewTemplates] makes them. They are safe for concurrent use.
type Templates struct{ valid, invalid mailTemplates }

// mailTemplates are the templates of one kind of mail, and what all three were made from.
type mailTemplates struct {
	subject, plain, html template
	from                 string
}

// template is one of text/template or html/template.
type template interface {
	Execute(w io.Writer, data any) error
}

// kind is where the templates of one kind of mail are.
type kind struct{ key, folder string }

var (
	kindCode    = kind{"courier.templates.verification_code.valid.email.", "verification_code/valid"}
	kindUnknown = kind{"courier.templates.verification_code.invalid.email.", "verification_code/invalid"}
)

// NewTemplates reads and tries all templates, so that one that cannot be
// rendered, or leaves out the code, is an error now. Templates see
//
//	.To                the address
//	.VerificationCode  six digits
//	.VerificationURL   the page that takes the code, with the code
//	.ExpiresInMinutes  how long the code is good for
//	.Identity          .Identity.id, .Identity.traits.…
//
// and for an address that is nobody's only .To. What is not there is an error;
// a trait that not everybody has is read with {{ index .Identity.traits "name" }}.
func NewTemplates(o TemplateOptions) (*Templates, error) {
	if o.Folder != "" {
		if info, err := os.Stat(o.Folder); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("courier.template_override_path: no such folder: %s", o.Folder)
		}
	}
	var t Templates
	var err error
	if t.valid, err = newMail(kindCode, o.Code, o.Folder); err != nil {
		return nil, err
	}
	if t.invalid, err = newMail(kindUnknown, o.Unknown, o.Folder); err != nil {
		return nil, err
	}
	if err := t.valid.try(sampleFor(t.valid)); err != nil {
		return nil, err
	}
	return &t, t.invalid.try(unknownData{To: "ada@example.com"})
}

func newMail(k kind, given Texts, folder string) (mailTemplates, error) {
	var m mailTemplates
	for _, part := range []struct {
		to               *template
		given, key, file string
		html             bool
	}{
		{&m.subject, given.Subject, "subject", "email.subject.gotmpl", false},
		{&m.plain, given.Plain, "body.plaintext", "email.body.plaintext.gotmpl", false},
		{&m.html, given.HTML, "body.html", "email.body.gotmpl", true},
	} {
		from, name, err := source(k, part.given, part.key, folder, part.file)
		if err != nil {
			return mailTemplates{}, err
		}
		if len(from) > maxTemplate {
			return mailTemplates{}, fmt.Errorf("%s: is over %d bytes", name, maxTemplate)
		}
		m.from += from
		if *part.to, err = parse(name, from, part.html); err != nil {
			return mailTemplates{}, err
		}
	}
	return m, nil
}

func parse(name, from string, isHTML bool) (template, error) {
	if isHTML {
		return html.New(name).Option("missingkey=error").Parse(from)
	}
	return text.New(name).Option("missingkey=error").Parse(from)
}

// source finds the text of a template and the name by which an operator knows it.
func source(k kind, given, key, folder, file string) (from, name string, err error) {
	if given != "" {
		return given, k.key + key, nil
	}
	if folder != "" {
		name = filepath.Join(folder, filepath.FromSlash(k.folder), file)
		from, err := readFile(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return from, name, err
		}
	}
	name = "templates/" + k.folder + "/" + file
	own, err := builtIn.ReadFile(name)
	return string(own), name, err
}

// readFile reads little more of a file than a template may have.
func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("courier.template_override_path: %w", err)
	}
	defer f.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(f, maxTemplate+1)); err != nil {
		return "", fmt.Errorf("courier.template_override_path: %w", err)
	}
	return b.String(), nil
}
