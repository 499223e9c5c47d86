package courier

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Server is a mail server and how it is spoken to.
type Server struct {
	Host string
	Port int
	// User is empty where nobody logs in.
	User     string
	Password Secret
	// TLS says that the connection begins with TLS; NoStartTLS that one which
	// does not stays in the clear. With neither, a server must offer STARTTLS.
	TLS, NoStartTLS bool
	// AnyCertificate takes any certificate; Name is what it is for, empty for Host.
	AnyCertificate bool
	Name           string
}

// Ports of submission, used where the URI names none.
const (
	portStartTLS = 587
	portTLS      = 465
)

// ParseSMTP reads a URI such as smtp://user:password@host:587/ or smtps://….
// Parameters are disable_starttls, skip_ssl_verify (true or false) and
// server_name. Its error is a [*Misconfigured] and repeats nothing of the URI,
// where a password may be anywhere if it was not written as it should be.
func ParseSMTP(uri string) (Server, error) {
	s, err := parseSMTP(uri)
	if err != nil {
		return Server{}, misconfigured("courier.smtp.connection_uri", "%w", err)
	}
	return s, nil
}

func parseSMTP(uri string) (Server, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" || u.Path != "" && u.Path != "/" || strings.Contains(uri, "#") {
		return Server{}, errors.New("want smtp://user:password@host:port/ or smtps://…, with user and password percent-encoded")
	}
	s := Server{Host: u.Hostname(), User: u.User.Username()}
	switch u.Scheme {
	case "smtp":
		s.Port = portStartTLS
	case "smtps":
		s.Port, s.TLS = portTLS, true
	default:
		return Server{}, errors.New("want the scheme smtp or smtps")
	}
	if s.Host == "" || strings.ContainsFunc(s.Host, notInHosts) {
		return Server{}, errors.New("want a host")
	}
	if port := u.Port(); port != "" {
		if s.Port, err = strconv.Atoi(port); err != nil || s.Port < 1 || s.Port > 65535 {
			return Server{}, errors.New("want a port from 1 to 65535")
		}
	}
	if password, ok := u.User.Password(); ok {
		s.Password = NewSecret(password)
	}
	if strings.ContainsRune(s.User+s.Password.Reveal(), 0) {
		return Server{}, errors.New("user and password cannot hold a zero byte")
	}
	if s.User == "" && s.Password.Reveal() != "" {
		return Server{}, errors.New("there is a password and no user")
	}
	return s, s.parameters(u.RawQuery)
}

func (s *Server) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("parameters are not name=value&…")
	}
	for name, given := range values {
		switch {
		case len(given) != 1:
			err = errors.New("a parameter is given twice")
		case name == "disable_starttls":
			s.NoStartTLS, err = strconv.ParseBool(given[0])
		case name == "skip_ssl_verify":
			s.AnyCertificate, err = strconv.ParseBool(given[0])
		case name == "server_name":
			s.Name = given[0]
		default:
			err = errors.New("")
		}
		if err != nil {
			return errors.New("parameters are disable_starttls and skip_ssl_verify, true or false, and server_name, each once")
		}
	}
	return nil
}

// notInHosts tells what can stand neither in a name nor in an IP address.
func notInHosts(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@?#`, r)
}

func (s Server) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }
