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

	"github.com/usher-auth/usher/services/flow"
)

// content is what the templates of a kind of mail see, and by the names of JSON those of
// an API's requests. A field that is misspelt in a
// template is an error, since none of them is a map.
type content interface {
	// carries is the code or link that the mail is for.
	carries() string
}

// common is what all of them see.
type common struct {
	To               string         `json:"to"`
	Identity         map[string]any `json:"identity"`
	ExpiresInMinutes int            `json:"expires_in_minutes"`
}

type verificationCode struct {
	common
	VerificationCode string `json:"verification_code"`
	VerificationURL  string `json:"verification_url"`
}

type verificationLink struct {
	common
	VerificationURL string `json:"verification_url"`
}

type recoveryCode struct {
	common
	RecoveryCode string `json:"recovery_code"`
	RecoveryURL  string `json:"recovery_url"`
}

type recoveryLink struct {
	common
	RecoveryURL string `json:"recovery_url"`
}

func (d verificationCode) carries() string { return d.VerificationCode }
func (d verificationLink) carries() string { return d.VerificationURL }
func (d recoveryCode) carries() string     { return d.RecoveryCode }
func (d recoveryLink) carries() string     { return d.RecoveryURL }

// contentOf puts together what the templates of a mail see.
func contentOf(p flow.Purpose, c common, code, url string) content {
	switch p {
	case flow.VerifyByLink:
		return verificationLink{c, url}
	case flow.RecoverByCode:
		return recoveryCode{c, code, url}
	case flow.RecoverByLink:
		return recoveryLink{c, url}
	default:
		return verificationCode{c, code, url}
	}
}

// unknownData is what the templates for an address that is nobody's see.
type unknownData struct {
	To string `json:"to"`
}

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

func (t *Templates) known(p flow.Purpose, languages string, c content) (Content, error) {
	return t.valid[p].in(languages).render(c)
}

func (t *Templates) unknown(p flow.Purpose, languages, to string) (Content, error) {
	return t.invalid[p].in(languages).render(unknownData{To: to})
}

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
	seen, err := json.Marshal(data)
	if err != nil {
		return Content{}, err
	}
	return Content{Subject: NewSecret(oneLine(subject)), Plain: NewSecret(plain), HTML: NewSecret(body), Data: NewSecret(string(seen))}, nil
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

// try renders a mail with samples. What carries a code or link must show it in the
// plain body, where people and programs look for it, and show no other code. The error
// is a [*Misconfigured].
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
	d, ok := data.(content)
	if !ok {
		return nil
	}
	plain, carried := made[1], d.carries()
	if !strings.Contains(plain, carried) {
		what := "{{ .VerificationURL }} or {{ .RecoveryURL }}"
		if digits.MatchString(carried) {
			what = "{{ .VerificationCode }} or {{ .RecoveryCode }}"
		}
		return m.plain.from.refuse(errors.New("the plain body leaves out " + what))
	}
	for _, found := range digits.FindAllString(plain, -1) {
		if !strings.Contains(carried, found) {
			return m.plain.from.refuse(errors.New("the plain body has six digits that are not its code"))
		}
	}
	return nil
}

// sampleFor is a sample with all the traits that a mail's templates name.
func sampleFor(p flow.Purpose, m mailTemplates) content {
	traits := map[string]any{}
	addTraits(traits, m.from)
	c := common{To: "ada@example.com", Identity: map[string]any{"id": uuid.NewString(), "traits": traits}, ExpiresInMinutes: 60}
	if p.IsLink() {
		return contentOf(p, c, "", "https://example.com/self-service/?flow=a&token=b")
	}
	return contentOf(p, c, "123456", "https://example.com/self-service/?code=123456&flow=a")
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
