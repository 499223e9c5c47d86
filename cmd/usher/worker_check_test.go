package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const (
	helloShown = `{"name":"hello","kind":"worker","events":["identity.created","identity.deleted"]}`
	caseOK     = `{"case":"event","type":"identity.created","verdict":"ok","took_ms":12,"events":1,"settled":1,"deliveries":1}`
	caseFailed = `{"case":"no-json","type":"identity.created","verdict":"failed","took_ms":12,"events":1,"settled":1,"deliveries":1,"note":"nobody would know"}`
	caseAbsent = `{"case":"event","type":"identity.created","verdict":"absent","took_ms":5000,"events":1,"settled":0,"deliveries":0}`
)

func TestCheckTriesCaseAfterCase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []string
		code    int
		summary string
	}{
		"good":   {[]string{caseOK, caseOK, caseOK, caseOK, caseOK, caseOK, caseOK}, 0, "hello: 7 of 7 as it should be\n"},
		"failed": {[]string{caseOK, caseOK, caseOK, caseOK, caseOK, caseOK, caseFailed}, 1, "hello: 6 of 7 as it should be\n"},
		"absent": {[]string{caseAbsent}, 1, "hello: 0 of 1 as it should be, 6 not tried\n"},
	} {
		a := newAdminStub(t, map[string][]string{"GET /admin/hooks/hello": {helloShown}, "POST /admin/hooks/hello/check": c.answers})
		out, errOut, code := run(t, "worker", "check", "hello", "--timeout", "10s", "--backlog", "5", "--admin", a.url)
		if code != c.code || !strings.HasSuffix(out, c.summary) || len(a.sent) != len(c.answers)+1 {
			t.Errorf("%s: usher worker check = %d %s%s, sent %q", name, code, out, errOut, a.sent)
		}
		if want := `POST /admin/hooks/hello/check {"case":"event","for":"10s","type":"identity.created"}`; a.sent[1] != want {
			t.Errorf("%s: sent %s, want %s", name, a.sent[1], want)
		}
		if want := `POST /admin/hooks/hello/check {"case":"backlog","count":5,"for":"10s","type":"identity.created"}`; code == 0 && a.sent[4] != want {
			t.Errorf("%s: sent %s, want %s", name, a.sent[4], want)
		}
	}
}

func TestCheckAsJSON(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{"GET /admin/hooks/hello": {helloShown}, "POST /admin/hooks/hello/check": {caseAbsent}})
	out, _, code := run(t, "worker", "check", "hello", "--json", "--admin", a.url)
	var got checkedWorker
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || got.OK || got.Worker != "hello" || got.Left != 6 || len(got.Cases) != 1 {
		t.Errorf("usher worker check --json = %d %s", code, out)
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{
		"GET /admin/hooks/hello": {helloShown},
		"GET /admin/hooks/gate":  {`{"name":"gate","kind":"answer","events":[]}`},
	})
	for _, args := range [][]string{
		{"gate"}, // it gets no events
		{"hello", "--type", "session.issued"},
		{"hello", "--timeout", "6m"},
		{"hello", "--timeout", "0s"},
		{"hello", "--backlog", "0"},
		{"hello", "--backlog", "501"},
		{"nobody"},
		{},
	} {
		if out, errOut, code := run(t, append([]string{"worker", "check", "--admin", a.url}, args...)...); code == 0 || out != "" {
			t.Errorf("usher worker check %q = %d %s%s, want a refusal", args, code, out, errOut)
		}
	}
	for _, s := range a.sent {
		if strings.HasPrefix(s, "POST") {
			t.Errorf("a worker was given events: %s", s)
		}
	}
}
