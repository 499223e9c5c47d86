package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// demoPassword is that of all who take part.
const demoPassword = "a demo only secret"

// comesBack signs the app's person in again: refused until the address is
// verified with the code from the mailbox, then let in.
func (d *demoRound) comesBack(ctx context.Context) error {
	const address = "app@example.org"
	c := &demoClient{base: d.at.Public}
	fmt.Fprint(d.out, "\nThe app's person comes back: people must verify their address before they sign in\n")
	refused, err := d.logIn(ctx, c, address)
	if err != nil {
		return err
	}
	verify := refused.flow()
	if refused.status != http.StatusForbidden || verify == "" {
		return fmt.Errorf("the login was answered with %d %s, want 403 and a verification", refused.status, refused.body)
	}
	fmt.Fprintln(d.out, "  POST /self-service/login → 403 session_verified_address_required: the first session has bypassed that, once")

	mail, err := (&adminClient{base: d.at.Admin}).newest(ctx, address, verify, 15*time.Second)
	if err != nil {
		return err
	}
	code := codePattern.FindString(mail.Body)
	fmt.Fprintf(d.out, "  usher mail show --to %s --code → %s\n", address, code)
	answer, err := d.post(ctx, c, "/self-service/verification?flow="+verify, map[string]any{"method": "code", "code": code})
	if err != nil {
		return err
	}
	var passed struct{ State string }
	if json.Unmarshal(answer.body, &passed) != nil || passed.State != "passed_challenge" {
		return fmt.Errorf("the verification was answered with %d %s", answer.status, answer.body)
	}
	fmt.Fprintln(d.out, "  POST /self-service/verification → 200, state passed_challenge")

	if answer, err = d.logIn(ctx, c, address); err != nil {
		return err
	}
	if answer.status != http.StatusOK {
		return fmt.Errorf("the login was answered with %d %s, want 200", answer.status, answer.body)
	}
	fmt.Fprintln(d.out, "  POST /self-service/login → 200 with a session_token")
	return nil
}

func (d *demoRound) logIn(ctx context.Context, c *demoClient, address string) (*demoAnswer, error) {
	var flow struct{ ID string }
	if err := c.json(ctx, "GET", "/self-service/login/api", nil, nil, &flow); err != nil {
		return nil, err
	}
	return d.post(ctx, c, "/self-service/login?flow="+flow.ID, map[string]any{"method": "password", "identifier": address, "password": demoPassword})
}

func (d *demoRound) post(ctx context.Context, c *demoClient, path string, body map[string]any) (*demoAnswer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.do(ctx, "POST", path, http.Header{"Content-Type": {"application/json"}}, text)
}

// flow is the verification that a refusal names, "" if it names none.
func (a *demoAnswer) flow() string {
	var refusal struct {
		Error struct {
			Details struct {
				ContinueWith []struct{ Flow struct{ ID string } } `json:"continue_with"`
			}
		}
	}
	if json.Unmarshal(a.body, &refusal) != nil || len(refusal.Error.Details.ContinueWith) == 0 {
		return ""
	}
	return refusal.Error.Details.ContinueWith[0].Flow.ID
}
