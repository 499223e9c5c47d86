package courier_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// render gives the content of the mail to a person with the traits.
func render(t *testing.T, templates *courier.Templates, traits string) (courier.Content, error) {
	t.Helper()
	s, r := newMemory(t)
	s.recipient.Traits = json.RawMessage(traits)
	out := &sender{}
	c := newService(t, s, out)
	c.Templates = templates
	if err := c.Write(t.Context(), r); err != nil {
		return courier.Content{}, err
	}
	return out.got[0].Content, nil
}

func TestTemplatesAreOverriddenOneByOne(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "verification_code/valid/email.subject.gotmpl", "Folder {{ .VerificationCode }}\n")
	write(t, folder, "verification_code/valid/email.body.gotmpl", `<p>Folder for {{ .To }}, {{ .Identity.traits.name.first }}, {{ .Identity.id }}</p>`)
	write(t, folder, "verification_code/invalid/email.subject.gotmpl", "Unknown {{ .To }}")
	templates := newTemplates(t, courier.TemplateOptions{
		Folder: folder,
		Given:  given(courier.Texts{Subject: "Key {{ .VerificationCode }} grüßt {{ .Identity.traits.name.first }}"}).Given,
	})
	got, err := render(t, templates, `{"name":{"first":"Žofie <b>"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if subject := got.Subject.Reveal(); !strings.HasPrefix(subject, "Key ") || !strings.HasSuffix(subject, " grüßt Žofie <b>") {
		t.Errorf("subject = %q, want the key's", subject)
	}
	if page := got.HTML.Reveal(); !strings.HasPrefix(page, "<p>Folder for ada@example.com, Žofie &lt;b&gt;, ") {
		t.Errorf("HTML = %q, want the folder's, escaped", page)
	}
	if plain := got.Plain.Reveal(); !strings.HasPrefix(plain, "Hello,\n\nyour verification code is\n") {
		t.Errorf("plain = %q, want the built-in one", plain)
	}
}

// A mail is written in the language that whoever asked for it reads best, if it is there
// in that one; else as usual. What replaces a built-in mail does so in all languages.
func TestMailsInALanguage(t *testing.T) {
	t.Parallel()
	const german, english, mine = "Guten Tag,", "Hello,", "Mine"
	folder := t.TempDir()
	write(t, folder, "verification_code/valid/fr/email.body.plaintext.gotmpl", "Bonjour {{ .VerificationCode }}")
	write(t, folder, "verification_code/valid/de/email.subject.gotmpl", "Unser Code {{ .VerificationCode }}")
	linked := t.TempDir()
	write(t, linked, "verification_code/valid/..data/fr/email.body.plaintext.gotmpl", "Bonjour {{ .VerificationCode }}")
	if err := os.Symlink("..data/fr", filepath.Join(linked, "verification_code", "valid", "fr")); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "verification_code/valid/.hidden/email.subject.gotmpl", "{{ if }}")
	own := t.TempDir()
	write(t, own, "verification_code/valid/en/email.body.plaintext.gotmpl", "Dear {{ .VerificationCode }}")
	replaced := given(courier.Texts{Plain: mine + " {{ .VerificationCode }}"})
	replaced.Folder = folder
	for name, c := range map[string]struct {
		options         courier.TemplateOptions
		languages       string
		unknown         bool
		subject, begins string
	}{
		"German":                        {courier.TemplateOptions{}, "de-AT,de,en", false, "Ihr Bestätigungscode", german},
		"German, as it was stored":      {courier.TemplateOptions{}, "de-AT,de;q=0.9,en;q=0.8", false, "Ihr Bestätigungscode", german},
		"German, of nobody":             {courier.TemplateOptions{}, "de", true, "Ihre Adresse konnte nicht bestätigt werden", german},
		"English":                       {courier.TemplateOptions{}, "en-GB,de", false, "verification code", english},
		"neither":                       {courier.TemplateOptions{}, "fr-FR", false, "verification code", english},
		"neither, but rather German":    {courier.TemplateOptions{}, "fr-FR,de", false, "Ihr Bestätigungscode", german},
		"nothing is said":               {courier.TemplateOptions{}, "", false, "verification code", english},
		"nonsense":                      {courier.TemplateOptions{}, "x;;;=", false, "verification code", english},
		"one of the operator's":         {courier.TemplateOptions{Folder: folder}, "fr-CA", false, "verification code", "Bonjour "},
		"one by a link":                 {courier.TemplateOptions{Folder: linked}, "fr-CA", false, "verification code", "Bonjour "},
		"German, in part":               {courier.TemplateOptions{Folder: folder}, "de", false, "Unser Code ", german},
		"English beside the built-in":   {courier.TemplateOptions{Folder: own}, "en", false, "verification code", "Dear "},
		"replaced":                      {given(courier.Texts{Plain: mine + " {{ .VerificationCode }}"}), "de", false, "verification code", mine},
		"replaced, but in French":       {replaced, "fr", false, "verification code", "Bonjour "},
		"replaced, German in part":      {replaced, "de", false, "Unser Code ", mine},
		"replaced, of nobody it is not": {given(courier.Texts{Plain: mine + " {{ .VerificationCode }}"}), "de", true, "Ihre Adresse konnte nicht bestätigt werden", german},
	} {
		s, r := newMemory(t)
		s.recipient.Languages = c.languages
		if c.unknown {
			s.recipient.IdentityID, s.recipient.AddressID, s.recipient.Traits = uuid.Nil, uuid.Nil, nil
		}
		out := &sender{}
		service := newService(t, s, out)
		service.NotifyUnknown = map[flow.Kind]bool{flow.Verification: true}
		service.Templates = newTemplates(t, c.options)
		if err := service.Write(t.Context(), r); err != nil || len(out.got) != 1 {
			t.Errorf("%s: %d mails, %v", name, len(out.got), err)
			continue
		}
		got := out.got[0].Content
		if subject, plain := got.Subject.Reveal(), got.Plain.Reveal(); !strings.Contains(subject, c.subject) || !strings.HasPrefix(plain, c.begins) {
			t.Errorf("%s: subject %q, begins with %.20q, want %q and %q", name, subject, plain, c.subject, c.begins)
		}
	}
}

// Every built-in mail is there in German as a whole, and says so to screen readers.
func TestBuiltInMailsInGerman(t *testing.T) {
	t.Parallel()
	templates := newTemplates(t, courier.TemplateOptions{})
	for _, p := range []flow.Purpose{flow.VerifyByCode, flow.VerifyByLink, flow.RecoverByCode, flow.RecoverByLink} {
		for _, unknown := range []bool{false, true} {
			said := map[string]courier.Content{}
			for _, language := range []string{"en", "de"} {
				s, r := newMemory(t)
				s.recipient.Languages, s.recipient.Purpose = language, p
				if unknown {
					s.recipient.IdentityID, s.recipient.AddressID, s.recipient.Traits = uuid.Nil, uuid.Nil, nil
				}
				out := &sender{}
				service := newService(t, s, out)
				service.NotifyUnknown = map[flow.Kind]bool{flow.Verification: true, flow.Recovery: true}
				service.Templates = templates
				if err := service.Write(t.Context(), r); err != nil || len(out.got) != 1 {
					t.Fatalf("%s in %s, unknown %t: %d mails, %v", p, language, unknown, len(out.got), err)
				}
				said[language] = out.got[0].Content
				if page := out.got[0].Content.HTML.Reveal(); !strings.Contains(page, `<html lang="`+language+`">`) {
					t.Errorf("%s in %s, unknown %t: %.60s", p, language, unknown, page)
				}
			}
			en, de := said["en"], said["de"]
			if en.Subject.Reveal() == de.Subject.Reveal() || strings.Contains(de.Plain.Reveal()+de.HTML.Reveal(), "Hello") || strings.Contains(de.Plain.Reveal(), " minutes") {
				t.Errorf("%s, unknown %t: German is %q: %s", p, unknown, de.Subject.Reveal(), de.Plain.Reveal())
			}
		}
	}
}

func write(t *testing.T, folder, name, content string) {
	t.Helper()
	path := filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenTemplatesStopTheStart(t *testing.T) {
	t.Parallel()
	const key = "courier.templates.verification_code."
	for name, tc := range map[string]struct {
		options courier.TemplateOptions
		file    string // in the folder
		want    string
	}{
		"syntax":              {given(courier.Texts{Subject: "{{ .VerificationCode "}), "", key + "valid.email.subject: template: line 1: "},
		"unknown function":    {given(courier.Texts{Plain: "{{ .VerificationCode | upper }}"}), "", `"upper" not defined`},
		"misspelt field":      {given(courier.Texts{Plain: "{{ .VerificationCod }}"}), "", "VerificationCod"},
		"misspelt key":        {given(courier.Texts{HTML: "{{ .Identity.trait.email }}"}), "", `no entry for key "trait"`},
		"code left out":       {given(courier.Texts{Plain: "{{ .To }}"}), "", "leaves out"},
		"another number":      {given(courier.Texts{Plain: "{{ .VerificationCode }} call 555555"}), "", "not its code"},
		"empty subject":       {nobodys(courier.Texts{Subject: "\n{{/* none */}}\n"}), "", "subject is empty"},
		"code for nobody":     {nobodys(courier.Texts{Plain: "{{ .VerificationCode }}"}), "", "VerificationCode"},
		"person who is none":  {nobodys(courier.Texts{HTML: "{{ .Identity.id }}"}), "", "Identity"},
		"HTML that is broken": {given(courier.Texts{HTML: `<a href="{{ .VerificationURL }}`}), "", "non-text context"},
		"too much to read":    {given(courier.Texts{HTML: strings.Repeat("x", 256<<10+1)}), "", "over 262144 bytes"},
		"too much to render":  {given(courier.Texts{HTML: strings.Repeat(`{{ printf "%9000d" 1 }}`, 40)}), "", "more than 262144 bytes"},
		"no such folder":      {courier.TemplateOptions{Folder: "/nowhere"}, "", "courier.template_override_path: no such folder"},
		"broken in French":    {courier.TemplateOptions{}, "verification_code/invalid/fr/email.subject.gotmpl", "email.subject.gotmpl: template: line 1: "},
		"nothing in French":   {courier.TemplateOptions{}, "verification_code/valid/fr/email.subject.txt", "holds none of email.subject.gotmpl"},
		"no language":         {courier.TemplateOptions{}, "verification_code/valid/our-french/email.subject.gotmpl", "our-french is named after no language"},
		"file that is broken": {courier.TemplateOptions{}, "verification_code/invalid/email.body.plaintext.gotmpl", "email.body.plaintext.gotmpl: template: line 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.file != "" {
				tc.options.Folder = t.TempDir()
				write(t, tc.options.Folder, tc.file, "{{ if }}")
			}
			_, err := courier.NewTemplates(tc.options)
			var named *courier.Misconfigured
			if !errors.As(err, &named) || !strings.HasPrefix(named.Key, "courier.template") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewTemplates = %v, want an error of a key, with %q", err, tc.want)
			}
		})
	}
}

func TestTraitThatSomeLackIsReadWithIndex(t *testing.T) {
	t.Parallel()
	templates := newTemplates(t, given(courier.Texts{
		Subject: `{{ with index .Identity.traits "name" }}Dear {{ .first }}{{ else }}Hello{{ end }} {{ if eq .Identity.traits.lang "de" }}Kode{{ else }}code{{ end }}`,
	}))
	for traits, want := range map[string]string{
		`{"name":{"first":"Ada"},"lang":"de"}`: "Dear Ada Kode",
		`{"lang":"en"}`:                        "Hello code",
	} {
		if got, err := render(t, templates, traits); err != nil || got.Subject.Reveal() != want {
			t.Errorf("subject for %s = %q, %v, want %q", traits, got.Subject.Reveal(), err, want)
		}
	}
	if got, err := render(t, templates, `{}`); err == nil {
		t.Errorf("subject without a language = %q, want an error", got.Subject.Reveal())
	}
}

func TestSubjectStaysOneShortLine(t *testing.T) {
	t.Parallel()
	templates := newTemplates(t, given(courier.Texts{Subject: "Hi\r\n {{ .Identity.traits.name }}\n"}))
	for name, want := range map[string]string{
		`Ada\r\nBcc: eve@example.com\r\n\r\nbody`: "Hi Ada Bcc: eve@example.com body",
		`A\u0000\u0085\u2028B`:                    "Hi A B",
		strings.Repeat("é", 300):                  "Hi " + strings.Repeat("é", 197),
	} {
		got, err := render(t, templates, `{"name":"`+name+`"}`)
		if err != nil || got.Subject.Reveal() != want {
			t.Errorf("subject for %s = %q, %v, want %q", name, got.Subject.Reveal(), err, want)
		}
	}
}

// FuzzHostileTraits wants HTML that no trait changes, and subjects of one line.
func FuzzHostileTraits(f *testing.F) {
	for _, s := range []string{
		"Ada", `<script>alert(1)</script>`, `" onmouseover="x`, "javascript:alert(1)", "a\r\nBcc: eve@example.com",
		"{{ .VerificationCode }}", "</title><img src=x>", "\u202e\x00", "123456", "&lt;", "--boundary",
	} {
		f.Add(s)
	}
	templates := newTemplates(f, given(courier.Texts{
		Subject: `Hi {{ .Identity.traits.name }}`,
		HTML:    `<p title="{{ .Identity.traits.name }}">{{ .Identity.traits.name }}</p><a href="{{ .Identity.traits.name }}">x</a>`,
	}))
	f.Fuzz(func(t *testing.T, name string) {
		traits, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		got, err := render(t, templates, string(traits))
		if err != nil {
			t.Fatalf("name %q = %v, want a mail", name, err)
		}
		page := got.HTML.Reveal()
		if n := strings.Count(page, "<"); n != 4 || strings.Count(page, `"`) != 4 || strings.Contains(page, `href="javascript:`) {
			t.Errorf("HTML for %q = %s, want its four tags and two attributes", name, page)
		}
		if subject := got.Subject.Reveal(); strings.ContainsFunc(subject, unicode.IsControl) || len([]rune(subject)) > 200 {
			t.Errorf("subject for %q = %q, want one short line", name, subject)
		}
	})
}

// What deploy/config.yaml says that templates see, they do.
func TestTheConfigurationFileNamesWhatTemplatesSee(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\{\{ .*? \}\}`).FindAllString(string(text), -1)
	for _, want := range []string{".To", ".VerificationCode", ".VerificationURL", ".ExpiresInMinutes", ".Identity.id"} {
		if !slices.Contains(named, "{{ "+want+" }}") {
			t.Errorf("deploy/config.yaml names %q, want %s among them", named, want)
		}
	}
	if _, err := courier.NewTemplates(given(courier.Texts{HTML: strings.Join(named, "\n")})); err != nil {
		t.Errorf("what deploy/config.yaml names: %v", err)
	}
}
