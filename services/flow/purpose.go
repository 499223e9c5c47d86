package flow

// Purpose is what a code or link in a mail is for. None of one purpose is good for
// another.
type Purpose string

// The purposes, by kind of flow and method.
const (
	VerifyByCode  Purpose = "verification"
	VerifyByLink  Purpose = "verification_link"
	RecoverByCode Purpose = "recovery"
	RecoverByLink Purpose = "recovery_link"
)

// Methods of flows that a mail goes out for.
const (
	MethodCode = "code"
	MethodLink = "link"
)

// Purpose is what a mail of f is for, by the method that was used last; "" for a kind
// of flow that none goes out for.
func (f *Flow) Purpose() Purpose {
	switch {
	case f.Kind == Verification && f.Active == MethodLink:
		return VerifyByLink
	case f.Kind == Verification:
		return VerifyByCode
	case f.Kind == Recovery && f.Active == MethodLink:
		return RecoverByLink
	case f.Kind == Recovery:
		return RecoverByCode
	}
	return ""
}

// Kind is the kind of flow that p is of.
func (p Purpose) Kind() Kind {
	if p == RecoverByCode || p == RecoverByLink {
		return Recovery
	}
	return Verification
}

// IsLink tells whether it is a link that goes out, which does its work when it is
// opened.
func (p Purpose) IsLink() bool { return p == VerifyByLink || p == RecoverByLink }
