package flow

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/identity"
)

// Message is something said to the person. Clients key on ID.
type Message struct {
	ID      int64           `json:"id"`
	Text    string          `json:"text"`
	Type    string          `json:"type"` // "info", "error", "success"
	Context json.RawMessage `json:"context,omitempty"`
}

// The ids of messages are the contract's.
const (
	signIn             = 1010001
	signInWith         = 1010002
	confirmItIsYou     = 1010003
	linkAccount        = 1010016
	signInWithPassword = 1010022
	signUp             = 1040001
	signUpWith         = 1040002
	goOnSigningUp      = 1040003
	goBack             = 1040008
	chooseCredential   = 1040009
	settingsSaved      = 1050001
	linkProvider       = 1050002
	unlinkProvider     = 1050003
	recovered          = 1060001
	recoveryLinkSent   = 1060002
	recoveryCodeSent   = 1060003
	labelPassword      = 1070001
	labelTitle         = 1070002
	save               = 1070003
	labelID            = 1070004
	labelEmail         = 1070007
	resendCode         = 1070008
	goOn               = 1070009
	labelRecoveryCode  = 1070010
	labelCode          = 1070011
	linkSent           = 1080001
	addressVerified    = 1080002
	codeSent           = 1080003

	generic           = 4000001
	missing           = 4000002
	tooShort          = 4000003
	badFormat         = 4000004
	passwordRefused   = 4000005
	wrongCredentials  = 4000006
	identifierTaken   = 4000007
	noIdentifier      = 4000009
	notVerified       = 4000010
	tooLong           = 4000017
	belowMinimum      = 4000018
	notAboveMinimum   = 4000019
	aboveMaximum      = 4000020
	notBelowMaximum   = 4000021
	notMultiple       = 4000022
	tooManyItems      = 4000023
	tooFewItems       = 4000024
	repeatedItems     = 4000025
	wrongType         = 4000026
	linkConflict      = 4000027
	notConstant       = 4000029
	passwordSimilar   = 4000031
	passwordTooShort  = 4000032
	passwordTooLong   = 4000033
	passwordListed    = 4000034
	passwordUnchanged = 4000039
	notEmail          = 4000040
	notTelephone      = 4000041
	linkMismatch      = 4010009
	identityDisabled  = 4010011
	recoveredAlready  = 4060001
	wrongRecoveryLink = 4060004
	wrongRecoveryCode = 4060006
	wrongLink         = 4070001
	passedAlready     = 4070002
	wrongCode         = 4070006
	firstErrorMessage = 4000000

	loginOver              = 4010001
	registrationOver       = 4040001
	settingsOver           = 4050001
	recoveryOver           = 4060005
	verificationOver       = 4070005
	noLoginStrategy        = 4010002
	noRegistrationStrategy = 4010003
	noSettingsStrategy     = 4010004
	noRecoveryStrategy     = 4010005
	noVerificationStrategy = 4010006
)

// texts are what people read; {key} is replaced from the message's context.
var texts = map[int64]string{
	signIn:             "Sign in",
	signInWith:         "Sign in with {provider}",
	confirmItIsYou:     "Please confirm that it is you.",
	signInWithPassword: "Sign in with password",
	linkAccount:        "There is an account with {duplicate_identifier} already. Sign in to it to add {provider} as another way to sign in.",
	signUp:             "Sign up",
	signUpWith:         "Sign up with {provider}",
	goOnSigningUp:      "Continue",
	goBack:             "Back",
	chooseCredential:   "Please choose how you want to sign in from now on.",
	settingsSaved:      "Your changes are saved.",
	linkProvider:       "Link {provider}",
	unlinkProvider:     "Unlink {provider}",
	recovered:          "You are signed in again. Please choose a new password or another way to sign in.",
	recoveryLinkSent:   "If the address belongs to an account, a mail with a link is on its way to it.",
	recoveryCodeSent:   "If the address belongs to an account, a mail with a code is on its way to it.",
	labelPassword:      "Password",
	save:               "Save",
	labelID:            "ID",
	labelEmail:         "Email",
	resendCode:         "Resend code",
	goOn:               "Continue",
	labelRecoveryCode:  "Recovery code",
	labelCode:          "Verification code",
	linkSent:           "If the address belongs to an account, a mail with a link is on its way to it.",
	addressVerified:    "Your address is verified.",
	codeSent:           "If the address belongs to an account, a mail with a code is on its way to it.",

	generic:          "{reason}",
	missing:          "Please fill in {property}.",
	tooShort:         "The length must be at least {min_length}, but is {actual_length}.",
	badFormat:        "This does not have the form {pattern}.",
	passwordRefused:  "Please choose another password: {reason}.",
	wrongCredentials: "The identifier or the password is wrong.",
	identifierTaken:  "There is an account with this identifier already.",
	noIdentifier:     "Please enter something to sign in with, such as an email address.",
	notVerified:      "Please verify your address first.",
	tooLong:          "The length must be at most {max_length}, but is {actual_length}.",
	belowMinimum:     "Must be {minimum} or more, but is {actual}.",
	notAboveMinimum:  "Must be more than {minimum}, but is {actual}.",
	aboveMaximum:     "Must be {maximum} or less, but is {actual}.",
	notBelowMaximum:  "Must be less than {maximum}, but is {actual}.",
	notMultiple:      "Must be a multiple of {base}, but is {actual}.",
	tooManyItems:     "At most {max_items} items are allowed, but there are {actual_items}.",
	tooFewItems:      "At least {min_items} items are needed, but there are {actual_items}.",
	repeatedItems:    "Items {index_a} and {index_b} are equal.",
	wrongType:        "Must be of type {allowed_types}, but is {actual_type}.",
	linkConflict:     "This way to sign in belongs to another account already. Please sign in to that one.",
	notConstant:      "Must be equal to {expected}.",

	passwordSimilar:   "The password is too close to what you sign in with.",
	passwordTooShort:  "The password must have at least {min_length} characters, but has {actual_length}.",
	passwordTooLong:   "The password must have at most {max_length} characters, but has {actual_length}.",
	passwordListed:    "The password is well known from data breaches. Please choose another one.",
	passwordUnchanged: "This is your password already. Please choose another one.",

	notEmail:     "This is not a valid email address.",
	notTelephone: "This is not a valid phone number.",

	linkMismatch:      "This is another account than the one that was to get a new way to sign in. Please sign in to that one.",
	identityDisabled:  "This account is disabled.",
	recoveredAlready:  "This recovery is completed already.",
	wrongRecoveryLink: "This link was used already, has expired or is wrong. Please ask for another one.",
	wrongRecoveryCode: "The code is wrong or was used already.",
	wrongLink:         "This link was used already, has expired or is wrong. Please ask for another one.",
	passedAlready:     "This verification is completed already.",
	wrongCode:         "The code is wrong or was used already.",

	loginOver:              "This login has expired. Please try again.",
	registrationOver:       "This registration has expired. Please try again.",
	settingsOver:           "This page has expired. Please try again.",
	recoveryOver:           "This recovery has expired. Please try again.",
	verificationOver:       "This verification has expired. Please try again.",
	noLoginStrategy:        "There is no such way to sign in. Please choose a method that is offered.",
	noRegistrationStrategy: "There is no such way to sign up. Please choose a method that is offered.",
	noSettingsStrategy:     "There is no such setting. Please choose one that is offered.",
	noRecoveryStrategy:     "There is no such way to recover an account. Please choose a method that is offered.",
	noVerificationStrategy: "There is no such way to verify. Please choose a method that is offered.",
}

// Texts gives what messages say by their ids, in English; {key} stands for a value of
// the message's context. Only a field's title has none: that is the schema's.
func Texts() map[int64]string { return maps.Clone(texts) }

// over are the messages of flows that have expired, noStrategy those of submits
// without a method that is offered.
var (
	over       = map[Kind]int64{Login: loginOver, Registration: registrationOver, Verification: verificationOver, Recovery: recoveryOver, Settings: settingsOver}
	noStrategy = map[Kind]int64{Login: noLoginStrategy, Registration: noRegistrationStrategy, Verification: noVerificationStrategy, Recovery: noRecoveryStrategy, Settings: noSettingsStrategy}
)

// wrong are the messages of flows that wait for what a mail brings.
var wrong = map[Kind]struct{ code, link, again int64 }{
	Verification: {wrongCode, wrongLink, passedAlready},
	Recovery:     {wrongRecoveryCode, wrongRecoveryLink, recoveredAlready},
}

// rules are the messages for broken rules of an identity schema. A rule that
// is not here has a reason of its own.
var rules = map[string]int64{
	"required":         missing,
	"minLength":        tooShort,
	"maxLength":        tooLong,
	"pattern":          badFormat,
	"format":           badFormat,
	"minimum":          belowMinimum,
	"exclusiveMinimum": notAboveMinimum,
	"maximum":          aboveMaximum,
	"exclusiveMaximum": notBelowMaximum,
	"multipleOf":       notMultiple,
	"maxItems":         tooManyItems,
	"minItems":         tooFewItems,
	"uniqueItems":      repeatedItems,
	"type":             wrongType,
	"const":            notConstant,
	"email":            notEmail,
	"tel":              notTelephone,
}

// passwordRules are the messages for broken rules of the password policy.
var passwordRules = map[string]int64{
	"min_length": passwordTooShort,
	"max_length": passwordTooLong,
	"similar":    passwordSimilar,
	"listed":     passwordListed,
}

// Generic is 4000001: something that only its reason explains.
func Generic(reason string) Message {
	return say(generic, map[string]any{"reason": reason})
}

// Missing is 4000002: a required property is missing.
func Missing(property string) Message {
	return say(missing, map[string]any{"property": property})
}

// IdentifierTaken is 4000007.
func IdentifierTaken() Message { return say(identifierTaken, nil) }

// LinkConflict is 4000027: the account at the provider is linked to another one here.
func LinkConflict() Message { return say(linkConflict, nil) }

// LastWay says that what is to be removed is the last way to sign in.
func LastWay() Message {
	return Generic("This is the last way to sign in to your account, so it stays. Add another one first.")
}

// LinkMismatch is 4010009: who signed in is not who was to link an account.
func LinkMismatch() Message { return say(linkMismatch, nil) }

// NoIdentifier is 4000009: the traits hold nothing to sign in with.
func NoIdentifier() Message { return say(noIdentifier, nil) }

// WrongCredentials is 4000006: there is no such identifier, or the password is
// another; which of them is not said.
func WrongCredentials() Message { return say(wrongCredentials, nil) }

// AddressNotVerified is 4000010, how a login is refused under the legacy flag
// until an address is verified.
func AddressNotVerified() Message { return say(notVerified, nil) }

// Disabled is 4010011: the identity is inactive.
func Disabled() Message { return say(identityDisabled, nil) }

// WrongCode says that the code of a verification or recovery is wrong or used:
// 4070006 or 4060006.
func WrongCode(k Kind) Message { return say(wrong[k].code, nil) }

// WrongLink says that the link of a verification or recovery is wrong or used:
// 4070001 or 4060004.
func WrongLink(k Kind) Message { return say(wrong[k].link, nil) }

// PassedAlready says that a verification or recovery was completed before:
// 4070002 or 4060001.
func PassedAlready(k Kind) Message { return say(wrong[k].again, nil) }

// Recovered is 1060001: the person is signed in and is to choose a new way to sign
// in until the given time, when that needs another login.
func Recovered(until time.Time) Message {
	return say(recovered, map[string]any{"privileged_session_expires_at": until.UTC()})
}

// PasswordUnchanged is 4000039: the new password is the old one.
func PasswordUnchanged() Message { return say(passwordUnchanged, nil) }

// NoStrategy says that the submitted method is unknown, off, or was not said:
// 4010002 to 4010006, by the kind of flow.
func NoStrategy(k Kind) Message { return say(noStrategy[k], nil) }

// Expired says that the flow that was submitted had died at the given time:
// 4010001, 4040001, 4050001, 4060005 or 4070005, by its kind.
func Expired(k Kind, at time.Time) Message {
	return say(over[k], map[string]any{"expired_at": at.UTC(), "expired_at_unix": at.Unix()})
}

// FromViolation is the message for a broken rule of the identity schema.
func FromViolation(v identity.Violation) Message {
	if id, ok := rules[v.Rule]; ok {
		return say(id, v.Context)
	}
	reason, ok := v.Context["reason"].(string)
	if !ok {
		reason = fmt.Sprintf("The rule %q of the identity schema is broken.", v.Rule)
	}
	return Generic(reason)
}

// FromPassword is the message for a broken rule of the password policy.
func FromPassword(rule string, context map[string]any) Message {
	id, ok := passwordRules[rule]
	if !ok {
		id = passwordRefused
	}
	return say(id, context)
}

// say makes the message with an id. Its context must be encodable as JSON.
func say(id int64, context map[string]any) Message {
	m := Message{ID: id, Text: fill(texts[id], context), Type: "info"}
	switch {
	case id >= firstErrorMessage:
		m.Type = "error"
	case id == addressVerified, id == settingsSaved, id == recovered:
		m.Type = "success"
	}
	if len(context) > 0 {
		encoded, err := json.Marshal(context)
		if err != nil {
			panic(fmt.Sprintf("message %d: %v", id, err))
		}
		m.Context = encoded
	}
	return m
}

// fill puts the values of context in place of their {key}.
func fill(text string, context map[string]any) string {
	if !strings.Contains(text, "{") {
		return text
	}
	pairs := make([]string, 0, 2*len(context))
	for key, value := range context {
		pairs = append(pairs, "{"+key+"}", spoken(value))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func spoken(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(slices.Sorted(slices.Values(v)), " or ")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64) // 1000000, not 1e+06
	}
	return fmt.Sprint(value)
}
