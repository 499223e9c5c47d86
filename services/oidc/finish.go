package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Callback is what the provider's redirect says, beside the state.
type Callback struct {
	Code             string
	Issuer           string // iss, RFC 9207; may be empty
	Error            string
	ErrorDescription string
}

// Account is who signed in at a provider.
type Account struct {
	Provider string
	Issuer   string
	Subject  string
	Claims   json.RawMessage // at most 64 KiB
	Identity Mapped
}

// Identifier is the credential's, unique over all identities.
func (a Account) Identifier() string { return a.Provider + ":" + a.Subject }

const (
	maxClaims  = 64 << 10
	maxSubject = 255
)

// Finish redeems the code and gives who signed in. Errors are [*Denied],
// [*Failed], or [ErrState] for an attempt of another provider or one that is
// over. A code is sent once, so an attempt that failed begins anew.
func (p *Provider) Finish(ctx context.Context, a Attempt, back Callback) (*Account, error) {
	if a.Provider != p.config.ID || a.nonce == "" || !p.now().Before(a.Expires) {
		return nil, ErrState
	}
	m, err := p.metadata.get(ctx)
	if err != nil {
		return nil, p.failed(err)
	}
	if back.Issuer != m.issuer && (back.Issuer != "" || m.saysIss) {
		return nil, p.failed(refused("callback", "comes from another issuer"))
	}
	if back.Error != "" {
		return nil, p.denied(back)
	}
	claims, err := p.redeem(ctx, m, a, back.Code)
	if err != nil {
		return nil, p.failed(err)
	}
	account, err := p.account(m, claims)
	if err != nil {
		return nil, p.failed(err)
	}
	return account, nil
}

func (p *Provider) denied(back Callback) error {
	code := back.Error
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		code = "other"
	}
	return &Denied{p.config.ID, code, strings.ToValidUTF8(back.ErrorDescription[:min(len(back.ErrorDescription), 200)], "")}
}

// redeem turns the code into claims that are checked, sub among them.
func (p *Provider) redeem(ctx context.Context, m *metadata, a Attempt, code string) (map[string]any, error) {
	if code == "" {
		return nil, refused("callback", "holds no code")
	}
	token, err := p.exchange(ctx, m, a, code)
	if err != nil {
		return nil, err
	}
	call := fetcher{ctx: ctx, http: p.http, token: token.AccessToken, api: p.api()}
	if p.known.claims != nil {
		return p.known.claims(call)
	}
	raw, _ := token.Extra("id_token").(string)
	claims, err := p.verify(ctx, m, raw, a.nonce)
	if err != nil || p.config.ClaimsSource != FromUserinfo {
		return claims, err
	}
	var info map[string]any
	if err := call.get(m.userinfo, &info); err != nil {
		return nil, err
	}
	if info["sub"] != claims["sub"] {
		return nil, refused("userinfo", "sub is not that of the id_token")
	}
	info["iss"] = claims["iss"]
	return info, nil
}

func (p *Provider) exchange(ctx context.Context, m *metadata, a Attempt, code string) (*oauth2.Token, error) {
	conf := m.oauth
	conf.RedirectURL = a.redirect
	var options []oauth2.AuthCodeOption
	if a.verifier != "" {
		options = append(options, oauth2.VerifierOption(a.verifier))
	}
	token, err := conf.Exchange(oidc.ClientContext(ctx, p.http), code, options...)
	if err != nil {
		return nil, tokenError(err)
	}
	return token, nil
}

// tokenError keeps the body out, which may hold tokens.
func tokenError(err error) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) {
		known := []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
		switch status := answered.Response.StatusCode; {
		case status >= 500 || status == http.StatusTooManyRequests:
			return away("token", "answered "+http.StatusText(status))
		case slices.Contains(known, answered.ErrorCode):
			return refused("token", "answered "+answered.ErrorCode)
		}
		return refused("token", "answered an error")
	}
	if text := err.Error(); strings.HasPrefix(text, "oauth2: ") {
		if strings.Contains(text, errLarge.Error()) { // the library does not wrap it
			return refused("token", errLarge.Error())
		}
		return refused("token", "not a token answer")
	}
	return unreachable("token", err)
}

// verify gives the claims of an id_token that was made for this attempt.
func (p *Provider) verify(ctx context.Context, m *metadata, raw, nonce string) (map[string]any, error) {
	if raw == "" {
		return nil, refused("id_token", "is missing")
	}
	if len(raw) > 2*maxClaims {
		return nil, refused("id_token", errLarge.Error())
	}
	if !namesKey(raw) {
		return nil, refused("id_token", "names no key")
	}
	token, err := m.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, idTokenError(err)
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return nil, refused("id_token", "claims are not an object")
	}
	said, _ := claims["nonce"].(string)
	if subtle.ConstantTimeCompare([]byte(said), []byte(nonce)) != 1 {
		return nil, refused("id_token", "nonce is not that of the attempt")
	}
	// Names are compared exactly here: a claim Sub must not stand for sub.
	if claims["sub"] != token.Subject || claims["iss"] != token.Issuer {
		return nil, refused("id_token", "sub or iss is missing or ambiguous")
	}
	azp, named := claims["azp"]
	if named && azp != p.config.ClientID || !named && len(token.Audience) > 1 {
		return nil, refused("id_token", "was made for another client")
	}
	if p.config.Provider == Microsoft && !microsoftIssued(m.issuer, claims) {
		return nil, refused("id_token", "was made by another issuer")
	}
	return claims, nil
}

// namesKey tells whether the token says which key it is signed with; without
// that, every key of the provider would be tried.
func namesKey(raw string) bool {
	head, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		KeyID string `json:"kid"`
	}
	return err == nil && json.Unmarshal(decoded, &header) == nil && header.KeyID != ""
}

// idTokenError says which check failed, without what the token says.
func idTokenError(err error) error {
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return refused("id_token", "is expired")
	}
	text := err.Error()
	if strings.HasPrefix(text, "failed to verify signature: fetching keys") {
		return away("id_token", "the provider's keys cannot be had")
	}
	for part, reason := range map[string]string{
		"issued by a different provider": "was made by another issuer",
		"expected audience":              "was made for another client",
		"before the nbf":                 "is not valid yet",
		"verify signature":               "signature is not the provider's",
		"malformed jwt":                  "is malformed or signed with an algorithm that is refused",
	} {
		if strings.Contains(text, part) {
			return refused("id_token", reason)
		}
	}
	return refused("id_token", "is malformed")
}

// account maps claims that are checked.
func (p *Provider) account(m *metadata, claims map[string]any) (*Account, error) {
	subject, _ := claims["sub"].(string)
	if strings.TrimSpace(subject) == "" || len(subject) > maxSubject || strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, refused("claims", "sub is missing, empty or too long")
	}
	if p.known.adapt != nil {
		p.known.adapt(claims)
	}
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil, refused("claims", "are not JSON")
	}
	if len(encoded) > maxClaims {
		return nil, refused("claims", "are over 64 KiB")
	}
	mapped, err := p.mapClaims(claims)
	if err != nil {
		return nil, err
	}
	issuer, _ := claims["iss"].(string)
	if issuer == "" {
		issuer = m.issuer
	}
	return &Account{Provider: p.config.ID, Issuer: issuer, Subject: subject, Claims: encoded, Identity: mapped}, nil
}
