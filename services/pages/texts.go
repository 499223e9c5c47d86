package pages

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"

	"github.com/usher-auth/usher/services/flow"
)

// The languages of the pages, a file each: the first is the one of the API, which says
// what no other has a text for.
//
//go:embed texts/en.json texts/de.json
var textFiles embed.FS

var languages = []string{"en", "de"}

// catalogue is what the pages say in one language.
type catalogue struct {
	lang string
	// Messages are the API's, by id; {key} stands for a value of their context.
	Messages map[string]string
	// Titles are those of the built-in identity schema, by the names of nodes.
	Titles map[string]string
	// Reasons are what the API says of an error without an id, by its own text. {key}
	// stands for some text, which is put into the language in the same way.
	Reasons  map[string]string
	Words    words
	patterns []pattern  // of Reasons with a {key}
	source   *catalogue // of the API; nil is this one
}

// words are the pages' own; {key} stands for a value.
type words struct {
	Error, Problem, Optional, Choose, Retype, Or, Yes, No string
	// Moment is a layout of [time.Time.Format].
	Moment                                  string
	As, SignedInAs, Start, Again, Reference string

	Register, Complete, Credential, SignIn, SignInToLink, Confirm string
	EnterCode, CheckMail, Verify, Verified                        string
	Recover, RecoverHow, Recovered, RecoveredOther, Renewed       string
	EnterHanded, RecoveryUsed, RecoveryUsedHow, LostAddress, GoOn string
	AddressMailed, NoMail, InApp, InAppHow                        string
	Settings, SettingsNone                                        string
	Profile, Password, Providers, ProvidersHow                    string

	HaveAccount, NoAccount, CreateAccount, ChangedMind, SignUpOtherwise string
	NotYourAccount, UseAnother, NotYourAddress, EnterAnother            string
	Forgot, Remembered                                                  string

	// What a verification says besides its own messages. It does not know itself
	// whether the person is signed in, and a person may take it for the way in, or
	// for what keeps them out.
	Refused, Registered, NoSession, SignedInAlready                         string
	RefusedByLink, RegisteredByLink, NoSessionByLink, SignedInAlreadyByLink string
	SignInNow                                                               string

	SignedIn, Unverified, VerifyIt, Since, Until, Account, LogOut string

	Sessions, YourSessions, ThisOne, Others, NoOthers           string
	SignedInAt, SignedInFrom, SignOut, Older, SignOutOthers     string
	EndedOne, EndedOthers, Device, UnknownDevice                string
	SignedOut, SignedOutHow, Cookies, CookiesHow, Over, OverHow string

	NotThere, NotAllowed, Later, Moments, NotWorked, Wrong               string
	NotWithPage, ErrorGone, CheckAddress, NotOurs, Unreadable, NamesNone string
}

// texts are the catalogues, and how one is chosen.
type texts struct {
	catalogues []*catalogue
	matcher    language.Matcher
}

// loadTexts reads the files. What is wrong with one is a bug of this code.
func loadTexts() texts {
	var t texts
	var tags []language.Tag
	for _, lang := range languages {
		c := &catalogue{lang: lang}
		file, err := textFiles.ReadFile(path.Join("texts", lang+".json"))
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(file))
			d.DisallowUnknownFields()
			err = d.Decode(c)
		}
		if err != nil {
			panic(fmt.Sprintf("texts of the pages in %s: %v", lang, err))
		}
		if len(t.catalogues) > 0 {
			c.source = t.catalogues[0]
		}
		for text, said := range c.Reasons {
			if strings.Contains(text, "{") {
				c.patterns = append(c.patterns, pattern{parts: placeholder.Split(text, -1), keys: placeholder.FindAllString(text, -1), said: said})
			}
		}
		t.catalogues = append(t.catalogues, c)
		tags = append(tags, language.MustParse(lang))
	}
	t.matcher = language.NewMatcher(tags)
	return t
}

// of gives the catalogue that a browser's owner reads best. Mails are in that language
// too.
func (t *texts) of(r *http.Request) *catalogue {
	_, at := language.MatchStrings(t.matcher, flow.Languages(r.Header.Get("Accept-Language")))
	return t.catalogues[at]
}

// translate puts all that a flow says into the language.
func (c *catalogue) translate(u *ui) {
	c.messages(u.Messages)
	for n := range u.Nodes {
		at := &u.Nodes[n]
		c.messages(at.Messages)
		for _, m := range []*message{&at.Meta.Label, &at.Attributes.Title, &at.Attributes.Text} {
			c.message(m)
		}
	}
}

func (c *catalogue) messages(all []message) {
	for n := range all {
		c.message(&all[n])
	}
}

// message puts m into the language, if it is what the API itself says: a hook may say
// something else under an id of the contract, and that stays.
func (c *catalogue) message(m *message) {
	if c.source == nil || m.ID == 0 {
		return
	}
	if m.ID == fieldTitle {
		c.title(m)
		return
	}
	id := strconv.FormatInt(m.ID, 10)
	if said, ok := fillFrom(c.source.Messages[id], m.Context, c.source.Words.Or); !ok || said != m.Text {
		return
	}
	if reason, ok := m.Context["reason"].(string); ok { // which explains the message
		if known, ok := c.known(reason, true); ok {
			m.Context = maps.Clone(m.Context)
			m.Context["reason"] = known
		}
	}
	if text, ok := fillFrom(c.Messages[id], m.Context, c.Words.Or); ok && text != "" {
		m.Text = text
	}
}

// title puts the label of a field into the language, if the built-in schema has it.
func (c *catalogue) title(m *message) {
	name, _ := m.Context["name"].(string)
	if title := c.Titles[name]; title != "" && c.source.Titles[name] == m.Text {
		m.Text = title
	}
}

// reason puts what the API says of an error into the language, and gives the language
// that it is in then: "" is that of the page.
func (c *catalogue) reason(text string) (said, lang string) {
	if c.source == nil || text == "" {
		return text, ""
	}
	if known, ok := c.known(text, true); ok {
		return known, ""
	}
	return text, c.source.lang
}

// longestReason is how many bytes of a text are compared with those of the API: a hook may
// say anything.
const longestReason = 1000

// known puts a text of [catalogue.Reasons] into the language, false if it is none. Of one
// that stands in it the same is tried, and no further.
func (c *catalogue) known(text string, whole bool) (string, bool) {
	if said, ok := c.Reasons[text]; ok {
		return said, true
	}
	if len(text) > longestReason {
		return "", false
	}
	for _, p := range c.patterns {
		values, ok := p.match(text)
		if !ok {
			continue
		}
		pairs := make([]string, 0, 2*len(values))
		for n, value := range values {
			if whole {
				if said, ok := c.known(value, false); ok {
					value = said
				}
			}
			pairs = append(pairs, p.keys[n], value)
		}
		return strings.NewReplacer(pairs...).Replace(p.said), true
	}
	return "", false
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// pattern is a reason with values: what stands between them, and how it is said.
type pattern struct {
	parts, keys []string
	said        string
}

// match gives the values in a text that is said by the pattern.
func (p pattern) match(text string) (values []string, ok bool) {
	last := len(p.parts) - 1
	rest, ok := strings.CutPrefix(text, p.parts[0])
	if !ok {
		return nil, false
	}
	for _, part := range p.parts[1:last] {
		value, after, found := strings.Cut(rest, part)
		if !found {
			return nil, false
		}
		values, rest = append(values, value), after
	}
	value, ok := strings.CutSuffix(rest, p.parts[last])
	return append(values, value), ok
}

// fill puts values in the place of their {key}: pairs of key and value.
func fill(text string, pairs ...string) string {
	for n := 0; n < len(pairs); n += 2 {
		pairs[n] = "{" + pairs[n] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// fillFrom puts values of a message's context in the place of their {key}. False says
// that one has no value.
func fillFrom(text string, context map[string]any, or string) (string, bool) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		key, after, closed := strings.Cut(rest, "}")
		value, known := context[key]
		if !closed || !known {
			return "", false
		}
		b.WriteString(spoken(value, or))
		text = after
	}
}

// spoken is a value of a context as people read it.
func spoken(value any, or string) string {
	list, ok := value.([]any)
	if !ok {
		return written(value)
	}
	names := make([]string, 0, len(list))
	for _, item := range list {
		names = append(names, written(item))
	}
	slices.Sort(names)
	return strings.Join(names, " "+or+" ")
}

// before gives what stands before a {key} in a text.
func before(text, key string) string {
	text, _, _ = strings.Cut(text, "{"+key+"}")
	return text
}

// after gives what stands after it.
func after(text, key string) string {
	_, text, _ = strings.Cut(text, "{"+key+"}")
	return text
}
