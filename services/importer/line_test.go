package importer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/importer"
)

// What a line may say, and why it is refused; a reason quotes nothing that may be secret.
func TestLines(t *testing.T) {
	t.Parallel()
	with := func(members string) string { return `{"traits":{"email":"ann@example.org"},` + members + `}` }
	credential := func(kind, of string) string { return with(`"credentials":{"` + kind + `":` + of + `}`) }
	const hash = "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
	for line, want := range map[string]string{ // "" for imported
		`{"traits":{"email":"ann@example.org"}}`:                                                                "",
		with(`"schema_id":"default","state":"inactive","metadata_public":{"a":[]},"metadata_admin":null`):       "",
		with(`"external_id":"","organization_id":""`):                                                           "",
		with(`"external_id":"crm:7"`):                                                                           "",
		with(`"external_id":null,"organization_id":null,"id":null,"created_at":null`):                           "",
		with(`"region":"","tags":[],"more":{},"other":null,"available_aal":{ }`):                                "",
		with(`"verifiable_addresses":[{"value":"ann@example.org","via":"email","secret":null}]`):                "",
		with(`"recovery_addresses":[{"value":"ANN@example.org"}]`):                                              "",
		credential("password", `{"config":{"hashed_password":"`+hash+`"}}`):                                     "",
		credential("password", `{"config":{"hashed_password":"`+hash+`","use_password_migration_hook":false}}`): "",
		credential("password", `{"config":{"password":"secret"}}`):                                              "",
		credential("password", `{"config":null}`):                                                               "",
		credential("password", `{"config":{ }}`):                                                                "",
		credential("oidc", `{"config":{}}`):                                                                     "",
		credential("oidc", `{"config":null}`):                                                                   "",
		credential("oidc", `{"config":{"providers":[]}}`):                                                       "",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"1","new":true}]}}`):              "",
		credential("code", `{"identifiers":["ann@example.org"],"config":{"addresses":[{}]}}`):                   "",
		credential("totp", `{"config":{}}`):                                                                     "",
		credential("webauthn", `{"identifiers":["ann@example.org"],"config":null}`):                             "",

		`[]`:                        "the JSON is refused: it is not an object", // an array in an array
		`"secret"`:                  "the JSON is refused: it is not an object",
		`null`:                      "the JSON is refused: it is not an object",
		`{}`:                        "traits must be an object",
		`{"traits":[]}`:             "traits must be an object",
		`{"traits":{"email":"a"}`:   "the JSON is refused at byte 23: a comma or the end is expected",
		`{"traits":{}} {}`:          "the JSON is refused at byte 14: something follows the object",
		`{"traits":{"name":"x"}}`:   "traits.email: Please fill in email.",
		`{"traits":{"email":"no"}}`: "traits.email: This is not a valid email address.",
		with(`"schema_id":"other"`): `there is no identity schema "other"`,
		with(`"state":"secret"`):    "state must be active or inactive",
		with(`"state":7`):           "state must not be a JSON number",
		with(`"nick":"secret"`):     `unknown member "nick"`,
		with(`"state":"inactive","STATE":"active"`):                                                                    `unknown member "STATE"`,
		with(`"\u017ftate":"active"`):                                                                                  `unknown member "ſtate"`,
		with(`"STATE":null,"metadata_public":{"STATE":{"STATE":1}}`):                                                   "",
		credential("password", `{"config":{"PASSWORD":"secret"}}`):                                                     `unknown member "PASSWORD"`,
		credential("oidc", `{"config":{"providers":[{"provider":"a","Subject":"secret","subject":"1"}]}}`):             `unknown member "Subject"`,
		with(`"state":"inactive","state":"active"`):                                                                    "the JSON is refused at byte 64: the key stands twice",
		with(`"metadata_admin":{"a":{"secret":1,"secret":2}}`):                                                         "the JSON is refused at byte 80: the key stands twice",
		with(`"metadata_admin":"\u0000"`):                                                                              "the JSON is refused at byte 61: the NUL character",
		with(`"metadata_admin":["\ud800secret"]`):                                                                      "the JSON is refused at byte 62: half a character",
		with("\"metadata_admin\":\"\xff\""):                                                                            "the JSON is refused: it is not UTF-8",
		with(`"metadata_admin":1e400`):                                                                                 "the JSON is refused at byte 60: not a number of usual size",
		with(`"metadata_admin":` + strings.Repeat("[", 999) + strings.Repeat("]", 999)):                                "",
		with(`"metadata_admin":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)):                              "the JSON is refused at byte 1055: it is nested too deep",
		with(`"nick":false`):                                                                                           `unknown member "nick"`,
		with(`"external_id":"sec\u0007ret"`):                                                                           "external_id must not hold control characters",
		with(`"organization_id":"secret"`):                                                                             "organization_id is not supported",
		with(`"id":"secret"`):                                                                                          "id: an id is no UUID, or a time is not of RFC 3339",
		with(`"id":"00000000-0000-0000-0000-000000000000"`):                                                            "id must not be zero",
		with(`"created_at":"secret"`):                                                                                  "created_at: an id is no UUID, or a time is not of RFC 3339",
		with(`"state":"active","updated_at":7`):                                                                        "updated_at: an id is no UUID, or a time is not of RFC 3339",
		with(`"verifiable_addresses":[{"value":"ann@example.org","verified_at":"secret"}]`):                            "verifiable_addresses: an id is no UUID, or a time is not of RFC 3339",
		with(`"verifiable_addresses":[{"value":"+4912345","via":"sms"}]`):                                              "via must be email",
		with(`"verifiable_addresses":[{"value":"ann@example.org","verifed":true}]`):                                    `unknown member "verifed"`,
		with(`"verifiable_addresses":[{"value":"secret@example.org","verified":true}]`):                                "verifiable_addresses holds one that the identity schema does not take from the traits",
		with(`"verifiable_addresses":[{"value":"ANN@example.org","verified":true}]`):                                   "",
		with(`"recovery_addresses":[{"value":"secret@example.org"}]`):                                                  "recovery_addresses holds one that the identity schema does not take from the traits",
		credential("password", `7`):                                                                                    "credentials must not be a JSON number",
		credential("password", `{"identifiers":["ann@example.org"]}`):                                                  `the credential of the type "password" has no config: list identities with include_credential=password`,
		credential("password", `{"config":{"hashed":"secret"}}`):                                                       "config of the password must hold password or hashed_password, and nothing else",
		credential("password", `{"config":{"use_password_migration_hook":true}}`):                                      "use_password_migration_hook is not supported: the password is elsewhere",
		credential("password", `{"config":{"password":"secret","hashed_password":"`+hash+`"}}`):                        "give either password or hashed_password",
		credential("password", `{"config":{"hashed_password":"secret"}}`):                                              "hashed_password is no hash of bcrypt, argon2id, scrypt or pbkdf2",
		credential("oidc", `{"identifiers":["a:secret"]}`):                                                             `the credential of the type "oidc" has no config: list identities with include_credential=oidc`,
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":""}]}}`):                                 "an account needs a provider, which holds no colon, and a subject",
		credential("oidc", `{"config":{"providers":[{"subject":"secret"}]}}`):                                          "an account needs a provider, which holds no colon, and a subject",
		credential("oidc", `{"config":{"providers":[{"provider":"a:b","subject":"secret"}]}}`):                         "an account needs a provider, which holds no colon, and a subject",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"1","organization":"secret"}]}}`):        "organization and use_auto_link are not supported",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"1"},{"provider":"a","subject":"1"}]}}`): "",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"1","issuer":"secret"},{"provider":"a","subject":"1","issuer":"b"}]}}`): "credentials hold an account that the identity has of another issuer: remove that one first",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"1","use_auto_link":true}]}}`):                                          "organization and use_auto_link are not supported",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"sec\u0007ret"}]}}`):                                                    "an account must not hold control characters",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"`+strings.Repeat("1", 1024)+`"}]}}`):                                   "an account must not have more than 1024 bytes",
		credential("oidc", `{"config":{"providers":[{"provider":"a","subject":"`+strings.Repeat("1", 1023)+`"}]}}`):                                   "",
		credential("oidc", `{"config":{"providers":"secret"}}`):                                                                                       "config of oidc must hold providers, each with provider and subject",
		credential("totp", `{"config":{"totp_url":"otpauth://secret"}}`):                                                                              `credentials of the type "totp" are not imported (an empty one would be: list with include_credential=totp)`,
		credential("webauthn", `{"identifiers":["ann@example.org"]}`):                                                                                 `credentials of the type "webauthn" are not imported (an empty one would be: list with include_credential=webauthn)`,
	} {
		w := newWorld(t)
		in := line
		if strings.HasPrefix(line, "[") {
			in = "[" + line + "]"
		}
		sum := w.all(in)
		got := strings.Join(w.reasons(), "\n")
		_, got, _ = strings.Cut(got, ": ")
		if got != want || (want == "") != (sum.Imported == 1) {
			t.Errorf("%s: %+v, %q, want %q", line, sum, got, want)
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%s: the reason shows what may be secret: %q", line, got)
		}
	}
}

// The same person in other letters of JSON is the same person.
func TestSpacesMakeNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.all(`{"traits":{"email":"ann@example.org","name":"a b"}}`)
	if sum := w.all(`{ "traits" : { "email" : "ann@example.org", "name":"a b" } }`); sum.There != 1 {
		t.Errorf("the same with spaces = %+v %q, want it there", sum, w.reasons())
	}
	for _, i := range w.stored { // as the API stores it
		i.Traits = json.RawMessage(`{"email": "ann@example.org", "name": "a b"}`)
	}
	if sum := w.all(`{"traits":{"email":"ann@example.org","name":"a b"}}`); sum.There != 1 {
		t.Errorf("the same as stored with spaces = %+v %q, want it there", sum, w.reasons())
	}
	if sum := w.all(`{"traits":{"email":"ann@example.org","name":"ab"}}`); sum.Refused != 1 {
		t.Errorf("another with the same address = %+v, want it refused", sum)
	}
}

// A member that says nothing is passed over, but not inside of what others define.
func TestWhatIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.all(`{"traits":{"email":"ann@example.org"},"tier":null,"metadata_admin":{"tier":null},"metadata_public":[{"tier":""}]}`)
	for _, i := range w.stored {
		if string(i.MetadataAdmin) != `{"tier":null}` || string(i.MetadataPublic) != `[{"tier":""}]` {
			t.Errorf("metadata = %s and %s, want them as they were", i.MetadataAdmin, i.MetadataPublic)
		}
	}
	if len(w.stored) != 1 {
		t.Errorf("refused %q, want it imported", w.reasons())
	}
}

// A refusal says which line it is of, and nothing else of it.
func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, secret := idOf(1), `"traits":{"email":"secret"}`
	w.all(lines(
		`{"id":"`+id.String()+`","external_id":"crm:7",`+secret+`}`,
		`{"id":"`+id.String()+`","nick":"secret",`+secret+`}`,
		`{"external_id":"crm:8","state":7,`+secret+`}`,
		`{"id":"secret","external_id":"`+strings.Repeat("x", 256)+`",`+secret+`}`,
		`{"id":"00000000-0000-0000-0000-000000000000",`+secret+`}`,
		`{"id":"`+id.String()+`","external_id":"crm:9"`,
	))
	want := []importer.Refusal{{Line: 1, ID: &id, ExternalID: "crm:7"}, {Line: 2, ID: &id}, {Line: 3, ExternalID: "crm:8"}, {Line: 4}, {Line: 5}, {Line: 6}}
	for n := range w.refused {
		w.refused[n].Reason = ""
	}
	got, _ := json.Marshal(w.refused)
	if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
		t.Errorf("refused %s, want %s", got, wanted)
	}
}

// Who is there stays as they are, and it is told how many are not as their lines say.
func TestThereAndDifferent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const line = `{"external_id":"crm:7","traits":{"email":"ann@example.org"},"metadata_admin":{"a":1},"metadata_public":null}`
	w.all(line)
	for _, i := range w.stored { // as the API stores it
		i.MetadataAdmin = json.RawMessage(`{"a": 1}`)
	}
	for other, differ := range map[string]int{
		line: 0,
		strings.Replace(line, "crm:7", "crm:8", 1):                                1,
		strings.Replace(line, `{"a":1}`, `{"a":2}`, 1):                            1,
		strings.Replace(line, `"metadata_public":null`, `"metadata_public":1`, 1): 1,
		strings.Replace(line, `{"external`, `{"state":"inactive","external`, 1):   1,
	} {
		if sum, want := w.all(other), (importer.Summary{Lines: 1, There: 1, Differ: differ}); sum != want {
			t.Errorf("Run of %s = %+v, refused %q, want %+v", other, sum, w.reasons(), want)
		}
	}
	for _, i := range w.stored {
		if i.ExternalID != "crm:7" || string(i.MetadataAdmin) != `{"a": 1}` || i.MetadataPublic != nil || i.State != "active" {
			t.Errorf("stored is %+v, want it as it was", i)
		}
	}
}

// Who has accounts at a provider that is not configured is counted, once at each.
func TestStrangeProviders(t *testing.T) {
	t.Parallel()
	account := func(n int, provider string) string {
		return fmt.Sprintf(`{"provider":"%s","subject":"%d"}`, provider, n)
	}
	person := func(n int, accounts ...string) string {
		return fmt.Sprintf(`{"traits":{"email":"%d@example.org"},"credentials":{"oidc":{"config":{"providers":[%s]}}}}`, n, strings.Join(accounts, ","))
	}
	text := lines(
		person(1, account(1, "corp"), account(1, "google"), account(2, "google")),
		person(2, account(3, "google"), account(3, "github")),
		person(3, account(3, "google")), // which is taken
		person(4),
	)
	for _, checkOnly := range []bool{true, false} {
		w := newWorld(t)
		s := w.service
		s.CheckOnly, s.Providers = checkOnly, []string{"corp"}
		if sum, err := s.Run(t.Context(), importer.NewReader(strings.NewReader(text), 1)); err != nil || sum.Imported != 3 {
			t.Fatalf("Run = %+v, %v, want 3 imported", sum, err)
		}
		if got, want := s.Strange(), map[string]int{"google": 2, "github": 1}; !maps.Equal(got, want) {
			t.Errorf("Strange = %v, want %v", got, want)
		}
	}
	w := newWorld(t)
	s := w.service
	s.Providers = []string{}
	var many []string
	for n := range 20 {
		many = append(many, person(n, account(n, fmt.Sprint("p", n)), account(n, "p0")))
	}
	if _, err := s.Run(t.Context(), importer.NewReader(strings.NewReader(lines(many...)), 1)); err != nil || len(s.Strange()) != 16 || s.Strange()["p0"] != 20 {
		t.Errorf("Strange = %v, %v, want 16 of them, and 20 people of the first", s.Strange(), err)
	}
}
