package pages_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// catalogue is a file of texts.
type catalogue struct {
	Messages, Titles, Words, Reasons map[string]string
}

func readCatalogues(t *testing.T) map[string]catalogue {
	t.Helper()
	files, err := filepath.Glob("texts/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("files of texts: %q, %v; want two and more", files, err)
	}
	all := map[string]catalogue{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c catalogue
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = c
	}
	return all
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// Every message has a text in each language, and none has a value that the English one
// has not: it would not be there. What is English is what the API says.
func TestEveryMessageHasATextInEachLanguage(t *testing.T) {
	t.Parallel()
	all := readCatalogues(t)
	source := map[string]string{}
	for id, text := range flow.Texts() {
		source[strconv.FormatInt(id, 10)] = text
	}
	if !maps.Equal(all["en"].Messages, source) {
		for id := range source {
			if all["en"].Messages[id] != source[id] {
				t.Errorf("en: %s says %q, want what the API says: %q", id, all["en"].Messages[id], source[id])
			}
		}
		t.Errorf("en: %d messages, want the %d of the API", len(all["en"].Messages), len(source))
	}
	for lang, c := range all {
		if got, want := slices.Sorted(maps.Keys(c.Messages)), slices.Sorted(maps.Keys(source)); !slices.Equal(got, want) {
			t.Errorf("%s: texts for %v, want %v", lang, got, want)
		}
		for id, text := range c.Messages {
			if text == "" {
				t.Errorf("%s: %s is empty", lang, id)
			}
			for _, key := range placeholder.FindAllString(text, -1) {
				if !strings.Contains(source[id], key) {
					t.Errorf("%s: %s says %q with %s, which %q has not", lang, id, text, key, source[id])
				}
			}
		}
		if _, ok := c.Reasons[flow.LastWay().Text]; !ok && lang != "en" {
			t.Errorf("%s: no text for %q", lang, flow.LastWay().Text)
		}
	}
}

// The pages' own words are there in each language, with the same values in them.
func TestEveryWordIsThereInEachLanguage(t *testing.T) {
	t.Parallel()
	all := readCatalogues(t)
	for lang, c := range all {
		if got, want := slices.Sorted(maps.Keys(c.Words)), slices.Sorted(maps.Keys(all["en"].Words)); !slices.Equal(got, want) {
			t.Errorf("%s: words %v, want those of en: %v", lang, got, want)
		}
		for name, text := range c.Words {
			got, want := placeholder.FindAllString(text, -1), placeholder.FindAllString(all["en"].Words[name], -1)
			if slices.Sort(got); text == "" || !sameValues(got, want) {
				t.Errorf("%s: %s says %q, want a text with %q", lang, name, text, want)
			}
		}
	}
}

func sameValues(got, want []string) bool {
	slices.Sort(want)
	return slices.Equal(got, want)
}

// The fields of the built-in schema have a title in each language, and in English their own.
func TestTheBuiltInSchemaHasTitlesInEachLanguage(t *testing.T) {
	t.Parallel()
	text, err := schemas.Identity.ReadFile("identity/default.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := identity.Compile("default", text)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range schema.Fields() {
		want[f.Name] = f.Title
	}
	for lang, c := range readCatalogues(t) {
		if lang == "en" && !maps.Equal(c.Titles, want) || !slices.Equal(slices.Sorted(maps.Keys(c.Titles)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s: titles %v, want those of %v", lang, c.Titles, want)
		}
		if address := c.Messages["1070007"]; c.Titles["traits.email"] != address {
			t.Errorf("%s: the address is called %q in one flow and %q in another", lang, c.Titles["traits.email"], address)
		}
	}
}

// The built-in schema's fields are called the same on all pages; another title stays.
func TestFieldsOfTheBuiltInSchemaInGerman(t *testing.T) {
	t.Parallel()
	field := func(name, title string) object {
		f := input("default", "text", name, nil, "")
		f["meta"] = object{"label": object{"id": 1070002, "type": "info", "text": title, "context": object{"title": title, "name": name}}}
		return f
	}
	page := registration(csrf(), field("traits.email", "Email"), field("traits.name.first", "Given name"), field("traits.name.last", "Last name"), submit("password", "method", "password", "Sign up"))
	person := signedIn(aSession(otherID, "198.51.100.9:1", firefox))
	who := aSession(otherID, "198.51.100.9:1", firefox)
	who["identity"] = object{"id": "2f1d", "traits": object{"email": "ann@example.com", "name": object{"first": "Ann"}, "team": object{"name": "Blue"}}}
	person[whoamiPath], person[flowsPath] = answers(http.StatusOK, who), answers(http.StatusOK, page)
	h := newPages(t, person)
	got := get(t, h, "/ui/registration?flow=1", german).page
	for name, want := range map[string]string{"traits.email": "E-Mail-Adresse", "traits.name.first": "Given name", "traits.name.last": "Nachname"} {
		if label := got.input(t, name).label(t, got); label != want+" (optional)" {
			t.Errorf("%s is called %q, want %q", name, label, want)
		}
	}
	if text := get(t, h, "/ui/welcome", german).page.tags("main")[0].text(); !strings.Contains(text, "E-Mail-Adresse ann@example.com Vorname Ann Name team Blue") {
		t.Errorf("the start page says %q", text)
	}
}

// german asks for a page in German.
func german(r *http.Request) { r.Header.Set("Accept-Language", "de-AT,de;q=0.9,en;q=0.8") }

func TestTheLanguageIsTheBrowsers(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: fails(http.StatusUnauthorized, "")})
	for accepted, want := range map[string]string{
		"":                        "en",
		"de":                      "de",
		"de-AT,de;q=0.9,en;q=0.8": "de",
		"en-GB,de;q=0.9":          "en",
		"fr":                      "en",
		"fr-FR,fr;q=0.9,de;q=0.1": "de",
		"*":                       "en",
		"nonsense!;q=x":           "en",
		"de-AT,de;q=0.9" + strings.Repeat(",x-unread", 10): "de",
		strings.Repeat("de,", 10000):                       "en", // nobody's browser says that
	} {
		got := get(t, h, "/ui/welcome", func(r *http.Request) { r.Header.Set("Accept-Language", accepted) })
		if lang := got.page.tags("html")[0].attr("lang"); lang != want || got.header.Get("Content-Language") != want || got.header.Get("Vary") != "Accept-Language" {
			t.Errorf("Accept-Language %.30q: lang %q, Content-Language %q, Vary %q, want %q twice", accepted, lang, got.header.Get("Content-Language"), got.header.Get("Vary"), want)
		}
	}
}

// What the API says is said in the language of the page, with its values; titles of
// fields and what hooks say stay as they are.
func TestMessagesInAnotherLanguage(t *testing.T) {
	t.Parallel()
	tooShort := flow.FromViolation(identity.Violation{Rule: "minLength", Context: map[string]any{"min_length": 3, "actual_length": 1}})
	wrongType := flow.FromViolation(identity.Violation{Rule: "type", Context: map[string]any{"allowed_types": []string{"string", "number"}, "actual_type": "object"}})
	title := flow.Message{ID: 1070002, Text: "Nick name", Type: "info", Context: json.RawMessage(`{"title":"Nick name","name":"traits.nick"}`)}
	of := func(m flow.Message) object {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var o object
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	own := object{"id": 4000032, "type": "error", "text": "Our rules say twelve.", "context": object{"min_length": 12, "actual_length": 3}}
	bare := object{"id": 4000003, "type": "error", "text": "The length must be at least {min_length}, but is {actual_length}."}
	field := input("default", "text", "traits.nick", nil, "", of(tooShort), of(wrongType), own, bare)
	field["meta"] = object{"label": of(title)}
	button := submit("password", "method", "password", "")
	button["meta"] = object{"label": object{"id": 1040001, "type": "info", "text": "Sign up"}}
	flow := say(registration(csrf(), field, button), of(flow.LastWay()), of(flow.Generic("Something that nobody has translated.")))
	got := get(t, newPages(t, api{flowsPath: answers(http.StatusOK, flow)}), "/ui/registration?flow=1", german)
	var said []string
	for _, li := range got.page.one(t, "role", "alert").tags("li") {
		said = append(said, li.text())
	}
	want := []string{
		"So können Sie sich als einziges noch anmelden, deshalb bleibt es. Fügen Sie zuerst etwas anderes hinzu.",
		"Something that nobody has translated.",
		"Nick name: Es müssen mindestens 3 Zeichen sein, nicht 1.",
		"Nick name: Der Wert muss vom Typ number oder string sein, nicht object.",
		"Nick name: Our rules say twelve.",
		"Nick name: The length must be at least {min_length}, but is {actual_length}.",
	}
	if !slices.Equal(said, want) {
		t.Errorf("summary = %q, want %q", said, want)
	}
	if label := got.page.input(t, "traits.nick").label(t, got.page); label != "Nick name (optional)" {
		t.Errorf("label = %q, want the schema's title", label)
	}
	if b := got.page.input(t, "method"); b.text() != "Registrieren" || b.attr("value") != "password" {
		t.Errorf("button says %q and sends %q, want Registrieren and password", b.text(), b.attr("value"))
	}
	if title := got.page.tags("title")[0].text(); title != "Fehler: Konto anlegen – Harbour" {
		t.Errorf("title = %q", title)
	}
}

// What a value or a reason explains is said with it, whatever it is: nothing is left in
// English, and no {key}.
func TestEveryRefusalInGerman(t *testing.T) {
	t.Parallel()
	var refusals []flow.Message
	for rule, context := range map[string]map[string]any{
		"required": {"property": "email"}, "minLength": {"min_length": 3, "actual_length": 1}, "maxLength": {"max_length": 3, "actual_length": 1000000},
		"pattern": {"pattern": "^[a-z]{2}$"}, "format": {"pattern": "date"}, "minimum": {"minimum": 0.5, "actual": -1000000.0},
		"exclusiveMinimum": {"minimum": 1.0, "actual": 1.0}, "maximum": {"maximum": 1e6, "actual": 1e20}, "exclusiveMaximum": {"maximum": 1.0, "actual": 2.0},
		"multipleOf": {"base": 2.0, "actual": 3.0}, "maxItems": {"max_items": 1, "actual_items": 2}, "minItems": {"min_items": 2, "actual_items": 1},
		"uniqueItems": {"index_a": 0, "index_b": 1}, "type": {"allowed_types": []string{"string", "number"}, "actual_type": "object"},
		"const": {"expected": "yes"}, "email": {"value": "x"}, "tel": {"value": "x"},
	} {
		refusals = append(refusals, flow.FromViolation(identity.Violation{Rule: rule, Context: context}))
	}
	policy := password.Policy{MaxLength: 20, Similarity: true, ServiceWords: []string{"our-harbour"}}
	for _, typed := range []string{"abc", strings.Repeat("x7", 11), "our-harbour", "long-name", "abcabcabcabc", "abcd4321", "anna.long-name@example"} {
		v := policy.Check(password.New(typed), []string{"anna.long-name@example.org"})
		if v == nil {
			t.Fatalf("the password %q is fine", typed)
		}
		refusals = append(refusals, flow.FromPassword(v.Rule, v.Context))
	}
	all := readCatalogues(t)["de"]
	for _, m := range refusals {
		field := input("default", "text", "traits.nick", nil, "", messageOf(t, m))
		page := get(t, newPages(t, api{flowsPath: answers(http.StatusOK, registration(csrf(), field))}), "/ui/registration?flow=1", german).page
		said := page.one(t, "id", page.input(t, "traits.nick").attr("aria-describedby")).text()
		form := strings.ReplaceAll(regexp.QuoteMeta(placeholder.ReplaceAllString(all.Messages[strconv.FormatInt(m.ID, 10)], "\x00")), "\x00", ".+")
		if !regexp.MustCompile("^" + form + "$").MatchString(said) {
			t.Errorf("%q is said as %q", m.Text, said)
		}
		if m.ID == 4000005 && !strings.Contains(said, ": es ") {
			t.Errorf("%q is said as %q, with an English reason", m.Text, said)
		}
	}
}

// Errors with values are known by what stands between them.
func TestReasonsWithValues(t *testing.T) {
	t.Parallel()
	long := "The sign-in at " + strings.Repeat("x", 1000) + " did not take place (access_denied)."
	for reason, want := range map[string]string{
		"Too many requests of this kind came from this network. Try again in 60 minutes.":       "Aus diesem Netz kamen zu viele Anfragen dieser Art. Versuchen Sie es in 60 Minuten noch einmal.",
		"Too many requests of this kind came from this network. Try again in 1 second.":         "Aus diesem Netz kamen zu viele Anfragen dieser Art. Versuchen Sie es in 1 Sekunde noch einmal.",
		"The sign-in at Corp (North) & Sons did not take place (access_denied).":                "Die Anmeldung bei Corp (North) & Sons kam nicht zustande (access_denied).",
		"This account at {wait} is not the one that was linked here. Sign in another way.":      "Dieses Konto bei {wait} ist nicht das, das hier verknüpft ist. Melden Sie sich auf andere Art an.",
		"This account at Google is not the one that was linked here. Sign in another way. Now.": "This account at Google is not the one that was linked here. Sign in another way. Now.",
		long: long,
	} {
		h := newPages(t, api{errorsPath: answers(http.StatusOK, object{"error": object{"code": 429, "reason": reason}})})
		if got := get(t, h, "/ui/error?id=1", german).page.one(t, "class", "lead").text(); got != want {
			t.Errorf("%q is said as %q, want %q", reason, got, want)
		}
	}
}

// Nothing on a German page is English but what others say.
func TestPagesInGerman(t *testing.T) {
	t.Parallel()
	public := signedIn(aSession(otherID, "198.51.100.9:1", firefox))
	public[errorsPath] = answers(http.StatusOK, object{"error": object{"code": 400, "reason": "This self-service flow is switched off.", "request": "req-1"}})
	public[verificationPath] = answers(http.StatusOK, golden(t, "verification_sent_email", object{"request_url": "https://a.example/self-service/registration/browser"}))
	public[loginPath] = answers(http.StatusOK, golden(t, "oidc_link_refused", nil))
	h := newPages(t, public)
	for target, want := range map[string]string{
		"/ui/sessions":            "Ihre Sitzungen Diese Firefox auf Linux Angemeldet am 24.11.2026, 18:39 UTC von 192.0.2.x Abmelden Andere Firefox auf Linux Angemeldet am 24.11.2026, 18:39 UTC von 198.51.100.x Beenden Überall sonst abmelden Zurück zum Anfang",
		"/ui/welcome":             "Sie sind angemeldet als 2f1d Angemeldet 24.11.2026, 18:39 UTC Bis 25.11.2026, 18:39 UTC Konto 2f1d Wo Sie angemeldet sind Abmelden",
		"/ui/error?id=1":          "Das hat nicht geklappt Das ist hier abgeschaltet. Zurück zum Anfang Kennung: req-1",
		"/ui/nothing":             "Diese Seite gibt es nicht Bitte prüfen Sie die Adresse. Zurück zum Anfang",
		"/ui/verification?flow=1": "Code eingeben Ihr Konto ist angelegt, und Sie sind schon angemeldet. Der Code bestätigt nur noch Ihre Adresse. Wenn die Adresse zu einem Konto gehört, ist eine E-Mail mit einem Code dorthin unterwegs. Bestätigungscode Weiter Code erneut senden Nicht Ihre Adresse? Eine andere eingeben",
		"/ui/login?flow=1":        "Bei Ihrem Konto anmelden als ann@example.com Es gibt ein Problem Der Anmeldename oder das Passwort ist falsch. Es gibt schon ein Konto mit ann@example.com. Melden Sie sich dort an, um sich künftig auch mit Google anzumelden. Passwort Bitte geben Sie es noch einmal ein. Mit Passwort anmelden oder Mit Corp & Sons anmelden Nicht Ihr Konto? Ein anderes verwenden",
	} {
		got := get(t, h, target, german)
		if text := got.page.tags("main")[0].text(); text != want {
			t.Errorf("GET %s says\n%s, want\n%s", target, text, want)
		}
	}
}

// What the API says of an error in another language than the page's is marked so.
func TestWhatIsNotTranslatedSaysItsLanguage(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{errorsPath: answers(http.StatusOK, object{"error": object{"code": 429, "reason": "Try again in 60 minutes."}})})
	for lang, want := range map[string]string{"de": "en", "en": ""} {
		got := get(t, h, "/ui/error?id=1", func(r *http.Request) { r.Header.Set("Accept-Language", lang) }).page
		if p := got.one(t, "class", "lead"); p.attr("lang") != want || p.text() != "Try again in 60 minutes." {
			t.Errorf("on a page in %s: %q in %q, want it in %q", lang, p.text(), p.attr("lang"), want)
		}
	}
}
