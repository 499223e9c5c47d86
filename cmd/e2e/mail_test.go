package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"
)

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

var codePattern = regexp.MustCompile(`\b\d{6}\b`)

// mailView is what the tests read of a message.
type mailView struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Recipient string `json:"recipient"`
	Body      string `json:"body"`
	Template  string `json:"template_type"`
	Attempts  int    `json:"send_count"`
}

// mails are the messages to an address, newest first.
func (s *system) mails(address string) (page []mailView, err error) {
	a, err := newApp(s.t, s.admins[0]).do("GET", "/admin/courier/messages?recipient="+url.QueryEscape(address), nil, nil)
	if err != nil {
		return nil, err
	}
	return page, json.Unmarshal(a.body, &page)
}

// codeOf gives the code that was mailed for a flow; for any flow if none is named.
func (s *system) codeOf(address, flow string) (string, error) {
	page, err := s.mails(address)
	if err != nil {
		return "", err
	}
	for _, m := range page {
		if code := codePattern.FindString(m.Body); code != "" && strings.Contains(m.Body, flow) {
			return code, nil
		}
	}
	return "", errors.New("no mail with a code to " + address)
}

// mailedCode waits for [system.codeOf].
func (s *system) mailedCode(address, flow string) (code string) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, func() (err error) {
		code, err = s.codeOf(address, flow)
		return err
	})
	return code
}
