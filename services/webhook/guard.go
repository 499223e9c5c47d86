package webhook

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
)

// errPrivate ends a connection to an address that is not on the public internet.
var errPrivate = errors.New("address is private (clients.http.disallow_private_ip_ranges and private_ip_exception_urls say which may be called)")

// special are ranges that pass for global unicast and are not the public
// internet, or that lead into other networks.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// globalIPv6 is all that is routed on the public internet.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for n, t := range texts {
		list[n] = netip.MustParsePrefix(t)
	}
	return list
}

// public tells whether ip is an address on the public internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is6() && !globalIPv6.Contains(ip) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// RefusePrivate is the Control of a [net.Dialer] that connects to the public
// internet only: it sees the address that the name
// resolved to, so no answer of a name server gets around it.
func RefusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !public(to.Addr()) {
		return errPrivate
	}
	return nil
}

// WrittenPrivate tells whether a URL names, without a name server, an address that
// is not on the public internet.
func WrittenPrivate(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && !public(ip)
}

// Exceptions gives a test for URLs that may be called although their address is
// private: those that one of the patterns of private_ip_exception_urls matches.
func Exceptions(patterns []string) func(url string) bool {
	list := globs(patterns)
	return func(url string) bool { return matches(list, url) }
}

// globs compiles patterns of URLs: * matches within a part of a host or path,
// ** across parts, ? one character.
func globs(patterns []string) []*regexp.Regexp {
	replace := strings.NewReplacer(`\*\*`, `.*`, `\*`, `[^./]*`, `\?`, `[^./]`)
	list := make([]*regexp.Regexp, len(patterns))
	for n, p := range patterns {
		list[n] = regexp.MustCompile(`^` + replace.Replace(regexp.QuoteMeta(p)) + `$`)
	}
	return list
}
