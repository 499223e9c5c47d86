package courier_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/courier"
)

func TestParseSMTP(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"smtp://mail.example.com":                                     "mail.example.com 587 - -",
		"smtp://mail.example.com:25/":                                 "mail.example.com 25 - -",
		"smtps://ada:pa%2Fss%40word@mail.example.com/":                "mail.example.com 465 ada pa/ss@word tls",
		"smtp://a%40b:p@[::1]:1025/?disable_starttls=true":            "::1 1025 a@b p clear",
		"smtps://u:p@10.0.0.1:1025/?skip_ssl_verify=true":             "10.0.0.1 1025 u p tls any",
		"smtp://u:p@10.0.0.1?server_name=m.example&skip_ssl_verify=0": "10.0.0.1 587 u p name=m.example",
		"smtp://u@h": "h 587 u -",
	} {
		s, err := courier.ParseSMTP(uri)
		if err != nil {
			t.Errorf("ParseSMTP(%q) = %v, want nil", uri, err)
			continue
		}
		got := fmt.Sprintf("%s %d %s %s", s.Host, s.Port, orDash(s.User), orDash(s.Password.Reveal()))
		for _, is := range []struct {
			text string
			so   bool
		}{{" tls", s.TLS}, {" clear", s.NoStartTLS}, {" any", s.AnyCertificate}, {" name=" + s.Name, s.Name != ""}} {
			if is.so {
				got += is.text
			}
		}
		if got != want {
			t.Errorf("ParseSMTP(%q) = %s, want %s", uri, got, want)
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestParseSMTPRefusesWithoutRepeating(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"", "mail.example.com:25", "http://u:hunter2@h", "smtp:u:hunter2@h", "smtp://", "smtp://u:hunter2@", "smtp://u:hunter2@h:0", "smtp://u:hunter2@h:65536",
		"smtp://u:hunter2@h:x", "smtp://u:hun/ter2@h", "smtp://u:1/hunter2@h", "smtp://u:hunter2#@h", "smtp://u:hunter2?@h", "smtp://u:%zzhunter2@h",
		"smtp://u:hunter2@h/path", "smtp://u:hunter2@h/?hunter2=1", "smtp://u:hunter2@h?disable_starttls=hunter2", "smtp://u:hunter2@h?skip_ssl_verify=1&skip_ssl_verify=1",
		"smtp://u:hunter2@h?a;b", "smtp://:hunter2@h", "smtp://u:hunter2@h\r\nRCPT", "smtp://u%00:hunter2@h", "hunter2://u:p@h", "smtp://u:hunter2@h%20x",
	} {
		s, err := courier.ParseSMTP(uri)
		if err == nil {
			t.Errorf("ParseSMTP(%q) = %+v, want an error", uri, s)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("ParseSMTP(%q) = %v, which shows the password", uri, err)
		}
	}
}

// FuzzParseSMTP wants that what is taken can be used, and that nothing shows the password.
func FuzzParseSMTP(f *testing.F) {
	f.Add("smtp://u:hunter2@h:25/?disable_starttls=true")
	f.Add("smtps://[::1]")
	f.Add("smtp://u:a/b@h")
	f.Fuzz(func(t *testing.T, uri string) {
		s, err := courier.ParseSMTP(uri)
		if err != nil {
			if len(uri) > 12 && strings.Contains(err.Error(), uri) {
				t.Errorf("ParseSMTP(%q) = %v, which repeats it", uri, err)
			}
			return
		}
		if s.Host == "" || s.Port < 1 || s.Port > 65535 || strings.ContainsAny(s.Host, "\r\n ") {
			t.Errorf("ParseSMTP(%q) = %+v, which cannot be used", uri, s)
		}
		u := url.URL{Scheme: "smtp", Host: "h", User: url.UserPassword("u", s.Password.Reveal())}
		again, err := courier.ParseSMTP(u.String())
		if err != nil || again.Password.Reveal() != s.Password.Reveal() {
			t.Errorf("password of %q is %q when it is written again, %v", uri, again.Password.Reveal(), err)
		}
		if secret := s.Password.Reveal(); len(secret) > 20 && strings.Contains(fmt.Sprintf("%+v %#v", s, s), secret) {
			t.Errorf("%q prints its password", uri)
		}
	})
}
