package courier

import (
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	text "text/template"

	"github.com/usher-auth/usher/services/flow"
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

// Given are the templates of one kind of mail that are given in the configuration:
// for an address of somebody, and for one that is nobody's.
type Given struct{ Valid, Invalid Texts }

// TemplateOptions say which templates replace the built-in ones.
type TemplateOptions struct {
	// Given come before Folder's.
	Given map[flow.Purpose]Given
	// Folder holds files such as verification_code/valid/email.subject.gotmpl,
	// email.body.plaintext.gotmpl and email.body.gotmpl; not all need be there. Those for
	// who reads another language best are in a folder of its own, such as
	// verification_code/valid/fr. Empty means none.
	Folder string
}

// Templates render mails; [NewTemplates] makes them. They are safe for concurrent use.
type Templates struct {
	valid, invalid map[flow.Purpose]languages
}

// mailTemplates are the templates of one kind of mail, and what all three were made from.
type mailTemplates struct {
	subject, plain, html part
	from                 string
}

// part is a template, and where it is from.
type part struct {
	template
	from source
}

// template is one of text/template or html/template.
type template interface {
	Execute(w io.Writer, data any) error
}

// keyFolder is the key of [TemplateOptions.Folder].
const keyFolder = "courier.template_override_path"

// Kinds names each kind of mail as the configuration, the folders of templates and
// the types of messages do.
var Kinds = map[flow.Purpose]string{
	flow.VerifyByCode:  "verification_code",
	flow.VerifyByLink:  "verification",
	flow.RecoverByCode: "recovery_code",
	flow.RecoverByLink: "recovery",
}

// kind is where the templates of one kind of mail are.
type kind struct{ key, folder string }

func kindOf(p flow.Purpose, which string) kind {
	return kind{"courier.templates." + Kinds[p] + "." + which + ".email.", Kinds[p] + "/" + which}
}

// NewTemplates reads and tries all templates, so that one that cannot be
// rendered, or leaves out the code or link, is a [*Misconfigured] now. Templates see
//
//	.To                the address
//	.VerificationCode  six digits; for a recovery .RecoveryCode
//	.VerificationURL   the page that takes the code, with the code, or the link that
//	                   takes the place of both; for a recovery .RecoveryURL
//	.ExpiresInMinutes  how long that is good for
//	.Identity          .Identity.id, .Identity.traits.…
//
// and for an address that is nobody's only .To. What is not there is an error;
// a trait that not everybody has is read with {{ index .Identity.traits "name" }}.
//
// The built-in ones are there in English and German. Where one of a mail is replaced,
// that mail has no built-in language any more, but those of the folder.
func NewTemplates(o TemplateOptions) (*Templates, error) {
	if o.Folder != "" {
		if info, err := os.Stat(o.Folder); err != nil || !info.IsDir() {
			return nil, misconfigured(keyFolder, "no such folder: %s", o.Folder)
		}
	}
	t := Templates{map[flow.Purpose]languages{}, map[flow.Purpose]languages{}}
	for _, p := range slices.Sorted(maps.Keys(Kinds)) {
		var err error
		t.valid[p], err = newLanguages(kindOf(p, "valid"), o.Given[p].Valid, o.Folder, func(m mailTemplates) any { return sampleFor(p, m) })
		if err != nil {
			return nil, err
		}
		t.invalid[p], err = newLanguages(kindOf(p, "invalid"), o.Given[p].Invalid, o.Folder, func(mailTemplates) any { return unknownData{To: "ada@example.com"} })
		if err != nil {
			return nil, err
		}
	}
	return &t, nil
}

// parts are those of a mail, by their keys and files.
var parts = []struct {
	key, file string
	html      bool
}{
	{"subject", "email.subject.gotmpl", false},
	{"body.plaintext", "email.body.plaintext.gotmpl", false},
	{"body.html", "email.body.gotmpl", true},
}

// newMail makes a mail of what find gives for its parts, by their place, and tries it with
// a sample.
func newMail(find func(n int) (source, error), sample func(mailTemplates) any) (m mailTemplates, err error) {
	for n, to := range []*part{&m.subject, &m.plain, &m.html} {
		s, err := find(n)
		if err != nil {
			return mailTemplates{}, err
		}
		if len(s.text) > maxTemplate {
			return mailTemplates{}, s.refuse(fmt.Errorf("is over %d bytes", maxTemplate))
		}
		m.from += s.text
		to.from = s
		if to.template, err = parse(s.name, s.text, parts[n].html); err != nil {
			return mailTemplates{}, s.refuse(err)
		}
	}
	return m, m.try(sample(m))
}

func parse(name, from string, isHTML bool) (template, error) {
	if isHTML {
		return html.New(name).Option("missingkey=error").Parse(from)
	}
	return text.New(name).Option("missingkey=error").Parse(from)
}

// source is the text of a template, the name by which an operator knows it, the key that
// led to it, and whether it is built in.
type source struct {
	text, name, key string
	isOwn           bool
}

// refuse says what is wrong with it, and in which file of a folder.
func (s source) refuse(err error) error {
	text := strings.Replace(err.Error(), s.name+":", "line ", 1)
	if s.name != s.key {
		text = s.name + ": " + text
	}
	return &Misconfigured{s.key, errors.New(text)}
}

// findSource gives the template of a part: what is given, else the folder's, else the
// built-in one.
func findSource(k kind, n int, given Texts, folder string) (source, error) {
	key := k.key + parts[n].key
	if text := []string{given.Subject, given.Plain, given.HTML}[n]; text != "" {
		return source{text: text, name: key, key: key}, nil
	}
	s, err := fromFolder(folder, k.folder, parts[n].file)
	if errors.Is(err, fs.ErrNotExist) {
		return own(k, k.folder, n)
	}
	return s, err
}

// own gives a built-in template, or [fs.ErrNotExist].
func own(k kind, folder string, n int) (source, error) {
	name := "templates/" + folder + "/" + parts[n].file
	text, err := builtIn.ReadFile(name)
	return source{text: string(text), name: name, key: k.key + parts[n].key, isOwn: true}, err
}

// fromFolder gives the template that a file below the operator's folder holds, or
// [fs.ErrNotExist].
func fromFolder(folder, below, file string) (source, error) {
	if folder == "" {
		return source{}, fs.ErrNotExist
	}
	name := filepath.Join(folder, filepath.FromSlash(below), file)
	text, err := readFile(name)
	return source{text: text, name: name, key: keyFolder}, err
}

// readFile reads little more of a file than a template may have.
func readFile(name string) (string, error) {
	if is, err := os.Stat(name); err == nil && !is.Mode().IsRegular() { // a pipe would wait for ever
		return "", misconfigured(keyFolder, "%s is no file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", misconfigured(keyFolder, "%w", err)
	}
	defer f.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(f, maxTemplate+1)); err != nil {
		return "", misconfigured(keyFolder, "%w", err)
	}
	return b.String(), nil
}
