package oidc

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// api is where GitHub answers: a server of one's own has it below /api/v3, a
// tenant of ghe.com at a host of its own.
func (p *Provider) api() string {
	base := origin(p.config.AuthURL)
	host, found := strings.CutPrefix(base, "https://")
	switch {
	case host == "github.com" || found && strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host
	default:
		return base + "/api/v3"
	}
}

// origin is a URL without its path.
func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// githubClaims makes claims of GitHub's user; its e-mail is the primary one,
// verified or not, since the profile's may be anything.
func githubClaims(f fetcher) (map[string]any, error) {
	var user struct {
		ID        int64     `json:"id"`
		Login     string    `json:"login"`
		Name      string    `json:"name"`
		AvatarURL string    `json:"avatar_url"`
		HTMLURL   string    `json:"html_url"`
		Blog      string    `json:"blog"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	if err := f.get("userinfo", f.api+"/user", &user); err != nil {
		return nil, err
	}
	if user.ID <= 0 {
		return nil, refused("claims", "sub is missing, empty or too long")
	}
	claims := map[string]any{"sub": strconv.FormatInt(user.ID, 10)}
	for name, text := range map[string]string{
		"name": user.Name, "nickname": user.Login, "preferred_username": user.Login,
		"picture": user.AvatarURL, "profile": user.HTMLURL, "website": user.Blog,
	} {
		if text != "" {
			claims[name] = text
		}
	}
	if !user.UpdatedAt.IsZero() {
		claims["updated_at"] = user.UpdatedAt.Unix()
	}
	if !slices.Contains(f.scope, "user:email") && !slices.Contains(f.scope, "user") {
		return claims, nil
	}
	return claims, githubEmail(f, claims)
}

func githubEmail(f fetcher, claims map[string]any) error {
	var emails []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := f.get("userinfo", f.api+"/user/emails", &emails); err != nil {
		return err
	}
	for _, e := range emails {
		if e.Primary {
			claims["email"], claims["email_verified"] = e.Email, e.Verified
		}
	}
	return nil
}

const microsoftHost = "https://login.microsoftonline.com/"

func microsoftIssuer(tenant string) string { return microsoftHost + tenant + "/v2.0" }

// microsoftAnnounces tells whether discovery may name an issuer: the pattern of
// all tenants where many may sign in, else one tenant.
func microsoftAnnounces(tenant, issuer string) bool {
	switch {
	case tenant == "common" || tenant == "organizations":
		return issuer == microsoftIssuer("{tenantid}")
	case tenantID.MatchString(tenant):
		return issuer == microsoftIssuer(tenant)
	}
	id := strings.TrimSuffix(strings.TrimPrefix(issuer, microsoftHost), "/v2.0")
	return tenantID.MatchString(id) && issuer == microsoftIssuer(id)
}

var tenantID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// microsoftIssued tells whether a token's issuer is that of its own tenant, and
// of the tenant that was asked.
func microsoftIssued(issuer string, claims map[string]any) bool {
	tenant, _ := claims["tid"].(string)
	return tenantID.MatchString(tenant) && claims["iss"] == strings.ReplaceAll(issuer, "{tenantid}", tenant)
}

// adaptMicrosoft makes email_verified of the claim that says whether the owner
// of the domain vouches for the address; the claim email alone may be anything.
func adaptMicrosoft(claims map[string]any) {
	switch claims["xms_edov"] {
	case true, "true", "1", float64(1):
		claims["email_verified"] = true
	default:
		claims["email_verified"] = false
	}
}
