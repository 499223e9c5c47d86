package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/usher-auth/usher/services/identity"
)

// Callback is what the provider's redirect says, beside the state.
type Callback struct {
	Code   string
	Issuer string // iss, RFC 9207; may be empty
	Error  string
}

// Account is who signed in at a provider.
type Account struct {
	identity.Account
	Identity Mapped
}

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
	return &Denied{p.config.ID, code}
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
	call := fetcher{ctx: ctx, http: p.http, token: token.AccessToken, api: p.api(), scope: p.config.Scope}
	if p.known.claims != nil {
		return p.known.claims(call)
	}
	raw, _ := token.Extra("id_token").(string)
	claims, err := p.verify(ctx, m, raw, a.nonce)
	if err != nil || p.config.ClaimsSource != FromUserinfo {
		return claims, err
	}
	var answer json.RawMessage
	if err := call.get("userinfo", m.userinfo, &answer); err != nil {
		return nil, err
	}
	info, err := decodeClaims(answer)
	if err != nil {
		return nil, refused("userinfo", err.Error())
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
	var answer *oauth2.RetrieveError
	var call *url.Error
	switch {
	case errors.As(err, &answer):
		known := []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
		switch status := answer.Response.StatusCode; {
		case brokenDown(status):
			return away("token", answered(status))
		case slices.Contains(known, answer.ErrorCode):
			return refused("token", "answered "+answer.ErrorCode)
		}
		return refused("token", "answered an error")
	case errors.As(err, &call):
		return unreachable("token", err)
	}
	return refused("token", "not a token answer")
}

// account maps claims that are checked.
func (p *Provider) account(m *metadata, claims map[string]any) (*Account, error) {
	subject, ok := subjectOf(claims)
	if !ok {
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
	mapped.VerifiedAddresses = slices.DeleteFunc(mapped.VerifiedAddresses, func(a Address) bool { return p.doubt(a, claims) != "" })
	issuer := m.issuer // also where the token may spell it otherwise
	if p.config.Provider == Microsoft {
		issuer, _ = claims["iss"].(string) // that of the person's tenant
	}
	return &Account{identity.Account{Provider: p.config.ID, Subject: subject, Issuer: issuer}, mapped}, nil
}

// subjectOf gives sub, if it can be part of an identifier.
func subjectOf(claims map[string]any) (string, bool) {
	subject, _ := claims["sub"].(string)
	control := strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r == 0x7f })
	return subject, strings.TrimSpace(subject) != "" && len(subject) <= maxSubject && !control
}
