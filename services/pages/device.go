package pages

import (
	"net/netip"
	"strings"
)

// device is where a session was begun.
type device struct {
	Address   string `json:"ip_address"`
	UserAgent string `json:"user_agent"`
}

// sign is what a user agent says of itself, and what people call that.
type sign struct{ text, name string }

// Many browsers name others too, to get what those get: the first sign counts.
var (
	browsers = []sign{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"Chrome/", "Chrome"},
		{"CriOS/", "Chrome"},
		{"Safari/", "Safari"},
	}
	systems = []sign{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"CrOS", "ChromeOS"},
		{"Windows", "Windows"},
		{"Mac OS X", "macOS"},
		{"Linux", "Linux"},
	}
)

func find(signs []sign, userAgent string) string {
	for _, s := range signs {
		if strings.Contains(userAgent, s.text) {
			return s.name
		}
	}
	return ""
}

// maxDeviceName in bytes is what is shown of a name that is not known.
const maxDeviceName = 40

// name is what a person may know the device by. It is only what the device said.
func (d device) name(say *words) string {
	browser, system := find(browsers, d.UserAgent), find(systems, d.UserAgent)
	switch {
	case browser != "" && system != "":
		return fill(say.Device, "browser", browser, "system", system)
	case browser != "" || system != "":
		return browser + system
	}
	product, _, _ := strings.Cut(d.UserAgent, "/")
	product = strings.TrimSpace(strings.ToValidUTF8(product[:min(len(product), maxDeviceName)], ""))
	if product == "" {
		return say.UnknownDevice
	}
	return product
}

// network is about where the device was, as exactly as a person needs it to know
// it again, "" if that is not known.
func (d device) network() string {
	addr, err := netip.ParseAddr(d.Address)
	if with, err2 := netip.ParseAddrPort(d.Address); err2 == nil {
		addr, err = with.Addr(), nil
	}
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLoopback():
		return addr.String() // tells nothing
	case addr.Is4():
		text := addr.String()
		return text[:strings.LastIndexByte(text, '.')] + ".x"
	}
	return strings.TrimSuffix(netip.PrefixFrom(addr, 48).Masked().Addr().String(), "::") + ":x"
}
