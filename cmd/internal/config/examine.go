package config

import "net/url"

// Weakness says why a secret is not good enough where others can connect, without
// showing it; empty for one that is.
func Weakness(secret string) string { return weakness(secret, false) }

// Password gives the password that an address holds, empty if none.
func (a Address) Password() string {
	u, err := url.Parse(a.Reveal())
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}
