package password

import (
	"slices"
	"strings"
)

// Policy says which passwords people may choose.
type Policy struct {
	// MinLength and MaxLength are in bytes; 0 means 8 and 256.
	MinLength, MaxLength int
	// Similarity refuses passwords that are close to one of the identifiers.
	Similarity bool
	// ServiceWords are what an attacker tries first here, such as the name of
	// the service, in lower case.
	ServiceWords []string
	// Breached tells whether a password, as it was typed, is known from breaches; nil
	// knows none. It is asked last.
	Breached func(Plain) bool
}

// Violation is a broken rule of the policy.
type Violation struct {
	Rule    string // "min_length", "max_length", "similar", "listed", "reason"
	Context map[string]any
}

const (
	defaultMinLength = 8
	defaultMaxLength = 256
)

// Check gives the first rule that p breaks, or nil. The whole password is
// compared, whatever its case: a well-known one with something added is
// another password.
func (o Policy) Check(p Plain, identifiers []string) *Violation {
	text := p.Reveal()
	if v := o.checkLength(len(text)); v != nil {
		return v
	}
	lower := strings.ToLower(text)
	if o.Similarity && slices.ContainsFunc(identifiers, func(i string) bool { return similar(lower, strings.ToLower(i)) }) {
		return &Violation{Rule: "similar"}
	}
	if isListed(lower) {
		return listedViolation()
	}
	switch {
	case slices.Contains(o.ServiceWords, lower):
		return refused("it is a name of this service")
	case slices.ContainsFunc(identifiers, func(i string) bool { return isPart(lower, strings.ToLower(i)) }):
		return refused("it is part of the identifier")
	case isRepeated(lower):
		return refused("it repeats a short pattern")
	case isSequence(lower):
		return refused("it is a sequence of neighbours")
	case o.Breached != nil && o.Breached(p):
		return listedViolation()
	}
	return nil
}

// listedViolation is of a password that others had. Neither list says how often.
func listedViolation() *Violation {
	return &Violation{Rule: "listed", Context: map[string]any{"breaches": 1}}
}

func (o Policy) checkLength(n int) *Violation {
	shortest, longest := o.MinLength, o.MaxLength
	if shortest == 0 {
		shortest = defaultMinLength
	}
	if longest == 0 {
		longest = defaultMaxLength
	}
	switch {
	case n < shortest:
		return &Violation{Rule: "min_length", Context: map[string]any{"min_length": shortest, "actual_length": n}}
	case n > longest:
		return &Violation{Rule: "max_length", Context: map[string]any{"max_length": longest, "actual_length": n}}
	}
	return nil
}

// refused is the violation that only its reason explains.
func refused(reason string) *Violation {
	return &Violation{Rule: "reason", Context: map[string]any{"reason": reason}}
}
