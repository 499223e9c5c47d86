package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestScreenshots is "make screenshots": it takes the built-in pages, and every page of
// the console of a system with some life in it, into the folder that
// USHER_TEST_SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("USHER_TEST_SCREENSHOTS")
	if folder == "" {
		t.Skip("run by make screenshots")
	}
	needsBrowser(t)
	t.Run("pages", func(t *testing.T) { browse(t, "account.mjs", wholeAccount("code")) })
	t.Run("pages by link", func(t *testing.T) { browse(t, "account.mjs", wholeAccount("link"), "USHER_BY_LINK=1") })
	broken, crm := newEndpoint(t), newEndpoint(t)
	broken.answers(http.StatusBadGateway)
	s := newSystem(t, "postgres", merge(mustVerify(), settings{
		"selfservice": settings{"flows": settings{"registration": settings{"after": settings{"password": settings{"hooks": []any{
			sessionHook, settings{"hook": "show_verification_ui"}, crm.webHook("crm", settings{"ignore": true}), broken.webHook("billing", settings{"ignore": true}),
		}}}}}},
	}))
	link := s.setUpLink()
	s.webhook("add", "warehouse", crm.URL+"/warehouse", "--events", "identity.created,login.succeeded")
	// Its first event is one it cannot do, for ever; the others it does.
	s.command(t, "newsletter", `mkdir "$1/first" 2>/dev/null && { echo "the list is closed to this address" >&2; exit 65; }
cat >/dev/null; exit 0
`, "--lines=false")
	who, strangers := s.live(t, 90*time.Second)
	s.browse(t, "console-screenshots.mjs", "USHER_CONSOLE_URL="+s.admins[0], "USHER_SETUP_LINK="+link, "USHER_IDENTITY="+who,
		"USHER_STRANGERS="+strings.Join(strangers, ","))
}

// demoPeople are those who register in the screenshots, by first and last name. Some
// are written from right to left, some are markup, some are long.
var demoPeople = [][2]string{
	{"Ada", "Lovelace"},
	{"Grace", "Hopper"},
	{"محمد", "الخوارزمي"},
	{"Katherine", "Johnson"},
	{"Edsger", "Dijkstra"},
	{"<b>Barbara</b>", "<script>alert(1)</script>"},
	{"Donald", "Knuth"},
	{"Margaret", "Hamilton"},
	{"Radia", "Perlman"},
	{"Pablo Diego José Francisco de Paula Juan Nepomuceno María de los Remedios Cipriano de la Santísima Trinidad", "Ruiz y Picasso"},
	{"Leslie", "Lamport"},
	{"Hedy", "Lamarr"},
	{"אדה", "יונת"},
	{"Annie", "Easley"},
	{"Ken", "Thompson"},
	{"Frances", "Allen"},
}

// live lets people register, verify, sign in and mistype for a while; it gives one
// who has registered near its end, and those whose traits or metadata are strange.
func (s *system) live(t *testing.T, long time.Duration) (id string, strangers []string) {
	t.Helper()
	app := newApp(t, s.apis[0])
	until := time.Now().Add(long)
	for n := 0; time.Now().Before(until); n++ {
		name, address := demoPeople[n%len(demoPeople)], fmt.Sprintf("person-%03d@example.org", n+1)
		r := app.registerNamed(name, address)
		if n == 2 || n == 5 {
			strangers = append(strangers, r.Identity.ID)
		}
		if id = r.Identity.ID; n%3 > 0 {
			app.proveAddress(s.mailedCode(address, ""), verificationFlow(r.ContinueWith))
		}
		if n%2 == 0 {
			app.mustAnswer("login", fmt.Sprintf(`{"method":"password","identifier":%q,"password":"not the right one 7"}`, address))
		}
		app.mustAnswer("login", fmt.Sprintf(`{"method":"password","identifier":%q,"password":%q}`, address, goodPassword))
		time.Sleep(time.Duration(200+n*370%1500) * time.Millisecond)
	}
	long10k := strings.Repeat("what an import brought along, ", 350)
	body, err := json.Marshal(settings{"schema_id": "default", "traits": settings{"email": "imported@example.org"}, "metadata_admin": settings{"note": long10k}})
	if err != nil {
		t.Fatal(err)
	}
	var imported struct {
		ID string `json:"id"`
	}
	newApp(t, s.admins[0]).must("POST", "/admin/identities", asJSON, body).json(t, &imported)
	return id, append(strangers, imported.ID)
}

// registerNamed makes a person with a name.
func (c *client) registerNamed(name [2]string, address string) (r registered) {
	c.t.Helper()
	body, err := json.Marshal(settings{"method": "password", "password": goodPassword, "traits": settings{
		"email": address, "name": settings{"first": name[0], "last": name[1]},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	a := c.mustAnswer("registration", string(body))
	a.json(c.t, &r)
	return r
}

// mustAnswer begins a native flow and submits it; any answer will do.
func (c *client) mustAnswer(flow, body string) *answer {
	c.t.Helper()
	var f flowView
	c.must("GET", "/self-service/"+flow+"/api", nil, nil).json(c.t, &f)
	return c.must("POST", "/self-service/"+flow+"?flow="+f.ID, asJSON, []byte(body))
}

// proveAddress gives the code of a mail to its verification flow.
func (c *client) proveAddress(code, flow string) {
	c.t.Helper()
	c.must("POST", "/self-service/verification?flow="+flow, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
}
