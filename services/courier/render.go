package courier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// codeData is what the templates of a code see. A field that is misspelt in a
// template is an error, since this is no map.
type codeData struct {
	To, VerificationCode, VerificationURL string
	Identity                              map[string]any
	ExpiresInMinutes                      int
}

// unknownData is what the templates for an address that is nobody's see.
type unknownData struct{ To string }

// person is what templates see of an identity.
func person(to Recipient) (map[string]any, error) {
	traits := map[string]any{}
	if len(to.Traits) > 0 {
		d := json.NewDecoder(bytes.NewReader(to.Traits))
		d.UseNumber() // as they were written
		if d.Decode(&traits) != nil {
			return nil, errors.New("traits are not a JSON object") // the error may quote them
		}
	}
	return map[string]any{"id": to.IdentityID.String(), "traits": traits}, nil
}

func (t *Templates) code(d codeData) (Content, error) { return t.valid.render(d) }

func (t *Templates) unknown(to string) (Content, error) { return t.invalid.render(unknownData{To: to}) }

// render makes the content of a mail. Its errors say where in which template,
// and never what was rendered.
func (m mailTemplates) render(data any) (Content, error) {
	content, err := m.execute(data)
	if err == nil || errors.Is(err, errTooLong) {
		return content, err
	}
	// Behind the place stand texts that may quote the data.
	place, _, found := strings.Cut(err.Error(), ">: ")
	if !found {
		return Content{}, errors.New("a template cannot be rendered")
	}
	return Content{}, fmt.Errorf("%s>: cannot be rendered", place)
}

func (m mailTemplates) execute(data any) (Content, error) {
	subject, err := execute(m.subject, data)
	if err != nil {
		return Content{}, err
	}
	plain, err := execute(m.plain, data)
	if err != nil {
		return Content{}, err
	}
	body, err := execute(m.html, data)
	if err != nil {
		return Content{}, err
	}
	return Content{Subject: NewSecret(oneLine(subject)), Plain: NewSecret(plain), HTML: NewSecret(body)}, nil
}

func execute(t template, data any) (string, error) {
	var b bounded
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

var errTooLong = fmt.Errorf("a template renders more than %d bytes", maxBody)

// bounded takes as much as a body may have.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxBody {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// oneLine makes a subject: white space and control characters become single
// spaces, and what is too long is cut off.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	words := strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	letters := []rune(strings.Join(words, " "))
	return strings.TrimSpace(string(letters[:min(len(letters), maxSubject)]))
}

// try renders a mail with samples. What carries a code must show it in the plain
// body, where people and programs look for it, and show no other. The error is a
// [*Misconfigured].
func (m mailTemplates) try(data any) error {
	var made []string
	for _, p := range []part{m.subject, m.plain, m.html} {
		text, err := execute(p, data)
		if err != nil {
			return p.from.refuse(err)
		}
		made = append(made, text)
	}
	if oneLine(made[0]) == "" {
		return m.subject.from.refuse(errors.New("the subject is empty"))
	}
	d, ok := data.(codeData)
	if !ok {
		return nil
	}
	plain := made[1]
	for _, found := range digits.FindAllString(plain, -1) {
		if found != d.VerificationCode {
			return m.plain.from.refuse(errors.New("the plain body has six digits that are not its code"))
		}
	}
	if !digits.MatchString(plain) {
		return m.plain.from.refuse(errors.New("the plain body leaves out {{ .VerificationCode }}"))
	}
	return nil
}

// sampleFor is a sample with all the traits that a mail's templates name.
func sampleFor(m mailTemplates) codeData {
	traits := map[string]any{}
	addTraits(traits, m.from)
	return codeData{
		To: "ada@example.com", VerificationCode: "123456", ExpiresInMinutes: 60,
		VerificationURL: "https://example.com/self-service/verification?code=123456&flow=" + uuid.NewString(),
		Identity:        map[string]any{"id": uuid.NewString(), "traits": traits},
	}
}

var namedTraits = regexp.MustCompile(`\.Identity\.traits\.([\w.]*\w)`)

// addTraits adds the traits that the text of a template names as
// .Identity.traits.a.b. Leaves are texts.
func addTraits(traits map[string]any, from string) {
	for _, found := range namedTraits.FindAllStringSubmatch(from, -1) {
		at, path := traits, strings.Split(found[1], ".")
		for n, name := range path {
			below, isMap := at[name].(map[string]any)
			switch {
			case n == len(path)-1 && !isMap:
				at[name] = "sample"
			case !isMap:
				below = map[string]any{}
				at[name] = below
			}
			at = below
		}
	}
}
