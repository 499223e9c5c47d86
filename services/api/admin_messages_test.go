package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/registration"
)

// withMails has five mails: the third was abandoned, the others were sent.
func withMails(w *world) {
	for n := range int64(5) {
		m := courier.Message{
			N: n + 1, ID: uuid.New(), Status: courier.Sent, Template: courier.VerificationCode, Recipient: fmt.Sprintf("p%d@example.org", n%2), Attempts: int(n),
			Content:   courier.Content{Subject: courier.NewSecret("the subject"), Plain: courier.NewSecret("code 987654"), HTML: courier.NewSecret("<b>987654</b>")},
			CreatedAt: noon.Add(time.Duration(n) * time.Second), UpdatedAt: noon.Add(time.Minute),
		}
		if n == 2 {
			m.Status = courier.Abandoned
		}
		if n > 1 {
			m.LastError = "RCPT: server answered 550"
		}
		w.mails = append(w.mails, m)
	}
}

type shownMail struct {
	ID, Status, Type, Recipient, Body, Subject, Channel string
	SendCount                                           int    `json:"send_count"`
	LastError                                           string `json:"last_error"`
	Template                                            string `json:"template_type"`
}

func (g got) mails(t *testing.T) (all []shownMail) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &all); err != nil || g.status != 200 || all == nil {
		t.Fatalf("answer %d %s, want a list", g.status, g.body)
	}
	return all
}

func TestListMessages(t *testing.T) {
	t.Parallel()
	c := newWorld(t, withMails).admin()
	for query, want := range map[string][]int{ // by send_count
		"":                                      {4, 3, 2, 1, 0},
		"?status=sent":                          {4, 3, 1, 0},
		"?status=abandoned":                     {2},
		"?status=queued":                        {},
		"?recipient=P1@Example.org":             {3, 1},
		"?recipient=p0@example.org&status=sent": {4, 0},
		"?recipient=nobody@example.org":         {},
		"?recipient=what+could+be+nobodys":      {},
		"?status=&recipient=&page_size=":        {4, 3, 2, 1, 0},
		"?page_size=1":                          {4},
	} {
		g := c.get("/admin/courier/messages" + query)
		all := g.mails(t)
		counts := []int{}
		for _, m := range all {
			counts = append(counts, m.SendCount)
			if told := m.LastError == "RCPT: server answered 550"; told != (m.Status == "abandoned") {
				t.Errorf("list%s: last error of a mail that was %s = %q", query, m.Status, m.LastError)
			}
		}
		if fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("list%s = %v, want %v", query, counts, want)
		}
		if strings.Contains(g.body, "987654") || strings.Contains(g.body, "the subject") {
			t.Errorf("list%s shows what the mails say: %s", query, g.body)
		}
	}
	var seen []string
	for path := "/admin/courier/messages?page_size=2&status=sent"; path != ""; {
		g := c.get(path)
		for _, m := range g.mails(t) {
			seen = append(seen, m.Status)
		}
		path = ""
		if next := nextLink.FindStringSubmatch(g.header.Get("Link")); next != nil {
			path = next[1]
		}
	}
	if fmt.Sprint(seen) != "[sent sent sent sent]" {
		t.Errorf("pages gave %v, want the four that were sent", seen)
	}
}

// TestMailsAreShownInDevelopmentOnly also looks at one mail.
func TestMailsAreShownInDevelopmentOnly(t *testing.T) {
	t.Parallel()
	for _, dev := range []bool{true, false} {
		w := newWorld(t, withMails, func(w *world) { w.options.ShowMails = dev })
		c := w.admin()
		g := c.get("/admin/courier/messages/" + w.mails[1].ID.String())
		var m shownMail
		if err := json.Unmarshal([]byte(g.body), &m); err != nil || g.status != 200 {
			t.Fatalf("message = %d %s, want 200", g.status, g.body)
		}
		if shown := m.Body == "code 987654" && m.Subject == "the subject"; shown != dev || strings.Contains(g.body, "987654") != dev || m.Body == "" || m.Subject == "" {
			t.Errorf("ShowMails %t: %s", dev, g.body)
		}
		if m.Type != "email" || m.Channel != "email" || m.Recipient != "p1@example.org" || m.Template != "verification_code_valid" {
			t.Errorf("message = %+v, want the one that was asked for", m)
		}
	}
}

func TestListGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	path, id := annas(t, c)
	if g := c.get(path + "/grants"); g.status != 200 || g.body != "[]" {
		t.Errorf("grants of one that an administrator made = %d %s, want []", g.status, g.body)
	}
	grant := registration.Grant{
		ID: uuid.New(), FlowID: uuid.New(), IdentityID: uuid.MustParse(id), FlowType: flow.API, Method: "password", Bypass: true,
		SessionID: uuid.New(), Steps: registration.Steps{ReceivedAt: noon, IssuedAt: noon.Add(time.Second)}, CreatedAt: noon,
	}
	other := grant
	other.ID, other.IdentityID = uuid.New(), uuid.New()
	w.grants[grant.FlowID], w.grants[uuid.New()] = grant, other
	want := fmt.Sprintf(`[{"id":"%s","flow_id":"%s","flow_type":"api","method":"password","bypass":true,"session_id":"%s","verification_flow_id":null,`+
		`"steps":{"received_at":"2026-11-24T12:00:00.123456Z","checked_at":null,"hashed_at":null,"requested_at":null,"issued_at":"2026-11-24T12:00:01.123456Z"},`+
		`"created_at":"2026-11-24T12:00:00.123456Z"}]`, grant.ID, grant.FlowID, grant.SessionID)
	if g := c.get(path + "/grants"); g.status != 200 || g.body != want {
		t.Errorf("grants = %d %s, want %s", g.status, g.body, want)
	}
}
